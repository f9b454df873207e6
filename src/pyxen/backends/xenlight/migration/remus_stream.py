"""libxl's stream of a domain that is replicated, as far as one must know to end it well.

::

    libxl's header                                       16 bytes
    libxl's records, the last of which says that libxc's stream begins
        libxc's headers                                  40 bytes
        libxc's records: the memory, up to CHECKPOINT
    libxl's records: the device model, up to CHECKPOINT_END
        libxc's records: what has changed, up to CHECKPOINT
    …

A record is its type and its length, 4 bytes each in the order of x86, and its body, filled up to a multiple of 8. The
receiver puts a checkpoint into effect when all of it is there. A stream that breaks later than the first makes it start
the domain; so a source that keeps its domain has to break the stream in another way: by a checkpoint that libxl cannot
read, which makes it destroy its copy. That is so with xl at the other end, too.
"""

from __future__ import annotations

from typing import Final

from pyxen.backends.xenlight.operations import stream_header
from pyxen.backends.xenlight.operations.stream_header import RECORD

__all__ = ["MARK", "CheckpointedStream"]

_LIBXC_HEADERS: Final = 24 + 16
_ALIGNMENT: Final = 8

_CHECKPOINT_END: Final = 4  # libxl's records
_CALLED_OFF: Final = int.from_bytes(b"pyxe", "big")  # of a type that libxl does not know
_CHECKPOINT: Final = 14  # libxc's

MARK: Final = f"{_CALLED_OFF:#010x}"
"""Stands in what libxl logs when it reads that a backup is called off."""


class CheckpointedStream:
    """Knows how far a stream has come, of which it is shown all that is sent.

    Attributes:
        checkpoints: How many are complete.
    """

    def __init__(self) -> None:
        self.checkpoints = 0
        self._header = bytearray()
        self._skip = stream_header.HEADER.size
        self._in_libxc = False

    def feed(self, data: bytes | memoryview) -> None:
        """Take note of what has been sent."""
        rest = memoryview(data)
        while rest:
            if self._skip:
                size = min(self._skip, len(rest))
                self._skip -= size
            else:
                size = min(RECORD.size - len(self._header), len(rest))
                self._header += rest[:size]
                if len(self._header) == RECORD.size:
                    self._begin(*RECORD.unpack(self._header))
                    self._header.clear()
            rest = rest[size:]

    def calling_off(self) -> bytes:
        """Return what to send for the receiver to destroy its copy; it must have been sent a checkpoint."""
        said = bytearray()
        while self._header or self._skip:  # what was cut off is of no use, but must have its length
            filling = bytes(self._skip or RECORD.size - len(self._header))
            said += filling
            self.feed(filling)
        if self._in_libxc:
            said += RECORD.pack(_CHECKPOINT, 0)
        said += RECORD.pack(_CALLED_OFF, 0) + RECORD.pack(_CHECKPOINT_END, 0)
        return bytes(said)

    def _begin(self, kind: int, length: int) -> None:
        """Take note of a record."""
        self._skip = -(-length // _ALIGNMENT) * _ALIGNMENT
        if self._in_libxc:
            self._in_libxc = kind != _CHECKPOINT
        elif kind == stream_header.LIBXC_CONTEXT:
            self._in_libxc = True
            self._skip += _LIBXC_HEADERS
        elif kind == _CHECKPOINT_END:
            self._in_libxc = True
            self.checkpoints += 1
