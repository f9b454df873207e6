"""Arguments and options that many commands have."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeAlias

import typer

from pyxen.cli.completion import domains, pools
from pyxen.cli.uri import Uri

__all__ = [
    "AsJson",
    "DetachTimeout",
    "DomainName",
    "DomainNames",
    "PoolName",
    "Timeout",
    "Uri",
    "Yes",
    "seconds",
    "timeout_option",
]


def seconds(value: float | None) -> float | None:
    """Return a number of seconds.

    Raises:
        BadParameter: It is NaN, which older releases of click let through.
    """
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is not a number of seconds")
    return value


def timeout_option(meaning: str) -> Any:
    """Return the option ``--timeout`` of a command.

    Args:
        meaning: What happens when the time is up, and whether anything is undone.
    """
    return typer.Option("--timeout", metavar="SECONDS", min=0.0, callback=seconds, help=meaning)


AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Timeout: TypeAlias = Annotated[float | None, timeout_option("Give up after this time, and undo it.")]
DetachTimeout: TypeAlias = Annotated[
    float | None, timeout_option("Give up after this time; the guest may still release it later.")
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
