"""Bounded queues of what a reader has not read yet."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from pyxen._printable import shown_number
from pyxen.errors import HostClosed, InvalidArgument
from pyxen.operation import check_may_wait

__all__ = ["Unread"]

T = TypeVar("T")

_LOOK: Final = 1.0
"""Seconds after which a reader looks again. A signal handler may have ended the queue just before the reader waited."""
_TO_ENTER: Final = 0.1
"""Seconds to wait for the lock, before it counts that a signal handler may have interrupted the thread that has it."""


class Unread(Generic[T]):
    """A bounded queue, filled by the backend's thread. Both APIs use it.

    Args:
        maxlen: How many items may wait to be read.
        verb: The verb for errors.
        completer: What brings the items, and must not wait for them; see `pyxen.operation.completing`.

    Raises:
        InvalidArgument: `maxlen` is below 1.
    """

    def __init__(self, maxlen: int, verb: str, completer: object = None) -> None:
        if not _is_count(maxlen):
            message = f"maxlen={shown_number(maxlen)}: a reader needs room for at least 1 {verb[:-1]}"
            raise InvalidArgument(message, operation=verb)
        self._verb = verb
        self._completer = completer
        self._maxlen = maxlen
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._pid = os.getpid()
        self.ended = False

    def put(self, item: T) -> None:
        """Add an item, or record that it was lost. After the end, nothing is added: the reader may be closed."""
        if not self._entered():
            return
        try:
            if len(self._items) < self._maxlen:
                self._items.append(item)
            else:
                self._lose(item)
            self._changed.notify()
        finally:
            self._changed.release()

    def _entered(self) -> bool:
        """Take the lock, which is to be released; False if the queue has ended.

        A signal handler that closes the reader may have interrupted the thread that has it, and wait for this thread.
        """
        while not self._changed.acquire(timeout=_TO_ENTER):
            if self.ended:
                return False
        if ended := self.ended:
            self._changed.release()
        return not ended

    def _lose(self, item: T) -> None:
        """Record the loss in the place where the item would have been."""
        raise NotImplementedError

    def _taken(self, item: T) -> None:
        """Note that an item was taken."""

    def end(self) -> None:
        """Mark the queue as ended: nothing more will arrive."""
        self._end(self._changed.notify_all)

    def drop(self) -> None:
        """End the queue and discard what is unread."""
        if os.getpid() == self._pid:  # in a forked child, the lock may be held by a thread that does not exist there
            self._end(self._items.clear)
            self.end()

    def _end(self, then: Callable[[], None]) -> None:
        self.ended = True
        if self._changed.acquire(timeout=_TO_ENTER):  # else see `_entered`; who waits looks by itself
            try:
                then()
            finally:
                self._changed.release()

    @property
    def unread(self) -> int:
        """How many items wait to be read."""
        return len(self._items)

    def status(self) -> str:
        """Describe whether the queue is open, and how much waits to be read."""
        return f"{'closed' if self.ended else 'open'}, {len(self._items)} to read"

    def take(self, timeout: float | None) -> T | None:
        """Return the next item, or None if none arrived in time or the queue has ended.

        Raises:
            RuntimeError: None is there, and this thread completes operations; it may also be the one that brings items.
        """
        if os.getpid() != self._pid:
            raise HostClosed(f"{self._verb}: the host was opened before a fork: open it again")
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                try:
                    item = self._items.popleft()  # a signal handler may have taken the last one, or ended the queue
                except IndexError:
                    if self.ended:
                        return None
                else:
                    self._taken(item)
                    return item
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                instead = "take what is there with get(0), or read on another thread"
                check_may_wait(self._verb, instead, completer=self._completer)
                self._changed.wait(_LOOK if left is None else min(left, _LOOK))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
