"""Streams of a guest's console: its lines, and what is typed into it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from pyxen._common.shortage import shortage
from pyxen._durations import timeout_of
from pyxen._local import Local
from pyxen.backends.base import Backend, DomainRef
from pyxen.errors import HostClosed, NotFound, OperationFailed, OperationTimeout
from pyxen.operation import Calls
from pyxen.readers._consoletext import GONE, LOOK, RETRY, ConsoleText, as_bytes, console_gone, receive, send
from pyxen.records.endpoints import ConsoleType

__all__ = ["ConsoleStream"]

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
    """

    _closed = True

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
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._gate = threading.Lock()
        self._mending = threading.Lock()
        self._pid = os.getpid()
        self._times = 0
        """How often the console has been opened again."""
        with shortage(OperationFailed, "console_stream: cannot begin"):
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._fd = self._open()
        except BaseException:
            os.close(self._wake)
            raise
        self._closed = False

    def _open(self) -> int:
        fd = self._calls.ask(lambda: self._backend.console(self._ref, *self._which))
        os.set_blocking(fd, False)
        return fd

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
        if not self._closed:
            self._closed = True
            os.close(self._fd)
            os.close(self._wake)

    def __next__(self) -> str:
        try:
            line = self._line(None, look=self._text.may_look())
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
            return None if self._closed or not os.isatty(self._fd) else os.ttyname(self._fd)

    def get(self, timeout: float | None = None) -> str | None:
        """Return the next line, or None if no line is complete in time, or if the console has ended.

        Args:
            timeout: Seconds to wait; 0 only looks. None waits until the deadline of the stream.

        Raises:
            HostClosed: This stream was closed.
            NotFound: The console hung up, and did not come back while its domain exists.
        """
        seconds = timeout_of(timeout, operation="console_stream")
        return self._line(None if seconds is None else time.monotonic() + seconds)

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
        with self._reading:
            while True:
                data = self._text.take_bytes()
                if data is not None or not self._fill(until):
                    return data

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
        whole = len(rest)
        self._check_process()
        with self._writing:
            while rest:
                times = self._times
                fd, sent = self._send(rest)
                if sent:
                    rest = rest[sent:]
                    continue
                if sent is None and (self._text.ended or not self._continues(times, hung_up=True)):
                    raise console_gone(whole - len(rest))
                left = None if until is None else max(0.0, until - time.monotonic())
                if left == 0:
                    message = f"the guest took {whole - len(rest)} of {whole} bytes in {timeout} s"
                    raise OperationTimeout(message, operation="console_stream")
                longest, fd = (RETRY, -1) if sent is None else (LOOK, fd)
                self._poll(fd, select.POLLOUT, longest if left is None else min(left, longest))

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
            sent = self._send(rest)[1] if rest else 0
        if sent is None:
            raise console_gone(0)
        return sent

    def _send(self, rest: memoryview) -> tuple[int, int | None]:
        with self._gate:
            self._check_open()
            return self._fd, send(self._fd, rest)

    def close(self) -> None:
        """Close the console, and wake everything that waits for it. Calling it again does nothing."""
        if os.getpid() != self._pid:  # what waits is the parent's, and goes on
            self._forget()
            return
        with self._gate:
            if self._closed:
                return
            self._closed = True
        os.eventfd_write(self._wake, 1)
        with self._reading, self._writing, self._gate:  # when they are free, no thread waits for a descriptor
            os.close(self._fd)
            os.close(self._wake)

    def _check_process(self) -> None:
        """Check this before any lock: in the child of a fork, a thread that is not there may hold it."""
        if os.getpid() != self._pid:
            raise HostClosed("console_stream: it was opened before a fork: open the host and the console again")

    def _check_open(self) -> None:
        if self._closed:
            raise HostClosed("console_stream: this stream of a console was closed")

    def _line(self, until: float | None, *, look: bool = True) -> str | None:
        self._check_process()
        with self._reading:
            while True:
                line = self._text.take_line()
                if line is not None:
                    return line
                self._check_open()
                if not look or not self._fill(until):
                    return None
                if self._text.left(until) == 0:
                    return self._text.take_line()

    def _fill(self, until: float | None) -> bool:
        """Wait for data; False if there is none: the time is up, or nothing more comes. Hold the lock for reading."""
        quiet = 0.0
        while True:
            with self._gate:
                self._check_open()
                if self._text.ended:
                    return False
                times, fd, data = self._times, self._fd, receive(self._fd)
            if data:
                self._text.add(data)
                return True
            if data is not None or quiet >= LOOK:
                quiet = 0.0
                if not self._continues(times, hung_up=data is not None):
                    self._text.ended = True
                    return True
                if data is not None:
                    fd = -1
            left = self._text.left(until)
            if left == 0:
                return False
            longest = RETRY if fd < 0 else LOOK
            seconds = longest if left is None else min(left, longest)
            self._poll(fd, select.POLLIN, seconds)
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
                    self._use(self._open())
            except GONE:
                return False
            except NotFound as error:
                self._text.hung_up(error)
        return True

    def _use(self, fd: int) -> None:
        """Use another descriptor of the console."""
        with self._gate:
            if self._closed:
                os.close(fd)
                return
            os.close(self._fd)
            self._fd = fd
            self._times += 1
        self._text.hung_up(None)

    def _poll(self, fd: int, event: int, seconds: float) -> None:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        if fd >= 0:
            poller.register(fd, event)
        poller.poll(seconds * 1000)
