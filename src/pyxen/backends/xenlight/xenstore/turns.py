"""Turns of threads at something that one thread uses at a time, such as a connection to xenstored.

A xenstored that hangs keeps each of them waiting for some seconds. Those that wait for their turn meanwhile would wait
as long again, one after the other. So they fail together with the one whose turn it was.

A signal handler may interrupt a turn, and use the same thing, or wait for a thread that does. So not everyone gets a
turn, and who gets none uses something of its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

from pyxen.backends.xenlight.xenstore.connection import PATIENCE, is_silence
from pyxen.errors import ConnectFailed

__all__ = ["Turns"]

_LONGEST: Final = PATIENCE + 1.0


class Turns:
    """The turns at one thing.

    Args:
        longest: Seconds that a turn takes at most, unless a signal handler interrupts it.
    """

    def __init__(self, longest: float = _LONGEST) -> None:
        self._longest = longest
        self._lock = threading.RLock()  # reentrant, since its `release` tells whether this thread has it
        self._present: set[int] = set()
        """The threads that have a turn, or wait for one."""
        self._last_end = 0.0
        self._fell_silent = 0.0

    @contextlib.contextmanager
    def taken(self) -> Iterator[bool]:
        """Take a turn at xenstored for the block; see `tried`. Nobody waits twice for the same silence.

        Raises:
            ConnectFailed: xenstored did not answer another thread while this one waited.
        """
        asked = time.monotonic()
        with self.tried() as has_turn:
            if asked < self._fell_silent:
                raise ConnectFailed("xenstored did not answer another thread: is it stopped?")
            try:
                yield has_turn
            except ConnectFailed as error:
                if is_silence(error):
                    self._fell_silent = time.monotonic()
                raise

    @contextlib.contextmanager
    def tried(self) -> Iterator[bool]:
        """Wait for a turn, and take it for the block.

        Yields:
            Whether this thread has the turn now. It has not if it is in a signal handler that interrupted its own turn,
            or its own wait for one, and if another thread's turn does not end: such a handler may wait for this thread.
        """
        thread = threading.get_ident()
        if thread in self._present:
            yield False
            return
        try:
            self._present.add(thread)
            yield self._lock.acquire(blocking=False) or self._wait()
        finally:
            try:
                self._lock.release()  # first: Ctrl-C may come between any two steps
            except RuntimeError:
                pass  # it has no turn, whether it waited in vain or Ctrl-C came first
            else:
                self._last_end = time.monotonic()
            finally:
                self._present.discard(thread)

    def _wait(self) -> bool:
        while not self._lock.acquire(timeout=self._longest):
            if time.monotonic() - self._last_end >= self._longest:
                return False
        return True
