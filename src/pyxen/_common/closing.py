"""A closing that may be interrupted: whoever asks for it again goes on with it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["Closing"]


class Closing:
    """Lets one thread at a time close something, until it is closed.

    Attributes:
        done: Whether it is closed.
    """

    def __init__(self) -> None:
        self.done = False
        self._gate = threading.RLock()  # reentrant: a signal handler may close what its own thread is closing
        self._runs = False

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Wait until no other thread closes it, and close it in the block. It is closed if the block raises nothing.

        Yields:
            Whether to close it. Not if it is closed; nor in a signal handler that has interrupted this thread's own
            closing, which goes on when the handler has returned.
        """
        with self._gate:
            if self.done or self._runs:
                yield False
                return
            self._runs = True
            try:
                yield True
                self.done = True
            finally:
                self._runs = False
