"""What a command reads and writes: files named on the command line, standard input and output, and messages."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import typer

from pyxen._common.whole_file import write_whole
from pyxen._printable import printable
from pyxen.cli.quick import drop

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FAILED", "STANDARD_INPUT", "complain", "errors", "output_failed", "read", "save", "shows_colours", "write"]

FAILED: Final = 2
"""Exit status if something could not be read or written."""

STANDARD_INPUT: Final = "-"
"""What stands for standard input, and for standard output."""

_READER_GONE: Final = 128 + 13
"""Exit status if nobody reads the output any more: that of a program which SIGPIPE ends."""


@functools.cache
def errors() -> Console:
    """Return where messages go on a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def read(name: str) -> bytes:
    """Return what a file holds, or standard input.

    Raises:
        OSError: It cannot be read.
    """
    if name == STANDARD_INPUT:
        if sys.stdin is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return sys.stdin.buffer.read()
    with open(name, "rb") as file:
        return file.read()


def said_of(name: str, error: OSError) -> str:
    """Return the message on a file that cannot be read or written."""
    if not name:
        return f"'': a file needs a name; {STANDARD_INPUT} is standard input or output"
    return f"{'<stdin>' if name == STANDARD_INPUT else name}: {error.strerror}"


def write(text: str) -> None:
    """Write to standard output; bytes that were not UTF-8 become what they were.

    Raises:
        typer.Exit: It cannot be written. That is said, unless the reader has gone, as in ``pyxen convert … | head``.
    """
    if sys.stdout is None:
        _fail("standard output: it is closed")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        drop(sys.stdout)
        raise typer.Exit(_READER_GONE) from None
    except OSError as error:
        output_failed(error)
        raise typer.Exit(FAILED) from None


def output_failed(error: OSError) -> None:
    """Say that standard output cannot be written, and write no more to it."""
    drop(sys.stdout)
    complain(f"standard output: {error.strerror}")


def save(name: str, text: str, source: str, *, force: bool) -> None:
    """Write a file; see `write_whole`.

    Args:
        name: The file.
        text: What to write.
        source: The file that was read: it is not overwritten.
        force: Overwrite it all the same.

    Raises:
        typer.Exit: It cannot be written, or is the source. That is said.
    """
    if not force and _same(name, source):
        _fail(f"{name} is the file that was read; --force overwrites it, and its comments are lost")
    try:
        write_whole(name, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        _fail(said_of(name, error))


def _same(name: str, source: str) -> bool:
    try:
        read = os.fstat(sys.stdin.fileno()) if source == STANDARD_INPUT else os.stat(source)
        return os.path.samestat(os.stat(name), read)
    except (OSError, ValueError, AttributeError):  # there is no such file yet, or standard input is not a file
        return False


def _fail(message: str) -> NoReturn:
    complain(message)
    raise typer.Exit(FAILED)


def complain(message: str, *, style: str = "bold red", label: str = "error") -> None:
    """Print a message, with a coloured label where there are colours."""
    with contextlib.suppress(OSError, ValueError):  # nowhere is left to say it, or it was closed
        if sys.stderr is None:
            return
        if not shows_colours():
            sys.stderr.write(f"{label}: {printable(message)}\n")
            sys.stderr.flush()
            return
        from rich.text import Text

        errors().print(Text.assemble((f"{label}: ", style), printable(message)))


def shows_colours() -> bool:
    """Tell whether standard error is a terminal; without one, rich need not be loaded."""
    return sys.stderr is not None and sys.stderr.isatty()
