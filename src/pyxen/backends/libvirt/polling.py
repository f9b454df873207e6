"""Polling for conditions on the host, by a few threads for all waiting operations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from pyxen._common.shortage import shortage
from pyxen.backends.libvirt.threaded_operations import ThreadedOperation
from pyxen.errors import OperationFailed
from pyxen.operation import completing

__all__ = ["Poller"]

T = TypeVar("T")

_FIRST_DELAY: Final = 0.01  # seconds between the first checks
_LONGEST_DELAY: Final = 0.2  # seconds between later checks
_LAST: Final = 0.05  # seconds before an operation's deadline, for its last check
_AT_ONCE: Final = 3  # checks: each takes a connection for queries, and others need one, too


@dataclass(slots=True)
class _Wait:
    threaded: ThreadedOperation[Any]
    look: Callable[[], tuple[bool, Any]]
    at: float
    delay: float = _FIRST_DELAY

    @property
    def domid(self) -> int | None:
        """The domain that it is about; None if it is about all domains."""
        return self.threaded.operation.domid

    def put_off(self) -> None:
        """Set the time of the next check."""
        now, deadline = time.monotonic(), self.threaded.operation.deadline
        self.at = now + self.delay
        self.delay = min(2 * self.delay, _LONGEST_DELAY)
        if deadline is not None and now < deadline - _LAST < self.at:
            self.at = deadline - _LAST


class Poller:
    """Checks the conditions that operations wait for, at growing intervals, and at once after `wake`.

    A domain about which libvirt does not answer holds up one thread, and only the waits for that domain.

    Args:
        completer: What it completes operations for; see `pyxen.operation.completing`.
    """

    def __init__(self, completer: object) -> None:
        self._completer = completer
        self._waits: list[_Wait] = []
        self._changed = threading.Condition()
        self._open = True
        self._threads = 0
        self._asked: set[int | None] = set()

    def add(self, threaded: ThreadedOperation[T], look: Callable[[], tuple[bool, T]]) -> None:
        """Let an operation wait: `look` returns whether the condition holds, and the operation's result."""
        with self._changed:
            wait = _Wait(threaded, look, time.monotonic())
            about = {other.domid for other in [*self._waits, wait]}
            if self._threads < min(len(about), _AT_ONCE):
                self._start_thread(threaded.operation.verb)
            threaded.waits = True
            self._waits.append(wait)
            self._changed.notify()

    def settle(self, threaded: ThreadedOperation[T], result: T) -> None:
        """End an operation that need not wait, where its callbacks may wait for others."""
        threaded.waits = True
        self._end(partial(threaded.settle, result))

    def wake(self) -> None:
        """Check all conditions now, because something has happened."""
        with self._changed:
            for wait in self._waits:
                wait.at, wait.delay = 0.0, _FIRST_DELAY
            self._changed.notify_all()

    def close(self) -> None:
        """Stop checking."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def _start_thread(self, verb: str) -> None:
        thread = threading.Thread(target=self._run, name="pyxen-libvirt-waiting", daemon=True)
        try:
            with shortage(OperationFailed, f"{verb}: cannot start a thread"):
                thread.start()
        except OperationFailed:
            if not self._threads:
                raise
        else:
            self._threads += 1

    def _run(self) -> None:
        while True:
            wait = self._next()
            if wait is None:
                return
            end = self._look(wait)
            with self._changed:
                self._asked.discard(wait.domid)
                if end is not None:
                    self._waits.remove(wait)
                self._changed.notify_all()
            if end is not None:
                self._end(end)
            del wait, end  # release what it holds while the thread waits

    def _next(self) -> _Wait | None:
        """Wait for the next check, and return it; None if the host was closed."""
        with self._changed:
            while self._open:
                free = [wait for wait in self._waits if wait.domid not in self._asked]
                first = min(free, key=lambda wait: wait.at, default=None)
                now = time.monotonic()
                if first is None or first.at > now:
                    self._changed.wait(None if first is None else first.at - now)
                elif first.threaded.operation.done():
                    self._waits.remove(first)
                else:
                    first.put_off()
                    self._asked.add(first.domid)
                    return first
            return None

    @staticmethod
    def _look(wait: _Wait) -> Callable[[], bool] | None:
        """Check a condition; return what ends the operation, or None if it goes on."""
        try:
            so, result = wait.look()
        except Exception as error:  # noqa: BLE001 (any exception ends the operation)
            return partial(wait.threaded.fail, wait.threaded.describe(error))
        return partial(wait.threaded.settle, result) if so else None

    def _end(self, end: Callable[[], bool]) -> None:
        """End an operation on a thread of its own: its callbacks may wait for what this thread has to look at."""
        try:
            with shortage(OperationFailed, "cannot start a thread"):
                threading.Thread(target=end, name="pyxen-libvirt-ended", daemon=True).start()
        except OperationFailed:  # it ends here, where its callbacks may not wait
            with completing(self._completer):
                end()
