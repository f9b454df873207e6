"""Files that are written whole, and what other users may have put where they go."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections import deque
from typing import Final

from pyxen.errors import InvalidArgument

__all__ = ["planted", "write_whole"]

_MOST_LINKS: Final = 40  # the kernel's own limit

_DESCRIPTORS: Final = re.compile(r"/proc/(\d+)(?:/task/\d+)?/fd")
"""A folder of the kernel whose links are the open files of a process."""

_CANNOT_BE_REPLACED: Final = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),  # nobody may make a file in its folder, or move one there
    *(errno.EBUSY, errno.EXDEV),  # it is a mount point of its own, as a file of a container may be
    errno.EINVAL,  # its owner has no number in this container
}

_ACL: Final = "system.posix_acl_access"
_OF_THE_CONTENT: Final = {"security.capability", "security.ima", "security.evm"}
"""Attributes that are right for the old content only."""


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, which takes the place of an older one only when it is complete.

    It has the mode, the owner, the access list and the other attributes of the older one. What another user put into a
    world-writable folder, a link or the file itself, is refused.

    An older file is written in place, so that an error or a crash may leave it half-written, if nothing can take its
    place (this user may make no files in its folder, or it is mounted there), or if something would be lost with it: a
    second name (a hard link), or its owner, whom only root can give to another file.

    What this process has open, such as ``/dev/stdout`` or ``/dev/fd/3``, is written from where it is. A device or a
    pipe, or what another process has open, is written as it is.

    Raises:
        OSError: It cannot be written. An older file is as it was, if it is not one that is written in place.
    """
    name = os.fsdecode(path)
    found = planted(name)
    if found is not None:
        raise PermissionError(errno.EACCES, f"another user put {found} into a folder where everybody writes", name)
    descriptor = _descriptor(name)
    if descriptor is not None:
        _write_open(descriptor, data, name)
        return
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
        _write_file(name, data)
    except InvalidArgument as error:
        if isinstance(error.__cause__, OSError):
            raise OSError(error.__cause__.errno, error.__cause__.strerror, name) from None
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None


def _descriptor(path: str) -> int | str | None:
    """Return the descriptor that a path such as ``/dev/stdout`` stands for; of another process, its path; else None."""
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(os.path.join(os.getcwd(), path))
        try:
            folder = os.path.realpath(folder)
            process = _DESCRIPTORS.fullmatch(folder)
            if process is not None and name.isdecimal():
                return int(name) if int(process[1]) == os.getpid() else f"{folder}/{name}"
            path = os.path.join(folder, os.readlink(os.path.join(folder, name)))
        except (OSError, ValueError):  # it is no link, or no file has such a name
            return None
    return None


def _write_open(descriptor: int | str, data: bytes, name: str) -> None:
    try:
        with open(descriptor, "wb", closefd=isinstance(descriptor, str)) as file:
            file.write(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None


def _write_file(name: str, data: bytes) -> None:
    """Write a file that is a regular one, or missing."""
    from pyxen._common.atomic_file import place  # who only reads configurations loads no operations

    with contextlib.ExitStack() as opened:
        folder, last = place(name)
        opened.callback(os.close, folder)
        try:
            old = os.open(last, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            _replace(name, data, None)
            return
        opened.callback(os.close, old)
        was, shared = os.fstat(old), os.fstat(folder).st_mode & stat.S_IWOTH
        # Where everybody writes, it may be another user's by now, or another name of a file elsewhere.
        in_place = not shared or (was.st_nlink == 1 and was.st_uid in {0, os.geteuid()})
        if was.st_nlink == 1 or not in_place:
            try:
                _replace(name, data, old)
                return
            except InvalidArgument as error:
                cause = error.__cause__
                if not (in_place and isinstance(cause, OSError) and cause.errno in _CANNOT_BE_REPLACED):
                    raise
        with open(old, "wb", closefd=False) as file:
            file.write(data)
        os.ftruncate(old, len(data))
        os.fsync(old)


def _replace(name: str, data: bytes, old: int | None) -> None:
    """Let a new file take the place of an older one, which is open, or of none.

    Raises:
        InvalidArgument: It cannot; its cause says why.
    """
    from pyxen._common.atomic_file import PartialFile, writing
    from pyxen.operation import Operation

    operation = Operation[None]("dump", name)
    partial = PartialFile(operation, name, mode=0o666 if old is None else 0o600)
    with contextlib.closing(partial):
        with writing(operation, name):
            if old is not None:
                _take_after(partial.fd, old)
            with open(partial.fd, "wb", closefd=False) as file:
                file.write(data)
        partial.appear()


def _take_after(new: int, old: int) -> None:
    """Give a new file the owner, the mode and the attributes of an older one.

    Raises:
        PermissionError: This user cannot give a file away.
    """
    was = os.fstat(old)
    os.fchown(new, was.st_uid, was.st_gid)
    with contextlib.suppress(OSError):  # it inherited none from its folder, or the file system has no access lists
        os.removexattr(new, _ACL)
    os.fchmod(new, stat.S_IMODE(was.st_mode))
    with contextlib.suppress(OSError):  # the file system has no attributes
        for attribute in set(os.listxattr(old)) - _OF_THE_CONTENT:
            with contextlib.suppress(OSError):  # some only root can set, others only the kernel
                os.setxattr(new, attribute, os.getxattr(old, attribute))


def planted(path: str) -> str | None:
    """Return what another user put into a world-writable folder on the way to a file: a link, or the file; else None.

    This looks at the way as it is now. Who writes himself opens the file so that a later link is not followed.
    """
    rest = deque(os.path.join(os.getcwd(), path).split("/"))
    way, links = "/", 0
    while rest and links <= _MOST_LINKS:
        name = rest.popleft()
        if name in {"", "."}:
            continue
        if name == "..":
            way = os.path.dirname(way)
            continue
        here = os.path.join(way, name)
        try:
            found, around = os.lstat(here), os.stat(way)
        except (OSError, ValueError):  # there is nothing, or this user may not look, or no file has such a name
            return None
        foreign = around.st_mode & stat.S_IWOTH and found.st_uid not in {0, os.geteuid(), around.st_uid}
        if foreign and not stat.S_ISDIR(found.st_mode):
            return here
        if stat.S_ISLNK(found.st_mode):
            if not rest and _DESCRIPTORS.fullmatch(way):
                return None  # it leads to what is already open, through no names
            links += 1
            target = os.readlink(here)
            rest.extendleft(reversed(target.split("/")))
            way = "/" if target.startswith("/") else way
        else:
            way = here
    return None
