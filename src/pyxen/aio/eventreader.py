"""Events, for the tasks that want to read them one after the other, at their own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from pyxen import eventreader as blocking
from pyxen.aio._calls import Calls
from pyxen.aio.docstrings import documented_as
from pyxen.backends.base import Backend
from pyxen.errors import HostClosed
from pyxen.eventreader import EventQueue
from pyxen.events import Event

__all__ = ["EventReader"]


@documented_as(blocking.EventReader)
class EventReader(AsyncIterator[Event]):
    """The events of a host, as `Host.events` gives it; users do not make one. Any number of tasks may read.

    It reads from ``async with`` on, or else from the first event that is asked for: what happens before that is not
    read. ``async for event in reader`` waits for each, and ends when the host or the reader is closed. What had come
    before the host was closed is still read. Letting go of a reader closes it too.
    """

    def __init__(self, backend: Backend, calls: Calls, wanted: Callable[[Event], bool], maxlen: int) -> None:
        self._backend = backend
        self._calls = calls
        self._inbox = _Inbox(EventQueue(wanted, maxlen))
        self._unsubscribe: Callable[[], None] | None = None
        self._subscribing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._subscribe()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if getattr(self, "_unsubscribe", None) is not None:
            self._stop()

    async def __anext__(self) -> Event:
        await self._subscribe()
        event = await self._inbox.take()
        if event is None:
            raise StopAsyncIteration
        return event

    async def get(self, timeout: float | None = None) -> Event | None:
        await self._subscribe()
        try:
            async with asyncio.timeout(timeout):
                event = await self._inbox.take()
        except TimeoutError:
            return None
        if event is None:
            raise HostClosed("events: the host, or this reader of its events, was closed")
        return event

    async def close(self) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._inbox.close()

    async def _subscribe(self) -> None:
        async with self._subscribing:
            if self._unsubscribe is None and not self._inbox.ended:
                inbox, backend = self._inbox, self._backend  # not the reader, which someone may let go of
                self._unsubscribe = await self._calls.acquire(
                    lambda: backend.subscribe(inbox.put, inbox.end), give_back=lambda unsubscribe: unsubscribe()
                )


class _Inbox:
    """A queue whose readers are tasks: what comes on the backend's thread wakes them."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def ended(self) -> bool:
        return self._queue.ended

    def put(self, event: Event) -> None:
        self._queue.put(event)
        self._wake()

    def end(self) -> None:
        self._queue.end()
        self._wake()

    def close(self) -> None:
        self._queue.drop()
        self._wake()

    async def take(self) -> Event | None:
        """Return the next event; None if none will come."""
        while True:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)  # before looking: what comes from now on wakes it
            try:
                ended = self._queue.ended  # before taking: what came before the end is still taken
                event = self._queue.take(0)
                if event is not None or ended:
                    return event
                await waiter
            finally:
                self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in list(self._waiters):
            try:
                waiter.get_loop().call_soon_threadsafe(_set, waiter)
            except RuntimeError:  # its loop is closed
                self._waiters.discard(waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
