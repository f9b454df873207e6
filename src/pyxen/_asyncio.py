"""Waiting in an asyncio task for the results of other threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["done"]


async def done(future: Future[Any], lost: Callable[[], object] | None = None) -> None:
    """Wait until a future completed by another thread is done. The caller takes its result or exception.

    `asyncio.wrap_future` would cancel the future with the task, and would fail if the loop is closed.

    Args:
        future: The future.
        lost: Called on the other thread if the loop is closed when the future is done.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def tell(_: Future[Any]) -> None:
        nonlocal lost
        called, lost = lost, None  # the future keeps this function, and would so be kept itself by what `lost` leads to
        try:
            loop.call_soon_threadsafe(wake)
        except RuntimeError:  # the loop is closed, so there is no waiter
            if called is not None:
                called()

    future.add_done_callback(tell)
    await waiter
