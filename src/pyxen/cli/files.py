"""Reading what is named on a command line, and complaining."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console
from rich.text import Text

__all__ = ["STANDARD_INPUT", "complain", "errors", "read"]

STANDARD_INPUT: Final = "-"
"""What stands for standard input."""

errors: Final = Console(stderr=True, highlight=False, soft_wrap=True)
"""Where messages go."""


def read(name: str) -> bytes:
    """Return what a file holds, or standard input.

    Raises:
        OSError: It cannot be read.
    """
    if name == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    with open(name, "rb") as file:
        return file.read()


def complain(message: str, *, style: str = "bold red", label: str = "error") -> None:
    """Print a message, with a coloured label where there are colours."""
    errors.print(Text.assemble((f"{label}: ", style), message))
