"""What concerns the whole host, through libxl and past it; and how scripts for it begin."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from pyxen._common.claims import abandoned
from pyxen._common.hypervisor_arguments import check_debug_keys, check_hypfs_path, hypfs_text, parameters_of
from pyxen._common.overlays import make_overlay
from pyxen._common.preconditions import gone
from pyxen._common.shortage import shortage
from pyxen._common.sparing import XENSTORE_DOMID, check_spared, domid_of
from pyxen.backends.base import Backend, DomainRef, LogChunk, operation_on
from pyxen.backends.store import Store
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.info import HostReader
from pyxen.backends.xenlight.libxl import journal
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.operations import (
    cpupools,
    device_tree,
    flask,
    hypfs,
    log,
    pci,
    psr,
    save,
    schedulers,
    usb,
)
from pyxen.backends.xenlight.operations.devd import devd
from pyxen.backends.xenlight.operations.qmp_events import Listeners
from pyxen.backends.xenlight.operations.stats import StatsReader
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperations
from pyxen.backends.xenlight.topology import host_topology, idle_times_ns
from pyxen.backends.xenlight.uptime import uptimes
from pyxen.backends.xenlight.xenstore.client import StoreClient
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from pyxen.config import CpuSet, DiskFormat, DomainConfig, PciAddress, SchedulerKind
from pyxen.errors import ConnectFailed, DomainNotFound, Error
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

__all__ = ["XenlightHost"]

T = TypeVar("T")

_ENDING: Final = frozenset({"destroy", "preserve", "save", "shutdown", "soft_reset"})
"""Verbs that end a domain themselves, or give it another uuid; their own errors say what has become of it."""


class XenlightHost(Backend):
    """The verbs of the host that this process runs on."""

    uri = "xenlight:///"
    name = BACKEND
    claims_folder = journal.FOLDER

    def __init__(self, workers: int | None = None) -> None:
        with contextlib.ExitStack() as opened, shortage(ConnectFailed, "cannot connect"):
            self._hypervisor = Hypervisor()
            opened.callback(self._hypervisor.close)
            self._context = Context(self._hypervisor, workers)
            opened.callback(self._context.close)
            self.completer = self._context.completer
            self._threaded_operations = ThreadedOperations(self._context, self.completer)
            self._watcher = Watcher(self._hypervisor.glance)
            self._store = StoreClient(releasing=LIBXL.released)
            opened.pop_all()
        self._host_reader = HostReader(self._hypervisor)
        self._listeners = Listeners()
        self._stats = StatsReader(self._hypervisor)
        self._spared: tuple[int, int | None] | None = None

    def close(self) -> None:
        self._store.close()
        self._watcher.close()
        self._threaded_operations.close()
        if self._context.close():  # what is being undone asks Xen
            self._hypervisor.close()

    def info(self) -> HostInfo:
        return self._host_reader.info()

    def topology(self) -> Topology:
        return host_topology(self._hypervisor)

    def idle_times_ns(self) -> dict[int, int]:
        return idle_times_ns(self._hypervisor)

    def uptimes(self) -> list[DomainUptime]:
        return uptimes(self._hypervisor, self._hypervisor.domains())

    def list(self) -> list[DomainInfo]:
        return self._hypervisor.domains()

    def find(self, key: str | int | UUID) -> DomainInfo | None:
        return self._hypervisor.find(key)

    def xenstore_domid(self) -> int | None:
        return self._own_and_xenstore()[1]

    def orphans(self) -> tuple[DomainRef, ...]:
        noted = journal.abandoned(lambda: {info.uuid for info in self._hypervisor.glance() if _may_be_half_made(info)})
        with abandoned(self.claims_folder) as found:
            claimed = {claim.uuid for one in found for claim in one.claims}
        infos = [info for info in self._hypervisor.glance() if info.state is not DomainState.DYING]
        left = [info for info in infos if info.uuid in claimed or (info.uuid in noted and _may_be_half_made(info))]
        return tuple(DomainRef(info.domid, info.uuid) for info in left)

    def saved_config(self, path: str) -> DomainConfig:
        return save.saved_config(path)

    def make_overlay(self, verb: str, base: str, kind: DiskFormat, path: str) -> None:
        make_overlay(verb, base, kind, path)

    def remove_overlay(self, path: str) -> None:
        os.unlink(path)

    def log(self, position: int | None, *, clear: bool) -> LogChunk:
        return log.read_log(self._hypervisor, position, clear=clear)

    def debug_keys(self, keys: str) -> Operation[None]:
        return self._of_xen("debug_keys", partial(log.debug_keys, keys=check_debug_keys(keys)))

    def set_parameters(self, parameters: str) -> Operation[None]:
        return self._of_xen("set_parameters", partial(log.set_parameters, parameters=parameters_of(parameters)))

    def hypfs_read(self, path: str) -> Operation[HypfsValue]:
        return self._of_xen("hypfs_read", partial(hypfs.read, path=check_hypfs_path(path, "hypfs_read")))

    def hypfs_list(self, path: str, *, recursive: bool) -> Operation[tuple[HypfsEntry, ...]]:
        path = check_hypfs_path(path, "hypfs_list")
        return self._of_xen("hypfs_list", partial(hypfs.list_entries, path=path, recursive=recursive))

    def hypfs_write(self, path: str, value: str | int | bool) -> Operation[None]:
        path = check_hypfs_path(path, "hypfs_write")
        return self._of_xen("hypfs_write", partial(hypfs.write, path=path, text=hypfs_text(value)))

    def flask_enforcing(self) -> bool:
        return flask.enforcing(self._hypervisor)

    def flask_set_enforcing(self, enforcing: bool) -> Operation[None]:
        return self._of_xen("set_enforcing", partial(flask.set_enforcing, mode=enforcing))

    def flask_load_policy(self, policy: bytes) -> Operation[None]:
        return self._of_xen("load_policy", partial(flask.load_policy, policy=policy))

    def flask_label(self, ssidref: int) -> str:
        return flask.label(self._hypervisor, ssidref)

    def flask_ssidref(self, label: str) -> int:
        return flask.ssidref(self._hypervisor, label)

    def psr_monitoring(self) -> Operation[PsrMonitoring]:
        return self._of_xen("psr_monitoring", psr.monitoring)

    def psr_cache_kib(self, socket: int) -> Operation[int]:
        return self._of_xen("psr_cache_kib", partial(psr.cache_kib, socket=socket))

    def psr_attach(self, domain: DomainRef) -> Operation[None]:
        return self._run("psr_attach", domain, psr.attach)

    def psr_detach(self, domain: DomainRef) -> Operation[None]:
        return self._run("psr_detach", domain, psr.detach)

    def psr_is_attached(self, domain: DomainRef) -> Operation[bool]:
        return self._run("psr_is_attached", domain, psr.is_attached)

    def psr_sample(self, domain: DomainRef, event: PsrEvent, socket: int) -> Operation[PsrSample]:
        return self._run("psr_sample", domain, partial(psr.sample, event=event, socket=socket))

    def psr_allocations(self) -> Operation[tuple[PsrAllocation, ...]]:
        return self._of_xen("psr_allocations", psr.allocations)

    def psr_get(self, domain: DomainRef, kind: PsrKind, socket: int) -> Operation[int]:
        return self._run("psr_get", domain, partial(psr.get_value, kind=kind, socket=socket))

    def psr_set(self, domain: DomainRef, kind: PsrKind, value: int, sockets: tuple[int, ...] | None) -> Operation[None]:
        return self._run("psr_set", domain, partial(psr.set_value, kind=kind, value=value, sockets=sockets))

    def device_tree_add(self, overlay: bytes) -> Operation[None]:
        self._check_overlays(there=device_tree.CAN)
        return self._of_xen("device_tree_add", partial(device_tree.add, overlay=overlay))

    def device_tree_remove(self, overlay: bytes) -> Operation[None]:
        self._check_overlays(there=device_tree.CAN)
        return self._of_xen("device_tree_remove", partial(device_tree.remove, overlay=overlay))

    def device_tree_attach(self, domain: DomainRef, overlay: bytes) -> Operation[None]:
        self._check_overlays(there=device_tree.CAN_ATTACH)
        return self._run("device_tree_attach", domain, partial(device_tree.attach, overlay=overlay))

    def _check_overlays(self, *, there: bool) -> None:
        if not there:
            raise lacking(Feature.DEVICE_TREE, BACKEND, "Arm's CPUs have it, with Xen 4.18; attach needs 4.20")

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        return self._watcher.subscribe(on_event, on_end)

    def xenstore(self) -> Store:
        return self._store

    def devd(self, *, timeout: float | None) -> Operation[None]:
        operation: Operation[None] = Operation("devd", timeout=timeout)
        return self._context.run(operation, devd(self._context, operation))

    def cpupools(self) -> Sequence[CpupoolInfo]:
        return cpupools.pools(self._hypervisor)

    def create_cpupool(self, name: str, cpus: CpuSet, scheduler: SchedulerKind | None) -> Operation[CpupoolRef]:
        return self._on_host("create_cpupool", name, partial(cpupools.create, name=name, cpus=cpus, kind=scheduler))

    def destroy_cpupool(self, pool: CpupoolKey) -> Operation[None]:
        return self._on_pool("destroy_cpupool", pool, cpupools.destroy)

    def rename_cpupool(self, pool: CpupoolKey, name: str) -> Operation[None]:
        return self._on_pool("rename_cpupool", pool, partial(cpupools.rename, name=name))

    def add_cpus(self, pool: CpupoolKey, cpus: CpuSet) -> Operation[None]:
        return self._on_pool("add_cpus", pool, partial(cpupools.add_cpus, cpus=cpus))

    def remove_cpus(self, pool: CpupoolKey, cpus: CpuSet) -> Operation[None]:
        return self._on_pool("remove_cpus", pool, partial(cpupools.remove_cpus, cpus=cpus))

    def split_cpupools(self) -> Operation[None]:
        return self._on_host("split_cpupools", None, cpupools.split)

    def pool_scheduler(self, pool: CpupoolKey) -> PoolScheduler:
        return schedulers.pool_scheduler(self._hypervisor, pool)

    def set_pool_scheduler(self, pool: CpupoolKey, scheduler: PoolScheduler) -> Operation[None]:
        return self._on_pool("set_pool_scheduler", pool, partial(schedulers.set_pool_scheduler, given=scheduler))

    def pci_devices(self) -> Sequence[PciDevice]:
        return pci.devices(self._hypervisor)

    def pci_assignable_add(self, address: PciAddress | str, *, name: str | None, rebind: bool) -> Operation[None]:
        script = partial(pci.assignable_add, address=address, name=name, rebind=rebind)
        return self._on_host("assignable_add", str(address), script)

    def pci_assignable_remove(self, key: PciAddress | str, *, rebind: bool) -> Operation[None]:
        return self._on_host("assignable_remove", str(key), partial(pci.assignable_remove, key=key, rebind=rebind))

    def usb_devices(self) -> Sequence[UsbDevice]:
        return usb.devices(self._hypervisor)

    def all_stats(self) -> tuple[DomainStats, ...]:
        return self._stats.all()

    # Helpers

    def _on_host(
        self, verb: str, subject: str | int | None, script: Callable[[Context, Operation[T]], Script[T]]
    ) -> Operation[T]:
        """Start a script for the host."""
        operation: Operation[T] = Operation(verb, subject)
        return self._context.run(operation, script(self._context, operation))

    def _on_pool(
        self, verb: str, pool: CpupoolKey, script: Callable[[Context, Operation[None], CpupoolKey], Script[None]]
    ) -> Operation[None]:
        """Start a script for a CPU pool."""
        subject = pool.number if isinstance(pool, CpupoolRef) else pool
        operation: Operation[None] = Operation(verb, subject)
        return self._context.run(operation, script(self._context, operation, pool))

    def _run(
        self,
        verb: str,
        domain: DomainRef,
        script: Callable[[Context, Operation[T], int], Script[T]],
        timeout: float | None = None,
    ) -> Operation[T]:
        """Start a script for an existing domain."""
        self._check_spared(verb, domain)
        if not self._hypervisor.alive(domain.domid, domain.uuid):
            raise gone(verb, domain.domid, domain.uuid)
        operation: Operation[T] = operation_on(domain, verb, timeout)
        return self._context.run(operation, self._alive(operation, domain, script))

    def _alive(
        self, operation: Operation[T], domain: DomainRef, script: Callable[[Context, Operation[T], int], Script[T]]
    ) -> Script[T]:
        """Run a script for a domain; if the domain goes before it or meanwhile, fail with `DomainNotFound`.

        libxl and Xen say all sorts of things about a domain that is gone, and some of libxl's functions succeed.
        """
        verb, domid, uuid = operation.verb, domain.domid, domain.uuid
        if not self._hypervisor.alive(domid, uuid):
            raise gone(verb, domid, uuid)
        if verb in _ENDING:
            return (yield from script(self._context, operation, domid))
        with self._unless_gone(verb, domain, operation):
            return (yield from script(self._context, operation, domid))

    @contextlib.contextmanager
    def _unless_gone(self, verb: str, domain: DomainRef, operation: Operation[Any] | None = None) -> Iterator[None]:
        """If the block fails and the domain is gone, raise `DomainNotFound`; not if the operation was stopped."""
        try:
            yield
        except DomainNotFound:
            raise
        except Error as error:
            if (operation is not None and operation.stopped is not None) or not self._is_gone(domain):
                raise
            raise gone(verb, domain.domid, domain.uuid) from error

    @contextlib.contextmanager
    def _looking(self, verb: str, domain: DomainRef) -> Iterator[DomainInfo]:
        """Yield a domain's info to a verb that looks at the domain; see `_unless_gone`."""
        info = self._info(verb, domain)
        with self._unless_gone(verb, domain):
            yield info

    @contextlib.contextmanager
    def _reading(self, verb: str, domain: DomainRef) -> Iterator[DomainInfo]:
        """Do the same for a verb that reads xenstore or sysfs, where nothing is found of a domain that has gone.

        Raises:
            DomainNotFound: The domain has gone when the block ends, so that what was read may be of no domain.
        """
        with self._looking(verb, domain) as info:
            yield info
            if self._is_gone(domain):
                raise gone(verb, domain.domid, domain.uuid)

    def _is_gone(self, domain: DomainRef) -> bool:
        """Tell whether a domain is known to be gone."""
        try:
            return not self._hypervisor.alive(domain.domid, domain.uuid)
        except Error:  # Xen does not tell
            return False

    def _of_xen(self, verb: str, script: Callable[[Context, Operation[T]], Script[T]]) -> Operation[T]:
        """Start a script for Xen itself."""
        operation: Operation[T] = Operation(verb)
        return self._context.run(operation, script(self._context, operation))

    def _info(self, verb: str, domain: DomainRef) -> DomainInfo:
        """Return a domain's info before an operation starts."""
        self._check_spared(verb, domain)
        info = self._hypervisor.domain(domain.domid)
        if info is None or info.uuid != domain.uuid or info.state is DomainState.DYING:
            raise gone(verb, domain.domid, domain.uuid)
        return info

    def _check_spared(self, verb: str, domain: DomainRef) -> None:
        """Check that an operation would not end or stop dom0 or the domain that this process runs in."""
        own, xenstore = self._own_and_xenstore()
        check_spared(verb, domain.domid, own=own, xenstore=xenstore)

    def _own_and_xenstore(self) -> tuple[int, int | None]:
        """Return the domids of the domains that this process and xenstored run in; they stay the same."""
        if self._spared is None:
            # xenstore's relative paths are our own domain's
            own, xenstore = self._hypervisor.read_all(("domid", XENSTORE_DOMID))
            self._spared = domid_of(own) or 0, domid_of(xenstore)
        return self._spared


def _may_be_half_made(info: DomainInfo) -> bool:
    """Tell whether a domain is paused: libxl unpauses one last. Another that was given its uuid since mostly runs."""
    return info.state is DomainState.PAUSED
