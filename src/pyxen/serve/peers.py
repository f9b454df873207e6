"""Who is at the other end of a socket of this machine, as the kernel says."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from pyxen.serve.settings import Settings

__all__ = ["Peer", "peer_of", "why_not"]

_CREDENTIALS: Final = struct.Struct("3i")
_PEERGROUPS: Final = 59  # SO_PEERGROUPS of the kernel, which Python does not name
_MOST_GROUPS: Final = 256  # what Python's getsockopt has room for


class Peer(NamedTuple):
    """A process at the other end.

    Attributes:
        pid: Its number when it connected.
        uid: Its user then.
        gid: Its group then.
        groups: Its other groups then.
    """

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]

    @property
    def name(self) -> str:
        """Its user, for messages."""
        return f"user {_name_of(self.uid) or self.uid}"


def peer_of(link: socket.socket) -> Peer:
    """Return who is at the other end of a connected socket.

    Raises:
        OSError: The kernel does not say.
    """
    pid, uid, gid = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(pid, uid, gid, frozenset(_groups(link, uid, gid)))


def _groups(link: socket.socket, uid: int, gid: int) -> Iterator[int]:
    try:
        found = link.getsockopt(socket.SOL_SOCKET, _PEERGROUPS, 4 * _MOST_GROUPS)
    except OSError:  # it has more
        name = _name_of(uid)
        yield from [] if name is None else os.getgrouplist(name, gid)
    else:
        yield from (number for (number,) in struct.iter_unpack("I", found))


def _name_of(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def why_not(peer: Peer, settings: Settings) -> str | None:
    """Return why a peer may not connect; None if it may.

    Root may, and the user that serves, and members of the group in the settings.
    """
    if peer.uid in {0, os.geteuid()} or (settings.gid is not None and settings.gid in {peer.gid, *peer.groups}):
        return None
    if settings.group is None:
        return f"{peer.name} may not connect: only root may, until {settings.source} names a group"
    return (
        f"{peer.name} is not in group {settings.group}, which may connect, see {settings.source}: "
        f"usermod -aG {settings.group}, and log in anew"
    )
