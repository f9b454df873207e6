"""Operations that commands carry out: their progress bars, on standard error, and what is said of Ctrl-C."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pyxen.cli.files import shows_colours
from pyxen.errors import DomainNotFound, OperationCancelled
from pyxen.operation import Operation, finish

__all__ = ["carry_out"]

T = TypeVar("T")

_UNDONE: Final = "what had begun was cancelled and undone"
_NOT_BEGUN: Final = "it had not begun"
_STAYS: Final = "it was done just before, and stays"
_MAY_STAY: Final = "it was done just before, and may stay: its undoing was interrupted, too"


def carry_out(
    title: str | None, begin: Callable[[], Operation[T]], *, undo: Callable[[Any], object] | None = None
) -> T:
    """Begin an operation that a cancel undoes, and wait for its end; see `finish`.

    Args:
        title: What a bar says if standard error is a terminal, as ``save web1``. None: there is no bar.
        begin: Begins the operation.
        undo: Undoes it if Ctrl-C comes when it has just succeeded.

    Raises:
        KeyboardInterrupt: Ctrl-C, with what has become of the operation, which `told` says.
    """
    begun: list[Operation[Any]] = []
    success = _STAYS  # what has become of it if it has succeeded

    def undone(result: Any) -> None:
        nonlocal success
        if undo is None:
            return
        success = _MAY_STAY
        with contextlib.suppress(DomainNotFound):  # the domain has ended by itself
            undo(result)
        success = _UNDONE

    try:
        return _finished(title, begin, undone, begun)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_outcome(begun, success)) from None


def _finished(
    title: str | None, begin: Callable[[], Operation[T]], undo: Callable[[Any], object], begun: list[Operation[Any]]
) -> T:
    if title is None or not shows_colours():
        return finish(begin, undo, begun=begun)
    from pyxen.cli.bar import Watched

    bar = Watched(title)

    def watched() -> Operation[T]:
        bar.operation = operation = begin()
        return operation

    try:  # not a with statement: Ctrl-C may come while it starts
        bar.start()
        return finish(watched, undo, begun=begun)
    finally:
        bar.stop()


def _outcome(begun: list[Operation[Any]], success: str) -> str:
    """Return what has become of operations that were interrupted.

    Args:
        begun: All that had begun.
        success: What has become of one that has succeeded.
    """
    going = next((operation for operation in begun if not operation.done()), None)
    if going is not None:  # a second Ctrl-C did not wait for its end
        return f"{going.verb} was cancelled, and it is not known whether it is undone"
    errors = [operation.exception() for operation in begun]
    for error in errors:
        if error is not None and not isinstance(error, OperationCancelled):
            return str(error)
    if None in errors:
        return success
    return _UNDONE if begun else _NOT_BEGUN
