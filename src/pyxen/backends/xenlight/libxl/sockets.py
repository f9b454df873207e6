"""libxl's own connections, by which what it waits for can be made to fail."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Collection, Iterator

from pyxen._common.shortage import is_shortage

__all__ = ["connections", "is_open_elsewhere", "replace_by_null", "sockets"]


def sockets() -> set[int]:
    """Return the inodes of this process's sockets. They tell sockets apart, whatever their descriptors are."""
    return {inode for _, inode in _sockets()}


def _sockets() -> Iterator[tuple[int, int]]:
    """Yield descriptor and inode of each of this process's sockets."""
    for fd in _descriptors():
        try:
            status = os.fstat(fd)
        except OSError:  # it is closed by now
            continue
        if stat.S_ISSOCK(status.st_mode):
            yield fd, status.st_ino


def is_open_elsewhere(duplicate: socket.socket) -> bool:
    """Tell whether a socket is open in this process under another descriptor, too."""
    inode = os.fstat(duplicate.fileno()).st_ino
    return any(other == inode and fd != duplicate.fileno() for fd, other in _sockets())


def replace_by_null(inode: int) -> None:
    """Close a socket wherever it is open in this process. Its descriptors become those of ``/dev/null``.

    So whoever still knows their numbers meets no file that was opened later.

    Raises:
        OSError: This process may have no more descriptors.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for fd, other in _sockets():
            if other == inode:
                os.dup2(null, fd, inheritable=False)
    finally:
        os.close(null)


def connections(is_peer: Callable[[object], bool], known: Collection[int] = ()) -> Iterator[socket.socket]:
    """Yield a duplicate of each of this process's connections to a certain peer: one, however often it is open.

    Args:
        is_peer: Tells whether an address, as of `socket.getpeername`, is the peer's.
        known: The inodes of those that are left out.

    Raises:
        OSError: This process may have no more descriptors.
    """
    seen = set(known)
    for fd in _descriptors():
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            copy = os.dup(fd)
        except OSError as error:  # it is closed by now
            if is_shortage(error):
                raise
            continue
        try:
            # Without this type, Python would apply the application's `socket.setdefaulttimeout`, also to the original.
            duplicate = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, fileno=copy)
        except OSError:  # the descriptor became another file's
            os.close(copy)
            continue
        inode = os.fstat(copy).st_ino
        try:
            found = inode not in seen and is_peer(duplicate.getpeername())
        except OSError:  # it listens, or is not connected yet
            found = False
        if found:
            seen.add(inode)  # a descriptor that comes later in the list may be this duplicate
            yield duplicate
        else:
            duplicate.close()


def _descriptors() -> list[int]:
    """Return the descriptors of this process. One of them is closed already: that of the list itself."""
    return [int(name) for name in os.listdir("/proc/self/fd")]
