"""A thread that can be waited for again after Ctrl-C has interrupted the waiting."""

from __future__ import annotations

import os
import threading

__all__ = ["JoinableThread"]


class JoinableThread(threading.Thread):
    """A thread whose `join` says when it has ended, whatever came before.

    Up to Python 3.12, an exception in `threading.Thread.join`, such as that of Ctrl-C, marks the thread as ended. The
    next `join` then returns at once, though the thread still runs.
    """

    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]  # as threading.Thread takes them
        self._over = threading.Event()
        self._pid = os.getpid()

    def run(self) -> None:
        """Do the work."""
        try:
            super().run()
        finally:
            self._over.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or so many seconds."""
        has_begun = self.ident is not None and self is not threading.current_thread()
        if has_begun and self._pid == os.getpid() and not self._over.wait(timeout):  # a fork copies no other thread
            return
        super().join(timeout)
