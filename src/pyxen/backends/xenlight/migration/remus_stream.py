"""libxl's stream of a replicated domain, parsed as far as is needed to end it cleanly.

::

    libxl's header                                       16 bytes
    libxl's records; the last one announces libxc's stream
        libxc's headers                                  40 bytes
        libxc's records: the memory, up to CHECKPOINT
    libxl's records: the device model, up to CHECKPOINT_END
        libxc's records: what has changed, up to CHECKPOINT
    …

A record has a type and a length, 4 bytes each in little-endian order, and a body, padded to a multiple of 8. The
receiver applies a checkpoint once it is complete. If the stream breaks after the first checkpoint, the receiver starts
the domain. So a source that keeps its domain must end the stream differently: it sends a checkpoint that libxl cannot
read, which makes the receiver destroy its copy. This also works if xl is at the other end.
"""

from __future__ import annotations

from typing import Final

from pyxen.backends.xenlight.operations import stream_header
from pyxen.backends.xenlight.operations.stream_header import RECORD

__all__ = ["MARK", "CheckpointedStream"]

_LIBXC_HEADERS: Final = 24 + 16
_ALIGNMENT: Final = 8

_CHECKPOINT_END: Final = 4  # libxl's records
_CALLED_OFF: Final = int.from_bytes(b"pyxe", "big")  # a type that libxl does not know
_CHECKPOINT: Final = 14  # libxc's

MARK: Final = f"{_CALLED_OFF:#010x}"
"""The text in libxl's log that shows that the source has called off a backup."""


class CheckpointedStream:
    """Tracks how far a stream has come. It must be fed everything that is sent.

    Attributes:
        checkpoints: Number of complete checkpoints.
    """

    def __init__(self) -> None:
        self.checkpoints = 0
        self._header = bytearray()
        self._skip = stream_header.HEADER.size
        self._in_libxc = False

    def feed(self, data: bytes | memoryview) -> None:
        """Process data that has been sent."""
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
        """Return the data that makes the receiver destroy its copy. At least one checkpoint must have been sent."""
        said = bytearray()
        while self._header or self._skip:  # pad the record that was cut off to its length
            filling = bytes(self._skip or RECORD.size - len(self._header))
            said += filling
            self.feed(filling)
        if self._in_libxc:
            said += RECORD.pack(_CHECKPOINT, 0)
        said += RECORD.pack(_CALLED_OFF, 0) + RECORD.pack(_CHECKPOINT_END, 0)
        return bytes(said)

    def _begin(self, kind: int, length: int) -> None:
        """Process a record's header."""
        self._skip = -(-length // _ALIGNMENT) * _ALIGNMENT
        if self._in_libxc:
            self._in_libxc = kind != _CHECKPOINT
        elif kind == stream_header.LIBXC_CONTEXT:
            self._in_libxc = True
            self._skip += _LIBXC_HEADERS
        elif kind == _CHECKPOINT_END:
            self._in_libxc = True
            self.checkpoints += 1
