"""Commands for Xen's security policy (Flask)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from pyxen.cli.options import AsJson, Uri
from pyxen.cli.output import document, say
from pyxen.cli.session import host_at

__all__ = ["COMMANDS"]

_MODES: Final = {"enforcing": True, "1": True, "permissive": False, "0": False}


def getenforce(uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Show whether Xen enforces its security policy: Enforcing, or Permissive.

    Example: pyxen getenforce

    JSON: an object with enforcing.
    """
    with host_at(uri) as host:
        enforcing = host.flask.enforcing()
    if as_json:
        document({"enforcing": enforcing})
    else:
        say("Enforcing" if enforcing else "Permissive")


def setenforce(
    mode: Annotated[str, typer.Argument(metavar="MODE", help="Enforcing or 1; Permissive or 0.")],
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Set whether Xen enforces its security policy. If not, it only logs what it would refuse.

    Example: pyxen setenforce 1

    JSON: an object with enforcing.
    """
    enforcing = _MODES.get(mode.lower())
    if enforcing is None:
        raise typer.BadParameter(f"{mode!r} is not a mode: write Enforcing, 1, Permissive or 0")
    with host_at(uri) as host:
        host.flask.set_enforcing(enforcing)
    if as_json:
        document({"enforcing": enforcing})


def loadpolicy(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The compiled policy.")],
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Replace the security policy of Xen.

    Example: pyxen loadpolicy /boot/xenpolicy

    JSON: an object with file.
    """
    with host_at(uri) as host:
        host.flask.load_policy(file)
    if as_json:
        document({"file": file})


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "getenforce": getenforce,
    "setenforce": setenforce,
    "loadpolicy": loadpolicy,
}
"""The commands of this module by name."""
