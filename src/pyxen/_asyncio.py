"""Waiting in a task for what other threads bring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["done"]


async def done(future: Future[Any], lost: Callable[[], object] | None = None) -> None:
    """Wait until a future that other threads bring is done, whatever it holds; its result is the caller's to take.

    `asyncio.wrap_future` would cancel the future with the task, and complain of a closed loop.

    Args:
        future: What to wait for.
        lost: Called, on the other thread, when it is done and the loop is closed.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def tell(_: Future[Any]) -> None:
        try:
            loop.call_soon_threadsafe(wake)
        except RuntimeError:  # the loop is closed: nobody waits any more
            if lost is not None:
                lost()

    future.add_done_callback(tell)
    await waiter
