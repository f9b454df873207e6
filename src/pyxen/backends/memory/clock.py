"""The clocks of a simulated host: real time, and virtual time that passes only while someone waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "RealClock", "VirtualClock"]


class Clock(Protocol):
    """The clock of a simulated host, in seconds."""

    def now(self) -> float:
        """Return the current time."""

    def idle(self, changed: threading.Condition, due: float | None, *, busy: bool) -> None:
        """Let time pass until something is due or `changed` is notified; may return early.

        Args:
            changed: The condition to wait for; the caller holds it.
            due: The time of the next scheduled action; None if there is none.
            busy: Whether an operation is in progress.
        """


class RealClock:
    """Real time."""

    def now(self) -> float:
        """Return the time of `time.monotonic`."""
        return time.monotonic()

    def idle(
        self,
        changed: threading.Condition,
        due: float | None,
        *,
        busy: bool,  # noqa: ARG002 (it is a Clock)
    ) -> None:
        """Wait until something is due or has changed."""
        changed.wait(None if due is None else max(0.0, due - self.now()))


class VirtualClock:
    """Virtual time, which stands still until someone waits, and then jumps to the next scheduled action.

    Tests then take no real time, and things happen in the same order in every run.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._goal: float | None = None

    def now(self) -> float:
        """Return the time since the clock was created."""
        return self._now

    def idle(self, changed: threading.Condition, due: float | None, *, busy: bool) -> None:
        """Jump to the next due time if an operation is in progress or `advance` covers it; else wait for a change."""
        if due is not None and (busy or (self._goal is not None and due <= self._goal)):
            self._now = max(self._now, due)
        elif self._goal is not None:
            self._now = max(self._now, self._goal)
            self._goal = None
            changed.notify_all()
        else:
            changed.wait()

    def advance(self, changed: threading.Condition, seconds: float, goes_on: Callable[[], bool]) -> None:
        """Let time pass, and return after everything scheduled in that time has happened.

        Args:
            changed: The condition of the thread that calls `idle`.
            seconds: The time to pass.
            goes_on: Tells whether that thread still runs.
        """
        with changed:
            goal = self._goal = max(self._now, self._goal or 0.0) + seconds
            changed.notify_all()
            changed.wait_for(lambda: self._goal is None or self._now >= goal or not goes_on())
