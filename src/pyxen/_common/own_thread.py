"""Operations that one thread each carries out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from pyxen._common.shortage import shortage
from pyxen.errors import Error, OperationCancelled, OperationFailed
from pyxen.operation import Operation, describe

__all__ = ["carry_out"]

T = TypeVar("T")


def carry_out(
    operation: Operation[T], work: Callable[[], T], stop: Callable[[Operation[T]], None], completer: object
) -> Operation[T]:
    """Begin an operation that a function carries out on a thread of its own.

    If the thread cannot be started, or Ctrl-C comes before that, the operation ends: nobody waits for a thread that
    never began.

    Args:
        operation: The operation.
        work: Does all of it, and returns its result.
        stop: Stops the work; any thread may call it.
        completer: What completes the steps of the work: the `completer` of the backend.

    Raises:
        OperationFailed: No thread can be started.
    """
    taken = threading.Lock()  # by the thread when it begins, or by who finds before that that it is not to begin

    def run() -> None:
        if not taken.acquire(blocking=False):
            return
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 (the caller of `result` gets every error)
            operation.set_exception(error)
        else:
            operation.set_result(result)

    thread = threading.Thread(target=run, name=f"pyxen-{operation.verb}", daemon=True)
    try:
        operation.carried_by(stop, thread, completer)
        with shortage(OperationFailed, f"{operation.verb}: cannot begin"):
            thread.start()
    except BaseException as error:
        if taken.acquire(blocking=False):
            is_ours = isinstance(error, Error)
            operation.set_exception(error if is_ours else describe(OperationCancelled, "it was not begun", operation))
        else:  # Ctrl-C: nobody gets the operation
            operation.cancel()
        raise
    return operation
