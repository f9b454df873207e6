"""Commands for Xen itself: its log, its debug keys, its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from pyxen.cli.files import write
from pyxen.cli.options import AsJson, Uri, Yes
from pyxen.cli.output import document, lines
from pyxen.cli.session import confirm, host_at

__all__ = ["COMMANDS"]

_ENDS_THE_HOST: Final = frozenset("CR")
"""The debug keys that crash or reboot the host."""


def dmesg(
    uri: Uri = "",
    *,
    clear: Annotated[bool, typer.Option("--clear", "-c", help="Clear what is shown.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show lines as they come, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the log of Xen.

    Example: pyxen dmesg --clear

    JSON: an object with log, which is text; with --follow, an object with line for each line.
    """
    if clear and follow:
        raise typer.BadParameter("clear the log, or follow it")
    with host_at(uri, follows=follow) as host:
        if not follow:
            text = host.log(clear=clear)
            if as_json:
                document({"log": text})
            else:
                write(lines(text))
            return
        with host.follow_log(whole=True) as reader:
            for line in reader:
                if as_json:
                    document({"line": line}, on_one_line=True)
                else:
                    write(f"{lines(line)}\n")


def debug_keys(
    keys: Annotated[str, typer.Argument(metavar="KEYS", help="One key or several; h lists them in the log.")],
    uri: Uri = "",
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Send debug keys to Xen, which answers in its log. It asks before C and R, which end the host.

    Example: pyxen debug-keys q

    JSON: an object with keys.
    """
    with host_at(uri) as host:
        if _ENDS_THE_HOST & {*keys}:
            confirm(f"Send {keys}? C crashes the host, and R reboots it.", yes=yes)
        host.debug_keys(keys)
    if as_json:
        document({"keys": keys})


def set_parameters(
    parameters: Annotated[list[str], typer.Argument(metavar="PARAMETER", help="As on Xen's command line.")],
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Change parameters of Xen's command line while it runs.

    Example: pyxen set-parameters "loglvl=all"

    JSON: an object with parameters, a list of text.
    """
    with host_at(uri) as host:
        host.set_parameters(" ".join(parameters))
    if as_json:
        document({"parameters": parameters})


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "dmesg": dmesg,
    "debug-keys": debug_keys,
    "set-parameters": set_parameters,
}
"""The commands of this module by name."""
