"""Image files: raw and sparse, or qcow2, made and described with qemu-img."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from typing import Any, Final, Literal

from pyxen._common.arguments import check_is
from pyxen._durations import timeout_of
from pyxen._printable import quoted
from pyxen.config import Disk, DiskFormat
from pyxen.errors import FileMissing, InvalidArgument, StorageError, VolumeExists
from pyxen.records.base import Record
from pyxen.storage.arguments import absolute_path, size_of
from pyxen.storage.tools import call, disk_errors

__all__ = ["Image", "create_image", "image_info"]

_PACKAGE: Final = "qemu-utils"
_TIMEOUT: Final = 60.0
"""Seconds for qemu-img."""

_DISK_FORMATS: Final = {
    "raw": DiskFormat.RAW,
    "qcow2": DiskFormat.QCOW2,
    "qcow": DiskFormat.QCOW,
    "qed": DiskFormat.QED,
    "vpc": DiskFormat.VHD,
}
"""QEMU's formats that a disk can have, by QEMU's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Record):
    """A snapshot of an image file, as ``qemu-img info``."""

    path: str
    """The file, as an absolute path."""
    format: str
    """Its format, by QEMU's name: ``raw``, ``qcow2``, ``vmdk`` …"""
    size_bytes: int
    """The size of the disk that it holds, in bytes."""
    used_bytes: int
    """The space that it takes on the host, in bytes; a new image takes little."""
    backing: str | None = None
    """The image that has what this one does not, as an absolute path; None for none."""
    backing_format: str | None = None
    """The format of that image; None if the image does not say."""

    def disk(self, vdev: str = "xvda", **settings: Any) -> Disk:
        """Return a disk of a domain that is this image.

        Args:
            vdev: Its name in the guest.
            **settings: Further settings of `Disk`, e.g. ``readonly=True``.

        Raises:
            StorageError: Xen has no such format; ``qemu-img convert`` makes another one.
        """
        if self.format not in _DISK_FORMATS:
            known = ", ".join(_DISK_FORMATS)
            raise StorageError(f"{self.path} is {self.format}: Xen takes {known}; qemu-img convert makes them")
        return Disk(self.path, vdev=vdev, format=_DISK_FORMATS[self.format], **settings)


def create_image(
    path: str | os.PathLike[str],
    size: int | str | None = None,
    *,
    format: Literal["raw", "qcow2"] = "raw",  # noqa: A002 (as in Disk)
    backing: str | os.PathLike[str] | None = None,
    backing_format: Literal["raw", "qcow2"] | None = None,
    timeout: float = _TIMEOUT,
) -> Image:
    """Create an image file. Nothing is written over, and a failure leaves no file.

    Args:
        path: The file; its folder must exist.
        size: The size of the disk in bytes, or a text such as ``20G``; with a backing image, that of it by default.
        format: ``raw`` is a sparse file and needs no tool. ``qcow2`` is made by qemu-img.
        backing: An image that the new one begins as a copy of, without copying; it must not change afterwards. qcow2.
        backing_format: The format of the backing image, which must be said: an image that a guest has written could
            claim to be of any.
        timeout: Seconds for qemu-img.

    Returns:
        The image; its `Image.disk` is what a configuration takes.

    Raises:
        InvalidArgument: An argument is not valid, or does not fit the others.
        VolumeExists: There is such a file.
        FileMissing: The folder or the backing image does not exist.
        NotEnoughSpace: The file system is full, or has no files of that size.
        ToolMissing: qemu-img is not installed.
        OperationTimeout: qemu-img did not end in time.
        StorageError: It cannot be made.
    """
    verb = "create image"
    seconds = timeout_of(timeout, operation=verb)
    place = absolute_path(path, verb)
    if format not in ("raw", "qcow2"):
        raise InvalidArgument(f"{quoted(format)} is not one of raw, qcow2", operation=verb)
    if (backing is None) != (backing_format is None) or (backing is not None and format != "qcow2"):
        message = "backing and backing_format belong together, and to an image in qcow2"
        raise InvalidArgument(message, operation=verb)
    if size is None and backing is None:
        raise InvalidArgument("an image needs a size, or a backing image that has one", operation=verb)
    if backing_format not in (None, "raw", "qcow2"):
        raise InvalidArgument(f"{quoted(backing_format)} is not one of raw, qcow2", operation=verb)
    size_bytes = None if size is None else size_of(size, verb)
    base = None if backing is None else absolute_path(backing, verb)
    if base is not None and not os.path.exists(base):
        raise _missing(base, verb)
    made = _reserve(place, verb)
    try:
        with disk_errors(place, verb):
            if format == "raw":
                os.ftruncate(made, size_bytes or 0)
                return _raw(place)
            _make_qcow2(place, size_bytes, base, backing_format, seconds)
            return image_info(place, format=format, timeout=timeout)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(place)
        raise
    finally:
        os.close(made)


