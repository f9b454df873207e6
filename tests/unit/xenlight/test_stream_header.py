"""What libxl must not be shown: streams that do not begin as they should."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxen.backends.xenlight.operations import stream_header
from pyxen.errors import ParseError

STREAM = bytes.fromhex("4c6962786c466d74 00000002 00000000 01000000 00000000") + bytes(100)  # as libxl wrote it


@pytest.fixture
def file() -> Iterator[int]:
    """A file in memory."""
    fd = os.memfd_create("saved")
    yield fd
    os.close(fd)


def test_what_libxl_writes() -> None:
    stream_header.check(STREAM[: stream_header.SIZE])


def test_of_an_older_xen() -> None:
    stream_header.check(STREAM[:15] + b"\2" + STREAM[16:])


@pytest.mark.parametrize("size", range(stream_header.SIZE))
def test_cut_short(size: int) -> None:
    with pytest.raises(ParseError, match=r"a\.save: damaged: cut short"):
        stream_header.check(STREAM[:size], "a.save")


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (0, 0, "something else"),
        (7, 0, "something else"),
        (11, 3, r"a newer Xen \(stream 3\)"),
        (11, 0, "something else"),
        (15, 1, "another byte order"),
        (15, 4, "a newer Xen"),
        (16, 3, "not begin with the memory"),
        (20, 1, "not begin with the memory"),
    ],
)
def test_damaged(place: int, value: int, problem: str) -> None:
    with pytest.raises(ParseError, match=problem):
        stream_header.check(STREAM[:place] + bytes([value]) + STREAM[place + 1 :])


def test_a_file_that_is_read(file: int) -> None:
    os.write(file, b"head" + STREAM)
    os.lseek(file, 4, os.SEEK_SET)
    passed = stream_header.has_passed(file)
    assert stream_header.peek(file) == STREAM[: stream_header.SIZE]
    assert not passed()
    os.read(file, stream_header.SIZE - 1)
    assert not passed()
    os.read(file, 1)
    assert passed()


def test_a_file_that_is_written(file: int) -> None:
    os.write(file, b"head")
    stream_header.make_room(file)
    passed = stream_header.has_passed(file)
    assert not passed()
    os.write(file, STREAM)
    assert passed()
    assert os.pread(file, 1000, 0) == b"head" + STREAM


def test_no_room() -> None:
    with Path("/dev/full").open("r+b", buffering=0) as full, pytest.raises(OSError, match="No such device"):
        stream_header.make_room(full.fileno())
