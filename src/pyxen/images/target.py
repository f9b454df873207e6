"""Where an image is made: a file that appears when it is complete, a block device that nobody uses, or a new volume."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyxen._common.atomic_file import place
from pyxen._common.shield import logger
from pyxen.errors import Error, ImageError, InvalidArgument, VolumeExists, VolumeInUse
from pyxen.images.device import Device
from pyxen.storage import VolumeGroup
from pyxen.storage.tools import disk_errors

__all__ = ["Target", "new_target", "new_volume"]

_LOG: Final = logger(__name__)

_TO_VANISH: Final = 10.0
"""Seconds for the processes of a program that was ended to vanish, and for others to close a new volume."""


@dataclass(slots=True)
class Target:
    """Where to write an image.

    Attributes:
        path: The file or device to write. It stays the same one if others rename something on the way to it.
        final: The path that it has when it is complete.
        folder: A folder for what is needed meanwhile, where nobody else can put anything; it is removed in the end.
        size: Bytes of the device; None for a file.
        device: The device; None for a file.
    """

    path: str
    final: str
    folder: Path
    size: int | None
    device: Device | None = None

    def begin(self, *, claims: bool) -> None:
        """Look at a device once more, just before a program begins to write to it; see `Device.begin`.

        Raises:
            VolumeInUse: A guest has got it meanwhile.
        """
        if self.device is not None:
            self.device.begin(claims=claims)

    def spare(self) -> None:
        """Note that the program refused the device, and wrote nothing: what is on it belongs to others."""
        if self.device is not None:
            self.device.begun = False


@contextlib.contextmanager
def new_target(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Target]:
    """Yield where to write an image.

    A file is written under another name beside it, and gets its own when this ends without an exception. Then it has
    the mode and the owner of the file that it replaces; otherwise nobody else reads it, since it has keys and
    passwords. A device that was begun and not finished loses its start, unless others use it by then.

    This may be root, who writes into a folder of somebody else. So the file is made, written and given away through its
    descriptor: names there may lead anywhere a moment later.

    Args:
        path: The file or device.
        overwrite: Whether what is there may be lost.

    Raises:
        ImageError: The file cannot get its name.
        InvalidArgument: The folder is missing, or the path is neither a file nor a block device, or another user put a
            link or the file into a world-writable folder.
        NotEnoughSpace: The file system is full.
        VolumeExists: There is something already.
        VolumeInUse: The device is mounted or held, or a running guest has it.
    """
    path = os.path.abspath(path)
    mode = _mode(path, overwrite=overwrite)
    with contextlib.ExitStack() as made:
        if stat.S_ISBLK(mode):
            folder = made.enter_context(_folder(_temporary()))
            device = made.enter_context(_claimed(path, overwrite=overwrite))
            target = Target(device.path, path, folder, device.size, device)
        else:
            folder = made.enter_context(_folder(_work_place(os.path.dirname(path))))
            fd = made.enter_context(_new_file(path, overwrite=overwrite))
            target = Target(f"/proc/{os.getpid()}/fd/{fd}", path, folder, None)
        try:
            yield target
        except ImageError as error:
            error.log = tuple(line.replace(target.path, path) for line in error.log)
            raise


def _mode(path: str, *, overwrite: bool) -> int:
    """Return what is at a path now, after checking that it may become an image: a file, also a new one, or a device."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if not overwrite and os.path.islink(path):
            message = f"{path} is a link to a file that is not there: remove the link, or choose another name"
            raise VolumeExists(message, operation="image") from None
        return stat.S_IFREG
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}", operation="image") from error
    if stat.S_ISREG(mode) and not overwrite:
        raise VolumeExists(f"{path} exists: choose another name, or remove it", operation="image")
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        raise InvalidArgument(f"{path} is neither a file nor a block device", operation="image")
    return mode


@contextlib.contextmanager
def _claimed(path: str, *, overwrite: bool) -> Iterator[Device]:
    """Yield a device that nobody else uses. One that was begun loses its start if this ends with an exception."""
    with contextlib.closing(Device(path)) as device:
        if not overwrite:
            device.check_empty()
        try:
            yield device
        except BaseException:
            device.undo()
            raise


@contextlib.contextmanager
def new_volume(group: VolumeGroup, name: str, size: int) -> Iterator[Target]:
    """Yield where to write an image, on a new volume. The volume is removed if this ends with an exception.

    Args:
        group: The group that it is created in.
        name: Its name.
        size: MiB.

    Raises:
        Error: It cannot be created; see `VolumeGroup.create`.
    """
    group.create(name, size << 20)
    try:
        with new_target(f"/dev/{group.name}/{name}", overwrite=True) as place:
            yield place
    except BaseException:
        _discard(group, name)
        raise


