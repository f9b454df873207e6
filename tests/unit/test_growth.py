"""The measure that long tests use sees what grows, and takes no table that doubles once for a leak."""

from __future__ import annotations

import os

import pytest

from tests.growth import Growth


def test_what_is_kept_of_each_cycle_is_seen() -> None:
    growth = Growth(most_kib=1024)
    kept = [bytearray(600) for _ in growth.laps(400)]
    with pytest.raises(AssertionError):
        growth.check("leaks")
    assert kept


def test_objects_that_are_kept_are_seen() -> None:
    growth = Growth(most_kib=1024)
    kept = [[None] for _ in growth.laps(400)]
    with pytest.raises(AssertionError):
        growth.check("keeps")
    assert kept


def test_descriptors_that_stay_open_are_seen() -> None:
    growth, fd = Growth(most_kib=1024), os.dup(0)
    try:
        for _ in growth.laps(4):
            pass
        with pytest.raises(AssertionError):
            growth.check("stays open")
    finally:
        os.close(fd)


def test_much_at_once_is_too_much() -> None:
    growth, much = Growth(most_kib=1024), bytearray()
    for number in growth.laps(400):
        if number == 250:
            much = bytearray(b"x" * (1 << 22))
    with pytest.raises(AssertionError):
        growth.check("at once")
    assert much


def test_much_at_once_of_what_malloc_had_kept_is_too_much() -> None:
    free = [_piece() for _ in range(80)]
    last = _piece()  # what is below it stays with the process
    free.clear()
    growth, much = Growth(most_kib=1024), []
    for number in growth.laps(400):
        if number == 250:
            much = [_piece() for _ in range(40)]
    with pytest.raises(AssertionError):
        growth.check("kept")
    assert much
    assert last


def _piece() -> bytearray:
    """Return what malloc takes from its heap, and not from the system for it alone."""
    return bytearray(b"x" * 100_000)


def test_a_table_that_doubles_is_no_leak() -> None:
    growth, table = Growth(most_kib=1024), bytearray()
    for number in growth.laps(400):
        if number == 250:
            table = bytearray(b"x" * (1 << 19))
    growth.check("doubles")
    assert table
