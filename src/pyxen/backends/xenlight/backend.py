"""The backend that uses libxenlight on the host.

Importing this module loads the compiled binding, so `pyxen.connect` imports it only for a URI that needs it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Literal, TypeVar
from uuid import UUID, uuid4

from pyxen._common.cpu_affinity import is_symbolic
from pyxen._common.defaults import with_memory
from pyxen._common.preconditions import (
    check_answers,
    check_ended,
    check_hap,
    check_name,
    check_size,
    check_soft_reset,
    check_suspended,
    maxmem_kib,
    memory_kib,
)
from pyxen._common.qmp import request
from pyxen._common.suspending import alone, check_resumable
from pyxen._common.xl_lock import XL_LOCK
from pyxen._next_config import config_text
from pyxen.backends.base import Allow, DomainRef, operation_on
from pyxen.backends.xenlight.host_verbs import XenlightHost
from pyxen.backends.xenlight.libxl import marshal
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, stopped
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.libxl.marshal import prepare
from pyxen.backends.xenlight.migration import descriptors, migrate, peer_command, remus
from pyxen.backends.xenlight.migration.peer_channel import PeerChannel
from pyxen.backends.xenlight.operations import (
    buttons,
    configuration,
    console,
    cpupools,
    device_tree,
    devices,
    endpoints,
    lifecycle,
    live_devices,
    memory,
    monitor,
    node_affinity,
    preserve,
    resources,
    save,
    schedulers,
    suspend,
    userdata,
    vcpus,
    wait,
)
from pyxen.backends.xenlight.operations.passthrough import by_address
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation
from pyxen.backends.xenlight.operations.xl_lock import locked
from pyxen.backends.xenlight.uptime import uptimes
from pyxen.config import CpuSet, DomainConfig, Part, Scheduler
from pyxen.config.device_table import Kind
from pyxen.errors import Error
from pyxen.features import Feature, lacking
from pyxen.operation import Operation
from pyxen.records.endpoints import ConsoleType, Endpoints
from pyxen.records.info import DomainInfo, DomainState, DomainUptime, Trigger
from pyxen.records.live_device import LiveDevice
from pyxen.records.memory import DomainMemory
from pyxen.records.qmp_event import QmpEvent
from pyxen.records.scheduling import CpupoolKey, VcpuInfo
from pyxen.records.stats import DomainStats
from pyxen.remus import RemusOptions

__all__ = ["XenlightBackend"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)

_LACKS: Final = frozenset({Feature.DEFINE, Feature.DEVICE_TREE, Feature.LIBVIRT, Feature.PAUSE_EVENTS})

_ON_ARM: Final[frozenset[Feature]] = frozenset({Feature.DEVICE_TREE}) if device_tree.CAN else frozenset()
"""Features that libxl has on Arm."""

_COMES_LATER: Final[frozenset[Feature]] = frozenset() if console.CAN_ADD else frozenset({Feature.ADD_CONSOLE})
"""Features that only later releases of libxl have."""


class XenlightBackend(XenlightHost):
    """The host that this process runs on, through libxl.

    Raises:
        NotPrivileged: This user may not talk to xenstore.
        ConnectFailed: libxl or xenstore do not open.
    """

    features = frozenset(Feature) - _LACKS - _COMES_LATER | _ON_ARM

    @property
    def _lockfile(self) -> str | None:
        """The file of xl's lock, if this host honours the settings of xl."""
        return None if self.xl_conf is None else self.xl_conf.lockfile or XL_LOCK

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        return self._info("info", domain)

    def uptime(self, domain: DomainRef) -> DomainUptime:
        with self._reading("uptime", domain) as info:
            return uptimes(self._hypervisor, [info])[0]

    def create(
        self, config: DomainConfig, *, paused: bool, autoballoon: bool | None = None, timeout: float | None
    ) -> Operation[DomainRef]:
        check_hap(config, BACKEND, has_shadow_paging=self._hypervisor.has_shadow_paging)
        whole = with_memory(config)
        prepared = None if is_symbolic(whole) else marshal.prepare(whole)
        check_size(whole, BACKEND)
        identity = config.uuid or uuid4()
        operation: Operation[DomainRef] = Operation("create", config.name, timeout=timeout)

        def script() -> Script[DomainRef]:
            context = self._context
            config = by_address(context, operation, resources.fitted(context, operation, whole))
            new = prepared if prepared is not None and prepared.config is config else marshal.prepare(config)
            domid = yield from lifecycle.create(
                context, operation, new, identity, paused=paused, autoballoon=autoballoon
            )
            return DomainRef(domid, identity)

        return self._context.run(operation, locked(self._context, operation, self._lockfile, autoballoon, script()))

    def check_create(
        self, config: DomainConfig, *, autoballoon: bool | None = None, timeout: float | None
    ) -> Operation[DomainConfig]:
        check_hap(config, BACKEND, has_shadow_paging=self._hypervisor.has_shadow_paging)
        whole = with_memory(config)
        if not is_symbolic(whole):
            marshal.prepare(whole)
        check_size(whole, BACKEND)
        operation: Operation[DomainConfig] = Operation("check_create", config.name, timeout=timeout)

        def script() -> Script[DomainConfig]:
            fitted = by_address(self._context, operation, resources.fitted(self._context, operation, whole))
            yield from lifecycle.check_create(self._context, operation, marshal.prepare(fitted), autoballoon)
            return fitted

        return self._context.run(operation, script())

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
        operation: Operation[DomainRef] = Operation("restore", path, timeout=timeout)

        def script() -> Script[DomainRef]:
            found = yield from save.restore(
                self._context,
                operation,
                path,
                config,
                paused=paused,
                allow=allow,
                autoballoon=autoballoon,
                lockfile=self._lockfile,
            )
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

    def reboot(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        check_answers(self._info("reboot", domain), "reboot")
        script = partial(lifecycle.reboot, uuid=domain.uuid, wait=wait, fallback=fallback)
        return self._run("reboot", domain, script, timeout)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        operation: Operation[None] = operation_on(domain, "suspend", timeout)
        with self._suspending(domain, operation):
            script = partial(suspend.suspend, uuid=domain.uuid)
            return self._context.run(operation, self._alive(operation, domain, script))

    def resume(self, domain: DomainRef) -> Operation[None]:
        check_suspended(self._info("resume", domain))
        check_resumable((BACKEND, domain), domain.domid)
        return self._run("resume", domain, suspend.resume)

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
        operation: Operation[None] = operation_on(domain, "save", timeout)
        with self._suspending(domain, operation) as info:
            script = partial(
                save.save,
                uuid=info.uuid,
                path=path,
                other=None if config is None else prepare(config),
                checkpoint=checkpoint,
                leave_paused=leave_paused,
            )
            return self._context.run(operation, self._alive(operation, domain, script))

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
        operation: Operation[None] = operation_on(domain, "save", timeout)
        how = {"checkpoint": checkpoint, "leave_paused": leave_paused}
        with self._suspending(domain, operation) as info:
            other = None if config is None else prepare(config)
            channel = PeerChannel(operation, fd, fd, peer="its reader")
            return self._converse(operation, channel, descriptors.save_over(self._context, info, channel, other, **how))

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
        operation: Operation[DomainRef] = Operation("restore", f"descriptor {fd}", timeout=timeout)
        channel = PeerChannel(operation, fd, fd, peer="its writer")
        restore = descriptors.restore_over(
            self._context,
            channel,
            config,
            paused=paused,
            allow=allow,
            autoballoon=autoballoon,
            lockfile=self._lockfile,
        )
        return self._converse(operation, channel, lambda threaded: DomainRef(*restore(threaded)))

    def migrate(
        self,
        domain: DomainRef,
        destination: str | Sequence[str],
        *,
        config: DomainConfig | None,
        paused: bool,
        timeout: float | None,
    ) -> Operation[None]:
        command = peer_command.command(destination, paused=paused)
        operation: Operation[None] = operation_on(domain, "migrate", timeout)
        with self._moving(domain, operation) as info:
            other = None if config is None else prepare(config)
            work = migrate.migrate(self._context, info, command, other)
            return self._threaded_operations.run(operation, work)

    def migrate_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, *, config: DomainConfig | None, timeout: float | None
    ) -> Operation[None]:
        operation: Operation[None] = operation_on(domain, "migrate", timeout)
        with self._moving(domain, operation) as info:
            other = None if config is None else prepare(config)
            channel = PeerChannel(operation, read_fd, write_fd, peer="the destination")
            return self._converse(operation, channel, migrate.migrate_over(self._context, info, channel, other))

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
        operation: Operation[DomainRef] = Operation("receive_migration", timeout=timeout)
        channel = PeerChannel(operation, read_fd, write_fd, peer="the source")
        receive = migrate.receive(
            self._context,
            channel,
            remus=remus,
            paused=paused,
            allow=allow,
            autoballoon=autoballoon,
            lockfile=self._lockfile,
        )
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
        operation: Operation[None] = operation_on(domain, "remus", timeout)
        with self._moving(domain, operation) as info:
            remus.check(options)
            if command is None:
                work = remus.remus_to_nobody(self._context, info, options)
            else:
                work = remus.remus(self._context, info, command, options)
            return self._threaded_operations.run(operation, work)

    def remus_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, options: RemusOptions, *, timeout: float | None
    ) -> Operation[None]:
        operation: Operation[None] = operation_on(domain, "remus", timeout)
        with self._moving(domain, operation) as info:
            remus.check(options)
            channel = PeerChannel(operation, read_fd, write_fd, peer="the destination")
            return self._converse(operation, channel, remus.remus_over(self._context, info, channel, options))

    def _converse(
        self, operation: Operation[T], channel: PeerChannel, work: Callable[[ThreadedOperation], T]
    ) -> Operation[T]:
        """Start a threaded operation that closes a channel; if it never begins, the channel is closed here."""
        taken = threading.Lock()  # by the operation when it begins, or here: Ctrl-C may come when it has begun

        def begun(threaded: ThreadedOperation) -> T:
            if not taken.acquire(blocking=False):
                raise stopped(operation)
            return work(threaded)

        try:
            return self._threaded_operations.run(operation, begun)
        except BaseException:
            if taken.acquire(blocking=False):
                channel.close()
            raise

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        return self._run("core_dump", domain, partial(save.core_dump, uuid=domain.uuid, path=path), timeout)

    def soft_reset(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        operation: Operation[None] = operation_on(domain, "soft_reset", timeout)
        with alone((BACKEND, domain), operation, domain.domid):
            check_soft_reset(self._info(operation.verb, domain), BACKEND)
            self._check_spared(operation.verb, domain)
            return self._context.run(operation, self._alive(operation, domain, lifecycle.soft_reset))

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

    def live_devices(self, domain: DomainRef, kind: Kind) -> Sequence[LiveDevice[Any]]:
        with self._reading("live_devices", domain) as info:
            return live_devices.live_devices(self._hypervisor, info, kind)

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

    def memory(self, domain: DomainRef) -> DomainMemory:
        with self._reading("memory", domain) as info:
            return memory.memory(self._hypervisor, info)

    def wait_memory(self, domain: DomainRef, *, timeout: float | None) -> Operation[DomainMemory]:
        return self._run("wait_memory", domain, partial(memory.wait_memory, uuid=domain.uuid), timeout)

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        return self._run("set_maxmem", domain, partial(resources.set_maxmem, kib=maxmem_kib(maxmem)))

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        return self._run("set_vcpus", domain, partial(resources.set_vcpus, vcpus=vcpus))

    def vcpus(self, domain: DomainRef) -> tuple[VcpuInfo, ...]:
        with self._looking("vcpus", domain) as info:
            return vcpus.vcpus(self._hypervisor, info)

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None, *, force: bool
    ) -> Operation[None]:
        script = partial(resources.pin_vcpu, vcpu=vcpu, cpus=cpus, cpus_soft=cpus_soft, force=force)
        return self._run("pin_vcpu", domain, script)

    def node_affinity(self, domain: DomainRef) -> tuple[int, ...]:
        with self._looking("node_affinity", domain) as info:
            return node_affinity.node_affinity(self._hypervisor, info.domid)

    def set_node_affinity(self, domain: DomainRef, nodes: frozenset[int] | None) -> Operation[None]:
        return self._run("set_node_affinity", domain, partial(node_affinity.set_node_affinity, nodes=nodes))

    def scheduler(self, domain: DomainRef, vcpu: int | None) -> Scheduler:
        with self._looking("scheduler", domain) as info:
            return schedulers.scheduler(self._hypervisor, info, vcpu)

    def set_scheduler(
        self, domain: DomainRef, scheduler: Scheduler, vcpu: int | Literal["all"] | None
    ) -> Operation[None]:
        return self._run("set_scheduler", domain, partial(schedulers.set_scheduler, given=scheduler, vcpu=vcpu))

    def set_cpupool(self, domain: DomainRef, pool: CpupoolKey) -> Operation[None]:
        return self._run("set_cpupool", domain, partial(cpupools.set_cpupool, key=pool))

    def monitor_command(self, domain: DomainRef, command: str, *, timeout: float | None) -> Operation[str]:
        return self._run("monitor_command", domain, partial(monitor.monitor_command, command=command), timeout)

    def qmp(
        self, domain: DomainRef, command: str, arguments: Mapping[str, Any], *, timeout: float | None
    ) -> Operation[Any]:
        request(command, arguments)  # refuses what is not valid before anything begins
        self._info("qmp", domain)
        where = self._hypervisor
        work = partial(self._listeners.execute, where, domid=domain.domid, command=command, arguments=arguments)
        return self._threaded_operations.run(operation_on(domain, "qmp", timeout), work)

    def qmp_events(
        self,
        domain: DomainRef,
        put: Callable[[QmpEvent], None],
        end: Callable[[Error | None], None],
        *,
        timeout: float | None,
    ) -> Operation[Operation[None]]:
        self._info("qmp", domain)
        listens = partial(operation_on, domain, "qmp")

        def work(threaded: ThreadedOperation) -> Operation[None]:
            listener = self._listeners.open(self._hypervisor, threaded, domain.domid, put, end)
            run = partial(self._listeners.run, domid=domain.domid, listener=listener)
            return self._threaded_operations.run(listens(), run)

        return self._threaded_operations.run(operation_on(domain, "qmp", timeout), work)

    def userdata(self, domain: DomainRef, key: str) -> Operation[bytes | None]:
        return self._run("userdata", domain, partial(userdata.userdata, key=key))

    def set_userdata(self, domain: DomainRef, key: str, data: bytes | None) -> Operation[None]:
        return self._run("set_userdata", domain, partial(userdata.set_userdata, key=key, data=data))

    def update_config(self, domain: DomainRef, config: DomainConfig | None) -> Operation[None]:
        return self._run("update_config", domain, partial(userdata.update_config, text=config_text(config)))

    def stats(self, domain: DomainRef) -> DomainStats:
        with self._reading("stats", domain) as info:
            return self._stats.one(info)

    def add_console(
        self, domain: DomainRef, *, port: int | None, gfn: int | None, backend_domid: int
    ) -> Operation[None]:
        if not console.CAN_ADD:
            raise lacking(Feature.ADD_CONSOLE, BACKEND, "Xen 4.18 and newer can")
        script = partial(console.add_console, port=port, gfn=gfn, backend_domid=backend_domid)
        return self._run("add_console", domain, script)

    def console(self, domain: DomainRef, kind: ConsoleType | None = None, number: int = 0) -> int:
        with self._looking("console", domain) as info:
            return console.open_console(self._hypervisor, info, kind, number)

    def await_console(self, uuid: UUID, creating: Operation[DomainRef]) -> Operation[DomainRef | None]:
        """Wait until a domain has a console: that of its bootloader comes before the domain has been created."""
        work = partial(console.await_console, self._hypervisor, uuid=uuid, creating=creating)
        return self._threaded_operations.run(Operation("await_console", str(uuid)), work)

    def console_log(self, domain: DomainRef) -> str | None:
        return console.console_log(self._info("console_log", domain).name)

    def endpoints(self, domain: DomainRef) -> Endpoints:
        with self._reading("endpoints", domain) as info:
            return endpoints.endpoints(self._hypervisor, info)

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        operation: Operation[DomainInfo | None] = operation_on(domain, "wait", timeout)
        return self._context.run(operation, wait.wait(self._context, domain.domid, domain.uuid, states))

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        operation: Operation[DomainInfo] = Operation("wait_start", str(uuid), timeout=timeout)
        return self._context.run(operation, wait.wait_start(self._context, uuid, after))

    @contextmanager
    def _suspending(self, domain: DomainRef, operation: Operation[Any]) -> Iterator[DomainInfo]:
        """Check that an operation may suspend a guest, and yield the domain's info. It is begun in the block."""
        with alone((BACKEND, domain), operation, domain.domid):
            info = self._info(operation.verb, domain)
            check_answers(info, operation.verb)
            yield info

    @contextmanager
    def _moving(self, domain: DomainRef, operation: Operation[Any]) -> Iterator[DomainInfo]:
        """Do the same for an operation that sends a guest's memory while the guest runs."""
        with self._suspending(domain, operation) as info:
            migrate.check(self._context, info, operation.verb)
            yield info
