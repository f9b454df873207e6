"""The beginning of libxl's stream, up to where libxl's helper process takes over. Until then nothing may go wrong.

libxl crashes, and with it the process that it is in, when a stream fails before its helper runs, which copies the
memory: by an abort, a write that fails, or a header that makes no sense. xl crashes so, too, of a file that was cut
short. So a stream that comes is looked at before libxl is, there is room where one is written, and an abort waits until
the beginning has passed.

::

    libxl's header: magic, version, flags              16 bytes, in the order of the network
    a record that says that libxc's stream begins       8 bytes
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
_CONVERTED: Final = 1 << 1  # from that of a Xen before 4.6: libxl converts that itself


def check(data: bytes, source: str | None = None) -> None:
    """Check the beginning of a stream.

    Args:
        data: Its first bytes, `SIZE` of them.
        source: Where they come from, for errors.

    Raises:
        ParseError: It is not such a stream, is cut short, or is of an unknown kind.
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
    """Return what comes next in a file, as much as can be a beginning; its position stays where it is."""
    return os.pread(fd, SIZE, os.lseek(fd, 0, os.SEEK_CUR))


def make_room(fd: int) -> None:
    """Make sure that a beginning can be written to a file next.

    Raises:
        OSError: It cannot.
    """
    os.posix_fallocate(fd, os.lseek(fd, 0, os.SEEK_CUR), SIZE)


def has_passed(fd: int) -> Callable[[], bool]:
    """Return what tells whether libxl has read, or written, a beginning at where a file is positioned now."""
    end = os.lseek(fd, 0, os.SEEK_CUR) + SIZE
    return lambda: os.lseek(fd, 0, os.SEEK_CUR) >= end
