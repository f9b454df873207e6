"""Readers of events for asyncio."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, TypeVar, cast

from pyxen._durations import timeout_of
from pyxen.aio._calls import Calls
from pyxen.aio.readers._inbox import Inbox, Source
from pyxen.aio.readers._reader import Reader
from pyxen.backends.base import Backend
from pyxen.errors import HostClosed
from pyxen.events import Event
from pyxen.readers.events import EventQueue

__all__ = ["EventReader"]

E_co = TypeVar("E_co", bound=Event, covariant=True)


class EventReader(Reader[E_co]):
    """A reader of a host's events, returned by `Host.events`. Any number of tasks may read from it.

    It collects events from ``async with`` on, or else from the first read; earlier events are not seen. ``async for
    event in reader`` waits for each event, and ends when the host or the reader is closed. Events that arrived before
    the host was closed are still read. A reader that is garbage-collected is closed too.
    """

    _inbox: Inbox[Event]

    def __init__(
        self,
        backend: Backend,
        calls: Calls,
        wanted: Callable[[Event], bool],
        maxlen: int,
        handle_of: Callable[[Event], Any],
    ) -> None:
        super().__init__(Inbox(EventQueue(wanted, maxlen)))
        self._handle_of = handle_of
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<EventReader: {self._inbox.status()}>"

    async def __anext__(self) -> E_co:
        await self._begin()
        event = await self._taken(self._inbox, None)
        if event is None:
            raise StopAsyncIteration
        return self._given(event)

    async def get(self, timeout: float | None = None) -> E_co | None:
        """Return the next event, or None if no event arrives in time.

        Args:
            timeout: Seconds to wait; 0 returns only an event that has already arrived. None waits forever.

        Raises:
            HostClosed: The host or this reader was closed, and nothing is left to read.
        """
        seconds = timeout_of(timeout, operation="events")
        await self._begin()
        try:
            event = await self._taken(self._inbox, seconds)
        except TimeoutError:
            return None
        if event is None:
            raise HostClosed("events: the host, or this reader of its events, was closed")
        return self._given(event)

    async def close(self) -> None:
        """Stop reading and wake everything that waits for an event. Calling it again does nothing."""
        await super().close()

    def _given(self, event: Event) -> E_co:
        """Return a copy of an event with its handle. Readers of other hosts share the original."""
        return cast("E_co", copy(event).attach(self._handle_of))

    async def _started(self) -> Callable[[], object]:
        source, backend = Source(self._inbox), self._backend  # not `self`, so that the reader can be garbage-collected
        try:
            return await self._calls.acquire(
                lambda: backend.subscribe(source.put, source.end), give_back=lambda unsubscribe: unsubscribe()
            )
        except BaseException:
            source.shut()
            raise
