"""What concerns the whole of a simulated host, and how scripts for it begin."""

from __future__ import annotations

import builtins
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from pyxen._common.hypervisor_arguments import check_debug_keys, check_hypfs_path, hypfs_text, parameters_of
from pyxen._common.overlays import make_overlay
from pyxen._common.preconditions import check_answers, file_missing, gone
from pyxen._common.scripts import at_once
from pyxen._common.sparing import XENSTORE_DOMID, check_spared, domid_of
from pyxen._common.suspending import alone
from pyxen.backends.base import Backend, DomainRef, LogChunk, operation_on
from pyxen.backends.memory import (
    cpupools,
    flask,
    host_devices,
    hypfs,
    lifecycle,
    save,
    schedulers,
    stats,
)
from pyxen.backends.memory.engine import Script
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.info import host_info
from pyxen.backends.memory.machine import Call, Machine, Subscriber, copied
from pyxen.backends.memory.topology import host_topology, idle_times_ns
from pyxen.backends.memory.xenstore import MemoryStore
from pyxen.backends.store import Store
from pyxen.config import CpuSet, DiskFormat, DomainConfig, PciAddress, SchedulerKind
from pyxen.errors import HostClosed, NodeNotFound, OperationFailed
from pyxen.events import Event
from pyxen.operation import Operation
from pyxen.records.host_devices import PciDevice, UsbDevice
from pyxen.records.hypfs import HypfsEntry, HypfsValue
from pyxen.records.info import DomainInfo, DomainUptime, HostInfo
from pyxen.records.scheduling import CpupoolInfo, CpupoolKey, CpupoolRef, PoolScheduler
from pyxen.records.stats import DomainStats
from pyxen.records.topology import Topology

__all__ = ["MemoryHost"]

T = TypeVar("T")

_NOTED_BEFORE: Final = frozenset(
    {"migrate", "preserve", "reboot", "resume", "save", "shutdown", "soft_reset", "suspend"}
)
"""Verbs that look at the state of the domain first, and are noted then."""


