"""Progress bars of operations that take long, on standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pyxen.cli.files import shows_colours
from pyxen.operation import Operation, finish

__all__ = ["carry_out"]

T = TypeVar("T")


def carry_out(title: str, begin: Callable[[], Operation[T]], *, undo: Callable[[Any], object] | None = None) -> T:
    """Begin an operation and wait for its end, with a bar if standard error is a terminal; see `finish`.

    Args:
        title: What the bar says, as ``save web1``.
        begin: Begins the operation.
        undo: Undoes it if Ctrl-C comes when it has just succeeded.
    """
    if not shows_colours():
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
