"""Operations that commands carry out: their progress bars, on standard error, and what is said of Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from pyxen.cli.files import shows_colours
from pyxen.errors import OperationCancelled
from pyxen.operation import Operation, finish

__all__ = ["carry_out"]

T = TypeVar("T")

_UNDONE: Final = "what had begun was cancelled and undone"
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
    begun: list[Operation[T]] = []
    kept: list[Any] = []

    def undone(result: Any) -> None:
        kept.append(result)
        if undo is not None:
            undo(result)
            kept.clear()

    def recorded() -> Operation[T]:
        begun.append(begin())
        return begun[0]

    try:
        return _finished(title, recorded, undone)
    except KeyboardInterrupt:
        raise KeyboardInterrupt((_STAYS if undo is None else _MAY_STAY) if kept else _outcome(begun)) from None


def _finished(title: str | None, begin: Callable[[], Operation[T]], undo: Callable[[Any], object] | None) -> T:
    if title is None or not shows_colours():
        return finish(begin, undo)
    from pyxen.cli.bar import Watched

    bar = Watched(title)

    def watched() -> Operation[T]:
        bar.operation = operation = begin()
        return operation

    try:  # not a with statement: Ctrl-C may come while it starts
        bar.start()
        return finish(watched, undo)
    finally:
        bar.stop()


def _outcome(begun: list[Operation[T]]) -> str:
    """Return what has become of an operation that was interrupted, and is not kept."""
    if not begun:  # Ctrl-C came while it began
        return _UNDONE
    operation = begun[0]
    if not operation.done():
        return f"{operation.verb} was cancelled, and it is not known whether it is undone"
    error = operation.exception()
    return _UNDONE if error is None or isinstance(error, OperationCancelled) else str(error)
