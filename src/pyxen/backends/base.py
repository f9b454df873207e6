"""The interface that every backend implements: model objects in, model objects out."""

# ruff: noqa: ARG002 (the defaults ignore their arguments and refuse)

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar
from uuid import UUID

from pyxen.backends.host_verbs import HostVerbs
from pyxen.backends.refs import DomainRef, LogChunk, operation_on
from pyxen.config import CpuSet, DomainConfig, Part, Scheduler
from pyxen.config.device_table import Kind
from pyxen.errors import Error
from pyxen.features import Feature, lacking
from pyxen.operation import Operation
from pyxen.records.endpoints import ConsoleType, Endpoints
from pyxen.records.info import DefinedDomain, DomainInfo, DomainState, DomainUptime, Trigger
from pyxen.records.live_device import LiveDevice
from pyxen.records.memory import DomainMemory
from pyxen.records.qmp_event import QmpEvent
from pyxen.records.scheduling import CpupoolKey, VcpuInfo
from pyxen.records.stats import DomainStats
from pyxen.remus import RemusOptions

__all__ = ["Allow", "Backend", "DomainRef", "LogChunk", "operation_on"]

D = TypeVar("D", bound=Part)

Allow = Callable[[DomainConfig], bool | None]
"""A check of the configuration of a domain that comes from elsewhere. It refuses by returning False or raising."""

_BY_PATH: Final = "give the path of a file on the host, which its daemon opens itself"
_MANAGED: Final = "libvirt's URIs and memory:/// keep configurations; here, keep files and create domains of them"


