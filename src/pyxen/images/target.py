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

__all__ = ["Target", "new_target", "new_volume"]

_LOG: Final = logger(__name__)

_NOTHING_FOUND: Final = "exit status 2"
"""How blkid ends when it finds nothing on a device."""

_TO_VANISH: Final = 10.0
"""Seconds for the processes of a program that was ended to vanish, and for others to close a new volume."""

_KEPT_AT_START: Final = 1 << 20
"""Bytes at the start of a device that are made zero when an image was not finished: no system is found there then."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to write an image.

    Attributes:
        path: The file or device to write.
        final: The path that it has when it is complete.
        folder: A folder for what is needed meanwhile; it is removed in the end.
        size: Bytes of the device; None for a file.
    """

    path: str
    final: str
    folder: Path
    size: int | None


@contextlib.contextmanager
def new_target(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Target]:
    """Yield where to write an image.

    A file is written in a folder beside it, and gets its name when this ends without an exception. A device that was
    not finished loses its start.

    Raises:
        InvalidArgument: The folder is missing, or the path is neither a file nor a block device.
        VolumeExists: There is something already.
        VolumeInUse: The device is mounted or held.
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
            size = _free_device(path, overwrite=overwrite)
            try:
                yield Target(path, path, folder, size)
            except BaseException:
                _wipe(path)
                raise
    elif stat.S_ISREG(mode):
        with _folder(os.path.dirname(path)) as folder:
            partial = folder / "image"
            yield Target(str(partial), path, folder, None)
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
    try:
        folder = tempfile.mkdtemp(prefix=".pyxen-image-", dir=parent)
    except OSError as error:
        raise InvalidArgument(f"{parent}: {error.strerror}", operation="image") from error
    try:
        yield Path(folder)
    finally:
        _remove(folder)


def _remove(folder: str) -> None:
    """Remove a folder. What a program had started may write into it for a moment after the program was ended."""
    end = time.monotonic() + _TO_VANISH
    while os.path.lexists(folder):
        try:
            shutil.rmtree(folder)
        except OSError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.05)


def _publish(partial: Path, path: str, *, overwrite: bool) -> None:
    """Give a complete file its name; another one that has come meanwhile stays unless it may be overwritten."""
    if overwrite:
        partial.replace(path)
        return
    try:
        os.link(partial, path)
    except FileExistsError:
        raise VolumeExists(f"{path} has come into being meanwhile, and was left alone", operation="image") from None


def _free_device(path: str, *, overwrite: bool) -> int:
    """Check that nobody uses a device and that there is nothing on it; return its size."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        message = f"{path} cannot be used: {error.strerror}. Is it mounted, or a domain's disk?"
        raise VolumeInUse(message, operation="image") from error
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)
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


def _wipe(path: str) -> None:
    with contextlib.suppress(OSError), open(path, "r+b") as device:
        device.write(bytes(_KEPT_AT_START))
