"""The way to ``pyxen serve --socket`` on this machine."""

from __future__ import annotations

import grp
import os
import socket
import time
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from pyxen._common.shortage import REMEDY, is_shortage
from pyxen._common.shown_uri import shown
from pyxen.backends.remote.backend import RemoteBackend
from pyxen.backends.remote.client import Client
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.messages import FromServer
from pyxen.errors import ConnectFailed, InvalidArgument, NotPrivileged, UnsupportedFeature

__all__ = ["DEFAULT_SOCKET", "LONGEST_PATH", "SETTINGS_FILE", "open_local", "path_of"]

DEFAULT_SOCKET: Final = "/run/pyxen/serve.sock"
"""Where a server listens, if nothing else is said."""
SETTINGS_FILE: Final = "/etc/pyxen/serve.toml"
"""Where it reads who may connect, if nothing else is said."""
LONGEST_PATH: Final = 107
"""The most bytes of the path of a socket."""

_FORM: Final = "xenlight+unix:///PATH/OF/SOCKET"
_TO_CONNECT: Final = 30.0  # seconds for the server to accept, if many others wait for that
_TICK: Final = 0.05  # seconds


def path_of(uri: str) -> str:
    """Return the path of the socket in a URI.

    Raises:
        UnsupportedFeature: The URI has another form.
        InvalidArgument: The path is not valid.
    """
    parts, seen = urlsplit(uri), shown(uri)
    if parts.netloc or parts.query or parts.fragment or not uri.startswith("xenlight+unix:///"):
        raise UnsupportedFeature(f"{seen}: write it as {_FORM}", feature=seen)
    path = unquote_to_bytes(parts.path)
    if b"\0" in path or len(path) > LONGEST_PATH:
        message = f"{seen}: the path of a socket has at most {LONGEST_PATH} bytes, and no null character"
        raise InvalidArgument(message, operation="connect")
    return DEFAULT_SOCKET if path == b"/" else os.fsdecode(path)


def open_local(uri: str) -> RemoteBackend:
    """Open a host that a server on this machine serves.

    Raises:
        NotPrivileged: This user may not connect.
        ConnectFailed: Nobody listens there, or the server says why not.
    """
    path = path_of(uri)
    try:
        fd = _connected(path)
    except OSError as error:
        raise _why_not(path, error) from None
    return RemoteBackend(Client(Link(fd, fd, FromServer), _Socket(), path), uri)


def _connected(path: str) -> int:
    end = time.monotonic() + _TO_CONNECT
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as found:
        found.setblocking(False)
        while True:
            try:
                found.connect(path)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(_TICK)
            else:
                return found.detach()


def _why_not(path: str, error: OSError) -> ConnectFailed:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        remedy = "start it with pyxen serve --socket, or with systemctl start pyxen-serve.socket"
        return ConnectFailed(f"{path}: no pyxen listens there: {remedy}")
    if isinstance(error, PermissionError):
        group = _group_of(path)
        who = "only root" if group is None else f"only root and members of group {group}"
        return NotPrivileged(f"{path}: this user may not connect: {who} may, see {SETTINGS_FILE}")
    if isinstance(error, BlockingIOError):
        return ConnectFailed(f"{path}: pyxen there has not answered within {_TO_CONNECT:.0f} s")
    if is_shortage(error):
        return ConnectFailed(f"{path}: {error.strerror}: {REMEDY}")
    return ConnectFailed(f"{path}: {error.strerror}")


def _group_of(path: str) -> str | None:
    """Return the group that may connect; None if it cannot be seen, or there is none."""
    try:
        found = os.stat(path)
        return grp.getgrgid(found.st_gid).gr_name if found.st_mode & 0o020 else None
    except (OSError, KeyError):
        return None


class _Socket:
    """There is no program in between that could say more."""

    def why(self, reason: str) -> str:
        return reason

    def close(self) -> None:
        """Do nothing: the link has the socket."""
