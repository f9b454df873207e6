"""The verbs that take time, as operations. The blocking and the asyncio API both start their calls here.

Arguments are checked and converted here.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar
from uuid import UUID, uuid4

from pyxen._apply_operation import begin_apply
from pyxen._common.allow import check_allow
from pyxen._common.arguments import (
    AnyCpupool,
    AnyCpus,
    AnyFile,
    check_bools,
    check_config,
    check_is,
    check_number,
    cpupool_of,
    cpus_of,
    file_of,
    member,
    mib_of,
    numbers_of,
    path_of,
)
from pyxen._common.device_keys import DeviceKey, named_device
from pyxen._common.device_kinds import Kind, check_is_device
from pyxen._common.shortage import shortage
from pyxen._copies.clone_operation import CloneOperations
from pyxen._copies.copies import balloons, honoured
from pyxen._durations import timeout_of
from pyxen._functions import check_answer, check_function
from pyxen.applying import Applied
from pyxen.backends.base import Backend, DomainRef
from pyxen.config import CpuSet, Device, DomainConfig, Part, Scheduler, Vif
from pyxen.config.libxl_defaults import without_defaults
from pyxen.errors import DomainNotFound, Error, InvalidArgument, OperationFailed
from pyxen.features import Feature, lacking
from pyxen.operation import Operation
from pyxen.records.info import ENDS, UNPAUSED, AwaitedStateName, DomainInfo, DomainState, Trigger, TriggerName
from pyxen.records.memory import DomainMemory
from pyxen.remus import RemusOptions

if TYPE_CHECKING:
    from pyxen.xlconf import XlConf

__all__ = [
    "AnyCpupool",
    "AnyCpus",
    "DeviceOperations",
    "DomainOperations",
    "HostOperations",
    "cpus_of",
    "uuid_of_defined",
]


class _Handle(Protocol):
    """What the handles of both APIs have in common."""

    @property
    def name(self) -> str | None: ...


H = TypeVar("H", bound=_Handle)
T = TypeVar("T")
D = TypeVar("D", bound=Part)
V = TypeVar("V", bound=Device)


class HostOperations(CloneOperations[H]):
    """The verbs of a host that take time, reached as ``host.begin``. Each returns an `Operation` at once.

    ::

        creating = host.begin.create(config, timeout=60)
        print(creating.progress)
        web = creating.result()

    Invalid arguments raise at once. All other errors are raised by the operation's `result`.
    """

    __slots__ = ()

    def create(
        self,
        config: DomainConfig,
        *,
        paused: bool = False,
        on_console: Callable[[H], object] | None = None,
        autoballoon: bool | None = None,
        timeout: float | None = None,
    ) -> Operation[H]:
        """Begin `Host.create`."""
        check_config(config, "create")
        check_bools("create", paused=paused)
        config = honoured(self._backend, config)
        autoballoon = balloons(self._backend, autoballoon)
        create = partial(self._backend.create, paused=paused, autoballoon=autoballoon, timeout=timeout_of(timeout))
        if on_console is None:
            return self._made(create(config), config.name)
        check_function(on_console, "on_console", "create")
        if Feature.CONSOLE not in self._backend.features:
            raise lacking(Feature.CONSOLE, self._backend.name)
        config = config if config.uuid is not None else config.replace(uuid=uuid4())
        creating = create(config)
        try:
            self._tell(on_console, config, creating)
        except BaseException:
            creating.cancel()
            creating.add_done_callback(self._take_back)
            raise
        return self._made(creating, config.name)

    def _tell(self, on_console: Callable[[H], object], config: DomainConfig, creating: Operation[DomainRef]) -> None:
        """Call a function with the domain that is being created, as soon as it has a console."""
        if (uuid := config.uuid) is None:
            return
        waiting = self._backend.await_console(uuid, creating)

        def tell() -> None:
            if waiting.exception() is None and (ref := waiting.result()) is not None:
                check_answer(on_console(self._handle(ref, config.name)), "on_console", "create")

        # On a thread of its own: the function may read the console for as long as it likes.
        with shortage(OperationFailed, "create: cannot start a thread for on_console"):
            threading.Thread(target=tell, name="pyxen-on_console", daemon=True).start()

    def _take_back(self, creating: Future[DomainRef]) -> None:
        """Destroy a domain that was created before its operation could be cancelled: nobody has a handle of it."""
        if creating.exception() is None:
            with contextlib.suppress(Error):  # the host is lost, or the domain is gone already
                self._backend.destroy(creating.result(), timeout=None)

    def check_create(
        self, config: DomainConfig, *, autoballoon: bool | None = None, timeout: float | None = None
    ) -> Operation[DomainConfig]:
        """Begin `Host.check_create`."""
        check_config(config, "check_create")
        return self._backend.check_create(
            honoured(self._backend, config),
            autoballoon=balloons(self._backend, autoballoon),
            timeout=timeout_of(timeout),
        )

    def apply(
        self, config: DomainConfig, *, dry_run: bool = False, persistent: bool = False, timeout: float | None = None
    ) -> Operation[Applied[H]]:
        """Begin `Host.apply`. If it is cancelled, the step that runs is undone, and earlier ones stay."""
        check_config(config, "apply")
        check_bools("apply", dry_run=dry_run, persistent=persistent)
        config.validate()
        return begin_apply(
            self._backend,
            self._threads,
            lambda config, timeout: self.create(config, timeout=timeout),
            self._handle,
            honoured(self._backend, config),
            dry_run=dry_run,
            persistent=persistent,
            timeout=timeout_of(timeout, operation="apply"),
        )

    def restore(
        self,
        path: AnyFile,
        config: DomainConfig | None = None,
        *,
        paused: bool = False,
        allow: Callable[[DomainConfig], bool | None] | None = None,
        autoballoon: bool | None = None,
        timeout: float | None = None,
    ) -> Operation[H]:
        """Begin `Host.restore`."""
        check_allow(allow, "restore")
        check_bools("restore", paused=paused)
        if config is not None:
            check_config(config, "restore")
            config = honoured(self._backend, config)
        file, dom0s, timeout = file_of(path, "restore"), balloons(self._backend, autoballoon), timeout_of(timeout)
        how: dict[str, Any] = {"paused": paused, "allow": allow, "autoballoon": dom0s, "timeout": timeout}
        if isinstance(file, int):
            operation = self._backend.restore_over(file, config, **how)
        else:
            operation = self._backend.restore(file, config, **how)
        return self._made(operation, None if config is None else config.name)

    def receive_migration(
        self,
        read_fd: int,
        write_fd: int,
        *,
        remus: bool = False,
        paused: bool = False,
        allow: Callable[[DomainConfig], bool | None] | None = None,
        autoballoon: bool | None = None,
        timeout: float | None = None,
    ) -> Operation[H]:
        """Begin `Host.receive_migration`."""
        check_allow(allow, "receive_migration")
        check_bools("receive_migration", remus=remus, paused=paused)
        operation = self._backend.receive_migration(
            read_fd,
            write_fd,
            remus=remus,
            paused=paused,
            allow=allow,
            autoballoon=balloons(self._backend, autoballoon),
            timeout=timeout_of(timeout),
        )
        return self._made(operation)

    def start(self, key: str | UUID, *, paused: bool = False, timeout: float | None = None) -> Operation[H]:
        """Begin `Host.start`. The name is looked up before this returns."""
        check_bools("start", paused=paused)
        uuid = uuid_of_defined(self._backend, key)
        return self._made(self._backend.start(uuid, paused=paused, timeout=timeout_of(timeout)))

    def devd(self, *, timeout: float | None = None) -> Operation[None]:
        """Begin `Host.devd`; `Operation.cancel` ends it."""
        return self._backend.devd(timeout=timeout_of(timeout))

    def _made(self, operation: Operation[DomainRef], name: str | None = None) -> Operation[H]:
        """Return the operation with a handle as its result. The name is the one requested, or the one found."""

        def handle(ref: DomainRef) -> H:
            found = operation.subject if isinstance(operation.subject, str) else None
            operation.domain = domain = self._handle(ref, name or found)
            return domain

        return operation.map(handle)


class DomainOperations(Generic[H]):
    """The verbs of a domain that take time, reached as ``domain.begin``. Each returns an `Operation` at once.

    ::

        saving = web.begin.save("/srv/web1.save")
        while not saving.done():
            print(saving.progress)
            time.sleep(1)

    Invalid arguments raise at once. All other errors are raised by the operation's `result`.
    """

    __slots__ = ("_backend", "_domain", "_handle", "_ref")

    def __init__(
        self, backend: Backend, ref: DomainRef, domain: H, handle: Callable[[DomainRef, str | None], H]
    ) -> None:
        self._backend = backend
        self._ref = ref
        self._domain = domain
        self._handle = handle

    def _on(self, operation: Operation[T]) -> Operation[T]:
        """Set the domain that the operation works on, and return the operation."""
        operation.domain = self._domain
        return operation

    def pause(self) -> Operation[None]:
        """Begin `Domain.pause`."""
        return self._on(self._backend.pause(self._ref))

    def unpause(self) -> Operation[None]:
        """Begin `Domain.unpause`."""
        return self._on(self._backend.unpause(self._ref))

    def shutdown(self, *, wait: bool = True, fallback: bool = False, timeout: float | None = None) -> Operation[None]:
        """Begin `Domain.shutdown`."""
        check_bools("shutdown", wait=wait, fallback=fallback)
        return self._on(self._backend.shutdown(self._ref, wait=wait, fallback=fallback, timeout=timeout_of(timeout)))

    def reboot(self, *, wait: bool = False, fallback: bool = False, timeout: float | None = None) -> Operation[None]:
        """Begin `Domain.reboot`."""
        check_bools("reboot", wait=wait, fallback=fallback)
        return self._on(self._backend.reboot(self._ref, wait=wait, fallback=fallback, timeout=timeout_of(timeout)))

    def destroy(self, *, timeout: float | None = None) -> Operation[None]:
        """Begin `Domain.destroy`."""
        return self._on(self._backend.destroy(self._ref, timeout=timeout_of(timeout)))

    def wait(
        self, *states: DomainState | AwaitedStateName, timeout: float | None = None
    ) -> Operation[DomainInfo | None]:
        """Begin `Domain.wait`."""
        wanted = frozenset(one for state in states for one in _awaited(state)) or ENDS
        return self._on(self._backend.wait(self._ref, wanted, timeout=timeout_of(timeout)))

    def suspend(self, *, timeout: float | None = None) -> Operation[None]:
        """Begin `Domain.suspend`."""
        return self._on(self._backend.suspend(self._ref, timeout=timeout_of(timeout)))

    def resume(self) -> Operation[None]:
        """Begin `Domain.resume`."""
        return self._on(self._backend.resume(self._ref))

    def save(
        self,
        path: AnyFile,
        *,
        config: DomainConfig | None = None,
        checkpoint: bool = False,
        leave_paused: bool = False,
        timeout: float | None = None,
    ) -> Operation[None]:
        """Begin `Domain.save`."""
        if config is not None:
            check_config(config, "save")
        check_bools("save", checkpoint=checkpoint, leave_paused=leave_paused)
        file, timeout = file_of(path, "save"), timeout_of(timeout)
        how: dict[str, Any] = {"config": config, "checkpoint": checkpoint, "leave_paused": leave_paused}
        if isinstance(file, int):
            return self._on(self._backend.save_over(self._ref, file, **how, timeout=timeout))
        return self._on(self._backend.save(self._ref, file, **how, timeout=timeout))

    def migrate(
        self,
        destination: str | Sequence[str],
        *,
        config: DomainConfig | None = None,
        paused: bool = False,
        timeout: float | None = None,
    ) -> Operation[None]:
        """Begin `Domain.migrate`."""
        if config is not None:
            check_config(config, "migrate")
        check_bools("migrate", paused=paused)
        return self._on(
            self._backend.migrate(self._ref, destination, config=config, paused=paused, timeout=timeout_of(timeout))
        )

    def migrate_over(
        self, read_fd: int, write_fd: int, *, config: DomainConfig | None = None, timeout: float | None = None
    ) -> Operation[None]:
        """Begin `Domain.migrate_over`."""
        if config is not None:
            check_config(config, "migrate_over")
        return self._on(
            self._backend.migrate_over(self._ref, read_fd, write_fd, config=config, timeout=timeout_of(timeout))
        )

    def remus(
        self,
        destination: str | Sequence[str] | None,
        options: RemusOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> Operation[None]:
        """Begin `Domain.remus`."""
        options = _with_script(self._backend, options)
        if destination is None and not options.allow_unsafe:
            raise InvalidArgument("destination=None makes no backup: set allow_unsafe=True for that", operation="remus")
        return self._on(self._backend.remus(self._ref, destination, options, timeout=timeout_of(timeout)))

    def remus_over(
        self, read_fd: int, write_fd: int, options: RemusOptions | None = None, *, timeout: float | None = None
    ) -> Operation[None]:
        """Begin `Domain.remus_over`."""
        return self._on(
            self._backend.remus_over(
                self._ref, read_fd, write_fd, _with_script(self._backend, options), timeout=timeout_of(timeout)
            )
        )

    def core_dump(self, path: str | os.PathLike[str], *, timeout: float | None = None) -> Operation[None]:
        """Begin `Domain.core_dump`."""
        return self._on(self._backend.core_dump(self._ref, path_of(path, "core_dump"), timeout=timeout_of(timeout)))

    def soft_reset(self, *, timeout: float | None = None) -> Operation[None]:
        """Begin `Domain.soft_reset`."""
        return self._on(self._backend.soft_reset(self._ref, timeout=timeout_of(timeout)))

    def config(self, *, defaults: bool = False) -> Operation[DomainConfig]:
        """Begin `Domain.config`."""
        check_bools("config", defaults=defaults)
        operation = self._on(self._backend.config(self._ref))
        return operation if defaults else operation.map(without_defaults)

    def update_config(self, config: DomainConfig | None) -> Operation[None]:
        """Begin `Domain.update_config`."""
        if config is not None:
            check_config(config, "update_config")
        return self._on(self._backend.update_config(self._ref, config))

    def rename(self, name: str) -> Operation[None]:
        """Begin `Domain.rename`."""
        return self._on(self._backend.rename(self._ref, name))

    def preserve(self, suffix: str) -> Operation[H]:
        """Begin `Domain.preserve`."""
        name = self._domain.name
        operation = self._on(self._backend.preserve(self._ref, suffix))
        return operation.map(lambda ref: self._handle(ref, None if name is None else name + suffix))

    def send_trigger(self, trigger: Trigger | TriggerName, *, vcpu: int = 0) -> Operation[None]:
        """Begin `Domain.send_trigger`."""
        check_number(vcpu, "send_trigger")
        return self._on(self._backend.send_trigger(self._ref, member(Trigger, trigger, "send_trigger"), vcpu=vcpu))

    def send_sysrq(self, key: str) -> Operation[None]:
        """Begin `Domain.send_sysrq`."""
        check_is(str, key, "send_sysrq")
        return self._on(self._backend.send_sysrq(self._ref, key))

    def attach(self, device: D, *, timeout: float | None = None) -> Operation[D]:
        """Begin `Domain.attach`."""
        check_is_device(device, "attach")
        wanted = _with_defaults(self._backend, device)
        return self._on(self._backend.attach(self._ref, wanted, timeout=timeout_of(timeout)))

    def detach(self, device: Part | str, *, force: bool = False, timeout: float | None = None) -> Operation[None]:
        """Begin `Domain.detach`."""
        check_bools("detach", force=force)
        return self._on(self._backend.detach(self._ref, device, force=force, timeout=timeout_of(timeout)))

    def insert_cdrom(
        self, vdev: str, target: str | os.PathLike[str], *, timeout: float | None = None
    ) -> Operation[None]:
        """Begin `Domain.insert_cdrom`."""
        path = path_of(target, "insert_cdrom")
        return self._on(self._backend.insert_cdrom(self._ref, vdev, path, timeout=timeout_of(timeout)))

    def eject_cdrom(self, vdev: str, *, timeout: float | None = None) -> Operation[None]:
        """Begin `Domain.eject_cdrom`."""
        return self._on(self._backend.eject_cdrom(self._ref, vdev, timeout=timeout_of(timeout)))

    def set_memory(self, memory: float | None = None, *, memory_kib: int | None = None) -> Operation[None]:
        """Begin `Domain.set_memory`."""
        return self._on(self._backend.set_memory(self._ref, mib_of("set_memory", "memory", memory, memory_kib)))

    def wait_memory(self, *, timeout: float | None = None) -> Operation[DomainMemory]:
        """Begin `Domain.wait_memory`."""
        return self._on(self._backend.wait_memory(self._ref, timeout=timeout_of(timeout)))

    def set_maxmem(self, maxmem: float | None = None, *, maxmem_kib: int | None = None) -> Operation[None]:
        """Begin `Domain.set_maxmem`."""
        return self._on(self._backend.set_maxmem(self._ref, mib_of("set_maxmem", "maxmem", maxmem, maxmem_kib)))

    def set_vcpus(self, vcpus: int) -> Operation[None]:
        """Begin `Domain.set_vcpus`."""
        check_number(vcpus, "set_vcpus")
        return self._on(self._backend.set_vcpus(self._ref, vcpus))

    def pin_vcpu(
        self,
        vcpu: int | Literal["all"],
        cpus: AnyCpus | None = None,
        *,
        cpus_soft: AnyCpus | None = None,
        force: bool = False,
    ) -> Operation[None]:
        """Begin `Domain.pin_vcpu`."""
        verb, number = "pin_vcpu", None if vcpu == "all" else vcpu
        check_bools(verb, force=force)
        if number is not None:
            check_number(number, verb)
        hard, soft = _cpus(cpus, verb), _cpus(cpus_soft, verb)
        if hard and self._backend.xl_conf is not None:
            hard = self._masked(self._backend.xl_conf, hard)
        return self._on(self._backend.pin_vcpu(self._ref, number, hard, soft, force=force))

    def _masked(self, conf: XlConf, cpus: CpuSet) -> CpuSet:
        """Return the CPUs of a set that xl.conf leaves for the domain."""
        guest = self._backend.domain_info(self._ref).type
        if not conf.has_masks(guest):
            return cpus
        nodes = self._backend.topology().node_cpus
        return conf.masked(guest, cpus, sorted(cpu for members in nodes.values() for cpu in members), nodes)

    def set_node_affinity(self, nodes: Iterable[int] | None) -> Operation[None]:
        """Begin `Domain.set_node_affinity`."""
        wanted = None if nodes is None else numbers_of(nodes, "set_node_affinity")
        return self._on(self._backend.set_node_affinity(self._ref, wanted))

    def set_scheduler(self, scheduler: Scheduler, *, vcpu: int | Literal["all"] | None = None) -> Operation[None]:
        """Begin `Domain.set_scheduler`."""
        check_is(Scheduler, scheduler, "set_scheduler")
        if vcpu is not None and vcpu != "all":
            check_number(vcpu, "set_scheduler")
        return self._on(self._backend.set_scheduler(self._ref, scheduler, vcpu))

    def set_cpupool(self, pool: AnyCpupool) -> Operation[None]:
        """Begin `Domain.set_cpupool`."""
        return self._on(self._backend.set_cpupool(self._ref, cpupool_of(pool, "set_cpupool")))

    def monitor_command(self, command: str, *, timeout: float | None = None) -> Operation[str]:
        """Begin `Domain.monitor_command`."""
        check_is(str, command, "monitor_command", ": say one, as 'info block'")
        return self._on(self._backend.monitor_command(self._ref, command, timeout=timeout_of(timeout)))

    def userdata(self, key: str) -> Operation[bytes | None]:
        """Begin `Domain.userdata`."""
        check_is(str, key, "userdata", ", as the key")
        return self._on(self._backend.userdata(self._ref, key))

    def set_userdata(self, key: str, data: bytes | None) -> Operation[None]:
        """Begin `Domain.set_userdata`."""
        check_is(str, key, "set_userdata", ", as the key")
        if data is not None:
            check_is(bytes, data, "set_userdata", ", as the data: encode text yourself")
        return self._on(self._backend.set_userdata(self._ref, key, data))

    def add_console(
        self, *, port: int | None = None, gfn: int | None = None, backend_domid: int = 0
    ) -> Operation[None]:
        """Begin `Domain.add_console`."""
        said = [number for number in (port, gfn) if number is not None]
        for number in (*said, backend_domid):
            check_number(number, "add_console")
        return self._backend.add_console(self._ref, port=port, gfn=gfn, backend_domid=backend_domid)


class DeviceOperations(Generic[V]):
    """The verbs of a domain's devices of one kind, reached as ``domain.disks.begin``; see `DomainOperations`."""

    __slots__ = ("_backend", "_kind", "_ref")

    def __init__(self, backend: Backend, ref: DomainRef, kind: Kind) -> None:
        self._backend = backend
        self._ref = ref
        self._kind = kind

    def attach(self, device: V, *, timeout: float | None = None) -> Operation[V]:
        """Begin `LiveDevices.attach`."""
        check_is_device(device, "attach")
        check_is(self._kind.part, device, "attach", f": these are the {self._kind.field} of the domain")
        return self._backend.attach(self._ref, _with_defaults(self._backend, device), timeout=timeout_of(timeout))

    def detach(self, key: DeviceKey, *, force: bool = False, timeout: float | None = None) -> Operation[None]:
        """Begin `LiveDevices.detach`."""
        check_bools("detach", force=force)
        device = named_device(self._kind, key, "detach")
        return self._backend.detach(self._ref, device, force=force, timeout=timeout_of(timeout))


