"""``pyxen migrate-receive``."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from pyxen.cli.files import complain
from pyxen.connection import connect
from pyxen.errors import Error

__all__ = ["migrate_receive"]

STDIN, STDOUT = 0, 1
_FAILED = 1


def migrate_receive(
    *,
    paused: Annotated[bool, typer.Option("-p", help="Leave the domain paused.")] = False,
    _as_xl: Annotated[bool, typer.Option("-e", "-F", "-d", help="Do nothing; xl may pass them.")] = False,
) -> None:
    """Take in a domain that xl or pyxen migrates here, in the place of xl migrate-receive.

    It comes on standard input, and answers go to standard output: xl migrate -s "" DOMAIN "ssh HOST pyxen
    migrate-receive" runs it. No process stays; pyxen supervise acts when the domain ends later.

    The exit status is 0 if the domain is here, and 1 if nothing of it is.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # so that what was begun is undone
    try:
        with connect(workers=0) as host:
            host.receive_migration(STDIN, STDOUT, paused=paused)
    except Error as error:
        complain(str(error))
        raise typer.Exit(_FAILED) from None
