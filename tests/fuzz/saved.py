"""A saved domain that is small enough to be fuzzed: the same stream with fewer of the guest's pages in it."""

from __future__ import annotations

import struct
from typing import Final

from pyxen.backends.xenlight.operations import stream_header

__all__ = ["with_few_pages"]

_BEGINNING: Final = b"LibxlFmt"
_LIBXC_HEADERS: Final = 24 + 16
_RECORD: Final = struct.Struct("<II")
_PAGE_DATA: Final = 1
_END: Final = 0
_PAGE: Final = 4096
_SPECIAL: Final = 0xFE000  # from here on are the frames for the console and for xenstore
_NO_DATA: Final = 13 << 60  # from this type on, a frame has no page in the record
_NO_PAGE: Final = 14 << 60  # the type of a frame that is only populated


def with_few_pages(data: bytes, most: int = 2) -> bytes:
    """Return a saved file with so many of the guest's pages."""
    at = data.index(_BEGINNING) + stream_header.SIZE + _LIBXC_HEADERS
    kept = bytearray(data[:at])
    while True:
        kind, length = _RECORD.unpack_from(data, at)
        body = data[at + _RECORD.size : at + _RECORD.size + length]
        at += _RECORD.size + -(-length // 8) * 8
        if kind == _PAGE_DATA:
            body, most = _fewer(body, most)
        if kind != _PAGE_DATA or len(body) > 8:
            kept += _RECORD.pack(kind, len(body)) + body.ljust(-(-len(body) // 8) * 8, b"\0")
        if kind == _END:
            return bytes(kept) + data[at:]


def _fewer(body: bytes, most: int) -> tuple[bytes, int]:
    """Return the body of a record with so many pages at most, and how many more there may be.

    Of the frames for the console and for xenstore only the frames are kept, without their pages.
    """
    [count] = struct.unpack_from("<I", body)
    frames = struct.unpack_from(f"<{count}Q", body, 8)
    full = [frame for frame in frames if frame < _NO_DATA][:most]
    bare = [_NO_PAGE | frame for frame in frames if _SPECIAL <= frame < _NO_DATA and frame not in full]
    pages = body[8 + 8 * count :][: len(full) * _PAGE]
    kept = [*full, *bare]
    return struct.pack(f"<II{len(kept)}Q", len(kept), 0, *kept) + pages, most - len(full)
