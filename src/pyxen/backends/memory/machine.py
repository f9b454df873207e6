"""A simulated host: its memory and CPUs, its domains, and the subscribers to their events."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Final
from uuid import UUID

from pyxen._common.arguments import check_is, check_number
from pyxen._common.cpupool_preconditions import FIRST_POOL
from pyxen.backends.memory.clock import Clock, RealClock
from pyxen.backends.memory.console import close_all
from pyxen.backends.memory.device_records import device_keys
from pyxen.backends.memory.durations import QUICK, Timing
from pyxen.backends.memory.engine import LOST, Engine, failed
from pyxen.backends.memory.flask import Flask
from pyxen.backends.memory.guest_nodes import GuestNodes
from pyxen.backends.memory.guests import Guest, about
from pyxen.backends.memory.hypfs import first_values
from pyxen.backends.memory.inventory import Inventory
from pyxen.backends.memory.log import Log
from pyxen.backends.memory.pools import BOOT_SCHEDULER, Pool
from pyxen.config import DomainConfig, DomainType
from pyxen.errors import InvalidArgument
from pyxen.events import (
    DeviceAdded,
    DeviceRemoved,
    DomainCreated,
    DomainDestroyed,
    DomainRenamed,
    DomainShutdown,
    Event,
)
from pyxen.operation import Operation
from pyxen.records.info import DomainUptime
from pyxen.units import KIB_PER_MIB

__all__ = ["DOM0_MIB", "Call", "Fault", "Kept", "Machine", "Subscriber", "about", "copied"]

DOM0_MIB: Final = 512
RANDOM_DOMID: Final = 0xFFFFFFFE
_MOST_DOMID: Final = 0x7FEF
_NIL: Final = UUID(int=0)
_MOST_CALLS: Final = 100_000
"""Calls that a host remembers."""

_RECENT: Final = 60.0
"""Seconds during which a domid is not reused, as in libxl."""


@dataclass(slots=True)
class Subscriber:
    """A subscriber to events."""

    on_event: Callable[[Event], None]
    on_end: Callable[[], None]
    listens: bool = True

    def hear(self, event: Event) -> None:
        """Deliver an event."""
        if self.listens:
            self.on_event(event)

    def end(self) -> None:
        """Notify the subscriber that no more events will come."""
        if self.listens:
            self.listens = False
            self.on_end()


@dataclass(slots=True)
class Kept:
    """A defined domain."""

    config: DomainConfig
    uuid: UUID
    autostart: bool = False


@dataclass(slots=True)
class Fault:
    """A failure injected by a test."""

    verb: str
    error: Exception
    domain: str | None
    times: int
    used: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a program has made, as `FakeHost.calls` returns it."""

    verb: str
    """A method of `Host` or `Domain`, by the names that `FakeHost.fail` takes."""
    subject: str | int | None
    """The domain's name, or what else the call is about: the path of a file, the name of a CPU pool. None for the host.

    A domain that is gone has its domid here.
    """


