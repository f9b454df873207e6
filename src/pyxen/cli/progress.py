"""Progress bars of operations that take long, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pyxen.cli.files import errors
from pyxen.cli.output import cell
from pyxen.operation import Operation, finish

__all__ = ["carry_out"]

T = TypeVar("T")


class _Watched(Progress):
    """A bar that asks an operation how far it is each time it is drawn.

    Attributes:
        operation: The operation; None before it has begun.
    """

    operation: Operation[Any] | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        progress = None if self.operation is None else self.operation.progress
        if progress is not None:
            for task in self.task_ids:
                self.update(task, total=100, completed=progress.percent, what=cell(progress.what))
        yield from super().get_renderables()


def carry_out(title: str, begin: Callable[[], Operation[T]], *, undo: Callable[[Any], object] | None = None) -> T:
    """Begin an operation and wait for its end, with a bar if standard error is a terminal; see `finish`.

    Args:
        title: What the bar says, as ``save web1``.
        begin: Begins the operation.
        undo: Undoes it if Ctrl-C comes when it has just succeeded.
    """
    if not errors.is_terminal:
        return finish(begin, undo)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[what]}", markup=False),
        TimeElapsedColumn(),
    )
    bar = _Watched(*columns, console=errors, transient=True)
    bar.add_task(cell(title), total=None, what="")

    def watched() -> Operation[T]:
        bar.operation = operation = begin()
        return operation

    try:  # not a with statement: Ctrl-C may come while it starts
        bar.start()
        return finish(watched, undo)
    finally:
        bar.stop()
