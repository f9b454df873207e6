"""Waiting in an asyncio task: for the results of other threads, and for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["done", "wake", "woken"]


async def done(future: Future[Any], lost: Callable[[], object] | None = None, seconds: float | None = None) -> None:
    """Wait until a future completed by another thread is done. The caller takes its result or exception.

    `asyncio.wrap_future` would cancel the future with the task, and would fail if the loop is closed.

    Args:
        future: The future.
        lost: Called on the other thread if the loop is closed when the future is done.
        seconds: The longest time to wait. The future may not be done after it.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def tell(_: Future[Any]) -> None:
        nonlocal lost
        called, lost = lost, None  # the future keeps this function, and would so be kept itself by what `lost` leads to
        try:
            loop.call_soon_threadsafe(wake, waiter)
        except RuntimeError:  # the loop is closed, so there is no waiter
            if called is not None:
                called()

    future.add_done_callback(tell)
    await woken(waiter, seconds)


async def woken(waiter: asyncio.Future[None], seconds: float | None) -> None:
    """Wait until a future of this loop is done, or until the time is up.

    It does not use `asyncio.timeout`. In a task that was cancelled before, such as in its clean-up, that of Python 3.11
    does not tell the end of its time from a cancel.

    Args:
        waiter: The future, which `wake` completes.
        seconds: The longest time to wait; None waits for ever.
    """
    late = None if seconds is None else asyncio.get_running_loop().call_later(seconds, wake, waiter)
    try:
        await waiter
    finally:
        if late is not None:
            late.cancel()


def wake(waiter: asyncio.Future[None]) -> None:
    """Wake who waits for a future. Call it in the future's loop."""
    if not waiter.done():
        waiter.set_result(None)
