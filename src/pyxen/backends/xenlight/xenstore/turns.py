"""Turns of threads that wait for xenstored, one at a time.

A xenstored that hangs keeps each of them waiting for some seconds. Those that wait for their turn meanwhile would wait
as long again, one after the other. So they fail together with the one whose turn it was.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

from pyxen.backends.xenlight.xenstore.connection import is_silence
from pyxen.errors import ConnectFailed

__all__ = ["Turns"]


class Turns:
    """The turns at one connection to xenstored.

    Args:
        lock: Held by the thread whose turn it is. Default: a new one.
    """

    def __init__(self, lock: AbstractContextManager[object] | None = None) -> None:
        self.lock = threading.Lock() if lock is None else lock
        self._fell_silent = 0.0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn, and take it for the block. Nobody waits twice for the same silence.

        Raises:
            ConnectFailed: xenstored did not answer another thread while this one waited.
        """
        asked = time.monotonic()
        with self.lock:
            if asked < self._fell_silent:
                raise ConnectFailed("xenstored did not answer another thread: is it stopped?")
            try:
                yield
            except ConnectFailed as error:
                if is_silence(error):
                    self._fell_silent = time.monotonic()
                raise
