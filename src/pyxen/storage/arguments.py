"""Paths of images, names and sizes of volumes, checked before a tool sees them."""

from __future__ import annotations

import os
import re
from typing import Final

from pyxen._common.arguments import check_number, path_of
from pyxen._printable import quoted
from pyxen.errors import InvalidArgument

__all__ = ["absolute_path", "check_name", "size_of"]

_NAME: Final = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]*")
_LONGEST: Final = 127
"""The most characters of a name: dashes are doubled in the name that the kernel has, which has a bound, too."""

_RESERVED: Final = re.compile(
    r"^(?:snapshot|pvmove)|_(?:cdata|cmeta|corig|cpool|cvol|imeta|iorig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta"
    r"|vdata|vorigin|wcorig|wcvol)"
)
"""What LVM keeps for its own volumes."""

_SIZE: Final = re.compile(r"([0-9]{1,19})(?:([KMGTkmgt])(?:iB|ib)?|B)?")
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECTOR: Final = 512
_MOST: Final = 1 << 62


def absolute_path(path: object, verb: str) -> str:
    """Return a path that no tool takes for an option or for a protocol.

    Args:
        path: The path.
        verb: The verb that takes it.

    Raises:
        InvalidArgument: No file can have this path.
    """
    given = path_of(path, verb)
    try:
        os.fsencode(given)
    except UnicodeEncodeError:
        given = "\0"
    if not given or "\0" in given:
        raise InvalidArgument(f"{quoted(path)} is not a path", operation=verb)
    return os.path.abspath(given)


def check_name(name: object, what: str, verb: str) -> str:
    """Return a name after checking LVM's rules for it.

    Args:
        name: The name.
        what: What it is the name of: ``volume`` or ``volume group``.
        verb: The verb that takes it.

    Raises:
        InvalidArgument: LVM, or its tools, would not take it.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (".", "..") or len(name) > _LONGEST:
        message = (
            f"{quoted(name)} is not the name of a {what}: use letters, digits and +_.-, at most {_LONGEST}, "
            "and no dash in front"
        )
        raise InvalidArgument(message, operation=verb)
    reserved = _RESERVED.search(name) if what == "volume" else None
    if reserved is not None:
        message = f"{quoted(name)} is a name that LVM keeps for itself: use one without {reserved[0]}"
        raise InvalidArgument(message, operation=verb)
    return name


def size_of(size: object, verb: str) -> int:
    """Return a size in bytes, rounded up to sectors of 512 bytes.

    Args:
        size: Bytes as a number, or a text such as ``20G`` or ``512MiB``. Units are powers of 1024, as for LVM.
        verb: The verb that takes it.

    Raises:
        InvalidArgument: It is not a size above 0.
    """
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if match is None:
            message = f"{quoted(size)} is not a size: write bytes, or 512M, 20G, 1T"
            raise InvalidArgument(message, operation=verb)
        number = int(match[1]) * _UNITS[(match[2] or "").lower()]
    else:
        check_number(size, verb)
        number = int(size)  # type: ignore[call-overload]  # it is a whole number
    if not 0 < number <= _MOST:
        raise InvalidArgument(f"a size of {size} is out of range: give more than 0 bytes", operation=verb)
    return -(-number // _SECTOR) * _SECTOR
