"""What readers have in common: how they end, and the deadline of a loop over one."""

from __future__ import annotations

import _thread
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from pyxen._durations import timeout_of
from pyxen._local import Local
from pyxen.errors import InvalidState, OperationTimeout

__all__ = ["Deadline", "Reader", "Turns"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Reader(Local, Iterator[T_co]):
    """A reader that ``with`` closes, and garbage collection, too."""

    _stop: Callable[[], object] | None = None
    """What ends the reading; None before it begins and after it has ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._stop is not None and not sys.is_finalizing():
            with contextlib.suppress(RuntimeError):  # there is no thread for it: it ends with its host
                _thread.start_new_thread(self._stop, ())  # it takes locks, which this thread may already hold

    def close(self) -> None:
        """Stop reading. Calling it again does nothing."""
        raise NotImplementedError


class Deadline:
    """The deadline of a loop over a reader. It counts from `begin` on.

    What has come by then is still given, so that a short time, or none, gives what is there.

    Args:
        timeout: Seconds; None is no deadline.
        operation: The verb for errors.
        subject: What the loop reads, for errors.

    Raises:
        InvalidArgument: `timeout` is not a duration.
    """

    def __init__(self, timeout: float | None, operation: str, subject: str) -> None:
        seconds = timeout_of(timeout, operation=operation)
        self._timeout, self._seconds = timeout, seconds
        self._end: float | None = None
        self._rest: int | None = None
        """How many items may be given yet, once it has passed."""
        self._operation = operation
        self._subject = subject

    def begin(self) -> None:
        """Begin to count: the reader is open."""
        if self._seconds is not None and self._end is None:
            self._end = time.monotonic() + self._seconds

    def left(self) -> float | None:
        """Return how many seconds are left, 0 at least; None if there is no deadline."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def may_take(self, unread: int) -> bool:
        """Tell whether a loop may take one more item; ask this before each.

        Args:
            unread: How many items there are. Once the deadline has passed, a loop takes no more than these: a source
                that does not stop must not outlast it.
        """
        if self.left() != 0:
            return True
        self._rest = (unread if self._rest is None else self._rest) - 1
        return self._rest >= 0

    def passed(self) -> OperationTimeout:
        """Return the exception for a loop that has reached it."""
        message = f"the deadline of {self._timeout} s passed, and the loop over {self._subject} goes on"
        return OperationTimeout(message, operation=self._operation)


class Turns:
    """Lets one thread at a time read.

    Args:
        operation: The verb for errors.
    """

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._lock = threading.RLock()
        self._taken = False

    def take(self, read: Callable[[], T], seconds: float | None = None) -> T | None:
        """Wait until no other thread reads, then read.

        Args:
            read: Reads.
            seconds: How long to wait; None waits as long as others read.

        Returns:
            What was read; None if others read all the time.

        Raises:
            InvalidState: This thread reads already: a signal handler has interrupted it, and would wait for ever.
        """
        if not self._lock.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX)):
            return None
        try:
            if self._taken:
                message = "a signal handler has interrupted this thread while it reads here: read on another thread"
                raise InvalidState(message, operation=self._operation)
            try:
                self._taken = True
                return read()
            finally:
                self._taken = False
        finally:
            self._lock.release()
