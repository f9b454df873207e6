"""Names of disks in a guest: ``xvda``, ``hdc1``, ``d0p0``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["vdev_number"]

_XEN: Final = re.compile(r"d(\d{1,7})p(\d{1,3})")
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,16}|[1-9][0-9]{0,15}")
_LETTERS: Final = re.compile(r"(xvd|hd|sd)([a-z]{1,4})([1-9]\d{0,2})?")
_FEW: Final = 16  # disks, and partitions of each, that fit the old numbers of xvda and its like
_LIMITS: Final = {"xvd": (2**20, 256), "hd": (4, 64), "sd": (16, 16)}


def vdev_number(vdev: str) -> int | None:
    """Return the number that stands for a disk in xenstore, as libxl works it out.

    Args:
        vdev: Name of a disk or a partition; ``d0p0`` is ``xvda``. Numbers are themselves; they may be
            hexadecimal (``0xca00``) or octal, as in C.

    Returns:
        The number; None if libxl would not take the name. Two disks of one number cannot be in one guest.
    """
    found = _LETTERS.fullmatch(vdev)
    if not found:
        if found := _XEN.fullmatch(vdev):
            return _xen(int(found[1]), int(found[2]))
        number = _number(vdev)
        return number if number is not None and number < 2**31 else None
    kind, disk, partition = found[1], _index(found[2]), int(found[3] or 0)
    disks, partitions = _LIMITS[kind]
    if disk >= disks or partition >= partitions:
        return None
    if kind == "xvd":
        return _xen(disk, partition)
    if kind == "sd":
        return 8 << 8 | disk << 4 | partition
    return (3 if disk < 2 else 22) << 8 | (disk & 1) << 6 | partition


def _number(vdev: str) -> int | None:
    """Read a number as libxl does: hexadecimal from 0x on, octal from 0 on, or decimal."""
    if not _NUMBER.fullmatch(vdev):
        return None
    return int(vdev, 16 if vdev[:2] in ("0x", "0X") else 8 if vdev[0] == "0" else 10)


def _xen(disk: int, partition: int) -> int | None:
    if disk >= _LIMITS["xvd"][0] or partition >= _LIMITS["xvd"][1]:
        return None
    if disk < _FEW and partition < _FEW:
        return 202 << 8 | disk << 4 | partition
    return 1 << 28 | disk << 8 | partition


def _index(letters: str) -> int:
    """Count letters as disks are lettered: a, b … z, aa, ab and so on."""
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("a") + 1
    return index - 1
