"""The backend that uses libxenlight on the host.

Importing this module loads the compiled binding, so `pyxen.connect` imports it only for a URI that needs it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeVar
from uuid import UUID, uuid4

from pyxen._common.cpu_affinity import is_symbolic
from pyxen._common.defaults import with_memory
from pyxen._common.hypervisor_arguments import check_debug_keys, check_hypfs_path, hypfs_text, parameters_of
from pyxen._common.preconditions import (
    check_answers,
    check_ended,
    check_hap,
    check_name,
    check_size,
    check_soft_reset,
    check_spared,
    check_suspended,
    gone,
    maxmem_kib,
    memory_kib,
)
from pyxen._common.shortage import shortage
from pyxen.backends.base import Allow, Backend, DomainRef, LogChunk
from pyxen.backends.store import Store
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.info import HostReader
from pyxen.backends.xenlight.libxl import journal, marshal
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.migration import migrate, peer_command, remus
from pyxen.backends.xenlight.migration.peer_channel import PeerChannel
from pyxen.backends.xenlight.operations import (
    buttons,
    configuration,
    console,
    cpupools,
    device_tree,
    devices,
    endpoints,
    flask,
    hypfs,
    lifecycle,
    log,
    monitor,
    preserve,
    psr,
    qmp,
    resources,
    save,
    schedulers,
    suspend,
    userdata,
    vcpus,
    wait,
)
from pyxen.backends.xenlight.operations.devd import devd
from pyxen.backends.xenlight.operations.stats import StatsReader
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation, ThreadedOperations
from pyxen.backends.xenlight.topology import host_topology, idle_times_ns
from pyxen.backends.xenlight.uptime import uptimes
from pyxen.backends.xenlight.xenstore.client import StoreClient
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from pyxen.config import CpuSet, DomainConfig, Part, Scheduler, SchedulerKind
from pyxen.endpoints import Endpoints
from pyxen.errors import ConnectFailed
from pyxen.events import Event
from pyxen.features import Feature, lacking
from pyxen.hypfsentry import HypfsEntry, HypfsValue
from pyxen.info import DomainInfo, DomainState, DomainUptime, HostInfo, Trigger
from pyxen.operation import Operation
from pyxen.psrinfo import PsrAllocation, PsrEvent, PsrKind, PsrMonitoring, PsrSample
from pyxen.remus import RemusOptions
from pyxen.scheduling import CpupoolInfo, CpupoolKey, CpupoolRef, PoolScheduler, VcpuInfo
from pyxen.stats import DomainStats
from pyxen.topology import Topology

__all__ = ["XenlightBackend"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)

_LACKS: Final = frozenset({Feature.DEFINE, Feature.DEVICE_TREE})

_ON_ARM: Final[frozenset[Feature]] = frozenset({Feature.DEVICE_TREE}) if device_tree.CAN else frozenset()
"""Features that libxl has on Arm."""

_COMES_LATER: Final[frozenset[Feature]] = frozenset() if console.CAN_ADD else frozenset({Feature.ADD_CONSOLE})
"""Features that only later releases of libxl have."""


class XenlightBackend(Backend):
    """The host that this process runs on, through libxl.

    Raises:
        NotPrivileged: This user may not talk to xenstore.
        ConnectFailed: libxl or xenstore do not open.
    """

    uri = "xenlight:///"
    name = BACKEND
    features = frozenset(Feature) - _LACKS - _COMES_LATER | _ON_ARM

    def __init__(self, workers: int = 1) -> None:
        with contextlib.ExitStack() as opened, shortage(ConnectFailed, "cannot connect"):
            self._hypervisor = Hypervisor()
            opened.callback(self._hypervisor.close)
            self._context = Context(self._hypervisor, workers)
            opened.callback(self._context.close)
            self._threaded_operations = ThreadedOperations(self._context)
            self._watcher = Watcher(self._hypervisor.glance)
            self._store = StoreClient(releasing=LIBXL.released)
            opened.pop_all()
        self._host_reader = HostReader(self._hypervisor)
        self._stats = StatsReader(self._hypervisor)
        self._own_domid: int | None = None

    def close(self) -> None:
        self._store.close()
        self._watcher.close()
        self._threaded_operations.close()
        self._context.close()
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

    def orphans(self) -> tuple[DomainRef, ...]:
        infos = [info for info in self._hypervisor.glance() if info.state is not DomainState.DYING]
        left = journal.abandoned({info.uuid for info in infos})
        return tuple(DomainRef(info.domid, info.uuid) for info in infos if info.uuid in left)

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
            raise lacking(Feature.DEVICE_TREE, BACKEND, "Arm's CPUs have it, with Xen 4.19; attach needs 4.20")

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        return self._watcher.subscribe(on_event, on_end)

    def xenstore(self) -> Store:
        return self._store

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        return self._info("info", domain)

    def uptime(self, domain: DomainRef) -> DomainUptime:
        return uptimes(self._hypervisor, [self._info("uptime", domain)])[0]

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        check_hap(config, BACKEND, has_shadow_paging=self._hypervisor.has_shadow_paging)
        whole = with_memory(config)
        prepared = None if is_symbolic(whole) else marshal.prepare(whole)
        check_size(whole, BACKEND)
        identity = config.uuid or uuid4()
        operation: Operation[DomainRef] = Operation("create", config.name, timeout=timeout)

        def script() -> Script[DomainRef]:
            context = self._context
            config = resources.fitted(context, operation, whole)
            new = prepared or marshal.prepare(config)
            domid = yield from lifecycle.create(context, operation, new, identity, paused=paused)
            return DomainRef(domid, identity)

        return self._context.run(operation, script())

    def restore(
        self,
        path: str,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        operation: Operation[DomainRef] = Operation("restore", path, timeout=timeout)

        def script() -> Script[DomainRef]:
            found = yield from save.restore(self._context, operation, path, config, paused=paused, allow=allow)
            return DomainRef(*found)

        return self._context.run(operation, script())

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        return self._run("destroy", domain, partial(lifecycle.destroy, uuid=domain.uuid), timeout)

    def pause(self, domain: DomainRef) -> Operation[None]:
        return self._run("pause", domain, lifecycle.pause)

    def unpause(self, domain: DomainRef) -> Operation[None]:
        return self._run("unpause", domain, lifecycle.unpause)

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        check_answers(self._info("shutdown", domain), "shutdown")
        script = partial(lifecycle.shutdown, uuid=domain.uuid, wait=wait, fallback=fallback)
        return self._run("shutdown", domain, script, timeout)

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        check_answers(self._info("reboot", domain), "reboot")
        return self._run("reboot", domain, lifecycle.reboot, timeout)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        check_answers(self._info("suspend", domain), "suspend")
        return self._run("suspend", domain, suspend.suspend, timeout)

    def resume(self, domain: DomainRef) -> Operation[None]:
        check_suspended(self._info("resume", domain))
        return self._run("resume", domain, suspend.resume)

    def save(
        self, domain: DomainRef, path: str, *, checkpoint: bool, leave_paused: bool, timeout: float | None
    ) -> Operation[None]:
        check_answers(self._info("save", domain), "save")
        script = partial(save.save, uuid=domain.uuid, path=path, checkpoint=checkpoint, leave_paused=leave_paused)
        return self._run("save", domain, script, timeout)

    def migrate(
        self, domain: DomainRef, destination: str | Sequence[str], *, paused: bool, timeout: float | None
    ) -> Operation[None]:
        command = peer_command.command(destination, paused=paused)
        work = migrate.migrate(self._context, self._movable("migrate", domain), command)
        return self._threaded_operations.run(_operation("migrate", domain, timeout), work)

    def migrate_over(self, domain: DomainRef, read_fd: int, write_fd: int, *, timeout: float | None) -> Operation[None]:
        info = self._movable("migrate", domain)
        operation: Operation[None] = _operation("migrate", domain, timeout)
        channel = PeerChannel(operation, read_fd, write_fd, peer="the destination")
        return self._converse(operation, channel, migrate.migrate_over(self._context, info, channel))

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
        operation: Operation[DomainRef] = Operation("receive_migration", timeout=timeout)
        channel = PeerChannel(operation, read_fd, write_fd, peer="the source")
        receive = migrate.receive(self._context, channel, remus=remus, paused=paused, allow=allow)
        return self._converse(operation, channel, lambda threaded: DomainRef(*receive(threaded)))

    def remus(
        self,
        domain: DomainRef,
        destination: str | Sequence[str] | None,
        options: RemusOptions,
        *,
        timeout: float | None,
    ) -> Operation[None]:
        command = None if destination is None else peer_command.command(destination, verb="remus", remus=True)
        info = self._movable("remus", domain)
        remus.check(options)
        if command is None:
            work = remus.remus_to_nobody(self._context, info, options)
        else:
            work = remus.remus(self._context, info, command, options)
        return self._threaded_operations.run(_operation("remus", domain, timeout), work)

    def remus_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, options: RemusOptions, *, timeout: float | None
    ) -> Operation[None]:
        info = self._movable("remus", domain)
        remus.check(options)
        operation: Operation[None] = _operation("remus", domain, timeout)
        channel = PeerChannel(operation, read_fd, write_fd, peer="the destination")
        return self._converse(operation, channel, remus.remus_over(self._context, info, channel, options))

    def _converse(
        self, operation: Operation[T], channel: PeerChannel, work: Callable[[ThreadedOperation], T]
    ) -> Operation[T]:
        """Start a threaded operation that closes a channel."""
        try:
            return self._threaded_operations.run(operation, work)
        except BaseException:
            channel.close()
            raise

    def devd(self, *, timeout: float | None) -> Operation[None]:
        operation: Operation[None] = Operation("devd", timeout=timeout)
        return self._context.run(operation, devd(self._context, operation))

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        return self._run("core_dump", domain, partial(save.core_dump, path=path), timeout)

    def soft_reset(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        check_soft_reset(self._info("soft_reset", domain), BACKEND)
        return self._run("soft_reset", domain, lifecycle.soft_reset, timeout)

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        return self._run("config", domain, configuration.config)

    def rename(self, domain: DomainRef, name: str) -> Operation[None]:
        check_name(name)
        return self._run("rename", domain, partial(lifecycle.rename, name=name))

    def preserve(self, domain: DomainRef, suffix: str) -> Operation[DomainRef]:
        info = self._info("preserve", domain)
        check_ended(info, "preserve")
        check_name(f"{info.name}{suffix}")

        def script(context: Context, operation: Operation[DomainRef], domid: int) -> Script[DomainRef]:
            uuid = yield from preserve.preserve(context, operation, domid, domain.uuid, suffix)
            return DomainRef(domid, uuid)

        return self._run("preserve", domain, script)

    def send_trigger(self, domain: DomainRef, trigger: Trigger, *, vcpu: int) -> Operation[None]:
        return self._run("send_trigger", domain, partial(buttons.send_trigger, trigger=trigger, vcpu=vcpu))

    def send_sysrq(self, domain: DomainRef, key: str) -> Operation[None]:
        return self._run("send_sysrq", domain, partial(buttons.send_sysrq, key=key))

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        guest = self._info("attach", domain).type
        return self._run("attach", domain, partial(devices.attach, guest=guest, device=device), timeout)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        return self._run("detach", domain, partial(devices.detach, device=device, force=force), timeout)

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        guest = self._info("insert_cdrom", domain).type
        script = partial(devices.change_disc, guest=guest, vdev=vdev, target=target)
        return self._run("insert_cdrom", domain, script, timeout)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        guest = self._info("eject_cdrom", domain).type
        script = partial(devices.change_disc, guest=guest, vdev=vdev, target=None)
        return self._run("eject_cdrom", domain, script, timeout)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        return self._run("set_memory", domain, partial(resources.set_memory, kib=memory_kib(memory)))

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        return self._run("set_maxmem", domain, partial(resources.set_maxmem, kib=maxmem_kib(maxmem)))

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        return self._run("set_vcpus", domain, partial(resources.set_vcpus, vcpus=vcpus))

    def vcpus(self, domain: DomainRef) -> tuple[VcpuInfo, ...]:
        return vcpus.vcpus(self._hypervisor, self._info("vcpus", domain))

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None, *, force: bool
    ) -> Operation[None]:
        script = partial(resources.pin_vcpu, vcpu=vcpu, cpus=cpus, cpus_soft=cpus_soft, force=force)
        return self._run("pin_vcpu", domain, script)

    def scheduler(self, domain: DomainRef, vcpu: int | None) -> Scheduler:
        return schedulers.scheduler(self._hypervisor, self._info("scheduler", domain), vcpu)

    def set_scheduler(
        self, domain: DomainRef, scheduler: Scheduler, vcpu: int | Literal["all"] | None
    ) -> Operation[None]:
        return self._run("set_scheduler", domain, partial(schedulers.set_scheduler, given=scheduler, vcpu=vcpu))

    def set_cpupool(self, domain: DomainRef, pool: CpupoolKey) -> Operation[None]:
        return self._run("set_cpupool", domain, partial(cpupools.set_cpupool, key=pool))

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

    def monitor_command(self, domain: DomainRef, command: str, *, timeout: float | None) -> Operation[str]:
        return self._run("monitor_command", domain, partial(monitor.monitor_command, command=command), timeout)

    def qmp(
        self, domain: DomainRef, command: str, arguments: Mapping[str, Any], *, timeout: float | None
    ) -> Operation[Any]:
        asked = qmp.request(command, arguments)
        self._info("qmp", domain)
        work = partial(qmp.execute, self._hypervisor, domid=domain.domid, command=command, asked=asked)
        return self._threaded_operations.run(_operation("qmp", domain, timeout), work)

    def userdata(self, domain: DomainRef, key: str) -> Operation[bytes | None]:
        return self._run("userdata", domain, partial(userdata.userdata, key=key))

    def set_userdata(self, domain: DomainRef, key: str, data: bytes | None) -> Operation[None]:
        return self._run("set_userdata", domain, partial(userdata.set_userdata, key=key, data=data))

    def stats(self, domain: DomainRef) -> DomainStats:
        info = self._info("stats", domain)
        return self._stats.one(info, time.monotonic_ns())

    def all_stats(self) -> tuple[DomainStats, ...]:
        return self._stats.all()

    def add_console(
        self, domain: DomainRef, *, port: int | None, gfn: int | None, backend_domid: int
    ) -> Operation[None]:
        if not console.CAN_ADD:
            raise lacking(Feature.ADD_CONSOLE, BACKEND, "Xen 4.18 and newer can")
        script = partial(console.add_console, port=port, gfn=gfn, backend_domid=backend_domid)
        return self._run("add_console", domain, script)

    def console(self, domain: DomainRef) -> int:
        return console.open_console(self._hypervisor, self._info("console", domain))

    def endpoints(self, domain: DomainRef) -> Endpoints:
        return endpoints.endpoints(self._hypervisor, self._info("endpoints", domain))

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        operation: Operation[DomainInfo | None] = _operation("wait", domain, timeout)
        return self._context.run(operation, wait.wait(self._context, domain.domid, domain.uuid, states))

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        operation: Operation[DomainInfo] = Operation("wait_start", str(uuid), timeout=timeout)
        return self._context.run(operation, wait.wait_start(self._context, uuid, after))

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
        operation: Operation[T] = _operation(verb, domain, timeout)
        return self._context.run(operation, script(self._context, operation, domain.domid))

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

    def _movable(self, verb: str, domain: DomainRef) -> DomainInfo:
        """Return a domain's info, if its memory can be sent while it runs."""
        info = self._info(verb, domain)
        check_answers(info, verb)
        migrate.check(self._context, info, verb)
        return info

    def _check_spared(self, verb: str, domain: DomainRef) -> None:
        """Check that an operation would not end or stop dom0 or the domain that this process runs in."""
        if self._own_domid is None:
            self._own_domid = int(self._hypervisor.read("domid") or 0)  # xenstore's relative paths are our own domain's
        check_spared(verb, domain.domid, self._own_domid)


def _operation(verb: str, domain: DomainRef, timeout: float | None) -> Operation[T]:
    operation: Operation[T] = Operation(verb, domain.domid, timeout=timeout)
    operation.domid = domain.domid
    return operation
