"""The command ``pyxen serve``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

import typer

from pyxen.cli.files import complain
from pyxen.cli.migrate_receive import take_over
from pyxen.cli.options import Uri
from pyxen.connection import open_backend
from pyxen.errors import Error

__all__ = ["COMMANDS", "serve"]

_LACKS: Final = 1


def serve(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="With --socket: the socket. Default: /run/pyxen/serve.sock.")
    ] = "",
    *,
    stdio: Annotated[bool, typer.Option("--stdio", help="Talk over standard input and output.")] = False,
    at_socket: Annotated[
        bool, typer.Option("--socket", help="Listen at a socket of this machine, or at the one of systemd.")
    ] = False,
    config: Annotated[
        str, typer.Option("--config", metavar="FILE", help="With --socket: who may connect, and what they may do.")
    ] = "",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Refuse what changes something or shows a password.")
    ] = False,
    uri: Uri = "",
) -> None:
    """Serve this host to other programs: to one at the other end of standard input and output, or to many at a socket.

    pyxen.connect("xenlight+ssh://root@host/") has ssh run it with --stdio; nothing has to be started before. As a
    forced command of a key in authorized_keys, --read-only lets that key look only: command="pyxen serve --stdio
    --read-only",restrict ssh-ed25519 ... It ends when its input does.

    With --socket, programs of this machine that do not run as root use pyxen.connect("xenlight+unix:///PATH"). The file
    /etc/pyxen/serve.toml, or that of --config, says who may connect and what they may do; without it, only root may
    connect. Its keys are group, and verbs: "all", "read-only" or a list such as ["read-only", "shutdown", "reboot"].
    The page on remote hosts has all verbs. systemd can make the socket, and start this with the first client. It runs
    until SIGTERM; a second signal ends it at once.

    When a client ends, what it has begun is undone.

    The exit status is 0, and 1 if it cannot serve.

    Example: pyxen serve --socket /run/pyxen/serve.sock
    """
    if stdio == at_socket:
        complain("say --stdio, as ssh does, or --socket: pyxen serve talks to one program, or listens for many")
        raise typer.Exit(_LACKS)
    if stdio and (path or config):
        complain(f"{path or '--config'} is for --socket")
        raise typer.Exit(_LACKS)
    try:
        from pyxen.serve.program import serve_many, serve_one
    except ModuleNotFoundError as error:
        if error.name != "msgspec":
            raise
        complain("msgspec is not installed: pyxen serve needs it: pip install 'pyxen[remote]'")
        raise typer.Exit(_LACKS) from None
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        if stdio:
            serve_one(*take_over("serve"), partial(open_backend, uri, None), read_only=read_only)
        else:  # each client has a host of its own, and one worker is enough for it
            serve_many(path, config or None, partial(open_backend, uri, 1), read_only=read_only)
    except Error as error:
        complain(str(error))
        raise typer.Exit(_LACKS) from None
    if sys.stderr is not None:  # it was closed
        sys.stderr.flush()
    os._exit(0)  # a thread that hangs in libxl does not keep it


COMMANDS: Final[dict[str, Callable[..., None]]] = {"serve": serve}
"""The command of this module by name."""