class Machine:
    """A simulated host, which any number of backends can connect to.

    Args:
        uri: Its URI.
        memory: Its memory, in MiB.
        cpus: Its number of CPUs.
        nodes: Its number of NUMA nodes, among which CPUs and memory are divided.
        seed: The seed for everything random, such as uuids and MAC addresses.
        clock: Its clock.
        timing: The durations of its actions.
        xen: The Xen release that it reports.

    Raises:
        InvalidArgument: The host has too little memory, too few CPUs, more nodes than CPUs, or no valid release.
    """

    def __init__(
        self,
        uri: str,
        *,
        memory: int = 4096,
        cpus: int = 4,
        nodes: int = 1,
        seed: int = 0,
        clock: Clock | None = None,
        timing: Timing = QUICK,
        xen: str = "4.20.0",
    ) -> None:
        for number in (memory, cpus, nodes, seed):
            check_number(number, "connect")
        check_is(str, xen, "connect", ", as xen: a version such as '4.20.0'")
        if memory < DOM0_MIB or cpus < 1:
            message = f"memory={memory}, cpus={cpus}: a host needs at least {DOM0_MIB} MiB, for its dom0, and one CPU"
            raise InvalidArgument(message, operation="connect")
        if not 1 <= nodes <= cpus:
            message = f"nodes={nodes}, cpus={cpus}: a host has at least one node, and each has at least one CPU"
            raise InvalidArgument(message, operation="connect")
        if not re.match(r"\d+\.\d+", xen):
            raise InvalidArgument(f"xen={xen!r} is not a version of Xen such as '4.20.0'", operation="connect")
        self.uri = uri
        self.memory_kib = memory * KIB_PER_MIB
        self.cpus = cpus
        self.nodes = nodes
        self.xen = xen
        self.random = Random(seed)  # noqa: S311 (reproducible on purpose)
        self.clock = clock or RealClock()
        self.booted_at = self.clock.now()
        self._epoch = datetime.now(UTC) - timedelta(seconds=self.booted_at)
        self.timing = timing
        self.engine = Engine(self.clock)
        self.domains: dict[int, Guest] = {}
        self.kept: dict[UUID, Kept] = {}
        self.pools = self._first_pools()
        self.devices = Inventory()
        self.faults: list[Fault] = []
        self.awaited: dict[Operation[Any], int] = {}
        """The KiB that creates wait for, which dom0 is to give up, in the order in which they were begun."""
        self.calls: deque[Call] = deque(maxlen=_MOST_CALLS)
        self.log = Log()
        self.debug_keys: list[str] = []
        self.hypfs = first_values(xen)
        self.flask: Flask | None = None
        self.exists: Callable[[str], bool] = lambda _: True
        self.files_are_here = False
        self.bridges: frozenset[str] | None = None
        self.lost: Exception | None = None
        self._subscribers: list[Subscriber] = []
        self._last_domid = 0
        self._left: dict[int, float] = {}
        self.store_nodes = GuestNodes(
            self.engine, self.domains, self.tell, lambda guest: self._on_the_wall(guest.started_at)
        )
        self._make_dom0()

    @property
    def lock(self) -> threading.Condition:
        """The lock for all access to the host's state; see `Engine.changed`."""
        return self.engine.changed

    def _first_pools(self) -> dict[int, Pool]:
        """Return the CPU pools that Xen starts with."""
        return {FIRST_POOL: Pool(FIRST_POOL, "Pool-0", None, BOOT_SCHEDULER, set(range(self.cpus)))}

    def lose_pools(self) -> None:
        """Have the CPU pools that Xen starts with, as after a restart of the host."""
        self.pools = self._first_pools()

    def _make_dom0(self) -> None:
        config = DomainConfig("Domain-0", uuid=_NIL, memory=DOM0_MIB, vcpus=self.cpus, type=DomainType.PV)
        dom0 = Guest(self, 0, _NIL, config, self.timing)
        dom0.schedule_as(BOOT_SCHEDULER)
        dom0.building = False
        dom0.booted = True
        dom0.online = self.cpus
        dom0.set_paused(False)
        self.domains[0] = dom0
        self.store_nodes.show(dom0)

    # For guests

    def now(self) -> float:
        """Return the current time."""
        return self.clock.now()

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Schedule a call for a time."""
        self.engine.at(time, call)

    def free_kib(self) -> int:
        """Return the free memory of the host."""
        return self.memory_kib - sum(_taken_kib(guest) for guest in self.domains.values())

    def tell_end(self, guest: Guest) -> None:
        """Send the event that a guest has stopped."""
        if guest.reason is not None and not guest.building:
            self.store_nodes.release()
            self.tell(DomainShutdown(**about(guest), reason=guest.reason))

    def note(self, guest: Guest) -> None:
        """Show in xenstore what has changed about a guest."""
        if self.domains.get(guest.domid) is guest:
            self.store_nodes.show(guest)

    # Queries

    def uptime(self) -> float:
        """Return the seconds since the host was booted."""
        return self.now() - self.booted_at

    def uptime_of(self, guest: Guest) -> DomainUptime:
        """Return how long a domain has existed, in the host's own time."""
        started_at = guest.started_at if guest.domid else self.booted_at
        return DomainUptime(
            domid=guest.domid,
            name=guest.name,
            uuid=guest.uuid,
            start_time=self._on_the_wall(started_at),
            uptime_s=self.now() - started_at,
        )

    def moment(self) -> datetime:
        """Return the current time as a clock on the wall shows it."""
        return self._on_the_wall(self.now())

    def _on_the_wall(self, time: float) -> datetime:
        try:
            return self._epoch + timedelta(seconds=time)
        except OverflowError:  # virtual time goes on after the calendar has ended
            return datetime.max.replace(tzinfo=UTC)

    def found(self, key: str | int | UUID) -> Guest | None:
        """Return the domain with a name, a domid or a uuid; None if there is no such domain."""
        if isinstance(key, int):
            return self.domains.get(key)
        if isinstance(key, str):
            return self.named(key)
        return next((guest for guest in self.domains.values() if guest.uuid == key), None)

    def named(self, name: str) -> Guest | None:
        """Return the domain with a name."""
        return next((guest for guest in self.domains.values() if guest.name == name), None)

    def is_there(self, key: str | int) -> bool:
        """Tell whether there is a domain with this name or domid; a name that is a number is a domid, as for libxl."""
        return int(key) in self.domains if isinstance(key, int) or key.isdecimal() else self.named(key) is not None

    def of_uuid(self, uuid: UUID) -> Guest | None:
        """Return the domain with a uuid."""
        return next((guest for guest in self.domains.values() if guest.uuid == uuid and guest.domid), None)

    # Changes

    def next_domid(self, operation: Operation[Any], wanted: int | None) -> int:
        """Return the domid for a new domain; recent domids are not reused."""
        if wanted == RANDOM_DOMID:
            wanted = self.random.choice([domid for domid in range(1, _MOST_DOMID) if domid not in self.domains])
        if wanted is not None and wanted <= _MOST_DOMID:  # Xen chooses another for one that is out of range
            if wanted in self.domains:
                raise failed(operation, f"Domain {wanted}:domain creation fail: File exists")
            if self._is_recent(wanted):
                operation.domid = wanted
                raise failed(operation, f"Domain {wanted}:domain id recently used: Operation not supported")
            return wanted
        while True:
            self._last_domid = self._last_domid % _MOST_DOMID + 1
            if self._last_domid not in self.domains and not self._is_recent(self._last_domid):
                return self._last_domid

    def _is_recent(self, domid: int) -> bool:
        return domid in self._left and self.now() < self._left[domid] + _RECENT

    def leave(self, domid: int) -> None:
        """Keep a domid back for a while, as libxl does when a domain is gone, or was not built."""
        self._left[domid] = self.now()

    def add(self, guest: Guest) -> None:
        """Add a domain that is still being built."""
        self.domains[guest.domid] = guest
        self.store_nodes.show(guest)

    def introduce(self, guest: Guest) -> None:
        """Send the events of a domain whose build is complete."""
        guest.building = False
        self.store_nodes.show(guest)
        self.store_nodes.introduce()
        self.tell(DomainCreated(**about(guest)))
        for (kind, devid), backend in device_keys(guest).items():
            self.tell(DeviceAdded(**about(guest), kind=kind, devid=devid, backend=backend))
        if guest.reason is not None:
            self.tell_end(guest)

    def remove(self, guest: Guest) -> None:
        """Remove a domain."""
        if self.domains.get(guest.domid) is not guest:
            return
        del self.domains[guest.domid]
        self.leave(guest.domid)
        guest.drop()
        self.store_nodes.forget(guest)
        self.store_nodes.release()
        if not guest.building:
            for (kind, devid), backend in device_keys(guest).items():
                self.tell(DeviceRemoved(**about(guest), kind=kind, devid=devid, backend=backend))
            self.tell(DomainDestroyed(**about(guest)))

    def change_devices(self, guest: Guest, config: DomainConfig) -> None:
        """Change the configuration of a domain, and send the events of added and removed devices."""
        before = device_keys(guest)
        guest.config = config
        after = device_keys(guest)
        self.store_nodes.show(guest)
        for (kind, devid), backend in before.items():
            if (kind, devid) not in after:
                self.tell(DeviceRemoved(**about(guest), kind=kind, devid=devid, backend=backend))
        for (kind, devid), backend in after.items():
            if (kind, devid) not in before:
                self.tell(DeviceAdded(**about(guest), kind=kind, devid=devid, backend=backend))

    def rename(self, guest: Guest, name: str) -> None:
        """Give a domain another name, and send the event."""
        old = guest.name
        guest.config = guest.config.replace(name=name)
        self.note(guest)
        if name != old:
            self.tell(DomainRenamed(**about(guest), old=old, new=name))

    def autostarting(self) -> Iterable[Kept]:
        """Return the defined domains that start with the host."""
        return [kept for kept in self.kept.values() if kept.autostart]

    # Events

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a subscriber to all events from now on."""
        self._subscribers.append(subscriber)

    def tell(self, event: Event) -> None:
        """Send an event to all subscribers."""
        self._subscribers = [one for one in self._subscribers if one.listens]
        for subscriber in self._subscribers:
            self.engine.say(partial(subscriber.hear, event))

    def go_away(self) -> None:
        """Stop all operations, and end all subscriptions."""
        self.engine.stop(LOST)
        subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            self.engine.say(subscriber.end)
        self.store_nodes.watches.end()

    def hang_up(self) -> None:
        """Close all consoles; their readers see the end of the stream. In the child of a fork they are the parent's."""
        if self.engine.is_inherited:
            return
        with self.lock:
            for guest in self.domains.values():
                close_all(guest)

    def fault(self, verb: str, *names: object) -> Exception | None:
        """Return the error that a test injected for a call; None if there is none."""
        for fault in self.faults:
            if fault.verb == verb and (fault.domain is None or fault.domain in map(str, names)):
                fault.times -= 1
                fault.used += 1
                if not fault.times:
                    self.faults.remove(fault)
                return copied(fault.error)
        return None


def copied(error: Exception) -> Exception:
    """Return a new exception like the one that a test gave, to which a call may add what it is about.

    One that cannot be copied, because its class takes other arguments than it keeps, is returned itself.
    """
    try:
        made = copy(error)
    except Exception:  # noqa: BLE001 (whatever the class of a test does)
        return error.with_traceback(None)
    made.__cause__, made.__suppress_context__ = error.__cause__, error.__suppress_context__
    return made


def _taken_kib(guest: Guest) -> int:
    """Return the memory of the host that a domain takes."""
    return guest.memory_kib + (guest.paging_kib if guest.domid else 0)
