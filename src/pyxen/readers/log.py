"""Readers of Xen's log, and the lines that were read and not yet given."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from pyxen._common.arguments import check_bools
from pyxen._durations import timeout_of
from pyxen._local import Local
from pyxen.backends.base import Backend, LogChunk
from pyxen.errors import HostClosed
from pyxen.operation import Calls
from pyxen.readers._reader import Turns

__all__ = ["POLL", "LogLines", "LogReader", "log_text"]

POLL: Final = 0.1
"""Seconds between two looks at the log. Xen tells only one program, xenconsoled, when there is something new."""

_LONGEST: Final = 1 << 16
"""Bytes after which a line that has no end is given in parts."""


def log_text(data: bytes) -> str:
    r"""Return the bytes of a log as text. What is not UTF-8 is escaped, as in ``\xff``; control characters stay."""
    return data.decode("utf-8", "backslashreplace")


class LogLines:
    """The complete lines of a log, as it is read piece by piece. Both APIs use it.

    Attributes:
        position: Where in the log the next piece begins; None before the first one.
        lost: Number of bytes that were overwritten, or cleared by others, before they were read.
        deadline: When the reader ends, on the clock of `time.monotonic`; None for never.
    """

    def __init__(self, *, whole: bool, timeout: float | None) -> None:
        check_bools("follow_log", whole=whole)
        seconds = timeout_of(timeout, operation="follow_log")
        self.position: int | None = None
        self.lost = 0
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self._whole = whole
        self._rest = b""
        self._lines: deque[str] = deque()

    def add(self, chunk: LogChunk) -> None:
        """Add a piece of the log. Of the first one, only an unfinished line counts, unless the whole is wanted."""
        first = self.position is None
        self.position = chunk.position
        if chunk.lost:
            self.lost += chunk.lost
            self._end_line()  # what comes now is not its continuation
        *lines, self._rest = (self._rest + chunk.data).split(b"\n")
        if not first or self._whole:
            self._lines += map(log_text, lines)
        if len(self._rest) > _LONGEST:
            self._end_line()

    def _end_line(self) -> None:
        if self._rest:
            self._lines.append(log_text(self._rest))
            self._rest = b""

    def take(self) -> str | None:
        """Return the next line; None if no line is complete."""
        return self._lines.popleft() if self._lines else None

    def is_over(self) -> bool:
        """Tell whether the reader's time is up, so that a loop must not look again. It may always look once."""
        return self.position is not None and self.deadline is not None and time.monotonic() >= self.deadline

    def wait(self, until: float | None) -> float | None:
        """Return how many seconds to wait before the next look; None if this time, or the deadline, has come."""
        end = min((one for one in (until, self.deadline) if one is not None), default=None)
        if end is None:
            return POLL
        left = end - time.monotonic()
        return min(left, POLL) if left > 0 else None


class LogReader(Local, Iterator[str]):
    """A reader of Xen's log, returned by `Host.follow_log`. Any number of threads may read from it.

    ``for line in reader`` waits for each line, and ends when the reader's time is up, or when the host or the reader is
    closed. A line is given when it is complete, without its end. It may contain anything that Xen prints, also control
    characters: escape it before you show it in a terminal.

    A signal handler may close it while it interrupts a read; to read then raises `InvalidState`.

    Xen keeps the end of its log only (its command line option ``conring_size`` says how much). A reader that is read
    too seldom misses what Xen has overwritten, and counts it in `lost`.
    """

    def __init__(self, backend: Backend, calls: Calls, *, whole: bool, timeout: float | None) -> None:
        self._backend = backend
        self._calls = calls
        self._lines = LogLines(whole=whole, timeout=timeout)
        self._reading = Turns("follow_log")
        self._closed = False
        self._pid = os.getpid()
        self._look()

    def __repr__(self) -> str:
        return f"<LogReader of {self._backend.uri}{' (closed)' if self._closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __next__(self) -> str:
        try:
            line = self._next(None)
        except HostClosed:
            line = None
        if line is None:
            raise StopIteration
        return line

    def get(self, timeout: float | None = None) -> str | None:
        """Return the next line, or None if no line is complete in time.

        Args:
            timeout: Seconds to wait; 0 only looks. None waits until the reader's time is up.

        Raises:
            HostClosed: The host or this reader was closed.
            OperationFailed: Xen refuses to show its log.
        """
        seconds = timeout_of(timeout, operation="follow_log")
        return self._next(None if seconds is None else time.monotonic() + seconds)

    @property
    def lost(self) -> int:
        """Number of bytes that were overwritten, or cleared by others, before this reader read them."""
        return self._lines.lost

    def close(self) -> None:
        """Stop reading, and wake everything that waits for a line. Calling it again does nothing."""
        if os.getpid() == self._pid:
            self._closed = True

    def _next(self, until: float | None) -> str | None:
        if os.getpid() != self._pid:  # a thread that is not in this child may hold the lock
            raise HostClosed("follow_log: the host was opened before a fork: open it again")
        while True:
            line = self._reading.take(lambda: self._line(until))
            if line is not None:
                return line
            seconds = self._lines.wait(until)
            if seconds is None:
                return None
            # No more than `POLL`. To set an event takes a lock, which this thread may have when a handler closes it.
            time.sleep(seconds)

    def _line(self, until: float | None) -> str | None:
        """Return the next line, and look for one if there is none. Only who has the turn may call it."""
        line = self._lines.take()
        if line is None and self._may_look(until):
            self._look()
            line = self._lines.take()
        return line

    def _may_look(self, until: float | None) -> bool:
        """Tell whether there is time to look at the log; a `get` with a time of its own has it."""
        self._check_open()
        return until is not None or not self._lines.is_over()

    def _check_open(self) -> None:
        if self._closed:
            raise HostClosed("follow_log: this reader of the log was closed")

    def _look(self) -> None:
        self._check_open()
        self._lines.add(self._calls.ask(lambda: self._backend.log(self._lines.position, clear=False)))
