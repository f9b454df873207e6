"""A simulated host behind ``pyxen serve``: the contract's own ssh, or a socket, leads to a server in this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from pyxen.connection import open_backend

if TYPE_CHECKING:
    from pyxen.serve.server import Server

__all__ = ["AT_SOCKET", "SERVED", "SIMULATED", "socket_to", "ssh_to", "ssh_with"]

SERVED: Final = "xenlight+ssh://memory/"
"""The URI of a simulated host behind a server."""
AT_SOCKET: Final = "xenlight+unix:///memory"
"""That of one behind a socket, which stands for the real path of the socket."""
SIMULATED: Final = ("memory:", SERVED, "xenlight+unix:///tmp/")
"""How the URIs of simulated hosts begin."""

_SSH: Final = """#!{python} -ISs
import os, socket, sys, threading
link = socket.socket(socket.AF_UNIX)
link.connect({path!r})
def out():
    while data := link.recv(1 << 16):
        while data:
            data = data[os.write(1, data):]
    os._exit(0)
threading.Thread(target=out, daemon=True).start()
while data := os.read(0, 1 << 16):
    link.sendall(data)
link.shutdown(socket.SHUT_WR)
threading.Event().wait(20)
"""


@contextlib.contextmanager
def ssh_with(folder: Path, settings: str) -> Iterator[None]:
    """Have ``ssh`` be the system's, with settings of its own, which are kept in a folder."""
    real = shutil.which("ssh")
    assert real is not None, "there is no ssh client"
    (folder / "config").write_text(settings)
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {real} -F {folder}/config "$@"\n')
    program.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{program.parent}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextlib.contextmanager
def ssh_to(uri: str) -> Iterator[None]:
    """Have ``ssh`` lead to servers of a host in this process, whatever it is told."""
    from pyxen.serve.server import Server  # needs msgspec, which Debian 12 does not have

    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/socket"
        program = Path(folder, "ssh")
        program.write_text(_SSH.format(python=sys.executable, path=path))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        listener.bind(path)
        listener.listen()
        threading.Thread(target=_accept, args=[listener, uri, Server], daemon=True).start()
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{folder}:{before}"
        try:
            yield
        finally:
            os.environ["PATH"] = before
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, uri: str, serve: Callable[[int, int], Server]) -> None:
    while True:
        try:
            link, _ = listener.accept()
        except OSError:
            return
        server = serve(os.dup(link.fileno()), link.detach())
        threading.Thread(target=server.run, args=[partial(open_backend, uri, 1)], daemon=True).start()


@contextlib.contextmanager
def socket_to(uri: str) -> Iterator[str]:
    """Have a host of this process served at a socket, and return the URI that leads there."""
    from pyxen.serve.listener import Listener  # as above
    from pyxen.serve.settings import Settings
    from pyxen.serve.sockets import made_socket

    with TemporaryDirectory(dir="/tmp") as folder, made_socket(f"{folder}/s", Settings()) as listening:
        listener = Listener(listening, Settings(), partial(open_backend, uri, 1))
        thread = threading.Thread(target=listener.run, daemon=True)
        thread.start()
        try:
            yield f"xenlight+unix://{folder}/s"
        finally:
            listener.end()
            thread.join(60)
            listener.wind_up()