class Backend(HostVerbs, Protocol):
    """A connection to a host. Methods that take a `DomainRef` raise `DomainNotFound` if that domain is gone.

    A method that takes time starts an `Operation` and returns it. A query returns at once. All methods are thread-safe.

    Derive your own backend from this class. Methods for optional features raise `UnsupportedFeature` by default. The
    methods that every backend must implement have no such default.
    """

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        """Return one domain."""

    def uptime(self, domain: DomainRef) -> DomainUptime:
        """Return how long one domain has existed."""
        raise lacking(Feature.UPTIME, self.name)

    def create(
        self, config: DomainConfig, *, paused: bool, autoballoon: bool | None = None, timeout: float | None
    ) -> Operation[DomainRef]:
        """Create a domain. A create that fails or is stopped leaves nothing behind.

        `autoballoon`: whether dom0 gives up memory for it if need be. None: as the host is set up.
        """

    def check_create(
        self, config: DomainConfig, *, autoballoon: bool | None = None, timeout: float | None
    ) -> Operation[DomainConfig]:
        """Check whether `create` could create a domain now, without making it; return its configuration."""
        raise lacking(Feature.CHECK_CREATE, self.name, "create it paused, and look")

    def save_over(
        self,
        domain: DomainRef,
        fd: int,
        *,
        config: DomainConfig | None,
        checkpoint: bool,
        leave_paused: bool,
        timeout: float | None,
    ) -> Operation[None]:
        """Save a domain to a descriptor, which is duplicated; see `save`. A failure leaves what has been written."""
        raise lacking(Feature.SAVE_OVER, self.name, _BY_PATH)

    def restore_over(
        self,
        fd: int,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        """Create a domain from a descriptor, which is duplicated; see `restore`."""
        raise lacking(Feature.SAVE_OVER, self.name, _BY_PATH)

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Destroy a domain at once."""

    def pause(self, domain: DomainRef) -> Operation[None]:
        """Stop a domain's vCPUs."""
        raise lacking(Feature.PAUSE, self.name)

    def unpause(self, domain: DomainRef) -> Operation[None]:
        """Resume a domain's vCPUs."""
        raise lacking(Feature.PAUSE, self.name)

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        """Ask the guest to power off."""

    def reboot(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        """Ask the guest to reboot."""
        raise lacking(Feature.REBOOT, self.name)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Ask the guest to suspend itself; it stays in memory."""
        raise lacking(Feature.SUSPEND, self.name)

    def resume(self, domain: DomainRef) -> Operation[None]:
        """Resume a suspended guest."""
        raise lacking(Feature.SUSPEND, self.name)

    def save(
        self,
        domain: DomainRef,
        path: str,
        *,
        config: DomainConfig | None,
        checkpoint: bool,
        leave_paused: bool,
        timeout: float | None,
    ) -> Operation[None]:
        """Save a domain to a file on the host. After a failure, the domain keeps running and there is no file."""
        raise lacking(Feature.SAVE, self.name)

    def restore(
        self,
        path: str,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        """Create a domain from a file on the host. A failure leaves nothing behind.

        `allow` is called with the configuration before anything is created. It refuses by returning False or raising.
        """
        raise lacking(Feature.SAVE, self.name)

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        """Write a domain's memory to a file on the host."""
        raise lacking(Feature.CORE_DUMP, self.name)

    def soft_reset(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Restart a guest that has shut down for a soft reset, keeping its memory."""
        raise lacking(Feature.SOFT_RESET, self.name)

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        """Return the current configuration of a domain."""

    def rename(self, domain: DomainRef, name: str) -> Operation[None]:
        """Rename a domain."""
        raise lacking(Feature.RENAME, self.name)

    def preserve(self, domain: DomainRef, suffix: str) -> Operation[DomainRef]:
        """Set aside a domain that has ended: append a suffix to its name, and give it a new uuid."""
        raise lacking(Feature.PRESERVE, self.name)

    def send_trigger(self, domain: DomainRef, trigger: Trigger, *, vcpu: int) -> Operation[None]:
        """Press a virtual button, or interrupt a vCPU."""
        raise lacking(Feature.TRIGGER, self.name)

    def send_sysrq(self, domain: DomainRef, key: str) -> Operation[None]:
        """Send a magic SysRq key to a Linux guest."""
        raise lacking(Feature.SYSRQ, self.name)

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        """Attach a device, and return it as attached. A failure leaves nothing behind."""
        raise lacking(Feature.ATTACH, self.name)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        """Detach a device, given as an object or by its name."""
        raise lacking(Feature.ATTACH, self.name)

    def live_devices(self, domain: DomainRef, kind: Kind) -> Sequence[LiveDevice[Any]]:
        """Return the devices of a kind that a domain has now, with their state, ordered by number."""
        raise lacking(Feature.LIVE_DEVICES, self.name)

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        """Insert a disc into a CD-ROM drive, replacing the current one."""
        raise lacking(Feature.CDROM, self.name)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        """Eject the disc from a CD-ROM drive."""
        raise lacking(Feature.CDROM, self.name)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        """Set a guest's memory target, in MiB."""
        raise lacking(Feature.MEMORY, self.name)

    def memory(self, domain: DomainRef) -> DomainMemory:
        """Return the memory of a domain."""
        raise lacking(Feature.MEMORY_INFO, self.name)

    def wait_memory(self, domain: DomainRef, *, timeout: float | None) -> Operation[DomainMemory]:
        """Wait until a guest has reached its memory target."""
        raise lacking(Feature.MEMORY_INFO, self.name)

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        """Set the maximum memory of a domain, in MiB."""
        raise lacking(Feature.MAXMEM, self.name)

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        """Set how many vCPUs a guest uses."""
        raise lacking(Feature.VCPUS, self.name)

    def vcpus(self, domain: DomainRef) -> tuple[VcpuInfo, ...]:
        """Return each vCPU of a domain, by its number."""
        raise lacking(Feature.VCPU_INFO, self.name)

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None, *, force: bool
    ) -> Operation[None]:
        """Set the CPUs that a vCPU (None: all vCPUs) may run on, and those it prefers; None leaves a set unchanged."""
        raise lacking(Feature.PIN, self.name)

    def node_affinity(self, domain: DomainRef) -> tuple[int, ...]:
        """Return the NUMA nodes from which Xen takes a domain's memory, sorted."""
        raise lacking(Feature.NODE_AFFINITY, self.name)

    def set_node_affinity(self, domain: DomainRef, nodes: frozenset[int] | None) -> Operation[None]:
        """Set the NUMA nodes from which Xen takes a domain's memory; None: those of the CPUs of its vCPUs."""
        raise lacking(Feature.SET_NODE_AFFINITY, self.name)

    def scheduler(self, domain: DomainRef, vcpu: int | None) -> Scheduler:
        """Return the scheduler parameters of a domain, or of one of its vCPUs."""
        raise lacking(Feature.SCHEDULER, self.name)

    def set_scheduler(
        self, domain: DomainRef, scheduler: Scheduler, vcpu: int | Literal["all"] | None
    ) -> Operation[None]:
        """Set the scheduler parameters of a domain (None), or of vCPUs. Parameters not given stay unchanged."""
        raise lacking(Feature.SCHEDULER, self.name)

    def set_cpupool(self, domain: DomainRef, pool: CpupoolKey) -> Operation[None]:
        """Move a domain to another CPU pool."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        """Wait until a domain is in one of these states; the result is None if the domain is gone."""

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        """Wait until a domain with this uuid, other than `after`, is not paused."""

    def migrate(
        self,
        domain: DomainRef,
        destination: str | Sequence[str],
        *,
        config: DomainConfig | None,
        paused: bool,
        timeout: float | None,
    ) -> Operation[None]:
        """Move a domain to another host. After a failure, it keeps running here, and nothing of it is left there."""
        raise lacking(Feature.MIGRATE, self.name)

    def migrate_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, *, config: DomainConfig | None, timeout: float | None
    ) -> Operation[None]:
        """Move a domain to the receiver at the other end of two descriptors, which are duplicated; see `migrate`."""
        raise lacking(Feature.MIGRATE_OVER, self.name)

    def receive_migration(
        self,
        read_fd: int,
        write_fd: int,
        *,
        remus: bool,
        paused: bool,
        allow: Allow | None = None,
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        """Receive a domain over two descriptors, which are duplicated. A failure leaves nothing behind.

        With `remus`, checkpoints keep coming, and the domain starts when they stop. `allow` and
        `autoballoon` work as in `restore`.
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
        """Replicate a domain to another host (None: to nowhere) until that fails. The domain keeps running here."""
        raise lacking(Feature.REMUS, self.name)

    def remus_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, options: RemusOptions, *, timeout: float | None
    ) -> Operation[None]:
        """Replicate a domain to the receiver at the other end of two descriptors, which are duplicated; see `remus`."""
        raise lacking(Feature.REMUS, self.name)

    def userdata(self, domain: DomainRef, key: str) -> Operation[bytes | None]:
        """Return the note stored with a domain under a key; None if there is no such note."""
        raise lacking(Feature.USERDATA, self.name)

    def set_userdata(self, domain: DomainRef, key: str, data: bytes | None) -> Operation[None]:
        """Store a note with a domain under a key, replacing an older one; None removes it."""
        raise lacking(Feature.USERDATA, self.name)

    def update_config(self, domain: DomainRef, config: DomainConfig | None) -> Operation[None]:
        """Set the configuration from which a domain is started again, once; None forgets it."""
        raise lacking(Feature.UPDATE_CONFIG, self.name, "Host.define stores configurations here")

    def defined_config(self, uuid: UUID) -> DomainConfig:
        """Return the configuration stored under a uuid."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)

    def add_console(
        self, domain: DomainRef, *, port: int | None, gfn: int | None, backend_domid: int
    ) -> Operation[None]:
        """Tell xenconsoled about a domain's console."""
        raise lacking(Feature.ADD_CONSOLE, self.name)

    def monitor_command(self, domain: DomainRef, command: str, *, timeout: float | None) -> Operation[str]:
        """Run a monitor command in a domain's device model, and return its output."""
        raise lacking(Feature.MONITOR, self.name)

    def qmp(
        self, domain: DomainRef, command: str, arguments: Mapping[str, Any], *, timeout: float | None
    ) -> Operation[Any]:
        """Run a command of QMP in a domain's device model, and return the answer."""
        raise lacking(Feature.QMP, self.name)

    def qmp_events(
        self,
        domain: DomainRef,
        put: Callable[[QmpEvent], None],
        end: Callable[[Error | None], None],
        *,
        timeout: float | None,
    ) -> Operation[Operation[None]]:
        """Call a function with each event of a domain's device model, and another one once when no more come.

        The second one gets an error, or None if the device model has ended or the events are not wanted any more. Both
        are called on a thread of the backend, and must not block. The operation ends when events come; its result is
        the operation that runs meanwhile, which is cancelled to end it.
        """
        raise lacking(Feature.QMP, self.name)

    def stats(self, domain: DomainRef) -> DomainStats:
        """Return the resources that a domain has used so far."""
        raise lacking(Feature.STATS, self.name)

    def console(self, domain: DomainRef, kind: ConsoleType | None = None, number: int = 0) -> int:
        """Return a descriptor of a guest's console, for reading and writing. The caller must close it.

        Without a kind, it is the one that ``xl console`` chooses.
        """
        raise lacking(Feature.CONSOLE, self.name)

    def await_console(self, uuid: UUID, creating: Operation[DomainRef]) -> Operation[DomainRef | None]:
        """Wait until the domain that is being created has a console; the result is None if it gets none.

        By default, it has its console when it has been created.
        """
        if Feature.CONSOLE not in self.features:
            raise lacking(Feature.CONSOLE, self.name)
        waiting: Operation[DomainRef | None] = Operation("await_console", str(uuid))
        creating.add_done_callback(lambda _: waiting.set_result(None if creating.exception() else creating.result()))
        return waiting

    def console_log(self, domain: DomainRef) -> str | None:
        """Return the path of the file with what a guest's console has printed; None if it is not kept."""
        raise lacking(Feature.CONSOLE_LOG, self.name)

    def endpoints(self, domain: DomainRef) -> Endpoints:
        """Return what a program can connect to in a domain."""
        raise lacking(Feature.ENDPOINTS, self.name)

    def define(self, config: DomainConfig, *, autostart: bool | None) -> DefinedDomain:
        """Store a configuration, replacing one with the same uuid or name; None leaves `autostart` unchanged."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)

    def undefine(self, uuid: UUID) -> None:
        """Delete a stored configuration. A domain that runs from it keeps running."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)

    def defined(self) -> Sequence[DefinedDomain]:
        """Return the stored configurations, sorted by name, whether their domains run or not."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)

    def set_autostart(self, uuid: UUID, autostart: bool) -> None:
        """Set whether a defined domain starts with its host."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)

    def start(self, uuid: UUID, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain from the configuration stored under a uuid."""
        raise lacking(Feature.DEFINE, self.name, _MANAGED)
