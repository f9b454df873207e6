"""Streams of a guest's console for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator
from io import FileIO
from types import TracebackType
from typing import Final, Self

from pyxen._asyncio import wake, woken
from pyxen._common.shortage import shortage
from pyxen._durations import timeout_of
from pyxen._local import Local
from pyxen.aio._calls import Calls
from pyxen.aio._lock import TaskLock
from pyxen.backends.base import Backend, DomainRef
from pyxen.errors import HostClosed, NotFound, OperationFailed, OperationTimeout
from pyxen.readers._consoletext import (
    GONE,
    LOOK,
    RETRY,
    ConsoleText,
    as_bytes,
    console_gone,
    receive,
    send,
    terminal_of,
)
from pyxen.records.endpoints import ConsoleType

__all__ = ["ConsoleStream"]

_PATIENCE: Final = 10.0
"""Seconds that a guest has for taking what is typed if the caller does not say."""


class ConsoleStream(Local, AsyncIterator[str]):
    """A stream of a guest's console, returned by `Domain.console_stream`. Any number of tasks may use it.

    It opens the console on ``async with``, or else when it is first used. ``async for line in stream`` waits for each
    line. It ends when the domain is gone, or when the host or the stream is closed, and raises `OperationTimeout` when
    the deadline of the stream has passed. Lines are those of `pyxen.ConsoleStream`.
    """

    _console: FileIO | None = None

    def __init__(
        self,
        backend: Backend,
        calls: Calls,
        ref: DomainRef,
        kind: ConsoleType | None,
        number: int,
        timeout: float | None,
    ) -> None:
        self._backend = backend
        self._calls = calls
        self._ref = ref
        self._which = kind, number
        self._text = ConsoleText(timeout)
        self._opening = TaskLock()
        self._reading = TaskLock()
        self._writing = TaskLock()
        self._mending = TaskLock()
        self._times = 0
        """How often the console has been opened again."""
        self._gate = threading.RLock()
        """Held where the console is used or replaced: another loop may be on another thread.

        Reentrant: garbage collection may end a task that has the stream open, which closes it, on the thread that has
        it. What is done with a console that is closed so has no effect, whatever has its descriptor by then.
        """
        self._waiters: dict[asyncio.Future[None], int] = {}
        """What tasks wait for, each with a descriptor of its own, so that only its own loop watches and closes it."""
        self._closed = False

    async def _opened(self) -> FileIO:
        return await self._calls.acquire(
            lambda: self._calls.file(self._backend.console(self._ref, *self._which)), give_back=FileIO.close
        )

    async def _begin(self) -> None:
        async with self._opening:
            self._check_open()
            if self._console is None:
                self._replace(await self._opened())
                self._check_open()

    def __repr__(self) -> str:
        return f"<ConsoleStream of domain {self._ref.domid}{' (closed)' if self._closed else ''}>"

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._console is not None:  # no task can be waiting in it
            self._forget()

    async def __anext__(self) -> str:
        try:
            line = await self._line(None, look=self._text.may_look())
        except HostClosed:
            raise StopAsyncIteration from None
        if line is None:
            self._text.check_deadline()
            raise StopAsyncIteration
        return line

    @property
    def path(self) -> str | None:
        """The terminal on this host, e.g. ``/dev/pts/3``; None if the backend reaches the console in another way."""
        self._opening.check()
        with self._gate:
            return None if self._console is None else terminal_of(self._console)

    async def get(self, timeout: float | None = None) -> str | None:
        """Return the next line, or None if no line is complete in time, or if the console has ended.

        Args:
            timeout: Seconds to wait; 0 only looks. None waits until the deadline of the stream.

        Raises:
            HostClosed: This stream was closed.
            NotFound: The console hung up, and did not come back while its domain exists.
        """
        seconds = timeout_of(timeout, operation="console_stream")
        return await self._line(None if seconds is None else time.monotonic() + seconds)

    async def read(self, timeout: float | None = None) -> bytes | None:
        """Return the bytes that have come, also without the end of a line, such as a prompt.

        Args:
            timeout: Seconds to wait for a first byte; 0 only looks. None waits until the deadline of the stream.

        Returns:
            At least one byte; None if nothing came in time; empty bytes if the console has ended.

        Raises:
            HostClosed: This stream was closed.
            NotFound: The console hung up, and did not come back while its domain exists.
        """
        seconds = timeout_of(timeout, operation="console_stream")
        until = None if seconds is None else time.monotonic() + seconds
        await self._begin()
        async with self._reading:
            while True:
                await asyncio.sleep(0)  # as in `_line`
                data = self._text.take_bytes()
                if data is not None or not await self._fill(until):
                    return data

    async def write(self, data: bytes | bytearray | memoryview | str, timeout: float | None = _PATIENCE) -> None:
        r"""Type into the console; a guest expects ``"\r"`` as the Enter key.

        Args:
            data: Bytes, or text, which is sent as UTF-8.
            timeout: Seconds after which to give up if the guest does not take it. None waits forever.

        Raises:
            InvalidArgument: It is neither bytes nor text.
            OperationTimeout: The guest did not take all of it in time; the message says how much it took.
            HostClosed: This stream was closed.
            NotFound: The console has ended.
        """
        seconds = timeout_of(timeout, operation="console_stream")
        until = None if seconds is None else time.monotonic() + seconds
        rest = memoryview(as_bytes(data))
        whole = len(rest)
        await self._begin()
        async with self._writing:
            while rest:
                await asyncio.sleep(0)  # a guest that takes all that is typed must not stop the loop
                times, sent = self._times, self._send(rest)
                if sent:
                    rest = rest[sent:]
                    continue
                if sent is None and (self._text.ended or not await self._continues(times, hung_up=True)):
                    raise console_gone(whole - len(rest))
                left = None if until is None else max(0.0, until - time.monotonic())
                if left == 0:
                    message = f"the guest took {whole - len(rest)} of {whole} bytes in {timeout} s"
                    raise OperationTimeout(message, operation="console_stream")
                longest = RETRY if sent is None else LOOK
                await self._wait(longest if left is None else min(left, longest), write=True, ready=sent is not None)

    async def write_some(self, data: bytes | bytearray | memoryview | str) -> int:
        """Type as much as the guest takes at once, and return how many bytes it took.

        Raises:
            InvalidArgument: It is neither bytes nor text.
            HostClosed: This stream was closed.
            NotFound: The console has ended.
        """
        rest = memoryview(as_bytes(data))
        await self._begin()
        async with self._writing:
            await asyncio.sleep(0)  # as in `write`
            sent = self._send(rest) if rest else 0
        if sent is None:
            raise console_gone(0)
        return sent

    def _send(self, rest: memoryview) -> int | None:
        with self._gate:
            return send(self._used(), rest)

    async def close(self) -> None:
        """Close the console, and wake everything that waits for it. Calling it again does nothing."""
        if self._opening.inherited:
            self._forget()
            return
        self._closed = True
        self._replace(None)
        async with self._opening, self._mending:  # what a task is about to get is given back, too
            pass

    def _forget(self) -> None:
        """Close it, when nobody can be waiting in it: in the child of a fork, what waits is the parent's."""
        self._closed = True
        console, self._console = self._console, None
        if console is not None:
            console.close()
        while self._waiters:  # each is forgotten first: Ctrl-C may come after the close
            _, fd = self._waiters.popitem()
            if fd >= 0:
                os.close(fd)

    def _used(self) -> FileIO:
        """Return the console. Hold the gate while it is used."""
        console = self._console
        if self._closed or console is None:
            raise HostClosed("console_stream: this stream of a console was closed")
        return console

    def _check_open(self) -> None:
        if self._closed:
            raise HostClosed("console_stream: this stream of a console was closed")

    def _replace(self, console: FileIO | None) -> None:
        """Close the console and use another one, unless the stream is closed. Tasks that wait are woken."""
        with self._gate:
            old, self._console = self._console, None if self._closed else console
            for each in (old, console):
                if each is not None and each is not self._console:
                    each.close()
        for waiter in list(self._waiters):
            with contextlib.suppress(RuntimeError):  # its loop is closed
                waiter.get_loop().call_soon_threadsafe(wake, waiter)

    async def _line(self, until: float | None, *, look: bool = True) -> str | None:
        await self._begin()
        async with self._reading:
            while True:
                # A guest that does not stop printing must not stop the loop. A line that is taken is not lost any more.
                await asyncio.sleep(0)
                line = self._text.take_line()
                if line is not None:
                    return line
                if not look or not await self._fill(until):
                    return None
                if self._text.left(until) == 0:
                    return self._text.take_line()

    async def _fill(self, until: float | None) -> bool:
        """Wait for data; False if there is none: the time is up, or nothing more comes. Hold the lock for reading."""
        quiet = 0.0
        while True:
            with self._gate:
                console = self._used()
                if self._text.ended:
                    return False
                times, data = self._times, receive(console)
            if data:
                self._text.add(data)
                return True
            if data is not None or quiet >= LOOK:
                quiet = 0.0
                if not await self._continues(times, hung_up=data is not None):
                    self._text.ended = True
                    return True
            left = self._text.left(until)
            if left == 0:
                return False
            longest = RETRY if data is not None else LOOK
            seconds = longest if left is None else min(left, longest)
            await self._wait(seconds, write=False, ready=data is None)
            quiet += seconds

    async def _continues(self, times: int, *, hung_up: bool) -> bool:
        """Tell whether the domain exists; open a console that hung up again, if it is back.

        Args:
            times: How often it had been opened again when that was seen.
            hung_up: Whether it hung up.
        """
        async with self._mending:
            self._check_open()
            try:
                await self._calls.ask(lambda: self._backend.domain_info(self._ref))
                if not hung_up:
                    self._text.steady()
                elif times == self._times:
                    self._use(await self._opened())
            except GONE:
                return False
            except NotFound as error:
                self._text.hung_up(error)
        return True

    def _use(self, console: FileIO) -> None:
        """Use what was opened again."""
        self._replace(console)
        self._times += 1
        self._text.hung_up(None)

    async def _wait(self, seconds: float, *, write: bool, ready: bool) -> None:
        """Wait for a while, until the descriptor is replaced, or with `ready`, until it is ready."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        own = self._joined(waiter) if ready else self._waiters.setdefault(waiter, -1)
        try:
            if own >= 0:
                (loop.add_writer if write else loop.add_reader)(own, wake, waiter)
            await woken(waiter, seconds)
        finally:
            if self._waiters.pop(waiter, -1) >= 0 and not self._opening.inherited:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    (loop.remove_writer if write else loop.remove_reader)(own)
                os.close(own)

    def _joined(self, waiter: asyncio.Future[None]) -> int:
        """Record who waits for the descriptor, and return one for it."""
        with self._gate, shortage(OperationFailed, "console_stream: cannot wait"):
            console = self._used()
            try:
                own = os.dup(console.fileno())
            except (OSError, ValueError):
                self._check_open()  # garbage collection may have closed it
                raise
            self._waiters[waiter] = own
            return own
