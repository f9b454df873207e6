"""Arguments and options that many commands have."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from pyxen.cli.completion import DEFAULT_URI, URI_VARIABLE, domains, pools

__all__ = ["AsJson", "DomainName", "DomainNames", "PoolName", "Timeout", "Uri", "Yes"]


def _uri(ctx: typer.Context, value: str) -> str:
    """Return the URI of the command, or the one before it, or that of the environment."""
    if ctx.resilient_parsing:  # a line that is being completed, see `pyxen.cli.completion`
        return value
    return value or ctx.obj or DEFAULT_URI


Uri: TypeAlias = Annotated[
    str, typer.Option("--uri", metavar="URI", callback=_uri, help=f"The host. Default: ${URI_VARIABLE}, or this one.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Timeout: TypeAlias = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", min=0.0, help="Give up after this time, and undo it.")
]
DomainName: TypeAlias = Annotated[
    str, typer.Argument(metavar="DOMAIN", autocompletion=domains, help="Name, domid or uuid.", show_default=False)
]
DomainNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="DOMAIN", autocompletion=domains, help="Names, domids or uuids.", show_default=False),
]
PoolName: TypeAlias = Annotated[
    str, typer.Argument(metavar="POOL", autocompletion=pools, help="Name or number of a CPU pool.", show_default=False)
]
