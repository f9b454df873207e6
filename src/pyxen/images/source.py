"""Cloud images as they are given. One that refers to other files would bring any file of the host into the guest.

So qemu-img is not left to find out of which format an image is, and those of formats that can refer to other files are
looked at before it opens them. It may be root, and the image may come from anywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pyxen.errors import FileMissing, ImageError
from pyxen.images.programs import run
from pyxen.storage.tools import disk_errors

__all__ = ["Source", "opened"]

_FORMATS: Final = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"conectix", "vpc"),
    (0, b"vhdxfile", "vhdx"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)
"""The formats that are read: where an image says what it is, how, and QEMU's name of the format. All else is raw."""

_UNREAD: Final = (
    (b"COWD", "an old vmdk"),
    (b"QED\0", "qed"),
    (b"LUKS\xba\xbe", "luks"),
    (b"WithoutFreeSpace", "parallels"),
    (b"WithouFreSpacExt", "parallels"),
    (b"QFI\xfb\0\0\0\x01", "qcow, the version before qcow2"),
    (b"Bochs Virtual HD Image", "bochs"),
    (b"#!/bin/sh\n#V2.0 Format\n", "cloop"),
)
"""How images of formats begin that are not read, and what the messages call them."""

_PACKED: Final = (
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"BZh", "bzip2"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (257, b"ustar", "tar, as an OVA is"),
)
"""What is no image, but has one in it: where it says what it is, how, and what the messages call it."""

_VHD: Final = b"conectix"
"""How the header of a vpc begins, and the last sector of the file, which is its only one if its size is fixed."""

_VHD_FIXED: Final = 2
_VHD_DIFFERENCING: Final = 4

_DMG: Final = b"koly"
"""How the last sector of a dmg begins."""

_DESCRIPTION: Final = b"# Disk DescriptorFile"
"""How a vmdk begins that is a text, and names the files that have the content."""

_HEADER: Final = 512
"""Bytes at the beginning of an image that are looked at, and at its end."""

_DATA_ELSEWHERE: Final = 1 << 2
"""A feature of qcow2: the content is in another file."""


@dataclass(frozen=True, slots=True)
class Source:
    """A cloud image that is complete by itself.

    Attributes:
        path: Its path for qemu-img. It stays the same file if another one gets the name meanwhile.
        format: QEMU's name of its format.
        size: Bytes of the disk in it.
    """

    path: str
    format: str
    size: int


@contextlib.contextmanager
def opened(path: str, end: float | None) -> Iterator[Source]:
    """Yield an image that refers to no other file.

    Args:
        path: The file or block device.
        end: The time by which qemu-img must have ended, of `time.monotonic`.

    Raises:
        FileMissing: There is no such file.
        ImageError: It refers to other files, or cannot be read.
        OperationTimeout: The time was up.
    """
    with disk_errors(path, "image", ImageError):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not block
        except FileNotFoundError:
            missing = FileMissing(f"there is no image {path}", operation="image")
            missing.filename = path
            raise missing from None
    same = f"/proc/{os.getpid()}/fd/{fd}"
    try:
        with disk_errors(path, "image", ImageError):
            found = os.fstat(fd).st_mode
            if not (stat.S_ISREG(found) or stat.S_ISBLK(found)):
                raise ImageError(f"{path} is neither a file nor a block device", operation="image")
            header = os.pread(fd, _HEADER, 0)
            footer = os.pread(fd, _HEADER, max(0, os.lseek(fd, 0, os.SEEK_END) - _HEADER))
        kind = _format_of(path, header, footer)
        yield Source(same, kind, _size_of(path, same, kind, end))
    except ImageError as error:
        error.log = tuple(line.replace(same, path) for line in error.log)
        raise
    finally:
        os.close(fd)


def _format_of(path: str, header: bytes, footer: bytes) -> str:
    """Return QEMU's name of the format of an image, after looking whether it refers to other files."""
    _refuse_unread(path, header, footer)
    kind = next((kind for at, sign, kind in _FORMATS if header[at:].startswith(sign)), "raw")
    if kind == "raw" and footer.startswith(_VHD):
        if int.from_bytes(footer[60:64], "big") != _VHD_FIXED:
            message = f"{path} is damaged: it ends as a vpc does, and does not begin as one. Fetch it again"
            raise ImageError(message, operation="image")
        kind = "vpc"
    alone = not header.startswith(_DESCRIPTION)
    if kind == "qcow2":
        has_backing = any(header[8:16])
        features = int.from_bytes(header[72:80], "big") if int.from_bytes(header[4:8], "big") > 2 else 0
        alone = not has_backing and not features & _DATA_ELSEWHERE
    elif kind == "vmdk":
        alone = any(header[12:20])  # of a disk of 0 sectors, QEMU reads which files have the content
    elif kind == "vpc":
        alone = int.from_bytes(footer[60:64], "big") != _VHD_DIFFERENCING
    if not alone:
        raise _not_alone(path)
    return kind


def _refuse_unread(path: str, header: bytes, footer: bytes) -> None:
    """Refuse what would become a disk on which no system is found, if it was taken for a raw one."""
    if not header:
        raise ImageError(f"{path} is empty: fetch it again", operation="image")
    packed = next((name for at, sign, name in _PACKED if header[at:].startswith(sign)), None)
    if packed is not None:
        raise ImageError(f"{path} is packed ({packed}): unpack it first", operation="image")
    unread = next((name for sign, name in _UNREAD if header.startswith(sign)), None)
    if footer.startswith(_DMG):
        unread = "dmg"
    if unread is not None:
        message = f"{path} is not an image of a disk that is read here, but {unread}: make qcow2 of it first"
        raise ImageError(message, operation="image")


def _size_of(path: str, same: str, kind: str, end: float | None) -> int:
    """Return the bytes of the disk in an image, after asking qemu-img, too, whether it refers to other files."""
    lines = run(["qemu-img", "info", "--output=json", "-f", kind, same], package="qemu-utils", end=end)
    try:
        found: dict[str, Any] = json.JSONDecoder().raw_decode("\n".join(lines))[0]  # what follows are warnings
        details = found.get("format-specific", {}).get("data", {})
        elsewhere = [each["filename"] for each in details.get("extents", ()) if each["filename"] != same]
        size = int(found["virtual-size"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ImageError(f"what qemu-img says of {path} cannot be read: {error}", operation="image") from error
    if "backing-filename" in found or "data-file" in details or elsewhere:
        raise _not_alone(path)
    return size


def _not_alone(path: str) -> ImageError:
    message = (
        f"{path} is not complete: it refers to another file. "
        "If it may have that one's content, qemu-img convert makes one image of them"
    )
    return ImageError(message, operation="image")
