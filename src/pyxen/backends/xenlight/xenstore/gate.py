"""A lock that tells a signal handler that it interrupted the thread which has it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

__all__ = ["INTERRUPTS", "Gate"]

INTERRUPTS: Final = "a signal handler interrupted the begin or the end of another one: begin it outside of the handler"


class Gate:
    """A reentrant lock: garbage collection, and a signal handler, may come at any time.

    Neither may wait for a thread that needs the gate, since who has it goes on only after them.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._present: set[int] = set()
        """The threads that have it, or wait for it."""

    @contextlib.contextmanager
    def entered(self) -> Iterator[bool]:
        """Take the lock for the block. Yield whether this interrupts the same thread, which has it or waits for it."""
        thread = threading.get_ident()
        if thread in self._present:
            with self._lock:
                yield True
            return
        try:
            self._present.add(thread)
            with self._lock:
                yield False
        finally:
            self._present.discard(thread)
