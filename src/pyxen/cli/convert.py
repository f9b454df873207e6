"""``pyxen convert``."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from pyxen import conversion
from pyxen.cli.files import complain, read
from pyxen.errors import ConfigError

__all__ = ["convert"]

_FAILED = 2
_LOSSY = 1


class Source(StrEnum):
    """What can be read."""

    XL = "xl"
    LIBVIRT_XML = "libvirt-xml"
    JSON = "json"


class Target(StrEnum):
    """What can be written."""

    XL = "xl"
    LIBVIRT_XML = "libvirt-xml"
    JSON = "json"
    PYTHON = "python"


def convert(
    file: Annotated[str, typer.Argument(help="A configuration; - is standard input.")],
    to: Annotated[Target, typer.Option("--to", "-t", help="What to write.")],
    from_: Annotated[
        Source | None, typer.Option("--from", "-f", help="What it is. Default: what it looks like.")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Where to. Default: standard output.")] = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if something is lost.")] = False,
) -> None:
    """Convert a configuration: of xl, of libvirt (XML) or of libxl (JSON), into another of these or into Python code.

    What the other form cannot say is told on standard error. The exit status is 0; with --strict it is 1 if something
    is lost; it is 2 if the configuration cannot be read.
    """
    try:
        text, losses = conversion.convert(read(file), to.value, from_.value if from_ else None)
        for loss in losses:
            complain(str(loss), style="bold yellow", label="lost")
        if losses and strict:
            raise typer.Exit(_LOSSY)
        if output is None:
            sys.stdout.write(text)
        else:
            with open(output, "w", encoding="utf-8") as written:
                written.write(text)
    except OSError as error:
        complain(f"{error.filename or file}: {error.strerror}")
        raise typer.Exit(_FAILED) from None
    except ConfigError as error:
        complain(f"{file}: {error}")
        raise typer.Exit(_FAILED) from None
