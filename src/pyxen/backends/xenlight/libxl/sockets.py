"""libxl's own connections, by which what it waits for can be made to fail."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator

from pyxen._common.shortage import is_shortage

__all__ = ["connections", "descriptors"]


def descriptors() -> set[int]:
    """Return the descriptors of this process."""
    return set(map(int, os.listdir("/proc/self/fd")))


def connections(fds: Iterable[int], is_peer: Callable[[object], bool]) -> Iterator[socket.socket]:
    """Yield a duplicate of each descriptor that is a connection to a certain peer.

    Args:
        fds: The descriptors.
        is_peer: Tells whether an address, as of `socket.getpeername`, is the peer's.

    Raises:
        OSError: This process may have no more descriptors.
    """
    for fd in fds:
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            duplicate = socket.socket(fileno=os.dup(fd))
        except OSError as error:  # it is closed by now
            if is_shortage(error):
                raise
            continue
        try:
            found = is_peer(duplicate.getpeername())
        except OSError:  # it listens
            found = False
        if found:
            yield duplicate
        else:
            duplicate.close()
