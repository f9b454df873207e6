"""The command ``pyxen dt-overlay``, for the device tree of a host with Arm CPUs."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final

import typer

from pyxen.cli.completion import domains
from pyxen.cli.options import AsJson, Uri
from pyxen.cli.output import document
from pyxen.cli.session import domain_of, host_at

__all__ = ["COMMANDS"]


class Verb(StrEnum):
    """What is done with an overlay."""

    ADD = "add"
    REMOVE = "remove"
    ATTACH = "attach"


def dt_overlay(
    verb: Annotated[Verb, typer.Argument(metavar="VERB", help="add, remove or attach.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The compiled overlay (.dtbo).")],
    domain: Annotated[
        str | None,
        typer.Argument(metavar="DOMAIN", autocompletion=domains, help="With attach: who gets it.", show_default=False),
    ] = None,
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Add an overlay to Xen's device tree, remove it from there, or give a domain its devices. Needs Arm.

    Example: pyxen dt-overlay add /srv/fpga.dtbo

    JSON: an object with file.
    """
    if (domain is None) == (verb is Verb.ATTACH):
        raise typer.BadParameter("attach takes a domain" if domain is None else f"{verb} takes no domain")
    with host_at(uri) as host:
        match verb:
            case Verb.ADD:
                host.device_tree.add(file)
            case Verb.REMOVE:
                host.device_tree.remove(file)
            case Verb.ATTACH:
                host.device_tree.attach(domain_of(host, str(domain)), file)
    if as_json:
        document({"file": file})


COMMANDS: Final[dict[str, Callable[..., None]]] = {"dt-overlay": dt_overlay}
"""The command of this module by name."""
