"""Where an image is made: a file that appears when it is complete, a block device that nobody uses, or a new volume."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyxen._common.shield import logger
from pyxen.errors import Error, ImageError, InvalidArgument, VolumeExists, VolumeInUse
from pyxen.images.programs import run
from pyxen.storage import VolumeGroup
from pyxen.storage.tools import disk_errors

__all__ = ["Target", "new_target", "new_volume"]

_LOG: Final = logger(__name__)

_NOTHING_FOUND: Final = "exit status 2"
"""How blkid ends when it finds nothing on a device."""

_TO_VANISH: Final = 10.0
"""Seconds for the processes of a program that was ended to vanish, and for others to close a new volume."""

_KEPT_AT_START: Final = 1 << 20
"""Bytes at the start of a device that are made zero when an image was not finished: no system is found there then."""

_SYS: Final = Path("/sys")


@dataclass(slots=True)
class Target:
    """Where to write an image.

    Attributes:
        path: The file or device to write.
        final: The path that it has when it is complete.
        folder: A folder for what is needed meanwhile; it is removed in the end.
        size: Bytes of the device; None for a file.
        begun: Whether a program has begun to write to the device. Who starts that program sets it before.
    """

    path: str
    final: str
    folder: Path
    size: int | None
    begun: bool = False


@contextlib.contextmanager
def new_target(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Target]:
    """Yield where to write an image.

    A file is written in a folder beside it, and gets its name when this ends without an exception. Then it has the mode
    and the owner of the file that it replaces; otherwise nobody else reads it, since it has keys and passwords. A
    device that was begun and not finished loses its start.

    Args:
        path: The file or device.
        overwrite: Whether what is there may be lost.

    Raises:
        ImageError: The file cannot get its name.
        InvalidArgument: The folder is missing, or the path is neither a file nor a block device.
        NotEnoughSpace: The file system is full.
        VolumeExists: There is something already.
        VolumeInUse: The device is mounted or held, or a running guest has it.
    """
    path = os.path.abspath(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}", operation="image") from error
    else:
        if stat.S_ISREG(mode) and not overwrite:
            raise VolumeExists(f"{path} exists: choose another name, or remove it", operation="image")
    if stat.S_ISBLK(mode):
        with _folder(tempfile.gettempdir() if os.environ.get("TMPDIR") else "/var/tmp") as folder:  # noqa: S108 (mkdtemp)
            place = Target(path, path, folder, _free_device(path, overwrite=overwrite))
            try:
                yield place
            except BaseException:
                if place.begun:
                    _wipe(path)
                raise
    elif stat.S_ISREG(mode):
        with _folder(os.path.dirname(path)) as folder:
            partial = folder / "image"
            yield Target(str(partial), path, folder, None)
            with disk_errors(path, "image", ImageError):
                _publish(partial, path, overwrite=overwrite)
    else:
        raise InvalidArgument(f"{path} is neither a file nor a block device", operation="image")


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


def _publish(partial: Path, path: str, *, overwrite: bool) -> None:
    """Give a complete file its name; another one that has come meanwhile stays unless it may be overwritten."""
    os.chmod(partial, 0o600)
    if overwrite:
        with contextlib.suppress(FileNotFoundError, PermissionError):  # who may not give it away keeps it alone
            older = os.stat(path)
            os.chown(partial, older.st_uid, older.st_gid)
            os.chmod(partial, stat.S_IMODE(older.st_mode) & 0o777)
        partial.replace(path)
        return
    try:  # a hard link would do it at once, but not every file system has them
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise VolumeExists(f"{path} has come into being meanwhile, and was left alone", operation="image") from None
    try:
        partial.replace(path)
    except BaseException:
        os.unlink(path)
        raise


def _free_device(path: str, *, overwrite: bool) -> int:
    """Check that nobody uses a device and that there is nothing on it; return its size.

    A mount, LVM and the like claim a device. The kernel's own backend of disks does not, and is looked for. What a
    program has open without a claim, as QEMU has the disks that it serves, is not seen.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        message = f"{path} cannot be used: {error.strerror}. Is it mounted, or a domain's disk?"
        raise VolumeInUse(message, operation="image") from error
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        domid = _guest_with(os.fstat(fd).st_rdev)
    finally:
        os.close(fd)
    if domid is not None:
        message = f"{path} is, or overlaps, a disk of domain {domid}: shut that down, or detach the disk"
        raise VolumeInUse(message, operation="image")
    if not overwrite:
        try:
            found = run(["blkid", "-p", "-o", "export", path], package="util-linux")
        except ImageError as error:
            if not error.message.endswith(_NOTHING_FOUND):
                raise
            found = []
        kinds = [line.partition("=")[2] for line in found if line.startswith(("TYPE=", "PTTYPE="))]
        if found:
            what = ", ".join(kinds) or "a signature"
            raise VolumeExists(f"{path} has something on it ({what}): wipefs -a removes it", operation="image")
    return size


def _guest_with(device: int) -> str | None:
    """Return the domid of a running guest to which the kernel serves a device, its disk, or a part of it."""
    overlapping = _overlapping(f"{os.major(device)}:{os.minor(device)}")
    for served in sorted(_SYS.glob("bus/xen-backend/devices/vbd-*/physical_device")):
        with contextlib.suppress(OSError, ValueError):  # it is detached meanwhile
            major, minor = (int(number, 16) for number in served.read_text().split(":"))
            if f"{major}:{minor}" in overlapping:
                return served.parent.name.split("-")[1]
    return None


def _overlapping(number: str) -> set[str]:
    """Return the numbers of a device, of its partitions, and of the disk that it is a partition of."""
    here = (_SYS / "dev" / "block" / number).resolve()
    folders = [each.parent for each in here.glob("*/partition")]
    if (here / "partition").exists():
        folders.append(here.parent)
    found = {number}
    for folder in folders:
        with contextlib.suppress(OSError):
            found.add((folder / "dev").read_text().strip())
    return found


def _wipe(path: str) -> None:
    with contextlib.suppress(OSError), open(path, "r+b") as device:
        device.write(bytes(_KEPT_AT_START))
