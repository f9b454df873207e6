"""What carries an operation out in tests."""

from __future__ import annotations

import threading

from pyxen.errors import OperationCancelled
from pyxen.operation import Operation
from tests.waiting import SECONDS

__all__ = ["Worker"]


class Worker:
    """Carries an operation out as the pump does: on a thread, which undoes what was begun before the operation ends."""

    def __init__(self, operation: Operation[str], *, slow: bool = False) -> None:
        self.operation = operation
        self.undone = threading.Event()
        if not slow:
            self.undone.set()
        self.stops: list[str | None] = []
        self.asked = threading.Event()
        self.finish = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        operation.carried_by(self._stop, self.thread)
        self.thread.start()

    def _stop(self, operation: Operation[str]) -> None:
        self.stops.append(operation.stopped)
        self.asked.set()
        self.finish.set()

    def _run(self) -> None:
        assert self.finish.wait(SECONDS)
        if self.asked.is_set():
            assert self.undone.wait(SECONDS)
            self.operation.set_exception(OperationCancelled(f"{self.operation.stopped}", operation="create"))
        else:
            self.operation.set_result("done")
