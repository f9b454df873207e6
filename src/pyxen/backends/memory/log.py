"""The log of a simulated Xen: a ring that keeps its end, as Xen's does."""

from __future__ import annotations

from typing import Final

from pyxen.backends.base import LogChunk

__all__ = ["Log"]

_KEPT: Final = 1 << 15
"""Bytes, as in Debian's Xen."""

_COUNTER: Final = 1 << 32


class Log:
    """A log of limited size. Positions count bytes from its beginning."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._end = 0

    def write(self, text: str) -> None:
        """Append a text, overwriting the oldest."""
        data = text.encode("utf-8", "surrogateescape")
        self._kept += data
        self._end += len(data)
        del self._kept[:-_KEPT]

    def read(self, position: int | None, *, clear: bool) -> LogChunk:
        """Return what was written from a position on; None for everything that is kept."""
        begin = self._end - len(self._kept)
        wanted = begin if position is None else self._end - (self._end - position) % _COUNTER
        start = max(begin, wanted)
        data = bytes(self._kept[start - begin :])
        if clear:
            self._kept.clear()
        return LogChunk(data, self._end % _COUNTER, start - wanted)
