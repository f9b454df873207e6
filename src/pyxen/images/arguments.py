"""Checks of the arguments of images, which come before anything is made."""

from __future__ import annotations

from typing import Final

from pyxen._common.arguments import check_bools, check_is
from pyxen._printable import shown_number
from pyxen.errors import InvalidArgument
from pyxen.images.access import Access
from pyxen.storage import VolumeGroup

__all__ = ["check_kinds", "mebibytes_of"]

_MOST_MIB: Final = 1 << 42
"""As `pyxen.storage` bounds its sizes."""


def check_kinds(access: object, group: object, *, overwrite: object) -> None:
    """Check the arguments that both ways to make an image have.

    Raises:
        InvalidArgument: One has the wrong type, or they do not fit each other.
    """
    check_is(Access, access, "image", ", as the access")
    if group is not None:
        check_is(VolumeGroup, group, "image", ", as the group: one of pyxen.storage")
    check_bools("image", overwrite=overwrite)
    if group is not None and overwrite:
        raise InvalidArgument("a new volume has nothing on it: leave overwrite out", operation="image")


def mebibytes_of(size: object) -> int | None:
    """Return the size of a new disk, in MiB; None if none was given.

    Raises:
        InvalidArgument: It is not a whole number above 0, or no disk is so large.
    """
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= _MOST_MIB:
        message = f"size={shown_number(size)}: give MiB as a whole number, from 1 to {_MOST_MIB}"
        raise InvalidArgument(message, operation="image")
    return size
