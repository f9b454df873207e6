"""What readers for asyncio have in common: how they begin and end."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from pyxen._local import Local
from pyxen.aio._lock import TaskLock
from pyxen.aio.readers._inbox import Inbox
from pyxen.readers._reader import Deadline

__all__ = ["Reader"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Reader(Local, AsyncIterator[T_co]):
    """A reader that begins with ``async with``, or with the first read. Its end, or garbage collection, closes it.

    Args:
        inbox: What it reads from. An inbox that has ended says that the reader was closed, or has nothing more to read.
        deadline: That of loops over it, which counts from when it reads; None if they have none.
    """

    _stop: Callable[[], object] | None = None
    """What ends the reading; None before it begins and after it has ended."""

    def __init__(self, inbox: Inbox[Any], deadline: Deadline | None = None) -> None:
        self._inbox = inbox
        self._deadline = deadline
        self._beginning = TaskLock()

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._stop is not None and not sys.is_finalizing():
            with contextlib.suppress(RuntimeError):  # there is no thread for it: it ends with its host
                _thread.start_new_thread(self._stop, ())  # it takes locks, which this thread may already hold

    async def close(self) -> None:
        """Stop reading and wake everything that waits. Calling it again does nothing."""
        self._inbox.close()
        if self._beginning.inherited:
            await self._end()
            return
        async with self._beginning:  # what a task is about to get is given back, too
            await self._end()

    async def _begin(self) -> None:
        """Begin to read, if that has not been done. If the reader is closed meanwhile, it has ended after this."""
        async with self._beginning:
            if self._stop is None and not self._is_over():
                self._stop = await self._started()
                if self._deadline is not None:
                    self._deadline.begin()
                if self._is_over():
                    await self._end()

    async def _taken(self, inbox: Inbox[T], seconds: float | None) -> T | None:
        """Return the next item of the inbox, or None if there will be none.

        Raises:
            TimeoutError: None arrived in time.
        """
        # A source that does not stop must not stop the loop. Whoever is cancelled here has taken nothing yet.
        await asyncio.sleep(0)
        return await inbox.take(seconds)

    async def _next_before(self, inbox: Inbox[T], deadline: Deadline) -> T | None:
        """Return the next item for a loop that has a deadline, or None if there will be none.

        Raises:
            OperationTimeout: The deadline has passed, and what had come by then was given.
        """
        await self._begin()
        with contextlib.suppress(TimeoutError):
            if deadline.left() != 0:
                return await self._taken(inbox, deadline.left())
        with contextlib.suppress(TimeoutError):  # another task may take it
            if inbox.ended or deadline.may_take(inbox.unread):
                return await self._taken(inbox, 0)
        raise deadline.passed()

    def _is_over(self) -> bool:
        return self._inbox.ended

    async def _started(self) -> Callable[[], object] | None:
        """Begin to read, and return what ends it; None if it has ended already."""
        raise NotImplementedError

    async def _end(self) -> None:
        """End the reading, if it has begun."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()
