"""Events for those who want them: libvirt tells on its loop's thread, a thread of the backend's makes events of it.

On the loop's thread nothing may wait, and libvirt may not be asked.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.changes import KINDS, Changes, Told
from pyxen.backends.libvirt.life import find
from pyxen.backends.libvirt.link import Link
from pyxen.errors import Error, HostClosed
from pyxen.events import Event

__all__ = ["Watching"]

_PATIENCE: Final = 5.0  # seconds that a subscriber has to take what has come when the host is closed
_ACTIVE: Final = number("VIR_CONNECT_LIST_DOMAINS_ACTIVE")


@dataclass(frozen=True, slots=True, eq=False)
class _Subscriber:
    on_event: Callable[[Event], None]
    on_end: Callable[[], None]
    since: int


_Item = tuple[int, Told | list[tuple[DomainRef, str]]]
"""Something that was told, or what there is after a gap; with its number."""


class Watching:
    """Who is told what happens on a host.

    Args:
        wake: Called, on the loop's thread, whenever something has happened to a domain.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._link: Link | None = None
        self._count = itertools.count(1)
        self._last = 0
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._arming = threading.Lock()
        self._subscribers: list[_Subscriber] = []
        self._callbacks: list[int] = []
        self._armed: Connection | None = None
        self._open = True
        self._changes = Changes(self._is_there, self._xml_of)
        self._thread: threading.Thread | None = None

    def subscribe(
        self, link: Link, on_event: Callable[[Event], None], on_end: Callable[[], None]
    ) -> Callable[[], None]:
        """Have functions called with each event from now on, and at the end; returns what ends it."""
        self._link = link
        with self._arming:
            if self._armed is None:
                with link.look() as connection:
                    self._changes.begin(self._arm(connection))
        with self._changed:
            if not self._open:
                link.check()
            subscriber = _Subscriber(on_event, on_end, self._last)
            self._subscribers.append(subscriber)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pyxen-libvirt-events", daemon=True)
                self._thread.start()
        return lambda: self._unsubscribe(subscriber)

    def arm_anew(self, connection: Connection) -> None:
        """Ask a new connection for events, if there was one before; those who read learn of the gap."""
        with self._arming:
            if self._armed is None:
                return
            self._callbacks.clear()  # they went with the old one
            there = self._arm(connection)
        self._put(there)

    def close(self) -> None:
        """Tell what has come already, and then that it is over."""
        with self._arming:
            connection, self._armed = self._armed, None
            callbacks, self._callbacks = self._callbacks, []
            if connection is not None:
                with suppress(VirError):  # the connection is gone, and they with it
                    for callback in callbacks:
                        connection.domainEventDeregisterAny(callback)
        with self._changed:
            self._open = False
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def _arm(self, connection: Connection) -> list[tuple[DomainRef, str]]:
        """Ask for events and return the domains that there are; what happens between the two is told."""
        for kind, event in KINDS.items():
            try:
                self._callbacks.append(connection.domainEventRegisterAny(None, event, self._told, kind))
            except VirError:
                if kind == "lifecycle":
                    raise
        self._armed = connection
        return [
            (DomainRef(domain.ID(), UUID(domain.UUIDString())), domain.name())
            for domain in connection.listAllDomains(_ACTIVE)
            if domain.ID() >= 0
        ]

    def _told(self, _: Connection, domain: VirDomain, *values: Any) -> None:
        """Take note of what libvirt tells; on the loop's thread."""
        *told, kind = values
        self._put(Told(kind, UUID(domain.UUIDString()), domain.ID(), domain.name(), tuple(told), datetime.now(UTC)))
        self._wake()

    def _put(self, what: Told | list[tuple[DomainRef, str]]) -> None:
        with self._changed:
            self._last = next(self._count)
            self._items.append((self._last, what))
            self._changed.notify()

    def _unsubscribe(self, subscriber: _Subscriber) -> None:
        with self._changed:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or not self._open)
                if not self._items:
                    break
                count, what = self._items.popleft()
            events = self._changes.events(what) if isinstance(what, Told) else self._changes.lost(what)
            try:
                self._deliver(count, events)
            except Exception:  # noqa: BLE001  one event that nobody understands must not end all others
                _report()
        with self._changed:
            subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            _call(subscriber.on_end)

    def _deliver(self, count: int, events: Iterable[Event]) -> None:
        for event in events:
            with self._changed:
                subscribers = [each for each in self._subscribers if each.since < count]
            for subscriber in subscribers:
                _call(subscriber.on_event, event)

    def _linked(self) -> Link:
        if self._link is None:
            raise HostClosed("nobody has asked for events yet")
        return self._link

    def _is_there(self, domain: DomainRef) -> bool:
        try:
            with self._linked().look() as connection:
                find(connection, "events", domain)
        except (Error, VirError):
            return False
        return True

    def _xml_of(self, uuid: UUID) -> str | None:
        try:
            with self._linked().look() as connection:
                return connection.lookupByUUIDString(str(uuid)).XMLDesc(0)
        except (Error, VirError):
            return None


def _call(call: Callable[..., None], *arguments: Event) -> None:
    try:
        call(*arguments)
    except Exception:  # noqa: BLE001  what a caller's function raises is the caller's
        _report()


def _report() -> None:
    """Give the exception that is being handled to `threading.excepthook`."""
    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
