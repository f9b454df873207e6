"""Calls on many hosts side by side, each in a task of its own, so that one that hangs holds no other."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeAlias, TypeVar

from pyxen._durations import timeout_of
from pyxen._host_calls import CLOSE_SECONDS, Places, no_answer, still_busy
from pyxen.aio._calls import Calls
from pyxen.aio._lock import TaskLock
from pyxen.aio.connection import open_host
from pyxen.aio.host import Host
from pyxen.errors import HostClosed, OperationCancelled, OperationTimeout
from pyxen.records.answers import Answer, Answers

__all__ = ["HostCall", "HostCalls"]

T = TypeVar("T")

HostCall: TypeAlias = Callable[[Host], Awaitable[T]]
"""What is called with each host."""


class _Place:
    """A host that is opened when it is first needed."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._host: Host | None = None
        self._closed = False
        self._lock = TaskLock()
        self._calls = Calls()
        """Those of the last opening, which may go on after a cancel."""
        self.late: asyncio.Task[Any] | None = None

    async def opened(self) -> Host:
        """Return the host. If opening it failed before, this tries again."""
        async with self._lock:
            if self._closed:
                raise HostClosed("the hosts are closed: open them again")
            if self._host is None:
                if self._calls.opening:
                    raise still_busy()
                self._calls = Calls()
                self._host = await open_host(self._uri, self._calls)
            return self._host

    async def close(self) -> None:
        """Close the host. If it is being opened, wait for that first."""
        self._closed = True
        if self._lock.inherited:
            return
        async with self._lock:
            if self._host is not None:
                await self._host.close()


class HostCalls:
    """The calls of `pyxen.aio.Hosts`."""

    def __init__(self, places: Places) -> None:
        self._at_once, self._timeout = places.at_once, places.timeout
        self._places = {name: _Place(uri) for name, uri in places.uris.items()}

    async def one(self, name: str) -> Host:
        """Open a host, if it is not open."""
        answers = await self._side_by_side({name: self._places[name].opened}, self._timeout)
        return answers[name].value

    async def open(self) -> Answers[Host]:
        """Open all hosts that are not open."""
        return await self._side_by_side({name: place.opened for name, place in self._places.items()}, self._timeout)

    async def each(self, call: HostCall[T], timeout: float | None = None) -> Answers[T]:
        """Make a call on each host, opened if need be."""
        seconds = self._timeout if timeout is None else timeout_of(timeout, operation="hosts")

        def on(place: _Place) -> Callable[[], Coroutine[Any, Any, T]]:
            async def run() -> T:
                return await call(await place.opened())

            return run

        return await self._side_by_side({name: on(place) for name, place in self._places.items()}, seconds)

    async def close(self) -> None:
        """Close all hosts."""
        if sys.is_finalizing():
            return  # each was closed at exit, and there is no loop any more
        for place in self._places.values():
            place.late = None  # the close of a host that hangs waits for its turn, too
        closes = {name: place.close for name, place in self._places.items()}
        closed = await self._side_by_side(closes, CLOSE_SECONDS, at_once=len(closes))
        errors = [error for error in closed.errors.values() if not isinstance(error, OperationTimeout)]
        if errors:
            raise ExceptionGroup("some hosts were not closed in order", errors)

    async def _side_by_side(
        self,
        calls: Mapping[str, Callable[[], Coroutine[Any, Any, T]]],
        seconds: float | None,
        *,
        at_once: int | None = None,
    ) -> Answers[T]:
        turns = asyncio.Semaphore(at_once or self._at_once)

        async def answer(name: str) -> Answer[T]:
            async with turns:
                return await self._answer(self._places[name], calls[name], seconds)

        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(answer(name)) for name in calls}
        return Answers({name: task.result() for name, task in tasks.items()})

    async def _answer(
        self, place: _Place, call: Callable[[], Coroutine[Any, Any, T]], seconds: float | None
    ) -> Answer[T]:
        if place.late is not None and not place.late.done() and not place.late.get_loop().is_closed():
            return Answer(None, still_busy())
        task = asyncio.ensure_future(call())
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # later, nobody else asks for it
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=CLOSE_SECONDS)  # until what it had begun is undone
            raise
        if not task.done():
            task.cancel()
            place.late = task
            return Answer(None, no_answer(seconds))
        if task.cancelled():  # not from here: something that it awaited was
            return Answer(None, OperationCancelled("the call was cancelled by itself, or by what it awaited"))
        error = task.exception()
        if error is None:
            return Answer(task.result())
        if isinstance(error, Exception):
            return Answer(None, error)
        raise error  # such as a SystemExit of the caller's own function