def _with_defaults(backend: Backend, device: D) -> D:
    """Return a device with the settings that xl.conf has for it, if the host was opened with them."""
    conf: Any = backend.xl_conf
    return conf.vif(device) if conf is not None and isinstance(device, Vif) else device


def _with_script(backend: Backend, options: RemusOptions | None) -> RemusOptions:
    """Return the options of a replication, with the script that xl.conf has for it if they need one and name none."""
    options, conf = options or RemusOptions(), backend.xl_conf
    if conf is None or not options.netbuf or options.netbufscript is not None:
        return options
    return replace(options, netbufscript=conf.remus_netbufscript)


def _cpus(cpus: AnyCpus | None, verb: str) -> CpuSet | None:
    return None if cpus is None else cpus_of(cpus, verb)


def uuid_of_defined(backend: Backend, key: str | UUID) -> UUID:
    """Return the uuid of a stored configuration, given by name or uuid; see `Host.define`."""
    kept = backend.defined()
    found = [one.uuid for one in kept if key in {one.name, one.uuid, str(one.uuid)}]
    if not found:
        names = ", ".join(one.name for one in kept) or "none"
        raise DomainNotFound(f"no domain is defined with this name or uuid; the names are: {names}", domain=str(key))
    return found[0]


def _awaited(state: object) -> Collection[DomainState]:
    """Return the states that a word for `Domain.wait` stands for."""
    return UNPAUSED if state == "unpaused" else {member(DomainState, state, "wait", also=("unpaused",))}
