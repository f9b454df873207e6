"""Polling for conditions on the host, by one thread for all waiting operations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pyxen._common.shortage import shortage
from pyxen.backends.libvirt.threaded_operations import ThreadedOperation
from pyxen.errors import OperationFailed

__all__ = ["Poller"]

T = TypeVar("T")

_FIRST_DELAY: Final = 0.01  # seconds between the first checks
_LONGEST_DELAY: Final = 0.2  # seconds between later checks


@dataclass(slots=True)
class _Wait:
    threaded: ThreadedOperation[Any]
    look: Callable[[], tuple[bool, Any]]
    at: float
    delay: float = _FIRST_DELAY


class Poller:
    """Checks the conditions that operations wait for, at growing intervals, and at once after `wake`."""

    def __init__(self) -> None:
        self._waits: list[_Wait] = []
        self._changed = threading.Condition()
        self._open = True
        self._thread: threading.Thread | None = None

    def add(self, threaded: ThreadedOperation[T], look: Callable[[], tuple[bool, T]]) -> None:
        """Let an operation wait: `look` returns whether the condition holds, and the operation's result."""
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="pyxen-libvirt-waiting", daemon=True)
                with shortage(OperationFailed, f"{threaded.operation.verb}: cannot start a thread"):
                    thread.start()
                self._thread = thread
            threaded.waits = True
            self._waits.append(_Wait(threaded, look, time.monotonic()))
            self._changed.notify()

    def wake(self) -> None:
        """Check all conditions now, because something has happened."""
        with self._changed:
            for wait in self._waits:
                wait.at, wait.delay = 0.0, _FIRST_DELAY
            self._changed.notify()

    def close(self) -> None:
        """Stop checking."""
        with self._changed:
            self._open = False
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._waits = [wait for wait in self._waits if not wait.threaded.operation.done()]
                due = min((wait.at for wait in self._waits), default=None)
                left = None if due is None else due - time.monotonic()
                if self._open and (left is None or left > 0):
                    self._changed.wait(left)
                if not self._open:
                    return
                now = time.monotonic()
                ready = [wait for wait in self._waits if wait.at <= now]
                for wait in ready:
                    wait.at = now + wait.delay
                    wait.delay = min(2 * wait.delay, _LONGEST_DELAY)
            for wait in ready:
                self._look(wait)

    @staticmethod
    def _look(wait: _Wait) -> None:
        if wait.threaded.operation.done():
            return
        try:
            so, result = wait.look()
        except Exception as error:  # noqa: BLE001 (any exception ends the operation)
            wait.threaded.fail(wait.threaded.describe(error))
            return
        if so:
            wait.threaded.settle(result)
