"""A server at a socket of this machine, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from pyxen.connection import open_backend
from pyxen.serve.listener import Listener
from pyxen.serve.settings import Settings
from pyxen.serve.sockets import made_socket
from tests.unit.remote.ends import SECONDS, until

__all__ = ["AtSocket", "at_socket", "program"]

_ARGUMENTS: Final = ("-m", "pyxen", "--uri", "memory:///demo", "serve", "--socket")


class AtSocket:
    """A server at a socket, in this process.

    Attributes:
        uri: How to connect.
        path: The socket.
        listener: The server.
    """

    def __init__(self, path: Path, listener: Listener) -> None:
        self.path, self.listener = path, listener
        self.uri = f"xenlight+unix://{path}"


@contextlib.contextmanager
def at_socket(path: Path, host: str, settings: Settings | None = None) -> Iterator[AtSocket]:
    """Have a host served at a socket."""
    settings = settings or Settings()
    with made_socket(str(path), settings) as listening:
        listener = Listener(listening, settings, partial(open_backend, host, 1))
        thread = threading.Thread(target=listener.run)
        thread.start()
        try:
            yield AtSocket(path, listener)
        finally:
            listener.end()
            thread.join(SECONDS)
            listener.wind_up()
            assert not thread.is_alive()
            assert len(listener) == 0


@contextlib.contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``pyxen serve --socket``; returns when it listens at the path that is the first argument."""
    with subprocess.Popen(
        [sys.executable, *_ARGUMENTS, *arguments], stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as found:
        try:
            until(lambda: found.poll() is not None or _listens(arguments[0]))
            yield found
        finally:
            found.kill()


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as trial, contextlib.suppress(OSError):
        trial.connect(path)
        return True
    return False
