"""What all clients together may take of something, such as memory for long messages: there may be many clients."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

from pyxen.backends.remote.messages import MOST_FRAME

__all__ = ["Budget", "Share"]

_MOST: Final = 2 * MOST_FRAME
"""The bytes of all long messages that are on their way or being carried out."""


class Budget:
    """What the clients of a server share.

    Args:
        total: How much there is, such as bytes.
        each: How much each user may take, so that none takes what is for others.
    """

    def __init__(self, total: int = _MOST, each: int = _MOST) -> None:
        self._free, self._each = total, each
        self._of: Counter[int] = Counter()
        self._changed = threading.Condition()

    def take(self, user: int, size: int, timeout: float) -> bool:
        """Take so much, and tell whether that was there in time."""
        with self._changed:
            found = self._changed.wait_for(lambda: size <= self._free and self._of[user] + size <= self._each, timeout)
            if found:
                self._free -= size
                self._of[user] += size
            return found

    def give(self, user: int, size: int) -> None:
        """Give it back."""
        with self._changed:
            self._free += size
            self._of[user] -= size
            self._changed.notify_all()


class Share:
    """What one client has of a budget.

    Args:
        budget: The budget.
        user: Whose client it is, by number.
    """

    def __init__(self, budget: Budget, user: int) -> None:
        self._budget, self._user = budget, user
        self._lock = threading.Lock()
        self._taken = 0

    def take(self, size: int, timeout: float) -> bool:
        """Take so much, and tell whether that was there in time."""
        if not self._budget.take(self._user, size, timeout):
            return False
        with self._lock:
            self._taken += size
        return True

    def give(self, size: int) -> None:
        """Give it back; after the end, there is nothing left to give."""
        with self._lock:
            size = min(size, self._taken)
            self._taken -= size
        self._budget.give(self._user, size)

    def close(self) -> None:
        """Give back what is left."""
        self.give(self._taken)
