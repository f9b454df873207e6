"""The interface that every backend implements: model objects in, model objects out."""

# ruff: noqa: ARG002 (the defaults ignore their arguments and refuse)

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeVar
from uuid import UUID

from pyxen.backends.store import Store
from pyxen.config import CpuSet, DomainConfig, Part, Scheduler, SchedulerKind
from pyxen.endpoints import Endpoints
from pyxen.events import Event
from pyxen.features import Feature, lacking
from pyxen.hypfsentry import HypfsEntry, HypfsValue
from pyxen.info import DefinedDomain, DomainInfo, DomainState, DomainUptime, HostInfo, Trigger
from pyxen.operation import Operation
from pyxen.psrinfo import PsrAllocation, PsrEvent, PsrKind, PsrMonitoring, PsrSample
from pyxen.remus import RemusOptions
from pyxen.scheduling import CpupoolInfo, CpupoolKey, CpupoolRef, PoolScheduler, VcpuInfo
from pyxen.stats import DomainStats
from pyxen.topology import Topology

__all__ = ["Allow", "Backend", "DomainRef", "LogChunk"]

D = TypeVar("D", bound=Part)

Allow = Callable[[DomainConfig], object]
"""A check of the configuration of a domain that comes from elsewhere. It refuses by returning False or raising."""

_MANAGED: Final = "libvirt's URIs and memory:/// keep configurations; here, keep files and create domains of them"


@dataclass(frozen=True, slots=True)
class DomainRef:
    """A domain's domid and uuid: domids are reused, so the uuid tells whether it is still the same domain."""

    domid: int
    uuid: UUID

    def __str__(self) -> str:
        return str(self.domid)


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A part of Xen's log."""

    data: bytes
    """What Xen wrote."""
    position: int
    """Where the next part begins, as Xen counts: bytes since it started, modulo 2^32."""
    lost: int
    """Number of bytes between the position that was asked for and this part: Xen does not have them any more."""


