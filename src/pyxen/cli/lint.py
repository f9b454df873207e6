"""``pyxen lint``."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from pyxen import xlcfg
from pyxen._printable import printable
from pyxen.cli.files import FAILED, STANDARD_INPUT, complain, read, said_of, write
from pyxen.config.releases import DEFAULT, KNOWN, OLDEST, release

__all__ = ["COMMANDS", "lint"]

_FOUND: Final = 1
_STYLES: Final = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"


def _release(text: str) -> str:
    try:
        known = release(text) >= release(OLDEST)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not known:
        raise typer.BadParameter(f"Xen {text} is older than what is known here; {OLDEST} is the oldest")
    return text


def lint(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="xl configurations; - is standard input.")],
    xen: Annotated[
        str, typer.Option(callback=_release, help=f"The Xen release that is to run them: {', '.join(KNOWN)}.")
    ] = DEFAULT,
    format_: Annotated[Format, typer.Option("--format", help="How to write what is found.")] = Format.TEXT,
) -> None:
    """Find what xl would accept in silence in its configurations, but not do as was meant.

    The exit status is 0 if there are no errors and no warnings, 1 if there are, and 2 if a file cannot be read. Notes
    on outdated settings do not count.

    Example: pyxen lint --xen 4.17 web1.cfg web2.cfg
    """
    status = 0
    findings: list[tuple[str, xlcfg.Diagnostic]] = []
    for name in files:
        shown = "<stdin>" if name == STANDARD_INPUT else name
        try:
            text = read(name)
        except OSError as error:
            complain(said_of(name, error))
            status = FAILED
            continue
        findings += [(shown, found) for found in xlcfg.lint(text, xen)]
    if format_ is Format.JSON:
        items = [{"file": name, **dataclasses.asdict(found)} for name, found in findings]
        write(json.dumps(items, indent=2) + "\n")
    elif sys.stdout is not None and sys.stdout.isatty():
        _print(findings)
    else:
        write("".join(map(_lines, findings)))
    serious = any(found.severity != "note" for _, found in findings)
    raise typer.Exit(status or (_FOUND if serious else 0))


def _lines(named: tuple[str, xlcfg.Diagnostic]) -> str:
    name, found = named
    head = f"{name}:{found.line}:{found.column}: {found.severity}: {found.message} [{found.code}]"
    return printable(f"{head}\n    {found.hint}\n" if found.hint else f"{head}\n")


def _print(findings: list[tuple[str, xlcfg.Diagnostic]]) -> None:
    """Print findings in colours, for a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    for name, found in findings:
        place, message = printable(f"{name}:{found.line}:{found.column}: "), printable(found.message)
        console.print(
            Text.assemble(place, (f"{found.severity}: ", _STYLES[found.severity]), message, f" [{found.code}]")
        )
        if found.hint:
            console.print(Text.assemble(" " * 4, (printable(found.hint), "italic")))


COMMANDS: Final[dict[str, Callable[..., None]]] = {"lint": lint}
"""The command of this module by name."""
