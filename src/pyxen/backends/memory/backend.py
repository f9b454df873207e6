"""The backend for simulated hosts, which `pyxen.connect` opens for ``memory:///``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

from pyxen import libxljson
from pyxen._common.cpu_affinity import is_symbolic
from pyxen._common.defaults import with_memory
from pyxen._common.preconditions import (
    check_answers,
    check_ended,
    check_name,
    check_size,
    check_soft_reset,
    check_suspended,
    maxmem_kib,
    memory_kib,
)
from pyxen._common.qmp import request
from pyxen._common.scripts import at_once
from pyxen._common.suspending import check_resumable
from pyxen._next_config import config_text
from pyxen.backends.base import Allow, DomainRef, operation_on
from pyxen.backends.memory import (
    buttons,
    configuration,
    cpupools,
    defined,
    devices,
    endpoints,
    lifecycle,
    live_devices,
    memory,
    migrate,
    node_affinity,
    preserve,
    qmp,
    resources,
    save,
    schedulers,
    stats,
    suspend,
    userdata,
    vcpus,
    wait,
)
from pyxen.backends.memory.address import named_machine
from pyxen.backends.memory.console import console_of
from pyxen.backends.memory.descriptors import Duplicate
from pyxen.backends.memory.engine import Script
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.host_verbs import MemoryHost
from pyxen.backends.memory.topology import node_cpus
from pyxen.config import CpuSet, DomainConfig, Part, Scheduler
from pyxen.config.device_table import Kind
from pyxen.errors import Error, InvalidArgument, MigrationFailed
from pyxen.features import Feature
from pyxen.operation import Operation
from pyxen.records.endpoints import ConsoleType, Endpoints
from pyxen.records.info import DefinedDomain, DomainInfo, DomainState, DomainUptime, Trigger
from pyxen.records.live_device import LiveDevice
from pyxen.records.memory import DomainMemory
from pyxen.records.qmp_event import QmpEvent
from pyxen.records.scheduling import CpupoolKey, VcpuInfo
from pyxen.records.stats import DomainStats

__all__ = ["MemoryBackend"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)

_LACKS: Final = frozenset(
    {Feature.PAUSE_EVENTS, Feature.MIGRATE_OVER, Feature.DEVD, Feature.ADD_CONSOLE, Feature.REMUS}
    | {Feature.PSR, Feature.DEVICE_TREE, Feature.LIBVIRT}
)


class MemoryBackend(MemoryHost):
    """A connection to a simulated host; a host can have several connections.

    Args:
        machine: The host.

    Raises:
        ConnectFailed: The host has gone away.
    """

    features = frozenset(Feature) - _LACKS

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        with self._lock:
            return self._guest("info", domain).info()

    def uptime(self, domain: DomainRef) -> DomainUptime:
        with self._lock:
            return self._machine.uptime_of(self._guest("uptime", domain))

    def create(
        self, config: DomainConfig, *, paused: bool, autoballoon: bool | None = None, timeout: float | None
    ) -> Operation[DomainRef]:
        self._check("create", config.name)
        return self._create("create", config, None, paused=paused, autoballoon=autoballoon, timeout=timeout)

    def check_create(
        self, config: DomainConfig, *, autoballoon: bool | None = None, timeout: float | None
    ) -> Operation[DomainConfig]:
        self._check("check_create", config.name)
        config = self._possible(config)
        operation: Operation[DomainConfig] = Operation("check_create", config.name, timeout=timeout)
        return self._run(operation, lifecycle.check_create(self._machine, operation, config, autoballoon), timeout)

    def _create(
        self,
        verb: str,
        config: DomainConfig,
        uuid: UUID | None,
        *,
        paused: bool,
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        config = self._possible(config)
        operation: Operation[DomainRef] = Operation(verb, config.name, timeout=timeout)
        script = lifecycle.create(self._machine, operation, config, uuid, paused=paused, autoballoon=autoballoon)
        return self._run(operation, _ref(script), timeout)

    def _possible(self, config: DomainConfig) -> DomainConfig:
        """Return a configuration that Xen could run."""
        config = self._fitted(config)
        lifecycle.check_release(config, self._machine.xen)
        libxljson.to_dict(config.replace(ms_vm_genid=None))  # refuses settings that libxl's structs cannot hold
        check_size(with_memory(config), "memory")
        return config

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
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        self._check("restore", path)
        if config is not None:
            config = self._fitted(config)
        operation: Operation[DomainRef] = Operation("restore", path, timeout=timeout)
        script = save.restore(
            self._machine, operation, path, config, paused=paused, allow=allow, autoballoon=autoballoon
        )
        return self._run(operation, _ref(script), timeout)

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
        subject = f"descriptor {fd}"
        self._check("restore", subject)
        if config is not None:
            config = self._fitted(config)
        operation: Operation[DomainRef] = Operation("restore", subject, timeout=timeout)
        script = save.restore_over(
            self._machine,
            operation,
            Duplicate("restore", fd),
            config,
            paused=paused,
            allow=allow,
            autoballoon=autoballoon,
        )
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

    def reboot(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        check_answers(self._glance("reboot", domain), "reboot")
        script = partial(lifecycle.reboot, self._machine, wait=wait, fallback=fallback)
        return self._do("reboot", domain, script, timeout)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        operation: Operation[None] = operation_on(domain, "suspend", timeout)
        with self._suspending(domain, operation):
            return self._on_domain(operation, domain, partial(suspend.suspend, self._machine), timeout)

    def resume(self, domain: DomainRef) -> Operation[None]:
        check_suspended(self._glance("resume", domain))
        check_resumable((self._machine, domain), domain.domid)
        return self._do("resume", domain, lambda _, guest: suspend.resume(guest))

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
        how: dict[str, Any] = {"checkpoint": checkpoint, "leave_paused": leave_paused}
        operation: Operation[None] = operation_on(domain, "save", timeout)
        with self._suspending(domain, operation):
            other = self._saved_with(config)
            script = partial(save.save, self._machine, path=path, other=other, **how)
            return self._on_domain(operation, domain, script, timeout)

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
        how: dict[str, Any] = {"checkpoint": checkpoint, "leave_paused": leave_paused}
        operation: Operation[None] = operation_on(domain, "save", timeout)
        with self._suspending(domain, operation):
            other, file = self._saved_with(config), Duplicate("save", fd)
            script = partial(save.save_over, self._machine, file=file, other=other, **how)
            return self._on_domain(operation, domain, script, timeout)

    def _saved_with(self, config: DomainConfig | None) -> DomainConfig | None:
        """Return the other configuration that a domain is to be saved with."""
        if config is not None:
            config = self._fitted(config)
            libxljson.to_dict(config.replace(ms_vm_genid=None))
        return config

    def migrate(
        self,
        domain: DomainRef,
        destination: str | Sequence[str],
        *,
        config: DomainConfig | None,
        paused: bool,
        timeout: float | None,
    ) -> Operation[None]:
        """Move a domain to another host of this process, ``memory:///NAME``, which must exist."""
        operation: Operation[None] = operation_on(domain, "migrate", timeout)
        with self._suspending(domain, operation):
            if not isinstance(destination, str):
                message = "memory:/// runs no command: give memory:///NAME, or FakeHost.uri"
                raise InvalidArgument(message, operation="migrate")
            machine = named_machine(destination, "migrate")
            if machine is None:
                message = f"the destination is gone: this process has no host {destination}; the domain goes on here"
                raise MigrationFailed(message, operation="migrate", domain=domain.domid, domid=domain.domid)
            script = partial(migrate.migrate, self._machine, destination=machine, other=config, paused=paused)
            self._reach(machine)
            return self._on_domain(operation, domain, script, timeout, also=machine)

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        return self._do("core_dump", domain, partial(save.core_dump, self._machine, path=path), timeout)

    def soft_reset(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        check_soft_reset(self._glance("soft_reset", domain), self.name)
        return self._do("soft_reset", domain, lambda _, guest: lifecycle.soft_reset(self._machine, guest), timeout)

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
        return self._do("send_sysrq", domain, lambda _, guest: buttons.send_sysrq(self._machine, guest, key))

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        script = partial(devices.attach, self._machine, device=device, backend=self.name)
        return self._do("attach", domain, script, timeout)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        script = partial(devices.detach, self._machine, device=device, backend=self.name, force=force)
        return self._do("detach", domain, script, timeout)

    def live_devices(self, domain: DomainRef, kind: Kind) -> Sequence[LiveDevice[Any]]:
        with self._lock:
            return live_devices.live_devices(self._machine, self._guest("live_devices", domain), kind)

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        script = partial(devices.change_disc, self._machine, vdev=vdev, target=target, backend=self.name)
        return self._do("insert_cdrom", domain, script, timeout)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        script = partial(devices.change_disc, self._machine, vdev=vdev, target=None, backend=self.name)
        return self._do("eject_cdrom", domain, script, timeout)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        kib = memory_kib(memory)
        return self._do("set_memory", domain, lambda _, guest: resources.set_memory(self._machine, guest, kib))

    def memory(self, domain: DomainRef) -> DomainMemory:
        with self._lock:
            return memory.memory(self._guest("memory", domain))

    def wait_memory(self, domain: DomainRef, *, timeout: float | None) -> Operation[DomainMemory]:
        return self._do("wait_memory", domain, memory.wait_memory, timeout)

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        kib = maxmem_kib(maxmem)
        return self._do("set_maxmem", domain, lambda _, guest: resources.set_maxmem(self._machine, guest, kib))

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        return self._do("set_vcpus", domain, lambda _, guest: resources.set_vcpus(self._machine, guest, vcpus))

    def vcpus(self, domain: DomainRef) -> tuple[VcpuInfo, ...]:
        with self._lock:
            return vcpus.vcpus(self._machine, self._guest("vcpus", domain))

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None, *, force: bool
    ) -> Operation[None]:
        pin = partial(resources.pin_vcpu, vcpu=vcpu, cpus=cpus, cpus_soft=cpus_soft, force=force)
        return self._do("pin_vcpu", domain, lambda _, guest: pin(self._machine, guest))

    def node_affinity(self, domain: DomainRef) -> tuple[int, ...]:
        with self._lock:
            return node_affinity.node_affinity(self._machine, self._guest("node_affinity", domain))

    def set_node_affinity(self, domain: DomainRef, nodes: frozenset[int] | None) -> Operation[None]:
        change = partial(node_affinity.set_node_affinity, self._machine, nodes=nodes)
        return self._at_once("set_node_affinity", domain, change)

    def scheduler(self, domain: DomainRef, vcpu: int | None) -> Scheduler:
        with self._lock:
            return schedulers.scheduler(self._machine, self._guest("scheduler", domain), vcpu)

    def set_scheduler(
        self, domain: DomainRef, scheduler: Scheduler, vcpu: int | Literal["all"] | None
    ) -> Operation[None]:
        script = partial(schedulers.set_scheduler, self._machine, given=scheduler, vcpu=vcpu)
        return self._do("set_scheduler", domain, script)

    def set_cpupool(self, domain: DomainRef, pool: CpupoolKey) -> Operation[None]:
        return self._do("set_cpupool", domain, lambda _, guest: cpupools.set_cpupool(self._machine, guest, pool))

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        self._check("wait", domain.domid)
        operation: Operation[DomainInfo | None] = operation_on(domain, "wait", timeout)
        with self._lock:
            guest = self._find(domain)
            script = _nothing() if guest is None else wait.wait(guest, states)
            return self._run(operation, script, timeout)

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        self._check("wait_start", uuid)
        operation: Operation[DomainInfo] = Operation("wait_start", str(uuid), timeout=timeout)
        return self._run(operation, wait.wait_start(self._machine, uuid, after), timeout)

    def monitor_command(self, domain: DomainRef, command: str, *, timeout: float | None) -> Operation[str]:
        return self._do("monitor_command", domain, partial(qmp.monitor_command, command=command), timeout)

    def qmp(
        self, domain: DomainRef, command: str, arguments: Mapping[str, Any], *, timeout: float | None
    ) -> Operation[Any]:
        request(command, arguments)  # refuses what is not valid before anything begins
        script = partial(qmp.execute, owner=self, command=command, arguments=arguments)
        return self._do("qmp", domain, script, timeout)

    def qmp_events(
        self,
        domain: DomainRef,
        put: Callable[[QmpEvent], None],
        end: Callable[[Error | None], None],
        *,
        timeout: float | None,
    ) -> Operation[Operation[None]]:
        listener = qmp.Listener(self, put, end)
        script = partial(qmp.listen, self._machine, listener=listener, listening=operation_on(domain, "qmp"))
        return self._do("qmp", domain, script, timeout)

    def userdata(self, domain: DomainRef, key: str) -> Operation[bytes | None]:
        return self._at_once("userdata", domain, partial(userdata.userdata, key=key))

    def set_userdata(self, domain: DomainRef, key: str, data: bytes | None) -> Operation[None]:
        return self._at_once("set_userdata", domain, partial(userdata.set_userdata, key=key, data=data))

    def update_config(self, domain: DomainRef, config: DomainConfig | None) -> Operation[None]:
        return self._at_once("update_config", domain, partial(userdata.update_config, text=config_text(config)))

    def stats(self, domain: DomainRef) -> DomainStats:
        with self._lock:
            return stats.stats(self._guest("stats", domain), self._machine.now())

    def console(self, domain: DomainRef, kind: ConsoleType | None = None, number: int = 0) -> int:
        with self._lock:
            return console_of(self._guest("console", domain), kind, number).open()

    def console_log(self, domain: DomainRef) -> str | None:
        """Return None: no xenconsoled keeps a log here."""
        with self._lock:
            self._guest("console_log", domain)
        return None

    def endpoints(self, domain: DomainRef) -> Endpoints:
        with self._lock:
            return endpoints.endpoints(self._machine, self._guest("endpoints", domain))

    def define(self, config: DomainConfig, *, autostart: bool | None) -> DefinedDomain:
        config.validate()
        with self._lock:
            self._check("define", config.name)
            return defined.define(self._machine, config, autostart)

    def undefine(self, uuid: UUID) -> None:
        with self._lock:
            self._check("undefine", uuid)
            defined.undefine(self._machine, uuid)

    def defined(self) -> Sequence[DefinedDomain]:
        with self._lock:
            self._check("defined")
            return defined.defined(self._machine)

    def defined_config(self, uuid: UUID) -> DomainConfig:
        with self._lock:
            self._check("defined_config", uuid)
            return defined.kept(self._machine, uuid, "defined_config").config

    def set_autostart(self, uuid: UUID, autostart: bool) -> None:
        with self._lock:
            self._check("set_autostart", uuid)
            defined.kept(self._machine, uuid, "set_autostart").autostart = autostart

    def start(self, uuid: UUID, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        with self._lock:
            self._check("start", uuid)
            kept = defined.kept(self._machine, uuid, "start")
        return self._create("start", kept.config, uuid, paused=paused, timeout=timeout)


@at_once
def _nothing() -> None:
    """Return at once, because the domain is gone."""


def _ref(script: Script[Guest]) -> Script[DomainRef]:
    guest = yield from script
    return DomainRef(guest.domid, guest.uuid)
