"""Streams of a guest's console: its lines, and what is typed into it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO
from types import TracebackType
from typing import Final, Self, TypeVar

from pyxen._common.shortage import shortage
from pyxen._durations import timeout_of
from pyxen._local import Local
from pyxen.backends.base import Backend, DomainRef
from pyxen.errors import HostClosed, NotFound, OperationFailed, OperationTimeout
from pyxen.operation import Calls
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
from pyxen.readers._reader import Turns
from pyxen.records.endpoints import ConsoleType

__all__ = ["ConsoleStream"]

T = TypeVar("T")

_PATIENCE: Final = 10.0
"""Seconds that a guest has for taking what is typed if the caller does not say."""


class ConsoleStream(Local, Iterator[str]):
    r"""A stream of a guest's console, returned by `Domain.console_stream`. Any number of threads may use it.

    ``for line in stream`` waits for each line. It ends when the domain is gone, or when the host or the stream is
    closed, and raises `OperationTimeout` when the deadline of the stream has passed. A line is given when it is
    complete, without its end, and in parts if it has more than 65,536 bytes. Bytes that are not UTF-8 are escaped, as
    in ``\xff``. The text comes from the guest: escape control characters before you show it in a terminal.

    Nothing is read before somebody asks for it. A terminal that is not read keeps some KiB; what the guest prints after
    that waits in the guest, or is lost. If two streams, or a stream and ``xl console``, read at once, each gets part of
    the output.

    If the console hangs up while the domain exists, it is opened again: when a bootloader hands over to its guest, or
    when xenconsoled was started again. A restart of the guest makes a new domain, so the stream ends.

    A signal handler may type, or close the stream, while it interrupts a read; to read then raises `InvalidState`.
    """

    _files: tuple[FileIO, ...] = ()
    """What it has open. Each can be closed again, so that a closing that Ctrl-C interrupts can be gone on with."""

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
        self._reading = Turns("console_stream")
        # Reentrant: a signal handler may close the stream, or write, while it interrupts this thread.
        self._writing = threading.RLock()
        self._gate = threading.RLock()
        self._mending = threading.RLock()
        self._pid = os.getpid()
        self._closed = False
        self._users: set[object] = set()
        """The calls that use what is open."""
        self._times = 0
        """How often the console has been opened again."""
        with shortage(OperationFailed, "console_stream: cannot begin"):
            self._wake = FileIO(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), "r+")
        self._files = (self._wake,)
        try:
            self._console = self._open()
        except BaseException:
            self._forget()
            raise
        self._files = (self._wake, self._console)

    def _open(self) -> FileIO:
        console = FileIO(self._calls.ask(lambda: self._backend.console(self._ref, *self._which)), "r+")
        os.set_blocking(console.fileno(), False)
        return console

    def __repr__(self) -> str:
        return f"<ConsoleStream of domain {self._ref.domid}{' (closed)' if self._closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        """Close it, when nobody can be waiting in it."""
        self._closed = True
        for file in self._files:
            file.close()

    def _use(self, call: Callable[[], T]) -> T:
        """Make a call that uses what is open. If the stream is closed meanwhile, the last of its users closes all.

        So `close` waits for nobody: it may be called by a signal handler, which interrupts a user on its own thread.
        """
        user = object()
        try:
            self._users.add(user)
            return call()
        finally:
            self._users.discard(user)
            with self._gate:
                self._release()

    def _release(self) -> None:
        """Close what is open, if the stream was closed and nobody uses it. Hold the gate."""
        if self._closed and not self._users:
            self._forget()

    def __next__(self) -> str:
        try:
            line = self._next(None, look=self._text.may_look())
        except HostClosed:
            raise StopIteration from None
        if line is None:
            self._text.check_deadline()
            raise StopIteration
        return line

    @property
    def path(self) -> str | None:
        """The terminal on this host, e.g. ``/dev/pts/3``; None if the backend reaches the console in another way."""
        self._check_process()
        with self._gate:
            return None if self._closed else terminal_of(self._console)

    def get(self, timeout: float | None = None) -> str | None:
        """Return the next line, or None if no line is complete in time, or if the console has ended.

        Args:
            timeout: Seconds to wait; 0 only looks. None waits until the deadline of the stream.

        Raises:
            HostClosed: This stream was closed.
            NotFound: The console hung up, and did not come back while its domain exists.
        """
        seconds = timeout_of(timeout, operation="console_stream")
        return self._next(None if seconds is None else time.monotonic() + seconds)

    def read(self, timeout: float | None = None) -> bytes | None:
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
        self._check_process()
        return self._reading.take(lambda: self._use(lambda: self._bytes(until)), self._text.left(until))

    def write(self, data: bytes | bytearray | memoryview | str, timeout: float | None = _PATIENCE) -> None:
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
        self._check_process()
        with self._writing:
            self._use(lambda: self._write(rest, timeout, until))

    def write_some(self, data: bytes | bytearray | memoryview | str) -> int:
        """Type as much as the guest takes at once, and return how many bytes it took.

        Raises:
            InvalidArgument: It is neither bytes nor text.
            HostClosed: This stream was closed.
            NotFound: The console has ended.
        """
        rest = memoryview(as_bytes(data))
        self._check_process()
        with self._writing:
            sent = self._use(lambda: self._send(rest)[1]) if rest else 0
        if sent is None:
            raise console_gone(0)
        return sent

    def _write(self, rest: memoryview, timeout: float | None, until: float | None) -> None:
        """Type; hold the lock for writing."""
        whole = len(rest)
        while rest:
            times = self._times
            console, sent = self._send(rest)
            if sent:
                rest = rest[sent:]
                continue
            if sent is None and (self._text.ended or not self._continues(times, hung_up=True)):
                raise console_gone(whole - len(rest))
            left = None if until is None else max(0.0, until - time.monotonic())
            if left == 0:
                message = f"the guest took {whole - len(rest)} of {whole} bytes in {timeout} s"
                raise OperationTimeout(message, operation="console_stream")
            longest = RETRY if sent is None else LOOK
            seconds = longest if left is None else min(left, longest)
            self._poll(None if sent is None else console, select.POLLOUT, seconds)

    def _send(self, rest: memoryview) -> tuple[FileIO, int | None]:
        with self._gate:
            self._check_open()
            return self._console, send(self._console, rest)

    def close(self) -> None:
        """Close the console, and wake everything that waits for it. Calling it again does nothing."""
        if os.getpid() != self._pid:  # what waits is the parent's, and goes on
            self._forget()
            return
        with self._gate:
            self._closed = True
            if self._users and not self._wake.closed:
                os.eventfd_write(self._wake.fileno(), 1)
            self._release()

    def _check_process(self) -> None:
        """Check this before any lock: in the child of a fork, a thread that is not there may hold it."""
        if os.getpid() != self._pid:
            raise HostClosed("console_stream: it was opened before a fork: open the host and the console again")

    def _check_open(self) -> None:
        if self._closed:
            raise HostClosed("console_stream: this stream of a console was closed")

    def _next(self, until: float | None, *, look: bool = True) -> str | None:
        self._check_process()
        return self._reading.take(lambda: self._line_in_turn(until, look=look), self._text.left(until))

    def _line_in_turn(self, until: float | None, *, look: bool) -> str | None:
        """Return the next line. For one that was read already, nothing need be open."""
        line = self._text.take_line()
        return self._use(lambda: self._line(until, look=look)) if line is None else line

    def _line(self, until: float | None, *, look: bool) -> str | None:
        """Return the next line, or None if none comes in time. Only who has the turn may call it."""
        while True:
            line = self._text.take_line()
            if line is not None:
                return line
            self._check_open()
            if not look or not self._fill(until):
                return None
            if self._text.left(until) == 0:
                return self._text.take_line()

    def _bytes(self, until: float | None) -> bytes | None:
        """Return what has come, or None if nothing comes in time. Only who has the turn may call it."""
        while True:
            data = self._text.take_bytes()
            if data is not None or not self._fill(until):
                return data

    def _fill(self, until: float | None) -> bool:
        """Wait for data; False if none comes in time, or ever. Only who has the turn may call it."""
        quiet = 0.0
        while True:
            with self._gate:
                self._check_open()
                if self._text.ended:
                    return False
                times, console, data = self._times, self._console, receive(self._console)
            if data:
                self._text.add(data)
                return True
            if data is not None or quiet >= LOOK:
                quiet = 0.0
                if not self._continues(times, hung_up=data is not None):
                    self._text.ended = True
                    return True
            left = self._text.left(until)
            if left == 0:
                return False
            longest = LOOK if data is None else RETRY
            seconds = longest if left is None else min(left, longest)
            self._poll(console if data is None else None, select.POLLIN, seconds)
            quiet += seconds

    def _continues(self, times: int, *, hung_up: bool) -> bool:
        """Tell whether the domain exists; open a console that hung up again, if it is back.

        Args:
            times: How often it had been opened again when that was seen.
            hung_up: Whether it hung up.
        """
        with self._mending:
            try:
                self._calls.ask(lambda: self._backend.domain_info(self._ref))
                if not hung_up:
                    self._text.steady()
                elif times == self._times:
                    self._change_to(self._open())
            except GONE:
                return False
            except NotFound as error:
                self._text.hung_up(error)
        return True

    def _change_to(self, console: FileIO) -> None:
        """Use what was opened again. It is not used, but closed, if the stream was closed meanwhile."""
        with self._gate:
            old = console
            if not self._closed:
                old, self._console = self._console, console
                self._files = (self._wake, console)
                self._times += 1
            old.close()
        self._text.hung_up(None)

    def _poll(self, console: FileIO | None, event: int, seconds: float) -> None:
        """Wait until the stream is closed, the console is ready, if one is given, or the time is up."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        try:
            if console is not None:
                poller.register(console, event)
        except ValueError:  # another thread has opened the console again, and closed this one
            return
        poller.poll(seconds * 1000)
