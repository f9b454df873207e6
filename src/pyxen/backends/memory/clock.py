"""The time of a host in memory: that of the world, or one that passes only while somebody waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "RealClock", "VirtualClock"]


class Clock(Protocol):
    """What a host in memory tells the time by, in seconds."""

    def now(self) -> float:
        """Return the time."""

    def idle(self, changed: threading.Condition, due: float | None, *, busy: bool) -> None:
        """Let time pass until something is due, or someone notifies of a change; may return early.

        Args:
            changed: Held, and waited for.
            due: When the next thing happens; None if nothing will.
            busy: Whether somebody waits for something to happen.
        """


class RealClock:
    """The time of the world."""

    def now(self) -> float:
        """Return the time, as `time.monotonic`."""
        return time.monotonic()

    def idle(
        self,
        changed: threading.Condition,
        due: float | None,
        *,
        busy: bool,  # noqa: ARG002 (it is a Clock)
    ) -> None:
        """Wait."""
        changed.wait(None if due is None else max(0.0, due - self.now()))


class VirtualClock:
    """A time that stands still until somebody waits, and then jumps to what happens next.

    So nothing in a test takes time, and the order of all that happens is the same each time.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._goal: float | None = None

    def now(self) -> float:
        """Return the time, which began at 0."""
        return self._now

    def idle(self, changed: threading.Condition, due: float | None, *, busy: bool) -> None:
        """Jump to what is due if somebody waits for it, or `advance` comes as far; else wait for a change."""
        if due is not None and (busy or (self._goal is not None and due <= self._goal)):
            self._now = max(self._now, due)
        elif self._goal is not None:
            self._now = max(self._now, self._goal)
            self._goal = None
            changed.notify_all()
        else:
            changed.wait()

    def advance(self, changed: threading.Condition, seconds: float, goes_on: Callable[[], bool]) -> None:
        """Let time pass, with all that happens in it, and return then.

        Args:
            changed: The condition of whoever calls `idle`, on another thread.
            seconds: How long.
            goes_on: Whether that thread is still there.
        """
        with changed:
            goal = self._goal = max(self._now, self._goal or 0.0) + seconds
            changed.notify_all()
            changed.wait_for(lambda: self._goal is None or self._now >= goal or not goes_on())
