"""Readers of Xen's log for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from pyxen._durations import timeout_of
from pyxen._local import Local
from pyxen.aio._calls import Calls
from pyxen.aio._lock import TaskLock
from pyxen.backends.base import Backend
from pyxen.errors import HostClosed
from pyxen.readers.log import POLL, LogLines

__all__ = ["LogReader"]


class LogReader(Local, AsyncIterator[str]):
    """A reader of Xen's log, returned by `Host.follow_log`. Any number of tasks may read from it.

    It reads from ``async with`` on, or else from the first read; earlier lines are not seen, unless the whole log is
    wanted. ``async for line in reader`` waits for each line, and ends when the reader's time is up, or when the host or
    the reader is closed. Lines and losses are those of `pyxen.LogReader`.
    """

    def __init__(self, backend: Backend, calls: Calls, *, whole: bool, timeout: float | None) -> None:
        self._backend = backend
        self._calls = calls
        self._lines = LogLines(whole=whole, timeout=timeout)
        self._reading = TaskLock()
        self._closed = False

    def __repr__(self) -> str:
        return f"<LogReader of {self._backend.uri}{' (closed)' if self._closed else ''}>"

    async def __aenter__(self) -> Self:
        async with self._reading:
            await self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def __anext__(self) -> str:
        line = None
        with contextlib.suppress(HostClosed):
            line = await self._next(None)
        if line is None:
            raise StopAsyncIteration
        return line

    async def get(self, timeout: float | None = None) -> str | None:
        """Return the next line, or None if no line is complete in time.

        Args:
            timeout: Seconds to wait; 0 only looks. None waits until the reader's time is up.

        Raises:
            HostClosed: The host or this reader was closed.
            OperationFailed: Xen refuses to show its log.
        """
        seconds = timeout_of(timeout, operation="follow_log")
        return await self._next(None if seconds is None else time.monotonic() + seconds)

    @property
    def lost(self) -> int:
        """Number of bytes that were overwritten, or cleared by others, before this reader read them."""
        return self._lines.lost

    async def close(self) -> None:
        """Stop reading, and wake everything that waits for a line. Calling it again does nothing."""
        self._closed = True

    async def _next(self, until: float | None) -> str | None:
        while True:
            async with self._reading:
                await asyncio.sleep(0)  # a log that does not end must not stop the loop; nothing is taken yet
                line = self._lines.take()
                if line is None and self._may_look(until):
                    await self._look()
                    line = self._lines.take()
            if line is not None:
                return line
            seconds = self._lines.wait(until)
            if seconds is None:
                return None
            await asyncio.sleep(min(seconds, POLL))

    def _may_look(self, until: float | None) -> bool:
        """Tell whether there is time to look at the log; a `get` with a time of its own has it."""
        self._check_open()
        return until is not None or not self._lines.is_over()

    def _check_open(self) -> None:
        if self._closed:
            raise HostClosed("follow_log: this reader of the log was closed")

    async def _look(self) -> None:
        self._check_open()
        self._lines.add(await self._calls.ask(lambda: self._backend.log(self._lines.position, clear=False)))
