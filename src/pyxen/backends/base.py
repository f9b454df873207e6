"""What the face needs of a backend: model objects in, model objects out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

from pyxen.config import CpuSet, DomainConfig, Part, Scheduler
from pyxen.events import Event
from pyxen.info import DomainInfo, DomainState, HostInfo, Trigger
from pyxen.operation import Operation

__all__ = ["Backend", "DomainRef"]

D = TypeVar("D", bound=Part)


@dataclass(frozen=True, slots=True)
class DomainRef:
    """A domain, by both its numbers: domids are reused, so the uuid tells whether it is still the same one."""

    domid: int
    uuid: UUID

    def __str__(self) -> str:
        return str(self.domid)


class Backend(Protocol):
    """A way to a host. Methods that take a `DomainRef` raise `DomainNotFound` if that domain is gone.

    What takes time returns an `Operation`, begun; what only looks returns at once. All are safe from any thread.
    """

    @property
    def uri(self) -> str:
        """How `pyxen.connect` finds this host."""

    def close(self) -> None:
        """Stop what runs and let go of the host; may be called again."""

    def info(self) -> HostInfo:
        """Return the figures of the host."""

    def list(self) -> list[DomainInfo]:
        """Return all domains, dom0 too, by domid."""

    def orphans(self) -> tuple[DomainRef, ...]:
        """Return the domains that processes were making which are gone; empty where nobody can know."""

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        """Have a function called with each event from now on, and another once when the host is closed.

        Both are called on a thread of the backend's, and what they raise goes to `threading.excepthook`. Returns a
        function that ends it, from any thread, without waiting.
        """

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        """Return one domain."""

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain; a create that fails or is stopped leaves nothing."""

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """End a domain at once."""

    def pause(self, domain: DomainRef) -> Operation[None]:
        """Stop a domain's vCPUs."""

    def unpause(self, domain: DomainRef) -> Operation[None]:
        """Let a domain's vCPUs run."""

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        """Ask the guest to power off."""

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Ask the guest to reboot."""

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Let the guest suspend itself and stay in memory."""

    def resume(self, domain: DomainRef) -> Operation[None]:
        """Let a suspended guest go on."""

    def save(
        self, domain: DomainRef, path: str, *, checkpoint: bool, leave_paused: bool, timeout: float | None
    ) -> Operation[None]:
        """Save a domain to a file on the host; a failure leaves it running, and no file."""

    def restore(
        self, path: str, config: DomainConfig | None, *, paused: bool, timeout: float | None
    ) -> Operation[DomainRef]:
        """Create a domain from a file on the host; a failure leaves nothing."""

    def migrate(self, domain: DomainRef, command: Sequence[str], *, timeout: float | None) -> Operation[None]:
        """Move a domain to where a command leads; a failure leaves it running here, and nothing there."""

    def migrate_over(self, domain: DomainRef, read_fd: int, write_fd: int, *, timeout: float | None) -> Operation[None]:
        """Move a domain to where two descriptors lead, which are duplicated; see `migrate`."""

    def receive_migration(
        self, read_fd: int, write_fd: int, *, paused: bool, timeout: float | None
    ) -> Operation[DomainRef]:
        """Take in a domain that comes over two descriptors, which are duplicated; a failure leaves nothing."""

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        """Write a domain's memory to a file on the host."""

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        """Return the configuration of a domain as it is now."""

    def rename(self, domain: DomainRef, name: str) -> Operation[None]:
        """Give a domain another name."""

    def preserve(self, domain: DomainRef, suffix: str) -> Operation[DomainRef]:
        """Set aside a domain that has ended, under a name with that suffix and a new uuid."""

    def send_trigger(self, domain: DomainRef, trigger: Trigger, *, vcpu: int) -> Operation[None]:
        """Press a button, or interrupt a vCPU."""

    def send_sysrq(self, domain: DomainRef, key: str) -> Operation[None]:
        """Press a key of Linux's magic SysRq."""

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        """Attach a device, and return it as it is then; a failure leaves nothing."""

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        """Detach a device, given by itself or by its name."""

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        """Put a disc into a CD-ROM drive, in place of what is there."""

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        """Take the disc out of a CD-ROM drive."""

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        """Tell a guest how much memory to have, in MiB."""

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        """Set how much memory a domain can be given, in MiB."""

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        """Tell a guest how many vCPUs to use."""

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None
    ) -> Operation[None]:
        """Say on which CPUs a vCPU, or with None all of them, may run, and had better run; None stays as it is."""

    def set_scheduler(self, domain: DomainRef, scheduler: Scheduler) -> Operation[None]:
        """Set what the hypervisor's scheduler knows of a domain; what is not said stays."""

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        """Wait until a domain is in one of these states, or gone (None)."""
