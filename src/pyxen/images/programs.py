"""Programs that make images, and the error when one of them fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pyxen._common.programs import find_program, run_program
from pyxen.errors import ImageError, NotEnoughSpace, ToolMissing

__all__ = ["program", "run"]

_TOLD_LINES: Final = 12
"""Lines of a program that failed, in the error."""

_FULL: Final = ("no space left", "disk quota exceeded", "file too large")
"""What programs say when a file system is full, or the user's share of it, in small letters."""


def program(*names: str, package: str) -> str:
    """Return the path of the first of some programs that is installed.

    Raises:
        ToolMissing: None of them is installed.
    """
    path = next((path for path in map(find_program, names) if path is not None), None)
    if path is None:
        message = f"the program {' or '.join(names)} is not installed: on Debian, apt install {package}"
        raise ToolMissing(message, operation="image")
    return path


def run(
    command: list[str],
    *,
    package: str,
    text: str = "",
    on_line: Callable[[str], None] | None = None,
    end: float | None = None,
) -> list[str]:
    """Run a program to its end, and return the lines that it printed: its output, then its messages.

    When it is interrupted or its time is up, it is ended, and all that it has started.

    Args:
        command: The program and its arguments.
        package: Debian's package that has it.
        text: Its standard input.
        on_line: Called with each line.
        end: The time by which it must have ended, of `time.monotonic`.

    Raises:
        ImageError: It exited with another status than 0.
        NotEnoughSpace: So it did, and said that a file system is full.
        OperationTimeout: Its time was up.
        ToolMissing: It is not installed.
    """
    timeout = None if end is None else max(0.0, end - time.monotonic())
    output = run_program(
        command, verb="image", package=package, timeout=timeout, gentle=True, text=text, on_line=on_line
    )
    lines = [line.rstrip() for line in (*output.stdout.splitlines(), *output.stderr.splitlines())]
    if output.status != 0:
        told = tuple(lines)[-_TOLD_LINES:]
        if any(sign in line.lower() for line in told for sign in _FULL):
            words = "".join(f"\n  {line}" for line in told)
            message = f"there is not enough free space: remove something, or use another file system{words}"
            raise NotEnoughSpace(message, operation="image", code=output.status)
        how = "" if output.status is None else f" with exit status {output.status}"
        raise ImageError(f"{command[0]} failed{how}", operation="image", log=told)
    return lines
