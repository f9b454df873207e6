"""Operations that one thread each carries out: they end, whatever becomes of the thread, and are closed together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any, NamedTuple, TypeVar

from pyxen._common.shortage import shortage
from pyxen._durations import bounded
from pyxen.errors import Error, HostClosed, OperationCancelled, OperationFailed
from pyxen.operation import Operation, describe

__all__ = ["OwnThreads"]

T = TypeVar("T")


class _Running(NamedTuple):
    """An operation in progress.

    Attributes:
        thread: Carries it out.
        taken: Acquired by the thread when it begins, or by whoever finds before that that it is not to begin.
    """

    thread: threading.Thread
    taken: threading.Lock


class OwnThreads:
    """The operations of one host that have a thread of their own each. Close them before what they need to undo.

    Args:
        completer: What completes the steps of these operations: the `completer` of the backend.
    """

    def __init__(self, completer: object = None) -> None:
        self.completer = completer
        self._gate = threading.RLock()  # reentrant: a signal handler may close the host, or begin an operation
        self._running: dict[Operation[Any], _Running] = {}
        self._closed = False
        self._process = os.getpid()

    def carry_out(
        self, operation: Operation[T], work: Callable[[], T], stop: Callable[[Operation[T]], None]
    ) -> Operation[T]:
        """Begin an operation that a function carries out on a thread of its own.

        If the thread cannot be started, or Ctrl-C comes before that, the operation ends: nobody waits for a thread that
        never began.

        Args:
            operation: The operation.
            work: Does all of it, and returns its result.
            stop: Stops the work; any thread may call it.

        Raises:
            HostClosed: The host was closed, or belongs to the parent of this process.
            OperationFailed: No thread can be started.
        """
        taken = threading.Lock()
        thread = threading.Thread(
            target=self._run, args=(operation, work, taken), name=f"pyxen-{operation.verb}", daemon=True
        )
        try:
            operation.carried_by(stop, thread, self.completer)
            self._enter(operation, _Running(thread, taken))
            with shortage(OperationFailed, f"{operation.verb}: cannot begin"):
                thread.start()
        except BaseException as error:
            if taken.acquire(blocking=False):
                cancelled = describe(OperationCancelled, "it was not begun", operation)
                self._never_began(operation, error if isinstance(error, Error) else cancelled)
            else:  # Ctrl-C: nobody gets the operation
                operation.cancel()
            raise
        return operation

    def _enter(self, operation: Operation[Any], running: _Running) -> None:
        """Have `close` wait for an operation."""
        if self._process != os.getpid():  # checked first: a thread that the fork did not copy may hold the gate
            raise HostClosed(f"{operation.verb}: the host was opened before a fork: open it again")
        with self._gate:
            self._running[operation] = running
            if self._closed:  # looked at last: a signal handler that closes meanwhile has seen it, or is seen here
                raise HostClosed(f"{operation.verb}: the host is closed: open it again")

    def _never_began(self, operation: Operation[Any], error: BaseException) -> None:
        self._running.pop(operation, None)
        operation.set_exception(error)

    def _run(self, operation: Operation[T], work: Callable[[], T], taken: threading.Lock) -> None:
        if not taken.acquire(blocking=False):
            return
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 (the caller of `result` gets every error)
            operation.set_exception(error)
        else:
            operation.set_result(result)
        finally:
            self._running.pop(operation, None)

    def is_here(self) -> bool:
        """Tell whether this thread carries out an operation that has not ended, and so cannot wait for `close`."""
        here = threading.current_thread()
        return any(one.thread is here and not operation.done() for operation, one in self._running.copy().items())

    def close(self, seconds: float | None = None) -> list[Operation[Any]]:
        """Refuse further operations, stop those in progress, and wait until they are undone. It may be called again.

        It does not wait for the operation of this thread, nor for callbacks of operations that have ended.

        Args:
            seconds: How long to wait; None waits as long as it takes: operations always end.

        Returns:
            Those that have not ended.
        """
        if self._process != os.getpid():
            return []
        with self._gate:
            self._closed = True
            running = self._running.copy()
        for operation, one in running.items():
            operation.stop("closed")
            if one.taken.acquire(blocking=False):  # a signal handler may have interrupted whoever starts the thread
                self._never_began(operation, describe(OperationCancelled, "the host was closed", operation))
        here = threading.current_thread()
        others = [operation for operation, one in running.items() if one.thread is not here]
        wait(others, bounded(seconds))
        return [operation for operation in others if not operation.done()]
