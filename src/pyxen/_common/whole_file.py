"""Files that are written whole, and what other users may have put where they go."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from typing import Final

from pyxen.errors import InvalidArgument

__all__ = ["planted", "write_whole"]

_MOST_LINKS: Final = 40  # the kernel's own limit
_PRIVATE: Final = 0o077


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, which takes the place of an older one only when it is complete.

    It has the mode and the owner of the older one. What is no file, such as ``/dev/stdout`` or a pipe, is written as it
    is. What another user put into a world-writable folder, a link or the file itself, is refused.

    Raises:
        OSError: It cannot be written. An older file is as it was.
    """
    name = os.fsdecode(path)
    found = planted(name)
    if found is not None:
        raise PermissionError(errno.EACCES, f"another user put {found} into a folder where everybody writes", name)
    try:
        old = os.stat(name)
    except FileNotFoundError:
        old = None
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if old is not None and (stat.S_ISCHR(old.st_mode) or stat.S_ISFIFO(old.st_mode)):
        with open(name, "wb") as file:
            file.write(data)
        return
    try:
        _replace(name, data, old)
    except InvalidArgument as error:
        if isinstance(error.__cause__, OSError):
            raise OSError(error.__cause__.errno, error.__cause__.strerror, name) from None
        raise


def _replace(name: str, data: bytes, old: os.stat_result | None) -> None:
    from pyxen._common.atomic_file import PartialFile  # who only reads configurations loads no operations
    from pyxen.operation import Operation

    partial = PartialFile(Operation("dump", name), name)
    with contextlib.closing(partial):
        with open(partial.fd, "wb", closefd=False) as file:
            file.write(data)
        if old is None:
            os.fchmod(partial.fd, 0o666 & ~_umask())
        else:
            with contextlib.suppress(PermissionError):  # only root can give a file away
                os.fchown(partial.fd, old.st_uid, old.st_gid)
            os.fchmod(partial.fd, stat.S_IMODE(old.st_mode))
        partial.appear()


def _umask() -> int:
    """Return the mask of this process for new files; `os.umask` would change it for other threads."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return _PRIVATE


def planted(path: str) -> str | None:
    """Return what another user put into a world-writable folder on the way to a file: a link, or the file; else None.

    This looks at the way as it is now. Who writes himself opens the file so that a later link is not followed.
    """
    rest = deque(os.path.join(os.getcwd(), path).split("/"))
    place, links = "/", 0
    while rest and links <= _MOST_LINKS:
        name = rest.popleft()
        if name in {"", "."}:
            continue
        if name == "..":
            place = os.path.dirname(place)
            continue
        here = os.path.join(place, name)
        try:
            found, around = os.lstat(here), os.stat(place)
        except (OSError, ValueError):  # there is nothing, or this user may not look, or no file has such a name
            return None
        foreign = around.st_mode & stat.S_IWOTH and found.st_uid not in {0, os.geteuid(), around.st_uid}
        if foreign and not stat.S_ISDIR(found.st_mode):
            return here
        if stat.S_ISLNK(found.st_mode):
            links += 1
            target = os.readlink(here)
            rest.extendleft(reversed(target.split("/")))
            place = "/" if target.startswith("/") else place
        else:
            place = here
    return None
