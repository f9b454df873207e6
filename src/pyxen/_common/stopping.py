"""Stopping a blocking call from another thread: the program that it runs is ended, and what it has made is undone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

__all__ = ["Stop", "stoppable", "stopped"]


class Stop:
    """A request to stop a call. It is met once: the programs that undo what was done run to their end.

    Args:
        deadline: When it is requested by itself, on the clock of `time.monotonic`; None for never.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self._requested = threading.Event()
        self._deadline = deadline

    def request(self) -> None:
        """Ask the call to stop."""
        self._requested.set()

    def take(self) -> bool:
        """Tell whether the call is to stop, and forget it."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        requested = late or self._requested.is_set()
        if requested:
            self._deadline = None
            self._requested.clear()
        return requested


_CURRENT: Final[ContextVar[Stop | None]] = ContextVar("pyxen_stop", default=None)


@contextlib.contextmanager
def stoppable(stop: Stop) -> Iterator[None]:
    """Let a request stop the calls of this thread in the body."""
    token = _CURRENT.set(stop)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def stopped() -> bool:
    """Tell whether the call of this thread is to stop now; only once."""
    stop = _CURRENT.get()
    return stop is not None and stop.take()
