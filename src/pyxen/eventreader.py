"""Readers of events, and the queues in which events wait to be read."""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from copy import copy
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast
from uuid import UUID

from pyxen._durations import bounded, timeout_of
from pyxen.backends.base import Backend
from pyxen.domains import DomainKey
from pyxen.errors import HostClosed, InvalidArgument
from pyxen.events import DomainRenamed, Event, EventsLost

E_co = TypeVar("E_co", bound=Event, covariant=True)

__all__ = ["EventQueue", "EventReader", "event_filter"]


class Handle(Protocol):
    """The handle of a domain, blocking or asyncio."""

    @property
    def domid(self) -> int: ...
    @property
    def uuid(self) -> UUID: ...


class EventReader(Iterator[E_co]):
    """A reader of a host's events, returned by `Host.events`. Any number of threads may read from it.

    ``for event in reader`` waits for each event, and ends when the host or the reader is closed. Events that arrived
    before the host was closed are still read. A reader that is garbage-collected is closed too.
    """

    _open = False

    def __init__(
        self,
        backend: Backend,
        wanted: Callable[[Event], bool],
        maxlen: int,
        handle_of: Callable[[Any], Any] | None = None,
    ) -> None:
        self._queue = EventQueue(wanted, maxlen)
        self._handle_of = handle_of
        self._unsubscribe = backend.subscribe(self._queue.put, self._queue.end)
        self._open = True

    def __repr__(self) -> str:
        return f"<EventReader: {self._queue.status()}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._open and not sys.is_finalizing():
            _thread.start_new_thread(self._unsubscribe, ())  # it takes locks, which this thread may already hold

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
        self._open = False
        self._unsubscribe()
        self._queue.drop()


class EventQueue:
    """A bounded queue of unread events that counts those it has to drop. Both APIs use it."""

    def __init__(self, wanted: Callable[[Event], bool], maxlen: int) -> None:
        if maxlen < 1:
            raise InvalidArgument(f"maxlen={maxlen}: a reader needs room for at least 1 event", operation="events")
        self._wanted = wanted
        self._maxlen = maxlen
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._pid = os.getpid()
        self.ended = False

    def put(self, event: Event) -> None:
        """Add an event if it is wanted."""
        if not isinstance(event, EventsLost) and not self._wanted(event):
            return
        with self._changed:
            if len(self._events) < self._maxlen:
                self._events.append(event)
            else:
                self._lose(event)
            self._changed.notify()

    def _lose(self, event: Event) -> None:
        """Record the loss in the place where the event would have been."""
        count = event.count if isinstance(event, EventsLost) else 1
        last = self._events[-1] if self._events else None
        if isinstance(last, EventsLost):
            self._events.pop()
            count = None if count is None or last.count is None else count + last.count
        self._events.append(EventsLost(time=datetime.now(UTC), count=count))

    def end(self) -> None:
        """Mark the queue as ended: no more events will arrive."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def drop(self) -> None:
        """End the queue and discard unread events."""
        if os.getpid() == self._pid:  # in a forked child, the lock may be held by a thread that does not exist there
            with self._changed:
                self._events.clear()
                self.end()

    def status(self) -> str:
        """Describe whether the queue is open, and how many events wait to be read."""
        return f"{'closed' if self.ended else 'open'}, {len(self._events)} to read"

    def take(self, timeout: float | None) -> Event | None:
        """Return the next event, or None if no event arrived in time or the queue has ended."""
        if os.getpid() != self._pid:
            raise HostClosed("events: the host was opened before a fork: open it again")
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._events and not self.ended:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(bounded(left))
            return self._events.popleft() if self._events else None


def event_filter(kinds: tuple[type[Event], ...], domain: Handle | DomainKey | None) -> Callable[[Event], bool]:
    """Return a predicate that says whether an event is wanted; see `Host.events`."""
    for kind in kinds:
        if not _is_kind(kind):
            message = f"{kind!r} is not a kind of event: give classes, such as pyxen.DomainCreated"
            raise InvalidArgument(message, operation="events")
    wanted = kinds or (Event,)
    return lambda event: isinstance(event, wanted) and (domain is None or _is_about(event, domain))


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
