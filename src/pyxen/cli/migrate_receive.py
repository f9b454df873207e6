"""The command ``pyxen migrate-receive``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Annotated, Final

import typer

from pyxen.cli.completion import DEFAULT_URI
from pyxen.cli.files import complain
from pyxen.cli.session import xl_conf_of
from pyxen.cli.uri import Uri
from pyxen.connection import connect
from pyxen.errors import Error, OperationFailed
from pyxen.host import Host

__all__ = ["COMMANDS", "migrate_receive", "take_over"]

_FAILED = 1


def migrate_receive(
    uri: Uri = "",
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
        stream = take_over("migrate-receive")  # first: what is opened before could get the number of a closed one
        with _opened(uri or DEFAULT_URI) as host:
            host.receive_migration(*stream, remus=remus, paused=paused)
    except Error as error:
        complain(str(error))
        raise typer.Exit(_FAILED) from None


def _opened(uri: str) -> Host:
    """Open the host, with the settings of xl that the environment names.

    Raises:
        typer.Exit: Their file cannot be read. That is said.
    """
    try:
        conf = xl_conf_of(uri)
    except typer.Exit:
        raise typer.Exit(_FAILED) from None
    return connect(uri, workers=0, xl_conf=conf)


def take_over(verb: str) -> tuple[int, int]:
    """Return standard input and output as descriptors that child processes do not inherit.

    The output of hotplug scripts must not mix with the answers, and a domain's backend must not hold them open. It goes
    to standard error, or nowhere if that is closed.

    Raises:
        OperationFailed: One of them is closed.
    """
    for number, name in ((0, "input"), (1, "output")):
        if not _is_open(number):
            raise OperationFailed(f"standard {name} is closed: run this where both are open", operation=verb)
    if not _is_open(2):
        os.set_inheritable(os.open(os.devnull, os.O_WRONLY), True)  # it gets the number 2, the lowest free one
    private = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return private


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


COMMANDS: Final[dict[str, Callable[..., None]]] = {"migrate-receive": migrate_receive}
"""The command of this module by name."""
