"""Waits of tests that end in time, with a complaint."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

__all__ = ["SECONDS", "join", "until", "until_async"]

SECONDS = 120.0
"""Time for what takes milliseconds, on a machine that is very busy."""
_PAUSE = 0.002


def until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait until a condition holds; a test fails where it does not in time, and says what did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        time.sleep(_PAUSE)


async def until_async(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait as `until` does, and let other tasks run meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        await asyncio.sleep(_PAUSE)


def join(thread: threading.Thread, seconds: float = SECONDS) -> None:
    """Wait for the end of a thread; a test fails where it does not end in time."""
    thread.join(seconds)
    assert not thread.is_alive(), f"{thread.name} has not ended in {seconds:g} s"