def image_info(
    path: str | os.PathLike[str],
    *,
    format: Literal["raw", "qcow2"] | None = None,  # noqa: A002 (as in Disk)
    timeout: float = _TIMEOUT,
) -> Image:
    """Describe an image file, as ``qemu-img info``. It may be in use.

    Args:
        path: The file.
        format: Its format. By default QEMU looks what it is: do not use that for what an untrusted guest has written to
            a raw image, which may claim to be of another format and to have any file of the host as its backing image.
        timeout: Seconds for qemu-img.

    Raises:
        FileMissing: There is no such file.
        InvalidArgument: It is not a file or a block device, or `timeout` is not valid.
        ToolMissing: qemu-img is not installed.
        OperationTimeout: qemu-img did not end in time.
        StorageError: It is no image of that format, or cannot be read.
    """
    verb = "image info"
    seconds = timeout_of(timeout, operation=verb)
    place = absolute_path(path, verb)
    if format is not None:
        check_is(str, format, verb, ", as the format")
    try:
        mode = os.stat(place).st_mode
    except FileNotFoundError:
        raise _missing(place, verb) from None
    except OSError as error:
        raise StorageError(f"{place}: {error.strerror}", operation=verb) from error
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise InvalidArgument(f"{place} is neither a file nor a block device", operation=verb)
    how = [] if format is None else ["-f", format]
    command = ("qemu-img", "info", "--output=json", "--force-share", *how, place)
    output = call(*command, verb=verb, subject=place, package=_PACKAGE, timeout=seconds)
    try:
        found = json.loads(output.stdout)
        backing = found.get("full-backing-filename") or found.get("backing-filename")
        return Image(
            path=place,
            format=str(found["format"]),
            size_bytes=int(found["virtual-size"]),
            used_bytes=int(found["actual-size"]),
            backing=None if backing is None else str(backing),
            backing_format=found.get("backing-filename-format"),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StorageError(f"what qemu-img says of {place} cannot be read: {error}", operation=verb) from error


def _missing(path: str, verb: str) -> FileMissing:
    error = FileMissing(f"there is no file {path}", operation=verb)
    error.filename = path
    return error


def _reserve(path: str, verb: str) -> int:
    """Create an empty file that nobody else has, and return its descriptor."""
    with disk_errors(path, verb):
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise VolumeExists(f"there is a file {path} already: use another name", operation=verb) from None
        except (FileNotFoundError, NotADirectoryError):
            raise _missing(os.path.dirname(path), verb) from None


def _make_qcow2(
    path: str, size: int | None, backing: str | None, backing_format: str | None, timeout: float | None
) -> None:
    """Make an image beside the reserved file, which it then replaces: qemu-img would write over what is there."""
    with tempfile.TemporaryDirectory(prefix=".image.", dir=os.path.dirname(path)) as folder:
        partial = os.path.join(folder, "image")
        how = [] if backing is None else ["-b", backing, "-F", str(backing_format)]
        sizes = [] if size is None else [str(size)]
        call(
            *("qemu-img", "create", "-q", "-f", "qcow2", *how, partial, *sizes),
            verb="create image",
            subject=path,
            package=_PACKAGE,
            timeout=timeout,
            changes=True,
        )
        os.chmod(partial, 0o600)
        os.replace(partial, path)


def _raw(path: str) -> Image:
    found = os.stat(path)
    return Image(path=path, format="raw", size_bytes=found.st_size, used_bytes=found.st_blocks * 512)
