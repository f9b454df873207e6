"""``pyxen convert``."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

import typer

from pyxen import conversion
from pyxen.cli.files import FAILED, STANDARD_INPUT, complain, read, said_of, save
from pyxen.cli.output import content
from pyxen.errors import ConfigError

__all__ = ["COMMANDS", "convert"]

_LOSSY: Final = 1


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
    file: Annotated[str, typer.Argument(metavar="FILE", help="A configuration; - is standard input.")],
    to: Annotated[Target, typer.Option("--to", "-t", help="The format to write.")],
    from_: Annotated[
        Source | None, typer.Option("--from", "-f", help="The format of FILE. Default: what it looks like.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="The file to write. Default: standard output.")
    ] = None,
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing if something is lost or contradictory.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE itself with --output.")] = False,
) -> None:
    """Convert a configuration of xl, libvirt (XML) or libxl (JSON) to another of these formats, or to Python code.

    Standard error names what the other format cannot say, and what is contradictory in the configuration. The exit
    status is 0. It is 1 if no domain can be created of what is written: it is contradictory, or xl refuses the text.
    With --strict, it is 1 too if something is lost. It is 2 if a file cannot be read or written.

    Example: pyxen convert web1.cfg --to libvirt-xml
    """
    try:
        text = read(file)
    except OSError as error:
        complain(said_of(file, error))
        raise typer.Exit(FAILED) from None
    try:
        config, losses = conversion.read(text, from_.value if from_ else None)
        written, more = conversion.write(config, to.value)
    except ConfigError as error:
        complain(f"{file}: {error}")
        raise typer.Exit(FAILED) from None
    for loss in (*losses, *more):
        complain(str(loss), style="bold yellow", label="lost")
    problems = config.problems()
    for problem in problems:
        complain(str(problem), style="bold yellow", label="problem")
    if strict and (losses or more or problems):
        raise typer.Exit(_LOSSY)
    if output in (None, STANDARD_INPUT):
        content(written)
    else:
        save(output, written, file, force=force)
    if conversion.is_refused(written) if to is Target.XL else problems:
        raise typer.Exit(_LOSSY)


COMMANDS: Final[dict[str, Callable[..., None]]] = {"convert": convert}
"""The command of this module by name."""
