"""A host of the tests' own, whose operations begin and end when a test says so, and what such tests need."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, Literal, TypeVar
from uuid import UUID

import pyxen.aio
from pyxen import (
    DomainConfig,
    DomainInfo,
    DomainState,
    DomainUptime,
    HostClosed,
    HostInfo,
    Operation,
    OperationCancelled,
)
from pyxen.backends.base import Allow, Backend, DomainRef
from pyxen.config import CpuSet, Part, Scheduler
from pyxen.events import Event
from pyxen.features import Feature
from pyxen.records.endpoints import ConsoleType, Endpoints
from pyxen.records.info import DefinedDomain, Trigger
from pyxen.records.memory import DomainMemory
from pyxen.records.scheduling import CpupoolKey, VcpuInfo, VcpuState
from pyxen.records.stats import DomainStats
from pyxen.records.topology import Topology
from pyxen.remus import RemusOptions
from tests.unit.infos import domain_info
from tests.waiting import SECONDS, join

__all__ = ["CONFIG", "DEFINED", "FakeBackend", "OnHost", "run", "turns", "undone", "until"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)

CONFIG = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64)

OnHost = Callable[[Callable[[pyxen.aio.Host], Awaitable[Any]]], Any]
"""What the fixture ``on_host`` is: runs a coroutine function with a host, which is closed afterwards."""

DEFINED = DefinedDomain("web9", UUID(int=9), autostart=False, domid=None)

MEMORY = DomainMemory(
    current_kib=65536,
    target_kib=65536,
    maximum_kib=65536,
    limit_kib=66560,
    videoram_kib=0,
    claimed_kib=0,
    shared_kib=0,
    paged_kib=0,
)

_PUMP = threading.Thread()  # the thread of a backend that must not wait for its own operations


class FakeBackend(Backend):
    """A backend with dom0, web1 (3) and web2 (4).

    Attributes:
        may_begin: While it is cleared, calls wait on their threads.
        waiting: How many calls have a thread, and wait there until they may begin.
        refusal: What every call raises instead of beginning an operation.
        at_once: The verbs whose operations end by themselves.
        operations: All that were begun, in their order.
        requests: Verb and arguments of each, in the same order.
        stopped: The operations that were asked to stop, in that order.
        threads: Names of the threads that calls came on.
        closes: How often it was closed.
        subscribers: Those who want to hear of events: what to call with each, and at the end.
    """

    uri = "fake:///"
    name = "fake"
    features = frozenset(Feature)

    def __init__(self) -> None:
        self.may_begin = threading.Event()
        self.may_begin.set()
        self.waiting = 0
        self.refusal: Exception | None = None
        self.at_once = {"destroy"}
        self.operations: list[Operation[Any]] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self.stopped: list[Operation[Any]] = []
        self.threads: set[str] = set()
        self.closes = 0
        self.subscribers: list[tuple[Callable[[Event], None], Callable[[], None]]] = []
        self.infos = [_info(0, "Domain-0"), _info(3, "web1"), _info(4, "web2")]

    @property
    def destroyed(self) -> list[int]:
        """The domids of domains that were asked to be destroyed."""
        return [arguments["domain"].domid for verb, arguments in self.requests if verb == "destroy"]

    def close(self) -> None:
        self.closes += 1
        for _, on_end in self.subscribers:
            on_end()

    def info(self) -> HostInfo:
        self.called()
        return HostInfo("4.20.0", 2, 1, 2, 1, 1000, 4096, 1024)

    def topology(self) -> Topology:
        self._ask("topology")
        return Topology((), (), None)

    def idle_times_ns(self) -> dict[int, int]:
        self._ask("idle_times_ns")
        return {0: 1}

    def uptimes(self) -> list[DomainUptime]:
        self._ask("uptimes")
        return [DomainUptime(0, "Domain-0", UUID(int=0), None, None)]

    def uptime(self, domain: DomainRef) -> DomainUptime:
        self._ask("uptime", domain=domain)
        return DomainUptime(domain.domid, "web1", domain.uuid, None, None)

    def list(self) -> list[DomainInfo]:
        self.called()
        return [*self.infos]

    def orphans(self) -> tuple[DomainRef, ...]:
        self.called()
        return tuple(DomainRef(info.domid, info.uuid) for info in self.infos[1:])

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        self.called()
        return next(info for info in self.infos if info.domid == domain.domid)

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        self.called()
        subscriber = (on_event, on_end)
        self.subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self.subscribers:
                self.subscribers.remove(subscriber)

        return unsubscribe

    def tell(self, *events: Event) -> None:
        """Let events happen, on a thread of their own."""

        def call() -> None:
            for event in events:
                for on_event, _ in self.subscribers:
                    on_event(event)

        thread = threading.Thread(target=call)
        thread.start()
        join(thread)

    def create(
        self, config: DomainConfig, *, paused: bool, autoballoon: bool | None = None, timeout: float | None
    ) -> Operation[DomainRef]:
        ref = DomainRef(7, UUID(int=7))
        return self._begin("create", ref, config=config, paused=paused, autoballoon=autoballoon, timeout=timeout)

    def restore(
        self,
        path: str,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,  # noqa: ARG002 (a file that is not there is not looked into)
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        arguments = {"path": path, "config": config, "paused": paused, "autoballoon": autoballoon, "timeout": timeout}
        return self._begin("restore", DomainRef(8, UUID(int=8)), **arguments)

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        return self._begin("destroy", domain=domain, timeout=timeout)

    def pause(self, domain: DomainRef) -> Operation[None]:
        return self._begin("pause", domain=domain)

    def unpause(self, domain: DomainRef) -> Operation[None]:
        return self._begin("unpause", domain=domain)

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        return self._begin("shutdown", domain=domain, wait=wait, fallback=fallback, timeout=timeout)

    def reboot(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        return self._begin("reboot", domain=domain, wait=wait, fallback=fallback, timeout=timeout)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        return self._begin("suspend", domain=domain, timeout=timeout)

    def resume(self, domain: DomainRef) -> Operation[None]:
        return self._begin("resume", domain=domain)

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
        options = {"config": config, "checkpoint": checkpoint, "leave_paused": leave_paused, "timeout": timeout}
        return self._begin("save", domain=domain, path=path, **options)

    def migrate(
        self,
        domain: DomainRef,
        destination: str | Sequence[str],
        *,
        config: DomainConfig | None,
        paused: bool,
        timeout: float | None,
    ) -> Operation[None]:
        options = {"config": config, "paused": paused, "timeout": timeout}
        return self._begin("migrate", domain=domain, destination=destination, **options)

    def migrate_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, *, config: DomainConfig | None, timeout: float | None
    ) -> Operation[None]:
        options = {"read_fd": read_fd, "write_fd": write_fd, "config": config, "timeout": timeout}
        return self._begin("migrate_over", domain=domain, **options)

    def receive_migration(
        self,
        read_fd: int,
        write_fd: int,
        *,
        remus: bool,
        paused: bool,
        allow: Allow | None = None,  # noqa: ARG002 (nothing comes)
        autoballoon: bool | None = None,  # noqa: ARG002 (likewise)
        timeout: float | None,
    ) -> Operation[DomainRef]:
        options = {"read_fd": read_fd, "write_fd": write_fd, "remus": remus, "paused": paused, "timeout": timeout}
        return self._begin("receive_migration", DomainRef(9, UUID(int=9)), **options)

    def remus(
        self,
        domain: DomainRef,
        destination: str | Sequence[str] | None,
        options: RemusOptions,
        *,
        timeout: float | None,
    ) -> Operation[None]:
        return self._begin("remus", domain=domain, destination=destination, options=options, timeout=timeout)

    def remus_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, options: RemusOptions, *, timeout: float | None
    ) -> Operation[None]:
        descriptors = {"read_fd": read_fd, "write_fd": write_fd}
        return self._begin("remus_over", domain=domain, **descriptors, options=options, timeout=timeout)

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        return self._begin("core_dump", domain=domain, path=path, timeout=timeout)

    def soft_reset(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        return self._begin("soft_reset", domain=domain, timeout=timeout)

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        return self._begin("config", CONFIG, domain=domain)

    def rename(self, domain: DomainRef, name: str) -> Operation[None]:
        return self._begin("rename", domain=domain, name=name)

    def preserve(self, domain: DomainRef, suffix: str) -> Operation[DomainRef]:
        return self._begin("preserve", DomainRef(domain.domid, UUID(int=9)), domain=domain, suffix=suffix)

    def send_trigger(self, domain: DomainRef, trigger: Trigger, *, vcpu: int) -> Operation[None]:
        return self._begin("send_trigger", domain=domain, trigger=trigger, vcpu=vcpu)

    def send_sysrq(self, domain: DomainRef, key: str) -> Operation[None]:
        return self._begin("send_sysrq", domain=domain, key=key)

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        return self._begin("attach", device, domain=domain, device=device, timeout=timeout)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        return self._begin("detach", domain=domain, device=device, force=force, timeout=timeout)

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        return self._begin("insert_cdrom", domain=domain, vdev=vdev, target=target, timeout=timeout)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        return self._begin("eject_cdrom", domain=domain, vdev=vdev, timeout=timeout)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        return self._begin("set_memory", domain=domain, memory=memory)

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        return self._begin("set_maxmem", domain=domain, maxmem=maxmem)

    def memory(self, domain: DomainRef) -> DomainMemory:
        self._ask("memory", domain=domain)
        return MEMORY

    def wait_memory(self, domain: DomainRef, *, timeout: float | None) -> Operation[DomainMemory]:
        return self._begin("wait_memory", domain=domain, timeout=timeout)

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        return self._begin("set_vcpus", domain=domain, vcpus=vcpus)

    def node_affinity(self, domain: DomainRef) -> tuple[int, ...]:
        self._ask("node_affinity", domain=domain)
        return (0, 1)

    def set_node_affinity(self, domain: DomainRef, nodes: frozenset[int] | None) -> Operation[None]:
        return self._begin("set_node_affinity", domain=domain, nodes=nodes)

    def vcpus(self, domain: DomainRef) -> tuple[VcpuInfo, ...]:
        self._ask("vcpus", domain=domain)
        return (VcpuInfo(0, 1, True, VcpuState.BLOCKED, 5, CpuSet("0-1"), CpuSet("1")),)

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None, *, force: bool
    ) -> Operation[None]:
        return self._begin("pin_vcpu", domain=domain, vcpu=vcpu, cpus=cpus, cpus_soft=cpus_soft, force=force)

    def scheduler(self, domain: DomainRef, vcpu: int | None) -> Scheduler:
        self._ask("scheduler", domain=domain, vcpu=vcpu)
        return Scheduler(weight=256)

    def set_scheduler(
        self, domain: DomainRef, scheduler: Scheduler, vcpu: int | Literal["all"] | None
    ) -> Operation[None]:
        return self._begin("set_scheduler", domain=domain, scheduler=scheduler, vcpu=vcpu)

    def set_cpupool(self, domain: DomainRef, pool: CpupoolKey) -> Operation[None]:
        return self._begin("set_cpupool", domain=domain, pool=pool)

    def add_console(
        self, domain: DomainRef, *, port: int | None, gfn: int | None, backend_domid: int
    ) -> Operation[None]:
        return self._begin("add_console", domain=domain, port=port, gfn=gfn, backend_domid=backend_domid)

    def devd(self, *, timeout: float | None) -> Operation[None]:
        return self._begin("devd", timeout=timeout)

    def monitor_command(self, domain: DomainRef, command: str, *, timeout: float | None) -> Operation[str]:
        return self._begin("monitor_command", "none", domain=domain, command=command, timeout=timeout)

    def userdata(self, domain: DomainRef, key: str) -> Operation[bytes | None]:
        result = None if key == "xl" else b"note"  # no configuration has been updated
        return self._begin("userdata", result, domain=domain, key=key)

    def set_userdata(self, domain: DomainRef, key: str, data: bytes | None) -> Operation[None]:
        return self._begin("set_userdata", domain=domain, key=key, data=data)

    def update_config(self, domain: DomainRef, config: DomainConfig | None) -> Operation[None]:
        return self._begin("update_config", domain=domain, config=config)

    def defined_config(self, uuid: UUID) -> DomainConfig:
        self._ask("defined_config", uuid=uuid)
        return CONFIG

    def stats(self, domain: DomainRef) -> DomainStats:
        self._ask("stats", domain=domain)
        return DomainStats(self.domain_info(domain), 1, (1,), (True,), (), ())

    def all_stats(self) -> tuple[DomainStats, ...]:
        self._ask("stats")
        return tuple(DomainStats(info, 1, (1,), (True,), (), ()) for info in self.list())

    def endpoints(self, domain: DomainRef) -> Endpoints:
        self._ask("endpoints", domain=domain)
        return Endpoints(None, None, (), ())

    def console(self, domain: DomainRef, kind: ConsoleType | None = None, number: int = 0) -> int:
        self._ask("console", domain=domain, kind=kind, number=number)
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def console_log(self, domain: DomainRef) -> str | None:
        self._ask("console_log", domain=domain)
        return "/var/log/xen/console/guest-web1.log"

    def define(self, config: DomainConfig, *, autostart: bool | None) -> DefinedDomain:
        self._ask("define", config=config, autostart=autostart)
        return DEFINED

    def defined(self) -> Sequence[DefinedDomain]:
        self.called()
        return [DEFINED]

    def undefine(self, uuid: UUID) -> None:
        self._ask("undefine", uuid=uuid)

    def set_autostart(self, uuid: UUID, autostart: bool) -> None:
        self._ask("set_autostart", uuid=uuid, autostart=autostart)

    def start(self, uuid: UUID, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        return self._begin("start", DomainRef(9, uuid), uuid=uuid, paused=paused, timeout=timeout)

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        return self._begin("wait", self.infos[1], domain=domain, states=states, timeout=timeout)

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        return self._begin("wait_start", self.infos[1], uuid=uuid, after=after, timeout=timeout)

    def called(self) -> None:
        """Do what comes before an operation."""
        self.threads.add(threading.current_thread().name)
        with self._lock:
            self.waiting += 1
        assert self.may_begin.wait(SECONDS)
        with self._lock:
            self.waiting -= 1
        if self.closes:
            raise HostClosed("the host is closed")
        if self.refusal is not None:
            raise self.refusal

    def _ask(self, verb: str, **arguments: Any) -> None:
        self.called()
        with self._lock:
            self.requests.append((verb, arguments))

    def _begin(self, verb: str, result: Any = None, **arguments: Any) -> Operation[Any]:
        self.called()
        operation: Operation[Any] = Operation(verb, timeout=arguments.get("timeout"))
        operation.carried_by(self.stopped.append, _PUMP)
        if verb in self.at_once:
            operation.set_result(result)
        with self._lock:  # the two lists are in the same order
            self.operations.append(operation)
            self.requests.append((verb, arguments))
        return operation


def _info(domid: int, name: str) -> DomainInfo:
    return domain_info(domid, name, UUID(int=domid), DomainState.BLOCKED)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop that watches itself."""
    with asyncio.Runner(debug=True) as runner:
        runner.get_loop().slow_callback_duration = 60
        return runner.run(main)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.001)


async def turns(count: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0.001)


def undone(operation: Operation[Any]) -> None:
    """End an operation as one that was stopped ends."""
    operation.set_exception(OperationCancelled(f"{operation.stopped}", operation=operation.verb))
