"""The backend for simulated hosts, which `pyxen.connect` opens for ``memory:///``."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, Literal, TypeVar
from uuid import UUID

from pyxen import libxljson
from pyxen._common.cpu_affinity import is_symbolic
from pyxen._common.defaults import with_memory
from pyxen._common.hypervisor_arguments import check_debug_keys, check_hypfs_path, hypfs_text, parameters_of
from pyxen._common.preconditions import (
    check_answers,
    check_ended,
    check_name,
    check_size,
    check_soft_reset,
    check_spared,
    check_suspended,
    gone,
    maxmem_kib,
    memory_kib,
)
from pyxen._common.scripts import at_once
from pyxen.backends.base import Allow, Backend, DomainRef, LogChunk
from pyxen.backends.memory import (
    buttons,
    configuration,
    cpupools,
    defined,
    devices,
    endpoints,
    flask,
    hypfs,
    lifecycle,
    preserve,
    resources,
    save,
    schedulers,
    stats,
    suspend,
    userdata,
    vcpus,
    wait,
)
from pyxen.backends.memory.console import Console
from pyxen.backends.memory.engine import Script
from pyxen.backends.memory.guests import Guest, is_hvm
from pyxen.backends.memory.info import host_info
from pyxen.backends.memory.machine import Machine, Subscriber
from pyxen.backends.memory.topology import host_topology, idle_times_ns, node_cpus
from pyxen.backends.memory.xenstore import MemoryStore
from pyxen.backends.store import Store
from pyxen.config import CpuSet, DomainConfig, Part, Scheduler, SchedulerKind
from pyxen.endpoints import Endpoints
from pyxen.errors import HostClosed, NotFound, OperationFailed
from pyxen.events import Event
from pyxen.features import Feature
from pyxen.hypfsentry import HypfsEntry, HypfsValue
from pyxen.info import DefinedDomain, DomainInfo, DomainState, DomainUptime, HostInfo, Trigger
from pyxen.operation import Operation
from pyxen.scheduling import CpupoolInfo, CpupoolKey, CpupoolRef, PoolScheduler, VcpuInfo
from pyxen.stats import DomainStats
from pyxen.topology import Topology

__all__ = ["MemoryBackend"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)

_LACKS: Final = frozenset(
    {Feature.MIGRATE, Feature.MIGRATE_OVER, Feature.MONITOR, Feature.DEVD, Feature.ADD_CONSOLE, Feature.REMUS}
    | {Feature.PSR, Feature.DEVICE_TREE, Feature.QMP}
)


class MemoryBackend(Backend):
    """A connection to a simulated host; a host can have several connections.

    Args:
        machine: The host.

    Raises:
        ConnectFailed: The host has gone away.
    """

    name = "memory"
    features = frozenset(Feature) - _LACKS

    def __init__(self, machine: Machine) -> None:
        if machine.lost is not None:
            raise machine.lost
        self._machine = machine
        self._subscribers: list[Subscriber] = []
        self._closed = False
        self._pid = os.getpid()
        machine.engine.begin_use()
        nodes = machine.store_nodes
        self._store = MemoryStore(machine.engine, nodes.tree, nodes.watches, partial(self._check, "xenstore"))

    @property
    def uri(self) -> str:
        return self._machine.uri

    @property
    def machine(self) -> Machine:
        """The host."""
        return self._machine

    def close(self) -> None:
        if os.getpid() != self._pid:
            return  # the thread belongs to the parent process
        engine = self._machine.engine
        with engine.changed:
            if self._closed:
                return
            self._closed = True
        running = engine.stop("closed", self)
        if not engine.is_me():
            for operation in running:
                operation.exception()
        self._store.close()
        self._end_subscriptions()
        engine.end_use()

    def _end_subscriptions(self) -> None:
        with self._machine.lock:
            subscribers, self._subscribers = self._subscribers, []
            for subscriber in subscribers:
                self._machine.engine.say(subscriber.end)

    def info(self) -> HostInfo:
        with self._machine.lock:
            self._check("info")
            return host_info(self._machine)

    def topology(self) -> Topology:
        with self._machine.lock:
            self._check("topology")
            return host_topology(self._machine)

    def idle_times_ns(self) -> dict[int, int]:
        with self._machine.lock:
            self._check("idle_times_ns")
            return idle_times_ns(self._machine)

    def uptimes(self) -> list[DomainUptime]:
        with self._machine.lock:
            self._check("uptimes")
            return [self._machine.uptime_of(guest) for _, guest in sorted(self._machine.domains.items())]

    def list(self) -> list[DomainInfo]:
        with self._machine.lock:
            self._check("list")
            return [guest.info() for _, guest in sorted(self._machine.domains.items())]

    def orphans(self) -> tuple[DomainRef, ...]:
        """Return nothing: simulated domains end with this process."""
        self._check("orphans")
        return ()

    def log(self, position: int | None, *, clear: bool) -> LogChunk:
        with self._machine.lock:
            self._check("log")
            return self._machine.log.read(position, clear=clear)

    def debug_keys(self, keys: str) -> Operation[None]:
        return self._of_xen("debug_keys", partial(_record, self._machine.debug_keys, check_debug_keys(keys)))

    def set_parameters(self, parameters: str) -> Operation[None]:
        script = partial(hypfs.set_parameters, self._machine.hypfs, parameters=parameters_of(parameters))
        return self._of_xen("set_parameters", script)

    def hypfs_read(self, path: str) -> Operation[HypfsValue]:
        script = partial(hypfs.read, self._machine.hypfs, path=check_hypfs_path(path, "hypfs_read"))
        return self._of_xen("hypfs_read", script)

    def hypfs_list(self, path: str, *, recursive: bool) -> Operation[tuple[HypfsEntry, ...]]:
        path = check_hypfs_path(path, "hypfs_list")
        script = partial(hypfs.list_entries, self._machine.hypfs, path=path, recursive=recursive)
        return self._of_xen("hypfs_list", script)

    def hypfs_write(self, path: str, value: str | int | bool) -> Operation[None]:
        path = check_hypfs_path(path, "hypfs_write")
        return self._of_xen("hypfs_write", partial(hypfs.write, self._machine.hypfs, path=path, text=hypfs_text(value)))

    def flask_enforcing(self) -> bool:
        with self._machine.lock:
            self._check("flask_enforcing")
            return flask.there(self._machine.flask, "enforcing").enforcing

    def flask_set_enforcing(self, enforcing: bool) -> Operation[None]:
        script = partial(flask.set_enforcing, self._machine.flask, mode=enforcing)
        return self._of_xen("flask_set_enforcing", script)

    def flask_load_policy(self, policy: bytes) -> Operation[None]:
        script = partial(flask.load_policy, self._machine.flask, policy=policy)
        return self._of_xen("flask_load_policy", script)

    def flask_label(self, ssidref: int) -> str:
        with self._machine.lock:
            self._check("flask_label")
            return flask.label(self._machine.flask, ssidref)

    def flask_ssidref(self, label: str) -> int:
        with self._machine.lock:
            self._check("flask_ssidref")
            return flask.ssidref(self._machine.flask, label)

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        subscriber = Subscriber(on_event, on_end)
        with self._machine.lock:
            self._check("events")
            self._subscribers = [*(one for one in self._subscribers if one.listens), subscriber]
            self._machine.subscribe(subscriber)
        return lambda: _leave(subscriber)

    def xenstore(self) -> Store:
        return self._store

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        with self._machine.lock:
            return self._guest("info", domain).info()

    def uptime(self, domain: DomainRef) -> DomainUptime:
        with self._machine.lock:
            return self._machine.uptime_of(self._guest("uptime", domain))

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        self._check("create", config.name)
        return self._create("create", config, None, paused=paused, timeout=timeout)

    def _create(
        self, verb: str, config: DomainConfig, uuid: UUID | None, *, paused: bool, timeout: float | None
    ) -> Operation[DomainRef]:
        config = self._fitted(config)
        lifecycle.check_release(config, self._machine.xen)
        libxljson.to_dict(config.replace(ms_vm_genid=None))  # refuses settings that libxl's structs cannot hold
        check_size(with_memory(config), "memory")
        operation: Operation[DomainRef] = Operation(verb, config.name, timeout=timeout)
        return self._run(
            operation, _ref(lifecycle.create(self._machine, operation, config, uuid, paused=paused)), timeout
        )

    def _fitted(self, config: DomainConfig) -> DomainConfig:
        """Return a valid configuration with ``all`` and ``nodes:N`` in CPU sets replaced by this host's CPUs."""
        config.validate()
        if not is_symbolic(config):
            return config
        return config.resolve_cpus(range(self._machine.cpus), node_cpus(self._machine))

    def restore(
        self,
        path: str,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        self._check("restore", path)
        if config is not None:
            config = self._fitted(config)
        operation: Operation[DomainRef] = Operation("restore", path, timeout=timeout)
        script = save.restore(self._machine, operation, path, config, paused=paused, allow=allow)
        return self._run(operation, _ref(script), timeout)

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        return self._do("destroy", domain, lambda _, guest: lifecycle.destroy(self._machine, guest), timeout)

    def pause(self, domain: DomainRef) -> Operation[None]:
        return self._at_once("pause", domain, Guest.pause)

    def unpause(self, domain: DomainRef) -> Operation[None]:
        return self._do("unpause", domain, lifecycle.unpause)

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        check_answers(self._glance("shutdown", domain), "shutdown")
        script = partial(lifecycle.shutdown, self._machine, wait=wait, fallback=fallback)
        return self._do("shutdown", domain, script, timeout)

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        check_answers(self._glance("reboot", domain), "reboot")
        return self._do("reboot", domain, partial(lifecycle.reboot, self._machine), timeout)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        check_answers(self._glance("suspend", domain), "suspend")
        return self._do("suspend", domain, partial(suspend.suspend, self._machine), timeout)

    def resume(self, domain: DomainRef) -> Operation[None]:
        check_suspended(self._glance("resume", domain))
        return self._do("resume", domain, lambda _, guest: suspend.resume(guest))

    def save(
        self, domain: DomainRef, path: str, *, checkpoint: bool, leave_paused: bool, timeout: float | None
    ) -> Operation[None]:
        check_answers(self._glance("save", domain), "save")
        script = partial(save.save, self._machine, path=path, checkpoint=checkpoint, leave_paused=leave_paused)
        return self._do("save", domain, script, timeout)

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        return self._do("core_dump", domain, partial(save.core_dump, self._machine, path=path), timeout)

    def soft_reset(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        check_soft_reset(self._glance("soft_reset", domain), self.name)
        return self._do("soft_reset", domain, lambda _, guest: lifecycle.soft_reset(guest), timeout)

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        return self._at_once("config", domain, configuration.config)

    def rename(self, domain: DomainRef, name: str) -> Operation[None]:
        check_name(name)
        return self._do("rename", domain, partial(lifecycle.rename, self._machine, name=name))

    def preserve(self, domain: DomainRef, suffix: str) -> Operation[DomainRef]:
        info = self._glance("preserve", domain)
        check_ended(info, "preserve")
        check_name(f"{info.name}{suffix}")

        def script(operation: Operation[DomainRef], guest: Guest) -> Script[DomainRef]:
            uuid = yield from preserve.preserve(self._machine, operation, guest, suffix)
            return DomainRef(guest.domid, uuid)

        return self._do("preserve", domain, script)

    def send_trigger(self, domain: DomainRef, trigger: Trigger, *, vcpu: int) -> Operation[None]:
        return self._do("send_trigger", domain, partial(buttons.send_trigger, trigger=trigger, vcpu=vcpu))

    def send_sysrq(self, domain: DomainRef, key: str) -> Operation[None]:
        return self._do("send_sysrq", domain, lambda _, guest: buttons.send_sysrq(guest, key))

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        script = partial(devices.attach, self._machine, device=device, backend=self.name)
        return self._do("attach", domain, script, timeout)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        script = partial(devices.detach, self._machine, device=device, backend=self.name, force=force)
        return self._do("detach", domain, script, timeout)

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        script = partial(devices.change_disc, self._machine, vdev=vdev, target=target, backend=self.name)
        return self._do("insert_cdrom", domain, script, timeout)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        script = partial(devices.change_disc, self._machine, vdev=vdev, target=None, backend=self.name)
        return self._do("eject_cdrom", domain, script, timeout)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        kib = memory_kib(memory)
        return self._do("set_memory", domain, lambda _, guest: resources.set_memory(self._machine, guest, kib))

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        kib = maxmem_kib(maxmem)
        return self._do("set_maxmem", domain, lambda _, guest: resources.set_maxmem(self._machine, guest, kib))

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        return self._do("set_vcpus", domain, lambda _, guest: resources.set_vcpus(self._machine, guest, vcpus))

    def vcpus(self, domain: DomainRef) -> tuple[VcpuInfo, ...]:
        with self._machine.lock:
            return vcpus.vcpus(self._machine, self._guest("vcpus", domain))

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None, *, force: bool
    ) -> Operation[None]:
        pin = partial(resources.pin_vcpu, vcpu=vcpu, cpus=cpus, cpus_soft=cpus_soft, force=force)
        return self._do("pin_vcpu", domain, lambda _, guest: pin(self._machine, guest))

    def scheduler(self, domain: DomainRef, vcpu: int | None) -> Scheduler:
        with self._machine.lock:
            return schedulers.scheduler(self._machine, self._guest("scheduler", domain), vcpu)

    def set_scheduler(
        self, domain: DomainRef, scheduler: Scheduler, vcpu: int | Literal["all"] | None
    ) -> Operation[None]:
        script = partial(schedulers.set_scheduler, self._machine, given=scheduler, vcpu=vcpu)
        return self._do("set_scheduler", domain, script)

    def set_cpupool(self, domain: DomainRef, pool: CpupoolKey) -> Operation[None]:
        return self._do("set_cpupool", domain, lambda _, guest: cpupools.set_cpupool(self._machine, guest, pool))

    def cpupools(self) -> Sequence[CpupoolInfo]:
        with self._machine.lock:
            self._check("cpupools")
            return cpupools.pools(self._machine)

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
        with self._machine.lock:
            self._check("pool_scheduler")
            return schedulers.pool_scheduler(self._machine, pool)

    def set_pool_scheduler(self, pool: CpupoolKey, scheduler: PoolScheduler) -> Operation[None]:
        return self._on_pool("set_pool_scheduler", pool, partial(schedulers.set_pool_scheduler, given=scheduler))

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        self._check("wait", domain.domid)
        operation: Operation[DomainInfo | None] = _operation("wait", domain, timeout)
        with self._machine.lock:
            guest = self._find(domain)
            script = _nothing() if guest is None else wait.wait(guest, states)
            return self._run(operation, script, timeout)

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        self._check("wait_start", uuid)
        operation: Operation[DomainInfo] = Operation("wait_start", str(uuid), timeout=timeout)
        return self._run(operation, wait.wait_start(self._machine, uuid, after), timeout)

    def userdata(self, domain: DomainRef, key: str) -> Operation[bytes | None]:
        return self._at_once("userdata", domain, partial(userdata.userdata, key=key))

    def set_userdata(self, domain: DomainRef, key: str, data: bytes | None) -> Operation[None]:
        return self._at_once("set_userdata", domain, partial(userdata.set_userdata, key=key, data=data))

    def stats(self, domain: DomainRef) -> DomainStats:
        with self._machine.lock:
            return stats.stats(self._guest("stats", domain), self._machine.now())

    def all_stats(self) -> tuple[DomainStats, ...]:
        with self._machine.lock:
            self._check("stats")
            now = self._machine.now()
            return tuple(stats.stats(guest, now) for _, guest in sorted(self._machine.domains.items()))

    def console(self, domain: DomainRef) -> int:
        with self._machine.lock:
            guest = self._guest("console", domain)
            if is_hvm(guest) and "pty" not in guest.config.serial:
                message = f'{guest.name} has no console: an HVM guest has one with serial=["pty"]'
                raise NotFound(message, operation="console", domain=domain.domid, domid=domain.domid)
            if guest.console is None:
                guest.console = Console()
            return guest.console.open()

    def endpoints(self, domain: DomainRef) -> Endpoints:
        with self._machine.lock:
            return endpoints.endpoints(self._machine, self._guest("endpoints", domain))

    def define(self, config: DomainConfig, *, autostart: bool | None) -> DefinedDomain:
        config.validate()
        with self._machine.lock:
            self._check("define", config.name)
            return defined.define(self._machine, config, autostart)

    def undefine(self, uuid: UUID) -> None:
        with self._machine.lock:
            self._check("undefine", uuid)
            defined.kept(self._machine, uuid, "undefine")
            del self._machine.kept[uuid]

    def defined(self) -> Sequence[DefinedDomain]:
        with self._machine.lock:
            self._check("defined")
            return defined.defined(self._machine)

    def set_autostart(self, uuid: UUID, autostart: bool) -> None:
        with self._machine.lock:
            self._check("set_autostart", uuid)
            defined.kept(self._machine, uuid, "set_autostart").autostart = autostart

    def start(self, uuid: UUID, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        with self._machine.lock:
            self._check("start", uuid)
            kept = defined.kept(self._machine, uuid, "start")
        return self._create("start", kept.config, uuid, paused=paused, timeout=timeout)

    # Internals

    def _check(self, verb: str, *names: str | int | UUID) -> None:
        """Raise an error if the host is closed or lost, or if a test injected a failure of this call."""
        if self._closed or os.getpid() != self._pid:
            raise HostClosed("the host is closed, or was opened before a fork: open it again")
        with self._machine.lock:
            if self._machine.lost is not None:
                raise self._machine.lost
            fault = self._machine.fault(verb, *names)
        if isinstance(fault, OperationFailed):
            fault.operation = fault.operation or verb
            if fault.domain is None and names:
                fault.domain = names[0] if isinstance(names[0], int) else str(names[0])
        if fault is not None:
            raise fault

    def _find(self, domain: DomainRef) -> Guest | None:
        guest = self._machine.domains.get(domain.domid)
        return guest if guest is not None and guest.uuid == domain.uuid else None

    def _guest(self, verb: str, domain: DomainRef) -> Guest:
        """Return an existing domain, or raise a failure that a test injected; the caller holds the lock."""
        guest = self._find(domain)
        self._check(verb, domain.domid, domain.uuid, *([guest.name] if guest is not None else []))
        return self._there(verb, domain, guest)

    def _glance(self, verb: str, domain: DomainRef) -> DomainInfo:
        """Return information about a domain for checks before a verb starts."""
        with self._machine.lock:
            self._check("")
            guest = self._there(verb, domain, self._find(domain))
            check_spared(verb, guest.domid)
            return guest.info()

    def _there(self, verb: str, domain: DomainRef, guest: Guest | None) -> Guest:
        if guest is None:
            raise gone(verb, domain.domid, domain.uuid)
        return guest

    def _do(
        self,
        verb: str,
        domain: DomainRef,
        script: Callable[[Operation[T], Guest], Script[T]],
        timeout: float | None = None,
    ) -> Operation[T]:
        operation: Operation[T] = _operation(verb, domain, timeout)
        with self._machine.lock:
            guest = self._guest(verb, domain)
            check_spared(verb, guest.domid)
            return self._run(operation, lifecycle.while_there(operation, guest, script(operation, guest)), timeout)

    def _of_xen(self, verb: str, script: Callable[[Operation[T]], Script[T]]) -> Operation[T]:
        """Run a script for Xen itself."""
        operation: Operation[T] = Operation(verb)
        with self._machine.lock:
            self._check(verb)
            return self._run(operation, script(operation), None)

    def _on_host(
        self, verb: str, subject: str | int | None, script: Callable[[Machine, Operation[T]], Script[T]]
    ) -> Operation[T]:
        self._check(verb)
        operation: Operation[T] = Operation(verb, subject)
        return self._run(operation, script(self._machine, operation), None)

    def _on_pool(
        self, verb: str, pool: CpupoolKey, script: Callable[[Machine, Operation[None], CpupoolKey], Script[None]]
    ) -> Operation[None]:
        subject = pool.number if isinstance(pool, CpupoolRef) else pool
        return self._on_host(verb, subject, lambda machine, operation: script(machine, operation, pool))

    def _at_once(self, verb: str, domain: DomainRef, call: Callable[[Guest], T]) -> Operation[T]:
        return self._do(verb, domain, at_once(lambda _, guest: call(guest)))

    def _run(self, operation: Operation[T], script: Script[T], timeout: float | None) -> Operation[T]:
        with self._machine.lock:
            self._check("")
            return self._machine.engine.run(operation, script, self, timeout)


def _leave(subscriber: Subscriber) -> None:
    subscriber.listens = False


@at_once
def _nothing() -> None:
    """Return at once, because the domain is gone."""


@at_once
def _record(sent: builtins.list[str], keys: str, operation: Operation[None]) -> None:  # noqa: ARG001 (as all scripts)
    """Record the debug keys that Xen was sent."""
    sent += keys


def _operation(verb: str, domain: DomainRef, timeout: float | None) -> Operation[T]:
    operation: Operation[T] = Operation(verb, domain.domid, timeout=timeout)
    operation.domid = domain.domid
    return operation


def _ref(script: Script[Guest]) -> Script[DomainRef]:
    guest = yield from script
    return DomainRef(guest.domid, guest.uuid)
