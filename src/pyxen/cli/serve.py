"""The command ``pyxen serve``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

import typer

from pyxen.cli.files import complain
from pyxen.cli.migrate_receive import take_over
from pyxen.cli.options import Uri
from pyxen.connection import open_backend

__all__ = ["COMMANDS", "serve"]

_LACKS: Final = 1


def serve(
    *,
    stdio: Annotated[bool, typer.Option("--stdio", help="Talk over standard input and output.")] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Refuse what changes something or shows a password.")
    ] = False,
    uri: Uri = "",
) -> None:
    """Serve this host to pyxen.connect("xenlight+ssh://root@host/") at the other end of standard input and output.

    ssh runs it; nothing has to be started before. As a forced command of a key in authorized_keys, --read-only lets
    that key look only: command="pyxen serve --stdio --read-only",restrict ssh-ed25519 ...

    It ends when its input does. What the other end has begun is undone then.

    Example: pyxen serve --stdio --read-only
    """
    if not stdio:
        complain("say --stdio: ssh runs pyxen serve --stdio, and talks to it over standard input and output")
        raise typer.Exit(_LACKS)
    try:
        from pyxen.serve.server import Server
    except ModuleNotFoundError as error:
        if error.name != "msgspec":
            raise
        complain("msgspec is not installed: pyxen serve needs it: pip install 'pyxen[remote]'")
        raise typer.Exit(_LACKS) from None
    read_fd, write_fd = take_over()
    server = Server(read_fd, write_fd, read_only=read_only)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: server.end("the server was told to end"))
    server.run(partial(open_backend, uri, 1))
    sys.stderr.flush()
    os._exit(0)  # a thread that hangs in libxl does not keep it


COMMANDS: Final[dict[str, Callable[..., None]]] = {"serve": serve}
"""The command of this module by name."""
