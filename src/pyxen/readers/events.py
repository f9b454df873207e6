"""Readers of events, and the queues in which events wait to be read."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar, cast, get_origin
from uuid import UUID

from pyxen._durations import timeout_of
from pyxen._printable import shown_number
from pyxen.backends.base import Backend
from pyxen.domains import DomainKey
from pyxen.errors import HostClosed, InvalidArgument
from pyxen.events import (
    DomainDefined,
    DomainPaused,
    DomainRenamed,
    DomainUndefined,
    DomainUnpaused,
    Event,
    EventsLost,
)
from pyxen.features import Feature, lacking
from pyxen.readers._reader import Reader
from pyxen.readers._unread import Unread

E_co = TypeVar("E_co", bound=Event, covariant=True)

__all__ = ["EventQueue", "EventReader", "check_kinds", "event_filter"]


_NOT_EVERYWHERE: Final = {
    DomainPaused: Feature.PAUSE_EVENTS,
    DomainUnpaused: Feature.PAUSE_EVENTS,
    DomainDefined: Feature.DEFINE,
    DomainUndefined: Feature.DEFINE,
}
"""Kinds of events that not every backend announces."""

_INSTEAD: Final = {
    Feature.PAUSE_EVENTS: "Xen announces neither pause nor unpause, and libvirt does; Host.list shows the state",
    Feature.DEFINE: "libvirt's URIs and memory:/// store configurations",
}


class Handle(Protocol):
    """The handle of a domain, blocking or asyncio."""

    @property
    def domid(self) -> int: ...
    @property
    def uuid(self) -> UUID: ...


class EventReader(Reader[E_co]):
    """A reader of a host's events, returned by `Host.events`. Any number of threads may read from it.

    ``for event in reader`` waits for each event, and ends when the host or the reader is closed. Events that arrived
    before the host was closed are still read. A reader that is garbage-collected is closed too.
    """

    def __init__(
        self,
        backend: Backend,
        wanted: Callable[[Event], bool],
        maxlen: int,
        handle_of: Callable[[Any], Any] | None = None,
    ) -> None:
        self._queue = EventQueue(wanted, maxlen, backend.completer)
        self._handle_of = handle_of
        self._stop = backend.subscribe(self._queue.put, self._queue.end)

    def __repr__(self) -> str:
        return f"<EventReader: {self._queue.status()}>"

    def __next__(self) -> E_co:
        event = self._queue.take(None)
        if event is None:
            raise StopIteration
        return self._given(event)

    def get(self, timeout: float | None = None) -> E_co | None:
        """Return the next event, or None if no event arrives in time.

        Args:
            timeout: Seconds to wait; 0 returns only an event that has already arrived. None waits forever.

        Raises:
            HostClosed: The host or this reader was closed, and nothing is left to read.
        """
        event = self._queue.take(timeout_of(timeout, operation="events"))
        if event is None and self._queue.ended:
            raise HostClosed("events: the host, or this reader of its events, was closed")
        return None if event is None else self._given(event)

    def _given(self, event: Event) -> E_co:
        """Return a copy of an event with its handle. Readers of other hosts share the original."""
        return cast("E_co", event if self._handle_of is None else copy(event).attach(self._handle_of))

    def close(self) -> None:
        """Stop reading and wake everything that waits for an event. Calling it again does nothing."""
        # First: `stop` may wait for the thread that brings events. That one waits for the lock of the queue, which this
        # thread has if this is a signal handler that interrupts its reading; but not of a queue that has ended.
        self._queue.drop()
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()


class EventQueue(Unread[Event]):
    """A bounded queue of unread events that counts those it has to drop. Both APIs use it."""

    def __init__(self, wanted: Callable[[Event], bool], maxlen: int, completer: object = None) -> None:
        super().__init__(maxlen, "events", completer)
        self._wanted = wanted

    def put(self, item: Event) -> None:
        """Add an event if it is wanted."""
        if isinstance(item, EventsLost) or self._wanted(item):
            super().put(item)

    def _lose(self, item: Event) -> None:
        count = item.count if isinstance(item, EventsLost) else 1
        last = self._items[-1] if self._items else None
        if isinstance(last, EventsLost):
            self._items.pop()
            count = None if count is None or last.count is None else count + last.count
        self._items.append(EventsLost(time=datetime.now(UTC), count=count))


def check_kinds(backend: Backend, kinds: tuple[type[Event], ...]) -> None:
    """Check that a backend announces the kinds of events that a reader asks for; see `Host.events`.

    Raises:
        UnsupportedFeature: It does not announce one of them.
    """
    for kind in map(_class_of, kinds):
        feature = _NOT_EVERYWHERE.get(kind)
        if feature is not None and feature not in backend.features:
            raise lacking(feature, backend.name, _INSTEAD[feature])


def event_filter(kinds: tuple[type[Event], ...], domain: Handle | DomainKey | None) -> Callable[[Event], bool]:
    """Return a predicate that says whether an event is wanted; see `Host.events`."""
    for kind in kinds:
        if not _is_kind(_class_of(kind)):
            message = f"{shown_number(kind)} is not a kind of event: give classes, such as pyxen.DomainCreated"
            raise InvalidArgument(message, operation="events")
    wanted = tuple(map(_class_of, kinds)) or (Event,)
    return lambda event: isinstance(event, wanted) and (domain is None or _is_about(event, domain))


def _class_of(kind: type[Event]) -> type[Event]:
    """Return the class, which may have been given with the type of its handles: ``DomainCreated[Domain]``."""
    return get_origin(kind) or kind


def _is_kind(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Event)


def _is_about(event: Event, domain: Handle | DomainKey) -> bool:
    if isinstance(domain, int):
        return event.domid == domain
    if isinstance(domain, UUID):
        return event.uuid == domain
    if not isinstance(domain, str):
        return (event.domid, event.uuid) == (domain.domid, domain.uuid)
    renamed_from = event.old if isinstance(event, DomainRenamed) else None
    return domain in {event.name, renamed_from, str(event.uuid)}
