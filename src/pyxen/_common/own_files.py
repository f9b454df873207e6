"""Files that this process opens for writing where other users may have put something in their place."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

__all__ = ["open_own"]

_TRIES: Final = 100
"""How often a file is looked for that another process makes and removes all the time."""

_REASONS: Final = {
    errno.ELOOP: "it is a symbolic link, which may lead anywhere: name the file itself",
    errno.ENXIO: "it is no regular file",  # a pipe that nobody reads
}


def open_own(path: str, flags: int, mode: int) -> int:
    """Open a file of root or of this user for writing, and make it if it is missing. It never waits.

    A symbolic link, a pipe, a file with another name elsewhere and a file of another user are refused: in a folder
    where every user writes, they could redirect or block what root writes.

    Args:
        path: The file.
        flags: How it is opened, without ``O_CREAT``: a file that is there may be one that Linux lets nobody create
            (``fs.protected_regular``).
        mode: The mode of a new file.

    Raises:
        OSError: It cannot be opened, or is refused; `strerror` says why.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    for _ in range(_TRIES):
        try:
            fd = os.open(path, flags)
        except FileNotFoundError:
            try:
                return os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
            except FileExistsError:
                continue
        except OSError as error:
            raise OSError(error.errno, _REASONS.get(error.errno or 0, error.strerror), path) from None
        try:
            _check(os.fstat(fd), path)
        except BaseException:
            os.close(fd)
            raise
        return fd
    raise OSError(errno.EEXIST, "another process makes it and removes it all the time", path)


def _check(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EEXIST, "it is no regular file", path)
    if found.st_uid not in {0, os.geteuid()}:
        raise OSError(errno.EACCES, f"it belongs to user {found.st_uid}, who may change it: remove it", path)
    if found.st_nlink > 1:
        raise OSError(errno.EMLINK, "it has another name elsewhere, as a hard link has: remove it", path)
