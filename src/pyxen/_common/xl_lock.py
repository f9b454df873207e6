"""The lock that xl holds while it frees memory for a new domain and builds it."""

from __future__ import annotations

import fcntl
import os
import threading
from dataclasses import dataclass
from typing import Final

from pyxen._common.own_files import open_own

__all__ = ["XL_LOCK", "give_back", "try_to_take"]

XL_LOCK: Final = "/var/lock/xl"
"""The file that xl locks unless xl.conf names another one."""

_MODE: Final = 0o200  # as xl has it


@dataclass(slots=True)
class _Held:
    fd: int
    users: int


_held: dict[str, _Held] = {}
_gate = threading.Lock()


def try_to_take(path: str) -> bool:
    """Take the lock for this process; several users in this process share it. Return False if another process has it.

    Every user that got it must call `give_back`. The kernel releases such a lock when the process closes any
    descriptor of the file, so there is only one.

    Raises:
        OSError: The file cannot be opened or locked, or another user may have put it there; `strerror` says why.
    """
    with _gate:
        held = _held.get(path)
        if held is not None:
            held.users += 1
            return True
        fd = open_own(path, os.O_WRONLY, _MODE)  # it waits for nothing: this runs on the thread of libxl's calls
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        _held[path] = _Held(fd, 1)
        return True


def give_back(path: str) -> None:
    """Release the lock if this was its last user in this process."""
    with _gate:
        held = _held.get(path)
        if held is None:  # taken before a fork, by the parent
            return
        held.users -= 1
        if not held.users:
            del _held[path]
            os.close(held.fd)


def _forget() -> None:
    """Forget the locks in the child of a fork: it has none of them."""
    global _gate  # noqa: PLW0603 (a thread of the parent may hold the old one)
    _gate = threading.Lock()
    while _held:
        os.close(_held.popitem()[1].fd)


os.register_at_fork(after_in_child=_forget)
