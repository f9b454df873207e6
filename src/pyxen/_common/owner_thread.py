"""A thread that owns what its work uses, such as descriptors: it is released once, by one of two."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pyxen._common.joinable import JoinableThread

__all__ = ["OwnerThread"]


class OwnerThread(JoinableThread):
    """A thread whose work releases what it uses. If the work never begins, this releases it.

    Ctrl-C may interrupt `start` before the thread runs, or when it runs already. So the error says nothing of that, and
    one lock decides it: either the thread takes the work, or `drop` takes it from the thread.

    Args:
        work: What the thread does. It releases what it uses.
        unused: Releases that if the work never begins.
        name: The name of the thread.
    """

    def __init__(self, work: Callable[[], object], unused: Callable[[], object], *, name: str) -> None:
        super().__init__(target=self._take, args=(work,), name=name, daemon=True)
        self._unused = unused
        self._taken = threading.Lock()
        self._dropped = False

    def start(self) -> None:
        """Start it; if that raises, the work has begun, or never begins and is dropped."""
        try:
            super().start()
        except BaseException:
            self.drop()
            raise

    def drop(self) -> bool:
        """Release what the work uses, unless the work has begun. Calling it again does nothing.

        Returns:
            Whether the work never begins; else the thread can be joined.
        """
        if self._taken.acquire(blocking=False):
            self._dropped = True
            self._unused()
        return self._dropped

    def _take(self, work: Callable[[], object]) -> None:
        if self._taken.acquire(blocking=False):
            work()