class MemoryHost(Backend):
    """The verbs of a simulated host."""

    name = "memory"

    def __init__(self, machine: Machine) -> None:
        if machine.lost is not None:
            raise copied(machine.lost)
        self._machine = machine
        self._subscribers: list[Subscriber] = []
        self._reached: list[Machine] = []
        self._closed = False
        machine.engine.begin_use()
        self.completer = machine.engine
        self._in_use = [machine.engine]
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
        engine = self._machine.engine
        if engine.is_inherited:
            return  # the thread belongs to the parent process
        with engine.changed:
            self._closed = True
        running = engine.stop("closed", self)
        if not engine.is_me():
            for operation in running:
                operation.exception()
        self._store.close()
        self._end_subscriptions()
        while self._in_use:
            self._in_use.pop().end_use()

    def _reach(self, machine: Machine) -> None:
        """Keep another host going until this connection is closed."""
        with self._lock:
            if machine in self._reached:
                return
            self._reached.append(machine)
        try:
            machine.engine.begin_use()
        except BaseException:
            with self._lock:
                self._reached.remove(machine)
            raise
        self._in_use.append(machine.engine)

    def _end_subscriptions(self) -> None:
        with self._lock:
            subscribers, self._subscribers = self._subscribers, []
            for subscriber in subscribers:
                self._machine.engine.say(subscriber.end)

    def info(self) -> HostInfo:
        with self._lock:
            self._check("info")
            return host_info(self._machine)

    def topology(self) -> Topology:
        with self._lock:
            self._check("topology")
            return host_topology(self._machine)

    def idle_times_ns(self) -> dict[int, int]:
        with self._lock:
            self._check("idle_times_ns")
            return idle_times_ns(self._machine)

    def uptimes(self) -> list[DomainUptime]:
        with self._lock:
            self._check("uptimes")
            return [self._machine.uptime_of(guest) for _, guest in sorted(self._machine.domains.items())]

    def list(self) -> list[DomainInfo]:
        with self._lock:
            self._check("list")
            return [guest.info() for _, guest in sorted(self._machine.domains.items())]

    def find(self, key: str | int | UUID) -> DomainInfo | None:
        with self._lock:
            self._check("list")
            guest = self._machine.found(key)
            return None if guest is None else guest.info()

    def orphans(self) -> tuple[DomainRef, ...]:
        """Return nothing: simulated domains end with this process."""
        self._check("orphans")
        return ()

    def log(self, position: int | None, *, clear: bool) -> LogChunk:
        with self._lock:
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
        with self._lock:
            self._check("flask_enforcing")
            return flask.there(self._machine.flask, "enforcing").enforcing

    def flask_set_enforcing(self, enforcing: bool) -> Operation[None]:
        script = partial(flask.set_enforcing, self._machine.flask, mode=enforcing)
        return self._of_xen("flask_set_enforcing", script)

    def flask_load_policy(self, policy: bytes) -> Operation[None]:
        script = partial(flask.load_policy, self._machine.flask, policy=policy)
        return self._of_xen("flask_load_policy", script)

    def flask_label(self, ssidref: int) -> str:
        with self._lock:
            self._check("flask_label")
            return flask.label(self._machine.flask, ssidref)

    def flask_ssidref(self, label: str) -> int:
        with self._lock:
            self._check("flask_ssidref")
            return flask.ssidref(self._machine.flask, label)

    def saved_config(self, path: str) -> DomainConfig:
        self._check("saved_config", path)
        return save.saved_config(path)

    def make_overlay(self, verb: str, base: str, kind: DiskFormat, path: str) -> None:
        self._check("make_overlay", path)
        if self._machine.files_are_here:
            make_overlay(verb, base, kind, path)
        elif not self._machine.exists(base):
            raise file_missing(Operation(verb), base)

    def remove_overlay(self, path: str) -> None:
        if self._machine.files_are_here:
            os.unlink(path)

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        subscriber = Subscriber(on_event, on_end)
        with self._lock:
            self._check("events")
            self._subscribers = [*(one for one in self._subscribers if one.listens), subscriber]
            self._machine.subscribe(subscriber)
        return lambda: _leave(subscriber)

    def xenstore_domid(self) -> int | None:
        with self._lock, suppress(NodeNotFound):
            return domid_of(self._machine.store_nodes.tree.read(XENSTORE_DOMID))
        return None

    def xenstore(self) -> Store:
        return self._store

    def cpupools(self) -> Sequence[CpupoolInfo]:
        with self._lock:
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
        with self._lock:
            self._check("pool_scheduler")
            return schedulers.pool_scheduler(self._machine, pool)

    def set_pool_scheduler(self, pool: CpupoolKey, scheduler: PoolScheduler) -> Operation[None]:
        return self._on_pool("set_pool_scheduler", pool, partial(schedulers.set_pool_scheduler, given=scheduler))

    def pci_devices(self) -> Sequence[PciDevice]:
        with self._lock:
            self._check("pci_devices")
            return host_devices.pci_devices(self._machine)

    def pci_assignable_add(self, address: PciAddress | str, *, name: str | None, rebind: bool) -> Operation[None]:
        script = partial(host_devices.assignable_add, address=address, name=name, rebind=rebind)
        return self._on_host("pci_assignable_add", str(address), script)

    def pci_assignable_remove(self, key: PciAddress | str, *, rebind: bool) -> Operation[None]:
        script = partial(host_devices.assignable_remove, key=key, rebind=rebind)
        return self._on_host("pci_assignable_remove", str(key), script)

    def usb_devices(self) -> Sequence[UsbDevice]:
        with self._lock:
            self._check("usb_devices")
            return host_devices.usb_devices(self._machine)

    def all_stats(self) -> tuple[DomainStats, ...]:
        with self._lock:
            self._check("stats")
            now = self._machine.now()
            return tuple(stats.stats(guest, now) for _, guest in sorted(self._machine.domains.items()))

    # Internals

    @property
    def _lock(self) -> threading.Condition:
        """The host's lock; in the child of a fork, `HostClosed`."""
        return self._machine.lock

    def _check(self, verb: str, *names: str | int | UUID) -> None:
        """Note a call, and raise an error if the host is closed or lost, or if a test injected a failure."""
        if verb and verb not in _NOTED_BEFORE:
            self._note(verb, *names)
        if self._closed:
            raise HostClosed("the host is closed, or was opened before a fork: open it again")
        with self._machine.lock:
            if self._machine.lost is not None:
                raise copied(self._machine.lost)
            fault = self._machine.fault(verb, *names)
        if isinstance(fault, OperationFailed):
            fault.operation = fault.operation or verb
            if fault.domain is None and names:
                fault.domain = names[0] if isinstance(names[0], int) else str(names[0])
        if fault is not None:
            raise fault

    def _note(self, verb: str, *names: str | int | UUID) -> None:
        """Remember a call, for `FakeHost.calls`. Of several names of a domain the last one, its name, is the best."""
        readable = [name for name in names if not isinstance(name, UUID)] or list(map(str, names))
        with self._machine.lock:
            self._machine.calls.append(Call(verb, readable[-1] if readable else None))

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
        with self._lock:
            found = self._find(domain)
            self._note(verb, domain.domid if found is None else found.name)
            self._check("")
            guest = self._there(verb, domain, found)
            check_spared(verb, guest.domid, xenstore=self.xenstore_domid())
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
        also: Machine | None = None,
    ) -> Operation[T]:
        return self._on_domain(operation_on(domain, verb, timeout), domain, script, timeout, also)

    def _on_domain(
        self,
        operation: Operation[T],
        domain: DomainRef,
        script: Callable[[Operation[T], Guest], Script[T]],
        timeout: float | None,
        also: Machine | None = None,
    ) -> Operation[T]:
        """Run a script for a domain."""
        with self._lock:
            guest = self._guest(operation.verb, domain)
            check_spared(operation.verb, guest.domid, xenstore=self.xenstore_domid())
            return self._run(
                operation, lifecycle.while_there(operation, guest, script(operation, guest)), timeout, also
            )

    @contextmanager
    def _suspending(self, domain: DomainRef, operation: Operation[Any]) -> Iterator[None]:
        """Check that an operation may suspend a guest. It is begun in the block."""
        with ExitStack() as begun:
            with self._lock:
                info = self._glance(operation.verb, domain)
                begun.enter_context(alone((self._machine, domain), operation, domain.domid))
                check_answers(info, operation.verb)
            yield

    def _of_xen(self, verb: str, script: Callable[[Operation[T]], Script[T]]) -> Operation[T]:
        """Run a script for Xen itself."""
        operation: Operation[T] = Operation(verb)
        with self._lock:
            self._check(verb)
            return self._run(operation, script(operation), None)

    def _on_host(
        self, verb: str, subject: str | int | None, script: Callable[[Machine, Operation[T]], Script[T]]
    ) -> Operation[T]:
        self._check(verb, *([] if subject is None else [subject]))
        operation: Operation[T] = Operation(verb, subject)
        return self._run(operation, script(self._machine, operation), None)

    def _on_pool(
        self, verb: str, pool: CpupoolKey, script: Callable[[Machine, Operation[None], CpupoolKey], Script[None]]
    ) -> Operation[None]:
        subject = pool.number if isinstance(pool, CpupoolRef) else pool
        return self._on_host(verb, subject, lambda machine, operation: script(machine, operation, pool))

    def _at_once(self, verb: str, domain: DomainRef, call: Callable[[Guest], T]) -> Operation[T]:
        return self._do(verb, domain, at_once(lambda _, guest: call(guest)))

    def _run(
        self, operation: Operation[T], script: Script[T], timeout: float | None, also: Machine | None = None
    ) -> Operation[T]:
        with self._lock:
            self._check("")
            return self._machine.engine.run(operation, script, self, timeout, None if also is None else also.engine)


def _leave(subscriber: Subscriber) -> None:
    subscriber.listens = False


@at_once
def _record(sent: builtins.list[str], keys: str, operation: Operation[None]) -> None:  # noqa: ARG001 (as all scripts)
    """Record the debug keys that Xen was sent."""
    sent += keys