class Backend(Protocol):
    """A connection to a host. Methods that take a `DomainRef` raise `DomainNotFound` if that domain is gone.

    A method that takes time starts an `Operation` and returns it. A query returns at once. All methods are thread-safe.

    Derive your own backend from this class. Methods for optional features raise `UnsupportedFeature` by default. The
    methods that every backend must implement have no such default.
    """

    @property
    def uri(self) -> str:
        """The URI by which `pyxen.connect` finds this host."""

    @property
    def name(self) -> str:
        """The name of this backend in errors, e.g. ``xenlight (Xen 4.20)``."""

    @property
    def features(self) -> frozenset[Feature]:
        """The optional features that this backend supports."""

    def close(self) -> None:
        """Stop running operations and release the host. Calling it again does nothing."""

    def info(self) -> HostInfo:
        """Return the figures of the host."""

    def topology(self) -> Topology:
        """Return the CPUs, NUMA nodes and PCI devices of the host, as far as the backend knows them."""
        raise lacking(Feature.TOPOLOGY, self.name)

    def idle_times_ns(self) -> dict[int, int]:
        """Return how long each online CPU has been idle since the host's boot, in nanoseconds, by its number."""
        raise lacking(Feature.IDLE_TIMES, self.name)

    def uptimes(self) -> list[DomainUptime]:
        """Return how long all domains have existed, including dom0, sorted by domid."""
        raise lacking(Feature.UPTIME, self.name)

    def list(self) -> list[DomainInfo]:
        """Return all domains, including dom0, sorted by domid."""

    def orphans(self) -> tuple[DomainRef, ...]:
        """Return the domains whose creating process died; empty if the backend cannot tell."""
        raise lacking(Feature.ORPHANS, self.name)

    def log(self, position: int | None, *, clear: bool) -> LogChunk:
        """Return Xen's log from a position on (None: all of it), and clear what is returned if that is wanted."""
        raise lacking(Feature.LOG, self.name)

    def debug_keys(self, keys: str) -> Operation[None]:
        """Send Xen debug keys."""
        raise lacking(Feature.DEBUG_KEYS, self.name)

    def set_parameters(self, parameters: str) -> Operation[None]:
        """Change parameters of Xen's command line, one after the other."""
        raise lacking(Feature.PARAMETERS, self.name)

    def hypfs_read(self, path: str) -> Operation[HypfsValue]:
        """Return a value in hypfs."""
        raise lacking(Feature.HYPFS, self.name)

    def hypfs_list(self, path: str, *, recursive: bool) -> Operation[tuple[HypfsEntry, ...]]:
        """Return the entries of a directory of hypfs, ordered by path."""
        raise lacking(Feature.HYPFS, self.name)

    def hypfs_write(self, path: str, value: str | int | bool) -> Operation[None]:
        """Write a value in hypfs."""
        raise lacking(Feature.HYPFS, self.name)

    def flask_enforcing(self) -> bool:
        """Tell whether Flask enforces its policy."""
        raise lacking(Feature.FLASK, self.name)

    def flask_set_enforcing(self, enforcing: bool) -> Operation[None]:
        """Set whether Flask enforces its policy."""
        raise lacking(Feature.FLASK, self.name)

    def flask_load_policy(self, policy: bytes) -> Operation[None]:
        """Replace Flask's policy."""
        raise lacking(Feature.FLASK, self.name)

    def flask_label(self, ssidref: int) -> str:
        """Return a security label in words."""
        raise lacking(Feature.FLASK, self.name)

    def flask_ssidref(self, label: str) -> int:
        """Return the number of a security label."""
        raise lacking(Feature.FLASK, self.name)

    def psr_monitoring(self) -> Operation[PsrMonitoring]:
        """Return what the host can measure of caches and memory bandwidth."""
        raise lacking(Feature.PSR, self.name)

    def psr_cache_kib(self, socket: int) -> Operation[int]:
        """Return the size of a socket's L3 cache, in KiB."""
        raise lacking(Feature.PSR, self.name)

    def psr_attach(self, domain: DomainRef) -> Operation[None]:
        """Begin to measure a domain."""
        raise lacking(Feature.PSR, self.name)

    def psr_detach(self, domain: DomainRef) -> Operation[None]:
        """Stop measuring a domain."""
        raise lacking(Feature.PSR, self.name)

    def psr_is_attached(self, domain: DomainRef) -> Operation[bool]:
        """Tell whether a domain is measured."""
        raise lacking(Feature.PSR, self.name)

    def psr_sample(self, domain: DomainRef, event: PsrEvent, socket: int) -> Operation[PsrSample]:
        """Return what is measured of a domain on a socket."""
        raise lacking(Feature.PSR, self.name)

    def psr_allocations(self) -> Operation[tuple[PsrAllocation, ...]]:
        """Return what caches and memory bandwidth can be shared out."""
        raise lacking(Feature.PSR, self.name)

    def psr_get(self, domain: DomainRef, kind: PsrKind, socket: int) -> Operation[int]:
        """Return a domain's share on a socket."""
        raise lacking(Feature.PSR, self.name)

    def psr_set(self, domain: DomainRef, kind: PsrKind, value: int, sockets: tuple[int, ...] | None) -> Operation[None]:
        """Change a domain's share on some sockets (None: all)."""
        raise lacking(Feature.PSR, self.name)

    def device_tree_add(self, overlay: bytes) -> Operation[None]:
        """Add an overlay to Xen's device tree."""
        raise lacking(Feature.DEVICE_TREE, self.name)

    def device_tree_remove(self, overlay: bytes) -> Operation[None]:
        """Remove an overlay from Xen's device tree."""
        raise lacking(Feature.DEVICE_TREE, self.name)

    def device_tree_attach(self, domain: DomainRef, overlay: bytes) -> Operation[None]:
        """Give a domain the devices of an overlay."""
        raise lacking(Feature.DEVICE_TREE, self.name)

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        """Call a function with each event from now on, and another one once when the host is closed.

        Both are called on a thread of the backend. Exceptions that they raise go to `threading.excepthook`. Returns
        a function that ends the subscription. Any thread may call it, and it does not wait.
        """
        raise lacking(Feature.EVENTS, self.name)

    def xenstore(self) -> Store:
        """Return the client of the host's xenstore for users. This does no I/O."""
        raise lacking(Feature.XENSTORE, self.name)

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        """Return one domain."""

    def uptime(self, domain: DomainRef) -> DomainUptime:
        """Return how long one domain has existed."""
        raise lacking(Feature.UPTIME, self.name)

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain. A create that fails or is stopped leaves nothing behind."""

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

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Ask the guest to reboot."""
        raise lacking(Feature.REBOOT, self.name)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Ask the guest to suspend itself; it stays in memory."""
        raise lacking(Feature.SUSPEND, self.name)

    def resume(self, domain: DomainRef) -> Operation[None]:
        """Resume a suspended guest."""
        raise lacking(Feature.SUSPEND, self.name)

    def save(
        self, domain: DomainRef, path: str, *, checkpoint: bool, leave_paused: bool, timeout: float | None
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

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        """Insert a disc into a CD-ROM drive, replacing the current one."""
        raise lacking(Feature.CDROM, self.name)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        """Eject the disc from a CD-ROM drive."""
        raise lacking(Feature.CDROM, self.name)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        """Set a guest's memory target, in MiB."""
        raise lacking(Feature.MEMORY, self.name)

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

    def cpupools(self) -> Sequence[CpupoolInfo]:
        """Return the CPU pools, sorted by number."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def create_cpupool(self, name: str, cpus: CpuSet, scheduler: SchedulerKind | None) -> Operation[CpupoolRef]:
        """Create a CPU pool. None is the scheduler that the host was started with."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def destroy_cpupool(self, pool: CpupoolKey) -> Operation[None]:
        """Destroy a CPU pool; its CPUs are free then."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def rename_cpupool(self, pool: CpupoolKey, name: str) -> Operation[None]:
        """Rename a CPU pool."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def add_cpus(self, pool: CpupoolKey, cpus: CpuSet) -> Operation[None]:
        """Add free CPUs to a CPU pool."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def remove_cpus(self, pool: CpupoolKey, cpus: CpuSet) -> Operation[None]:
        """Remove CPUs from a CPU pool; they are free then."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def split_cpupools(self) -> Operation[None]:
        """Make a CPU pool of each NUMA node."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def pool_scheduler(self, pool: CpupoolKey) -> PoolScheduler:
        """Return the parameters of a CPU pool's scheduler."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def set_pool_scheduler(self, pool: CpupoolKey, scheduler: PoolScheduler) -> Operation[None]:
        """Set parameters of a CPU pool's scheduler. Parameters that are None stay unchanged."""
        raise lacking(Feature.CPUPOOLS, self.name)

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        """Wait until a domain is in one of these states; the result is None if the domain is gone."""

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        """Wait until a domain with this uuid, other than `after`, is not paused."""

    def migrate(
        self, domain: DomainRef, destination: str | Sequence[str], *, paused: bool, timeout: float | None
    ) -> Operation[None]:
        """Move a domain to another host. After a failure, it keeps running here, and nothing of it is left there."""
        raise lacking(Feature.MIGRATE, self.name)

    def migrate_over(self, domain: DomainRef, read_fd: int, write_fd: int, *, timeout: float | None) -> Operation[None]:
        """Move a domain to the receiver at the other end of two descriptors, which are duplicated; see `migrate`."""
        raise lacking(Feature.MIGRATE_OVER, self.name)

    def devd(self, *, timeout: float | None) -> Operation[None]:
        """Run the hotplug scripts of the devices that this process's own domain serves, until stopped."""
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
        """Receive a domain over two descriptors, which are duplicated. A failure leaves nothing behind.

        With `remus`, checkpoints keep coming, and the domain starts when they stop. `allow` works as in `restore`.
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

    def stats(self, domain: DomainRef) -> DomainStats:
        """Return the resources that a domain has used so far."""
        raise lacking(Feature.STATS, self.name)

    def all_stats(self) -> tuple[DomainStats, ...]:
        """Return the resources that all domains have used so far, sorted by domid."""
        raise lacking(Feature.STATS, self.name)

    def console(self, domain: DomainRef) -> int:
        """Return a descriptor of a guest's console, for reading and writing. The caller must close it."""
        raise lacking(Feature.CONSOLE, self.name)

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
