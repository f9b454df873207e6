"""How a stream of checkpoints is broken so that its receiver destroys its copy; `tests/xen` has libxl read it."""

from __future__ import annotations

import struct

import pytest

from pyxen.backends.xenlight.migration.remus_stream import MARK, CheckpointedStream

LIBXL_HEADER = b"LibxlFmt" + bytes(8)
LIBXC_HEADERS = b"\xff" * 8 + bytes(32)
PAGE_DATA, CHECKPOINT, END = 1, 14, 0  # libxc's
CONTEXT, EMULATOR, CHECKPOINT_END = 1, 3, 4  # libxl's


def record(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def checkpoint(number: int) -> bytes:
    memory = record(PAGE_DATA, bytes([number]) * 21) + record(PAGE_DATA, b"\x0e" * 16)
    return memory + record(CHECKPOINT) + record(EMULATOR, b"\4" * (number + 8)) + record(CHECKPOINT_END)


BEGINNING = LIBXL_HEADER + record(CONTEXT) + LIBXC_HEADERS
FIRST = BEGINNING + checkpoint(1)
STREAM = FIRST + checkpoint(2) + checkpoint(3)


class Ended(Exception):
    """The stream is at its end."""


class Receiver:
    """What libxl and libxc make of a stream, after their sources: the copy is started, or destroyed.

    Attributes:
        checkpoints: How many were put into effect.
        outcome: What became of the copy.
    """

    def __init__(self, stream: bytes) -> None:
        self._rest = stream
        self.checkpoints = 0
        self.outcome = self._receive()

    def _receive(self) -> str:
        try:
            self._take(16)
            assert self._record()[0] == CONTEXT
            self._take(40)
            while True:
                kind, _ = self._record()
                if kind == CHECKPOINT:
                    if not self._checkpoint():
                        return "destroyed"
                elif kind == END:
                    return "started"
        except Ended:
            return "started" if self.checkpoints else "destroyed"

    def _checkpoint(self) -> bool:
        kinds = []
        while CHECKPOINT_END not in kinds:
            kinds.append(self._record()[0])
        if set(kinds) - {EMULATOR, CHECKPOINT_END}:
            return False
        self.checkpoints += 1
        return True

    def _record(self) -> tuple[int, bytes]:
        kind, length = struct.unpack("<II", self._take(8))
        return kind, self._take(-(-length // 8) * 8)

    def _take(self, size: int) -> bytes:
        if len(self._rest) < size:
            raise Ended
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


@pytest.mark.parametrize("size", [1, 7, 8, 1000])
def test_checkpoints_are_counted(size: int) -> None:
    stream = CheckpointedStream()
    counts = []
    for start in range(0, len(STREAM), size):
        stream.feed(STREAM[start : start + size])
        counts.append(stream.checkpoints)
        assert stream.checkpoints == Receiver(STREAM[: start + size]).checkpoints
    assert counts[-1] == 3


@pytest.mark.parametrize("cut", range(len(FIRST), len(STREAM) + 1))
def test_a_backup_is_called_off_wherever_the_stream_is_cut(cut: int) -> None:
    stream = CheckpointedStream()
    stream.feed(memoryview(STREAM)[:cut])
    assert Receiver(STREAM[:cut]).outcome == "started"  # what would be without
    assert Receiver(STREAM[:cut] + stream.calling_off()).outcome == "destroyed"


def test_the_mark_is_what_libxl_logs() -> None:
    stream = CheckpointedStream()
    stream.feed(STREAM)
    kind = struct.unpack("<I", stream.calling_off()[8:12])[0]
    assert f"Unrecognised record 0x{kind:08x}" == f"Unrecognised record {MARK}"
