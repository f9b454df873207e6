"""What a tracer raises between two lines of a call leaves the thread as it was."""

from __future__ import annotations

import contextlib

import pytest

from tests.interrupts import interrupted


def ctrl_c() -> None:
    raise KeyboardInterrupt


def swallows() -> None:
    with contextlib.suppress(OSError):
        raise OSError("it is handled")


def test_a_later_exception_has_no_context_of_an_earlier_call() -> None:
    stuck, calls = [], 0
    for call in interrupted(swallows, ctrl_c, "test_interrupts.py"):
        with contextlib.suppress(KeyboardInterrupt):
            call()
        calls += 1
        with pytest.raises(ValueError, match="another") as caught:
            raise ValueError("another")
        if caught.value.__context__ is not None:
            stuck.append(calls)
    assert stuck == []
    assert calls > 2
