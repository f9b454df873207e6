"""Operations that consist of others: a thread begins them, waits for them, and undoes what they did."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from typing import Any, TypeVar

from pyxen._common.own_thread import OwnThreads
from pyxen._common.stopping import Stop, stoppable
from pyxen._durations import bounded
from pyxen.errors import OperationCancelled, OperationFailed, OperationTimeout
from pyxen.operation import Operation, describe

__all__ = ["Steps", "compose"]

T = TypeVar("T")


def compose(
    threads: OwnThreads, verb: str, subject: str | int | None, work: Callable[[Steps], T], *, timeout: float | None
) -> Operation[T]:
    """Begin an operation that a function carries out step by step, on a thread of its own.

    Args:
        threads: The operations of this kind of the host, which are undone before it is closed.
        verb: The verb, for errors.
        subject: The domain that it is about, for errors.
        work: Begins the steps with what it is given, and returns the result. If it is stopped or a step fails, it
            undoes the earlier ones.
        timeout: Seconds after which the step that runs is stopped; None if there is no deadline.
    """
    operation: Operation[T] = Operation(verb, subject, timeout=timeout)
    steps = Steps(operation)

    def run() -> T:
        with stoppable(steps.programs):
            return work(steps)

    return threads.carry_out(operation, run, steps.stop)


class Steps:
    """The steps of an operation. Its methods, except `stop`, are called on the operation's thread.

    Attributes:
        operation: The operation.
        programs: Ends the program of the host that runs on its thread, when the operation is stopped or late.
    """

    def __init__(self, operation: Operation[Any]) -> None:
        self.operation = operation
        self.programs = Stop(operation.deadline)
        self._lock = threading.RLock()  # a coroutine that is collected may stop the operation on this thread
        self._running: set[Operation[Any]] = set()
        self._wakers: list[Callable[[], object]] = []

    def stop(self, operation: Operation[Any]) -> None:
        """Stop what runs. Any thread may call this."""
        self.programs.request()
        with self._lock:
            running, wakers = list(self._running), list(self._wakers)
        for step in running:
            step.stop(operation.stopped or "cancelled")
        for wake in wakers:
            wake()

    def left(self) -> float | None:
        """Return how many seconds are left; None if there is no deadline."""
        deadline = self.operation.deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def check(self) -> None:
        """Raise an error if the operation is stopped, or its deadline has passed."""
        if self.operation.stopped is None and self.left() == 0:
            self.operation.stop("timeout")
        if self.operation.stopped is not None:
            raise self.stopped()

    @property
    def reason(self) -> str:
        """Why the operation is stopped before its time, for errors."""
        return "the host was closed" if self.operation.stopped == "closed" else "cancelled"

    def stopped(self) -> OperationFailed:
        """Return the error of an operation that was stopped."""
        if self.operation.stopped == "timeout":
            return describe(OperationTimeout, "its time was over before the next step began", self.operation)
        return describe(OperationCancelled, f"{self.reason} before the next step began", self.operation)

    def finish(self, begin: Callable[[], Operation[T]]) -> T:
        """Begin a step, and wait for its end. It is stopped with the operation, or when the deadline passes."""
        return self.end(self.begin(begin))

    def begin(self, begin: Callable[[], Operation[T]]) -> Operation[T]:
        """Begin a step, which runs beside others; `end` waits for it."""
        self.check()
        step = begin()
        with self._lock:
            self._running.add(step)
        if self.operation.stopped is not None:  # it may have been too early for `stop` to see the step
            step.stop(self.operation.stopped)
        return step

    def end(self, step: Operation[T]) -> T:
        """Wait for the end of a step that was begun, and return its result."""
        try:
            while not step.done() and self.operation.stopped is None:
                left = self.left()
                if left == 0:
                    self.operation.stop("timeout")
                wait([step], bounded(left))
            return step.result()
        finally:
            with self._lock:
                self._running.discard(step)

    @contextlib.contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call a function when the operation is stopped, for as long as the context lasts."""
        with self._lock:
            self._wakers.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)
