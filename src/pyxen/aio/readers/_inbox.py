"""Queues whose readers are tasks."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Generic, TypeVar

from pyxen._asyncio import wake, woken
from pyxen.readers._unread import Unread

__all__ = ["Inbox", "Source"]

T = TypeVar("T")


class Source(Generic[T]):
    """A way into an inbox, which can be shut: what was begun for a task that was cancelled may go on for a while."""

    def __init__(self, inbox: Inbox[T]) -> None:
        self._inbox = inbox
        self._shut = False

    def put(self, item: T) -> None:
        if not self._shut:
            self._inbox.put(item)

    def end(self) -> None:
        if not self._shut:
            self._inbox.end()

    def shut(self) -> None:
        """Let nothing more in."""
        self._shut = True


class Inbox(Generic[T]):
    """A queue whose readers are tasks. What arrives from the backend's thread wakes them."""

    def __init__(self, queue: Unread[T]) -> None:
        self._queue = queue
        self._waiters: set[asyncio.Future[None]] = set()
        self._pid = os.getpid()

    @property
    def ended(self) -> bool:
        return self._queue.ended

    @property
    def unread(self) -> int:
        return self._queue.unread

    def status(self) -> str:
        return self._queue.status()

    def put(self, item: T) -> None:
        self._queue.put(item)
        self._wake()

    def end(self) -> None:
        self._queue.end()
        self._wake()

    def close(self) -> None:
        if self._pid == os.getpid():  # what waits before a fork is the parent's, and goes on
            self._queue.drop()
            self._wake()

    async def take(self, seconds: float | None) -> T | None:
        """Return the next item, or None if the queue has ended.

        Args:
            seconds: How long to wait; 0 only looks, and None waits for ever.

        Raises:
            TimeoutError: None arrived in time.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)  # before looking, so that any later item wakes it
            try:
                ended = self._queue.ended  # before taking, so that items from before the end are still taken
                item = self._queue.take(0)
                if item is not None or ended:
                    return item
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                await woken(waiter, left)
            finally:
                self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in list(self._waiters):
            try:
                waiter.get_loop().call_soon_threadsafe(wake, waiter)
            except RuntimeError:  # its loop is closed
                self._waiters.discard(waiter)
