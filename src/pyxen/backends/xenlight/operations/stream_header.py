"""The beginning of libxl's stream, before libxl's helper process takes over. Nothing may go wrong in it.

The helper copies the memory. If a stream fails before the helper runs, libxl crashes the process that it runs in. An
abort, a failed write or an invalid header causes this; xl, too, crashes on a truncated file. So an incoming stream is
checked before libxl reads it, libxl writes the beginning of a file to memory (`Context.sheltered`), and an abort waits
until the beginning has passed.

::

    libxl's header: magic, version, flags              16 bytes, in network byte order
    a record that announces libxc's stream              8 bytes
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Final

from pyxen.errors import ParseError

__all__ = ["HEADER", "LIBXC_CONTEXT", "RECORD", "SIZE", "check", "has_passed", "make_room", "peek"]

HEADER: Final = struct.Struct(">8sII")
RECORD: Final = struct.Struct("<II")
SIZE: Final = HEADER.size + RECORD.size
LIBXC_CONTEXT: Final = 1

_MAGIC: Final = b"LibxlFmt"
_VERSION: Final = 2
_BIG_ENDIAN: Final = 1 << 0
_CONVERTED: Final = 1 << 1  # from the format of a Xen before 4.6: libxl handles it


def check(data: bytes, source: str | None = None) -> None:
    """Check the beginning of a stream.

    Args:
        data: Its first `SIZE` bytes.
        source: Where they come from, for error messages.

    Raises:
        ParseError: It is not a libxl stream, is cut short, or has an unknown version.
    """
    if len(data) < SIZE:
        raise ParseError("damaged: cut short where libxl's stream begins", source=source)
    magic, version, flags = HEADER.unpack_from(data)
    if magic != _MAGIC or version < _VERSION:
        raise ParseError("damaged: where libxl's stream should begin is something else", source=source)
    if version != _VERSION or flags & ~_CONVERTED:
        what = "a machine with another byte order" if flags & _BIG_ENDIAN else f"a newer Xen (stream {version})"
        raise ParseError(f"saved on {what}: restore it there", source=source)
    if RECORD.unpack_from(data, HEADER.size) != (LIBXC_CONTEXT, 0):
        raise ParseError("damaged: libxl's stream does not begin with the memory", source=source)


def peek(fd: int) -> bytes:
    """Return up to `SIZE` bytes that come next in a file, without moving its position."""
    return os.pread(fd, SIZE, os.lseek(fd, 0, os.SEEK_CUR))


def make_room(fd: int) -> None:
    """Reserve space for a beginning at the current position of a file.

    Raises:
        OSError: The space cannot be reserved.
    """
    os.posix_fallocate(fd, os.lseek(fd, 0, os.SEEK_CUR), SIZE)


def has_passed(fd: int) -> Callable[[], bool]:
    """Return a function that tells whether libxl has read or written a beginning at a file's current position."""
    end = os.lseek(fd, 0, os.SEEK_CUR) + SIZE
    return lambda: os.lseek(fd, 0, os.SEEK_CUR) >= end
