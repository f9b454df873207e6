"""The command ``pyxen migrate-receive``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Annotated, Final

import typer

from pyxen.cli.files import complain
from pyxen.connection import connect
from pyxen.errors import Error

__all__ = ["COMMANDS", "migrate_receive", "take_over"]

_FAILED = 1


def migrate_receive(
    *,
    remus: Annotated[
        bool, typer.Option("-r", "--remus", help="Keep a backup, and run it when the source is lost.")
    ] = False,
    paused: Annotated[bool, typer.Option("-p", help="Leave the domain paused.")] = False,
    _as_xl: Annotated[bool, typer.Option("-e", "-F", "-d", help="Do nothing; xl may pass them.")] = False,
) -> None:
    """Receive a domain that xl or pyxen migrates or replicates to this host, instead of xl migrate-receive.

    The domain is read from standard input, and answers go to standard output. xl migrate -s "" DOMAIN "ssh HOST pyxen
    migrate-receive" runs it. No process stays behind; pyxen supervise acts when the domain ends later.

    The exit status is 0 if the domain is here, and 1 if nothing is left of it here.

    Example: pyxen migrate-receive
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # so that partial work is undone
    try:
        with connect(workers=0) as host:
            host.receive_migration(*take_over(), remus=remus, paused=paused)
    except Error as error:
        complain(str(error))
        raise typer.Exit(_FAILED) from None


def take_over() -> tuple[int, int]:
    """Return standard input and output as descriptors that child processes do not inherit.

    The output of hotplug scripts must not mix with the answers, and a domain's backend must not hold them open.
    """
    private = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return private


COMMANDS: Final[dict[str, Callable[..., None]]] = {"migrate-receive": migrate_receive}
"""The command of this module by name."""
