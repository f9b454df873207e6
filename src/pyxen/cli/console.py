"""``pyxen console``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from pyxen.cli.create import check_streams
from pyxen.cli.options import DomainName, Uri
from pyxen.cli.session import domain_of, host_at
from pyxen.records.endpoints import ConsoleType
from pyxen.terminal import attach_terminal

__all__ = ["COMMANDS"]


def console(
    domain: DomainName,
    uri: Uri = "",
    kind: Annotated[
        ConsoleType | None, typer.Option("--type", "-t", help="pv or serial. Default: the guest's main console.")
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=0, help="Which one of that type.")] = 0,
) -> None:
    """Attach the terminal to the console of a domain, until Ctrl-] or the end of the domain.

    Every key goes to the guest, Ctrl-C too. What the guest prints is shown as it is, as on any console: the terminal
    obeys its control sequences.

    Example: pyxen console web1
    """
    check_streams()
    with host_at(uri) as host, domain_of(host, domain).console_stream(kind, number=number) as stream:
        attach_terminal(stream)


COMMANDS: Final[dict[str, Callable[..., None]]] = {"console": console}
"""The commands of this module by name."""
