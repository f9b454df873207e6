"""The progress bar of an operation, on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pyxen.cli.files import errors
from pyxen.cli.output import cell
from pyxen.operation import Operation

__all__ = ["Watched"]


class Watched(Progress):
    """A bar that asks an operation how far it is each time it is drawn.

    Args:
        title: What the bar says, as ``save web1``.

    Attributes:
        operation: The operation; None before it has begun.
    """

    def __init__(self, title: str) -> None:
        self.operation: Operation[Any] | None = None
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[what]}", markup=False),
            TimeElapsedColumn(),
        )
        super().__init__(*columns, console=errors(), transient=True)
        self.add_task(cell(title), total=None, what="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn, after asking the operation."""
        progress = None if self.operation is None else self.operation.progress
        if progress is not None:
            for task in self.task_ids:
                self.update(task, total=100, completed=progress.percent, what=cell(progress.what))
        yield from super().get_renderables()
