"""What the face needs of a backend: model objects in, model objects out."""

# ruff: noqa: ARG002 (a default refuses whatever its arguments are)

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar
from uuid import UUID

from pyxen.config import CpuSet, DomainConfig, Part, Scheduler
from pyxen.events import Event
from pyxen.features import Feature, lacking
from pyxen.info import DefinedDomain, DomainInfo, DomainState, DomainStats, HostInfo, Trigger
from pyxen.operation import Operation
from pyxen.remus import RemusOptions

__all__ = ["Allow", "Backend", "DomainRef"]

D = TypeVar("D", bound=Part)

Allow = Callable[[DomainConfig], object]
"""Sees the configuration of a domain that comes from elsewhere; False, or what it raises, refuses it."""

_MANAGED: Final = "libvirt's URIs and memory:/// keep configurations; here, keep files and create domains of them"


@dataclass(frozen=True, slots=True)
class DomainRef:
    """A domain, by both its numbers: domids are reused, so the uuid tells whether it is still the same one."""

    domid: int
    uuid: UUID

    def __str__(self) -> str:
        return str(self.domid)


class Backend(Protocol):
    """A way to a host. Methods that take a `DomainRef` raise `DomainNotFound` if that domain is gone.

    A method that takes time starts an `Operation` and returns it; a query returns at once. All are thread-safe.

    Derive your own backend from this class. A method that it does not define raises `UnsupportedFeature`; methods that
    every backend needs have no such default.
    """

    @property
    def uri(self) -> str:
        """The URI by which `pyxen.connect` finds this host."""

    @property
    def name(self) -> str:
        """What this way is called in errors, e.g. ``xenlight (Xen 4.20)``."""

    @property
    def features(self) -> frozenset[Feature]:
        """The optional features that it supports."""

    def close(self) -> None:
        """Stop running operations and release the host; may be called again."""

    def info(self) -> HostInfo:
        """Return the figures of the host."""

    def list(self) -> list[DomainInfo]:
        """Return all domains, dom0 too, by domid."""

    def orphans(self) -> tuple[DomainRef, ...]:
        """Return the domains whose creating process died; empty where that cannot be known."""
        raise lacking(Feature.ORPHANS, self.name)

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        """Have a function called with each event from now on, and another once when the host is closed.

        Both are called on a thread of the backend's, and what they raise goes to `threading.excepthook`. Returns a
        function that ends it, from any thread, without waiting.
        """
        raise lacking(Feature.EVENTS, self.name)

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        """Return one domain."""

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain; a create that fails or is stopped leaves nothing."""

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """End a domain at once."""

    def pause(self, domain: DomainRef) -> Operation[None]:
        """Stop a domain's vCPUs."""
        raise lacking(Feature.PAUSE, self.name)

    def unpause(self, domain: DomainRef) -> Operation[None]:
        """Let a domain's vCPUs run."""
        raise lacking(Feature.PAUSE, self.name)

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        """Ask the guest to power off."""

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Ask the guest to reboot."""
        raise lacking(Feature.REBOOT, self.name)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Let the guest suspend itself and stay in memory."""
        raise lacking(Feature.SUSPEND, self.name)

    def resume(self, domain: DomainRef) -> Operation[None]:
        """Resume a suspended guest."""
        raise lacking(Feature.SUSPEND, self.name)

    def save(
        self, domain: DomainRef, path: str, *, checkpoint: bool, leave_paused: bool, timeout: float | None
    ) -> Operation[None]:
        """Save a domain to a file on the host; a failure leaves it running, and no file."""
        raise lacking(Feature.SAVE, self.name)

    def restore(
        self,
        path: str,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        """Create a domain from a file on the host; a failure leaves nothing.

        `allow` sees the configuration before anything is made, and refuses it by False, or by what it raises.
        """
        raise lacking(Feature.SAVE, self.name)

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        """Write a domain's memory to a file on the host."""
        raise lacking(Feature.CORE_DUMP, self.name)

    def soft_reset(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Start a guest anew that has shut down for a soft reset, in its own memory."""
        raise lacking(Feature.SOFT_RESET, self.name)

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        """Return the configuration of a domain as it is now."""

    def rename(self, domain: DomainRef, name: str) -> Operation[None]:
        """Give a domain another name."""
        raise lacking(Feature.RENAME, self.name)

    def preserve(self, domain: DomainRef, suffix: str) -> Operation[DomainRef]:
        """Set aside a domain that has ended, under a name with that suffix and a new uuid."""
        raise lacking(Feature.PRESERVE, self.name)

    def send_trigger(self, domain: DomainRef, trigger: Trigger, *, vcpu: int) -> Operation[None]:
        """Press a button, or interrupt a vCPU."""
        raise lacking(Feature.TRIGGER, self.name)

    def send_sysrq(self, domain: DomainRef, key: str) -> Operation[None]:
        """Press a key of Linux's magic SysRq."""
        raise lacking(Feature.SYSRQ, self.name)

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        """Attach a device, and return it as it is then; a failure leaves nothing."""
        raise lacking(Feature.ATTACH, self.name)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        """Detach a device, given by itself or by its name."""
        raise lacking(Feature.ATTACH, self.name)

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        """Put a disc into a CD-ROM drive, in place of what is there."""
        raise lacking(Feature.CDROM, self.name)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        """Take the disc out of a CD-ROM drive."""
        raise lacking(Feature.CDROM, self.name)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        """Tell a guest how much memory to have, in MiB."""
        raise lacking(Feature.MEMORY, self.name)

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        """Set how much memory a domain can be given, in MiB."""
        raise lacking(Feature.MAXMEM, self.name)

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        """Tell a guest how many vCPUs to use."""
        raise lacking(Feature.VCPUS, self.name)

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None
    ) -> Operation[None]:
        """Set on which CPUs a vCPU (None: all vCPUs) may run, and which it prefers; None leaves a set as it is."""
        raise lacking(Feature.PIN, self.name)

    def set_scheduler(self, domain: DomainRef, scheduler: Scheduler) -> Operation[None]:
        """Set a domain's scheduler parameters; those that are not given stay as they are."""
        raise lacking(Feature.SCHEDULER, self.name)

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        """Wait until a domain is in one of these states, or gone (None)."""

    def migrate(
        self, domain: DomainRef, destination: str | Sequence[str], *, paused: bool, timeout: float | None
    ) -> Operation[None]:
        """Move a domain to another host; a failure leaves it running here, and nothing there."""
        raise lacking(Feature.MIGRATE, self.name)

    def migrate_over(self, domain: DomainRef, read_fd: int, write_fd: int, *, timeout: float | None) -> Operation[None]:
        """Move a domain to where two descriptors lead, which are duplicated; see `migrate`."""
        raise lacking(Feature.MIGRATE_OVER, self.name)

    def devd(self, *, timeout: float | None) -> Operation[None]:
        """Run the hotplug scripts of the devices that the own domain serves, until stopped."""
        raise lacking(Feature.DEVD, self.name)

    def receive_migration(
        self,
        read_fd: int,
        write_fd: int,
        *,
        remus: bool,
        paused: bool,
        allow: Allow | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        """Take in a domain that comes over two descriptors, which are duplicated; a failure leaves nothing.

        With `remus` it comes again and again, and is started when it comes no more. `allow` is that of `restore`.
        """
        raise lacking(Feature.MIGRATE_OVER, self.name)

    def remus(
        self,
        domain: DomainRef,
        destination: str | Sequence[str] | None,
        options: RemusOptions,
        *,
        timeout: float | None,
    ) -> Operation[None]:
        """Replicate a domain to another host, or with None to none, until that fails; it keeps running here."""
        raise lacking(Feature.REMUS, self.name)

    def remus_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, options: RemusOptions, *, timeout: float | None
    ) -> Operation[None]:
        """Replicate a domain to where two descriptors lead, which are duplicated; see `remus`."""
        raise lacking(Feature.REMUS, self.name)

    def userdata(self, domain: DomainRef, key: str) -> Operation[bytes | None]:
        """Return the note that is kept with a domain under a key; None if there is no such note."""
        raise lacking(Feature.USERDATA, self.name)

    def set_userdata(self, domain: DomainRef, key: str, data: bytes | None) -> Operation[None]:
        """Keep a note with a domain, in place of the one under that key; None removes it."""
        raise lacking(Feature.USERDATA, self.name)

    def add_console(
        self, domain: DomainRef, *, port: int | None, gfn: int | None, backend_domid: int
    ) -> Operation[None]:
        """Tell xenconsoled about a domain's console."""
        raise lacking(Feature.ADD_CONSOLE, self.name)

    def monitor_command(self, domain: DomainRef, command: str, *, timeout: float | None) -> Operation[str]:
        """Run a command of a domain's device model, and return its output."""
        raise lacking(Feature.MONITOR, self.name)

    def stats(self, domain: DomainRef) -> DomainStats:
        """Return what a domain has used so far."""
        raise lacking(Feature.STATS, self.name)

    def console(self, domain: DomainRef) -> int:
        """Return a descriptor of a guest's console, for reading and writing, which is the caller's to close."""
        raise lacking(Feature.CONSOLE, self.name)

    def define(self, config: DomainConfig, *, autostart: bool | None) -> DefinedDomain:
        """Keep a configuration, in place of one with the same uuid or name; with None, `autostart` stays as it is."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)

    def undefine(self, uuid: UUID) -> None:
        """Forget a configuration; a running domain of it keeps running."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)

    def defined(self) -> Sequence[DefinedDomain]:
        """Return what is kept, by name; running or not."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)

    def set_autostart(self, uuid: UUID, autostart: bool) -> None:
        """Set whether a kept domain is started with its host."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)

    def start(self, uuid: UUID, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain from the configuration that is kept under a uuid."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)
