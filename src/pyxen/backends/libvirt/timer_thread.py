"""A timer thread, for the deadlines of operations."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from pyxen._common.shield import shielded
from pyxen._common.shortage import shortage
from pyxen.errors import OperationFailed
from pyxen.operation import completing

__all__ = ["TimerThread"]


class TimerThread:
    """Calls functions at given times, one after the other, on one thread. The functions must not block.

    Args:
        name: The name of the thread.
        completer: What it may complete operations for; see `pyxen.operation.completing`.

    Raises:
        OperationFailed: The thread cannot be started.
    """

    def __init__(self, name: str, completer: object = None) -> None:
        self._completer = self if completer is None else completer
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._open = True
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        with shortage(OperationFailed, "cannot start a thread"):
            self.thread.start()

    def at(self, moment: float, call: Callable[[], None]) -> None:
        """Schedule a call for a time of `time.monotonic`."""
        with self._changed:
            heapq.heappush(self._due, (moment, next(self._count), call))
            self._changed.notify()

    def close(self) -> None:
        """Cancel all scheduled calls and end the thread."""
        with self._changed:
            self._open = False
            self._due.clear()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._open and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if not self._open:
                    return
                call = heapq.heappop(self._due)[2]
            with completing(self._completer):
                shielded(call)
            del call  # release what it holds while the thread waits
