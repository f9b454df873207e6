"""The option ``--uri``, apart from the others: it needs no typer of today, which Debian 12's dom0 has not."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from pyxen.cli.completion import DEFAULT_URI, URI_VARIABLE

__all__ = ["Uri"]


def _uri(ctx: typer.Context, value: str) -> str:
    """Return the URI of the command, or the one before it, or that of the environment."""
    if ctx.resilient_parsing:  # a line that is being completed, see `pyxen.cli.completion`
        return value
    return value or ctx.obj or DEFAULT_URI


Uri: TypeAlias = Annotated[
    str, typer.Option("--uri", metavar="URI", callback=_uri, help=f"The host. Default: ${URI_VARIABLE}, or this one.")
]