def _discard(group: VolumeGroup, name: str) -> None:
    """Remove a volume that was not finished. Whoever looks at new devices, as udev does, closes it in a moment."""
    end = time.monotonic() + _TO_VANISH
    while True:
        try:
            group.remove(name)
        except VolumeInUse as error:
            if time.monotonic() < end:
                time.sleep(0.05)
                continue
            _LOG.warning("the volume %s/%s is left: %s", group.name, name, error)
        except Error as error:
            _LOG.warning("the volume %s/%s is left: %s", group.name, name, error)
        return


def _temporary() -> str:
    return tempfile.gettempdir() if os.environ.get("TMPDIR") else "/var/tmp"  # noqa: S108 (for mkdtemp)


def _work_place(beside: str) -> str:
    """Return where a folder is made in which programs work by names.

    It is beside the file, as long as only root and this user can rename something on the way there. Whoever else could
    would put links in place of what is written, which may lead anywhere.
    """
    with disk_errors(beside, "image", InvalidArgument):
        here = Path(beside).resolve()
        for each in (here, *here.parents):
            found = each.stat()
            shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
            if shared or found.st_uid not in {0, os.geteuid()}:
                return _temporary()
    return str(here)


@contextlib.contextmanager
def _folder(parent: str) -> Iterator[Path]:
    with disk_errors(parent, "image", InvalidArgument):
        folder = tempfile.mkdtemp(prefix=".pyxen-image-", dir=parent)
    try:
        yield Path(folder)
    finally:
        _remove(folder)


def _remove(folder: str) -> None:
    """Remove a folder. What a program had started may write into it for a moment after the program was ended.

    One that cannot be removed says nothing of the image, which may be complete.
    """
    end = time.monotonic() + _TO_VANISH
    while os.path.lexists(folder):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if time.monotonic() >= end:
                _LOG.warning("the folder %s is left: %s", folder, error)
                return
            time.sleep(0.05)


@contextlib.contextmanager
def _new_file(path: str, *, overwrite: bool) -> Iterator[int]:
    """Yield the descriptor of a new file, which gets its name when this ends without an exception."""
    parent, name = os.path.split(path)
    with contextlib.ExitStack() as opened:
        with disk_errors(path, "image", InvalidArgument):
            # The new name is no link: one that has the image's own name is replaced, and not followed.
            folder, partial = place(os.path.join(parent, f".pyxen-image-{os.urandom(8).hex()}"))
            opened.callback(os.close, folder)
            if overwrite:
                _older(folder, name)
            fd = _create(folder, partial)
            opened.callback(os.close, fd)
        try:
            yield fd
            with disk_errors(path, "image", ImageError):
                if overwrite:
                    _take_after(fd, _older(folder, name))
                    os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
                else:
                    _rename_to_new(folder, partial, name, path)
        except BaseException:
            for each in (partial, name):  # it has its own name already if Ctrl-C came during the renaming
                _unlink_own(fd, folder, each, path)
            raise


def _unlink_own(fd: int, folder: int, name: str, path: str) -> None:
    """Remove a name if it is that of an open file, and not of another one."""
    try:
        if os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=folder, follow_symlinks=False)):
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except OSError as error:
        _LOG.warning("the file %s beside %s is left: %s", name, path, error)


def _create(folder: int, name: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=folder)


def _older(folder: int, name: str) -> os.stat_result | None:
    """Return what is known of the file that is replaced; None if there is none, or a link is replaced.

    Raises:
        OSError: It is neither, or another user put it where everybody writes, and would get the new one.
    """
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    around = os.fstat(folder)
    if around.st_mode & stat.S_IWOTH and found.st_uid not in {0, os.geteuid(), around.st_uid}:
        raise OSError(errno.EACCES, "another user put it into a folder where everybody writes: choose another name")
    if stat.S_ISLNK(found.st_mode):
        return None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EEXIST, "it exists and is not a regular file")
    return found


def _take_after(fd: int, older: os.stat_result | None) -> None:
    """Give a new file the owner and the mode of an older one.

    It stays this user's alone if it cannot be given away: the user may not, or the file system has no such owners.
    """
    if older is not None:
        with contextlib.suppress(OSError):
            os.fchown(fd, older.st_uid, older.st_gid)
            os.fchmod(fd, stat.S_IMODE(older.st_mode) & 0o777)


def _rename_to_new(folder: int, partial: str, name: str, path: str) -> None:
    """Give a complete file its name. Another one that has come meanwhile stays."""
    try:  # a hard link would do it at once, but not every file system has them
        os.close(_create(folder, name))
    except FileExistsError:
        raise VolumeExists(f"{path} has come into being meanwhile, and was left alone", operation="image") from None
    try:
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
