"""What commands print on standard output: tables and lines for people, JSON for programs."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pyxen._printable import printable
from pyxen.cli.columns import columns
from pyxen.cli.files import write

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["cell", "content", "document", "is_terminal", "json_text", "lines", "render", "say", "table"]

_WIDE: Final = 100_000
"""Columns where the output is not a terminal: nothing is folded or cut."""

_UNKNOWN: Final = "-"
"""What a table shows for a value that is not known."""


def is_terminal() -> bool:
    """Tell whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def cell(value: object) -> str:
    r"""Return a value as text on one line that cannot control a terminal: ESC becomes ``\x1b``, a newline ``\n``."""
    if value is None:
        return _UNKNOWN
    return printable(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def lines(text: str) -> str:
    """Return text of several lines that cannot control a terminal; tabs and newlines stay."""
    return printable(text)


def json_text(text: str) -> str:
    """Return a JSON document that cannot control a terminal, and says the same."""
    return "".join(char if printable(char) == char else f"\\u{ord(char):04x}" for char in text)


def say(*values: object) -> None:
    """Print values on a line, with blanks between them."""
    write(" ".join(map(cell, values)) + "\n")


def content(text: str) -> None:
    """Print what a file would hold: to the byte into a file or a pipe, but so that it cannot control a terminal."""
    write(lines(text) if is_terminal() else text)


def document(value: Any, *, on_one_line: bool = False) -> None:
    """Print a JSON document, in ASCII.

    Args:
        value: Plain data.
        on_one_line: For one of many documents, each on a line.
    """
    text = json.dumps(value, indent=None if on_one_line else 2)
    write(text.replace("\x7f", "\\u007f") + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[str] = ()) -> None:
    """Print a table: with a line below its head on a terminal, plain columns elsewhere.

    Args:
        head: The titles of the columns.
        rows: The cells; None is shown as a dash.
        numbers: The titles of the columns that are aligned to the right.
    """
    terminal = is_terminal()
    cells = [[cell(value) for value in row] for row in rows]
    plain = None if terminal else columns(head, cells, frozenset(numbers))
    if plain is not None:
        write(plain)
        return
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=None if terminal else _WIDE, highlight=False)
    console.print(render(head, cells, numbers=numbers, plain=not terminal))
    # Trailing blanks only waste columns. No cell ends in an escape sequence of a colour where there is no terminal.
    write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines() if terminal or line.strip()))


def render(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[str] = (), plain: bool = False
) -> Table:
    """Return a table for rich; see `table`."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    right = frozenset(numbers)
    made = Table(box=None if plain else SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for title in head:
        made.add_column(title, justify="right" if title in right else "left", overflow="fold", no_wrap=plain)
    for row in rows:
        made.add_row(*(Text(cell(value)) for value in row))
    return made
