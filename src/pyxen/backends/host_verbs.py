"""What a backend can do with the host as a whole: a part of the interface that every backend implements."""

# ruff: noqa: ARG002 (the defaults ignore their arguments and refuse)

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from pyxen._common.claims import Claims, ClaimSet
from pyxen.backends.refs import DomainRef, LogChunk
from pyxen.backends.store import Store
from pyxen.backends.virt_calls import LibvirtCalls
from pyxen.config import CpuSet, DiskFormat, DomainConfig, PciAddress, SchedulerKind
from pyxen.events import Event
from pyxen.features import Feature, lacking
from pyxen.operation import Operation
from pyxen.records.host_devices import PciDevice, UsbDevice
from pyxen.records.hypfs import HypfsEntry, HypfsValue
from pyxen.records.info import DomainInfo, DomainState, DomainUptime, HostInfo
from pyxen.records.psr import PsrAllocation, PsrEvent, PsrKind, PsrMonitoring, PsrSample
from pyxen.records.scheduling import CpupoolInfo, CpupoolKey, CpupoolRef, PoolScheduler
from pyxen.records.stats import DomainStats
from pyxen.records.topology import Topology

if TYPE_CHECKING:
    from pyxen.xlconf import XlConf

__all__ = ["HostVerbs"]


class HostVerbs(Protocol):
    """The verbs of a host. Those that a backend cannot do raise `UnsupportedFeature`."""

    xl_conf: XlConf | None = None
    """The settings of xl that the face applies to what it passes on; None if it applies none."""

    completer: object = None
    """What completes its operations, and is held up by whoever waits there; see `pyxen.operation.completing`."""

    @property
    def uri(self) -> str:
        """The URI by which `pyxen.connect` finds this host. Messages show it, so a password in it is masked."""

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

    def find(self, key: str | int | UUID) -> DomainInfo | None:
        """Return the domain with a name, a domid or a uuid that is not dying; None if there is no such domain."""
        field = "name" if isinstance(key, str) else "domid" if isinstance(key, int) else "uuid"
        alive = (info for info in self.list() if info.state is not DomainState.DYING)
        return next((info for info in alive if getattr(info, field) == key), None)

    def xenstore_domid(self) -> int | None:
        """Return the domain that xenstored runs in; None if that is dom0, or is not known."""
        return None

    def orphans(self) -> tuple[DomainRef, ...]:
        """Return the domains whose process died before they were complete, or handed out."""
        raise lacking(Feature.ORPHANS, self.name)

    claims_folder: str | None = None
    """Where it is recorded which domains belong to which process; None if no domain outlives its process."""

    def claims(self) -> ClaimSet:
        """Return a new set of claims, by which it is known what is left if this process is killed."""
        return Claims(self.claims_folder)

    def remove_orphans(self) -> bool:
        """Have the other end of a link remove what killed processes have left; False if that is to be done here."""
        return False

    def saved_config(self, path: str) -> DomainConfig:
        """Return the configuration in a file that `save` wrote."""
        raise lacking(Feature.CLONE, self.name)

    def absolute(self, path: str) -> str:
        """Return a path of the host as an absolute one."""
        return os.path.abspath(path)

    def make_overlay(self, verb: str, base: str, kind: DiskFormat, path: str) -> None:
        """Make a copy-on-write image over a disk of the host: a new file there."""
        raise lacking(Feature.CLONE, self.name)

    def remove_overlay(self, path: str) -> None:
        """Remove such a file; OSError if that fails."""
        raise lacking(Feature.CLONE, self.name)

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

    def libvirt(self) -> LibvirtCalls:
        """Return what only libvirt can do. This does no I/O."""
        raise lacking(Feature.LIBVIRT, self.name)

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

    def pci_devices(self) -> Sequence[PciDevice]:
        """Return the host's PCI devices, sorted by address."""
        raise lacking(Feature.HOST_DEVICES, self.name)

    def pci_assignable_add(self, address: PciAddress | str, *, name: str | None, rebind: bool) -> Operation[None]:
        """Make a PCI device assignable; with `rebind`, record its driver."""
        raise lacking(Feature.ASSIGNABLE, self.name)

    def pci_assignable_remove(self, key: PciAddress | str, *, rebind: bool) -> Operation[None]:
        """Make a PCI device not assignable any more; with `rebind`, give it back to its driver."""
        raise lacking(Feature.ASSIGNABLE, self.name)

    def usb_devices(self) -> Sequence[UsbDevice]:
        """Return the host's USB devices, sorted by bus and address."""
        raise lacking(Feature.HOST_DEVICES, self.name)

    def devd(self, *, timeout: float | None) -> Operation[None]:
        """Run the hotplug scripts of the devices that this process's own domain serves, until stopped."""
        raise lacking(Feature.DEVD, self.name)

    def all_stats(self) -> tuple[DomainStats, ...]:
        """Return the resources that all domains have used so far, sorted by domid."""
        raise lacking(Feature.STATS, self.name)
