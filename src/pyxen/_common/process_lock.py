"""Locks that a process holds as long as it lives, on files that other processes look at.

A lock of ``flock`` belongs to the open file, so it stays with a child that is forked past Python. libxl forks such
children, and one that waits for a device model lives as long as that. A lock of ``lockf`` belongs to the process, and
no child inherits it.

But such locks do not keep the users within one process apart, and a process loses its lock as soon as it closes any
descriptor of the file. So this module knows which files this process has locked, and does not open them again.
"""

from __future__ import annotations

import fcntl
import os
import threading

__all__ = ["lock_file", "unlock_file"]

_locked: dict[int, tuple[int, int]] = {}
"""The files that this process has locked, as device and inode, by descriptor."""
_gate = threading.Lock()


def lock_file(path: str, flags: int = 0) -> int | None:
    """Open a file and lock it for one user in this process, without waiting.

    Args:
        path: The file.
        flags: How it is opened, beside for reading and writing.

    Returns:
        Its descriptor, which only `unlock_file` may close; None if another process or another user has it locked.

    Raises:
        OSError: It cannot be opened or locked.
    """
    with _gate:
        if _is_ours(path):
            return None
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _locked[fd] = _identity(os.fstat(fd))
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return fd


def unlock_file(fd: int) -> None:
    """Close a descriptor of `lock_file`. This releases its lock; in the child of a fork, the parent keeps that."""
    with _gate:
        _locked.pop(fd, None)
        os.close(fd)


def _is_ours(path: str) -> bool:
    if not _locked:
        return False
    try:
        return _identity(os.stat(path)) in _locked.values()
    except FileNotFoundError:
        return False


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _forget() -> None:
    """Forget the locks in the child of a fork: it has none of them."""
    global _gate  # noqa: PLW0603 (a thread of the parent may hold the old one)
    _gate = threading.Lock()
    _locked.clear()


os.register_at_fork(after_in_child=_forget)
