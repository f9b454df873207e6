"""Delivery of events to subscribers: libvirt calls back on its loop's thread, and a backend thread makes the events.

Code on the loop's thread must not block or call libvirt.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pyxen._common.shield import shielded
from pyxen._common.shortage import shortage
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.connection import Connected
from pyxen.backends.libvirt.error_map import broke_the_link
from pyxen.backends.libvirt.event_diff import KINDS, EventDiff, LibvirtEvent
from pyxen.backends.libvirt.lifecycle import find
from pyxen.backends.libvirt.link import Link
from pyxen.errors import DomainNotFound, Error, HostClosed, OperationFailed
from pyxen.events import DomainCreated, DomainDestroyed, Event

__all__ = ["Watcher"]

_TO_TAKE: Final = 5.0  # seconds for subscribers to take pending events when the host is closed
_ACTIVE: Final = number("VIR_CONNECT_LIST_DOMAINS_ACTIVE")


_There = list[tuple[DomainRef, str]]
"""Domains and their names."""


class _Subscriber:
    """A subscriber to events from a given moment on. libvirt may report things late that happened before it.

    Events before `begin` are held until then. After it, the creation of a domain that existed at that moment is
    dropped, and so is every event of a domain that was already gone.
    """

    def __init__(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> None:
        self.on_end = on_end
        self._on_event = on_event
        self._lock = threading.Lock()
        self._there: set[DomainRef] | None = None
        self._held: list[Event] = []

    def begin(self, there: _There) -> None:
        """Start the delivery, given the domains that exist at this moment."""
        with self._lock:
            self._there = {ref for ref, _ in there}
            held, self._held = self._held, []
            for event in held:
                self._tell(event, self._there)

    def tell(self, event: Event, there: _There | None) -> None:
        """Deliver an event; after a gap, `there` has the domains that exist now."""
        with self._lock:
            if self._there is None:
                self._held.append(event)
                return
            if there is not None:
                self._there = {ref for ref, _ in there}
            self._tell(event, self._there)

    def _tell(self, event: Event, there: set[DomainRef]) -> None:
        if event.domid is not None and event.uuid is not None:
            ref = DomainRef(event.domid, event.uuid)
            if (ref in there) == isinstance(event, DomainCreated):
                return
            if isinstance(event, DomainCreated):
                there.add(ref)
            elif isinstance(event, DomainDestroyed):
                there.discard(ref)
        shielded(self._on_event, event)


class Watcher:
    """The subscribers to a host's events.

    Args:
        wake: Called on the loop's thread whenever something has happened to a domain.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._link: Link | None = None
        self._items: deque[LibvirtEvent | _There] = deque()
        self._changed = threading.Condition()
        self._arming = threading.Lock()
        self._subscribers: list[_Subscriber] = []
        self._armed = False
        self._open = True
        self._changes = EventDiff(self._is_there, self._xml_of)
        self._thread: threading.Thread | None = None

    def subscribe(
        self, link: Link, on_event: Callable[[Event], None], on_end: Callable[[], None]
    ) -> Callable[[], None]:
        """Add a subscriber to the events from now on, and return a function that removes it."""
        link.check()
        self._link = link
        with self._arming:
            if not self._armed:
                with link.listening() as connected:
                    self._changes.begin(self._arm(connected))
        subscriber = _Subscriber(on_event, on_end)
        with self._changed:
            if not self._open:
                link.check()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="pyxen-libvirt-events", daemon=True)
                with shortage(OperationFailed, "events: cannot start a thread"):
                    thread.start()
                self._thread = thread
            self._subscribers.append(subscriber)
        try:
            with link.look() as connection:
                there = _there(connection)
            subscriber.begin(there)  # calls back, which may take long
        except BaseException:
            self._unsubscribe(subscriber)
            raise
        return lambda: self._unsubscribe(subscriber)

    def rearm(self, connected: Connected) -> None:
        """Subscribe again on a new connection, if there were subscribers; report the gap to them."""
        with self._arming:
            if not self._armed:
                return
            there = self._arm(connected)
        self._put(there)

    def close(self) -> None:
        """Deliver the pending events, then end all subscriptions. This does not contact the daemon."""
        with self._changed:
            self._open = False
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_TO_TAKE)

    def _arm(self, connected: Connected) -> _There:
        """Register the callbacks, then return the domains that exist. Changes between the two are reported."""
        for kind, event in KINDS.items():
            try:
                connected.listen(event, self._on_callback, kind)
            except VirError as error:
                if kind == "lifecycle" or broke_the_link(error):
                    raise
        with connected.use() as connection:
            there = _there(connection)
        self._armed = True
        return there

    def _on_callback(self, _: Connection, domain: VirDomain, *values: Any) -> None:
        """Queue a callback of libvirt; called on the loop's thread."""
        *arguments, kind = values
        self._put(
            LibvirtEvent(
                kind, UUID(domain.UUIDString()), domain.ID(), domain.name(), tuple(arguments), datetime.now(UTC)
            )
        )
        self._wake()

    def _put(self, what: LibvirtEvent | _There) -> None:
        with self._changed:
            if self._open:
                self._items.append(what)
                self._changed.notify()

    def _unsubscribe(self, subscriber: _Subscriber) -> None:
        if not self._linked().is_here():
            return
        with self._changed:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or not self._open)
                if not self._items:
                    break
                what = self._items.popleft()
            shielded(self._deliver, what)  # one bad event must not end the delivery of others
        with self._changed:
            subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            shielded(subscriber.on_end)

    def _deliver(self, what: LibvirtEvent | _There) -> None:
        events = self._changes.events(what) if isinstance(what, LibvirtEvent) else self._changes.lost(what)
        for event in events:
            with self._changed:
                subscribers = list(self._subscribers)
            for subscriber in subscribers:
                subscriber.tell(event, None if isinstance(what, LibvirtEvent) else what)

    def _linked(self) -> Link:
        if self._link is None:
            raise HostClosed("there are no subscribers to events yet")
        return self._link

    def _is_there(self, domain: DomainRef) -> bool:
        try:
            with self._linked().look() as connection:
                find(connection, "events", domain)
        except DomainNotFound:
            return False
        except (Error, VirError):  # not known: the link broke, and readers get an EventsLost once it is back
            return True
        return True

    def _xml_of(self, uuid: UUID) -> str | None:
        try:
            with self._linked().look() as connection:
                return connection.lookupByUUIDString(str(uuid)).XMLDesc(0)
        except (Error, VirError):
            return None


def _there(connection: Connection) -> _There:
    return [
        (DomainRef(domain.ID(), UUID(domain.UUIDString())), domain.name())
        for domain in connection.listAllDomains(_ACTIVE)
        if domain.ID() >= 0
    ]
