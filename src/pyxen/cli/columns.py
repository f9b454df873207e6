"""Columns of plain text, as `pyxen.cli.output.table` prints them. This module loads nothing."""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer than all that is done here
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["columns"]

_BETWEEN = "  "


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]) -> str | None:
    """Return a table for what is not a terminal; None if a cell is not plain ASCII on one line.

    Args:
        head: The titles of the columns.
        rows: The cells.
        numbers: The titles of the columns that are aligned to the right.
    """
    lines = [head, *rows]
    if not all(cell.isascii() and cell.isprintable() for line in lines for cell in line):
        return None  # its width is not its length
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [title in numbers for title in head]
    shown = (
        _BETWEEN.join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )
    return "".join(f"{line}\n" for line in shown if line)
