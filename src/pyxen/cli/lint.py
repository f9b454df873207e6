"""``pyxen lint``."""

from __future__ import annotations

import dataclasses
import json
import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pyxen import xlcfg
from pyxen.cli.files import STANDARD_INPUT, complain, read
from pyxen.config.releases import DEFAULT

__all__ = ["lint"]

_FOUND = 1
_FAILED = 2
_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"


def lint(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="xl configurations; - is standard input.")],
    xen: Annotated[str, typer.Option(help="The Xen release that is to run them.")] = DEFAULT,
    format_: Annotated[Format, typer.Option("--format", help="How to write what is found.")] = Format.TEXT,
) -> None:
    """Look through xl configurations for what xl would take in silence and not do as was meant.

    The exit status is 0 if there are no errors and no warnings (notes on outdated spellings do not count), 1 if there
    are, and 2 if a file cannot be read.
    """
    status = 0
    findings: list[tuple[str, xlcfg.Diagnostic]] = []
    for name in files:
        shown = "<stdin>" if name == STANDARD_INPUT else name
        try:
            findings += [(shown, found) for found in xlcfg.lint(_text(name), xen)]
        except OSError as error:
            complain(f"{shown}: {error.strerror}")
            status = _FAILED
        except ValueError as error:
            complain(f"{shown}: {error}")
            status = _FAILED
    if format_ is Format.JSON:
        items = [{"file": name, **dataclasses.asdict(found)} for name, found in findings]
        sys.stdout.write(json.dumps(items, indent=2, ensure_ascii=False) + "\n")
    else:
        _print(findings)
    serious = any(found.severity != "note" for _, found in findings)
    raise typer.Exit(status or (_FOUND if serious else 0))


def _text(name: str) -> str:
    return read(name).decode("utf-8", "surrogateescape")


def _print(findings: list[tuple[str, xlcfg.Diagnostic]]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for name, found in findings:
        place = f"{name}:{found.line}:{found.column}: "
        console.print(
            Text.assemble(place, (f"{found.severity}: ", _STYLES[found.severity]), found.message, f" [{found.code}]")
        )
        if found.hint:
            console.print(Text.assemble(" " * 4, (found.hint, "italic")))
