"""The end of a host: closed by its user, collected, or still open when the interpreter ends."""

from __future__ import annotations

import _thread
import atexit
import sys
import warnings

from pyxen.backends.base import Backend

__all__ = ["Lifetime"]


class Lifetime:
    """Closes a backend, once, for a host of either face.

    Attributes:
        open: Whether it has not been closed yet.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.open = True
        # Registered after those of the backend's own modules, so it runs before them, and while all threads still run.
        atexit.register(self._at_exit)

    def close(self) -> None:
        """Close the backend, and wait for that; may be called again."""
        self.open = False
        atexit.unregister(self._at_exit)
        self._backend.close()

    def abandon(self, host: str) -> None:
        """Close the backend of a host that was collected.

        That can be on any thread, one that holds locks or carries out operations. So it is done on a thread of its own:
        a bare one, since `threading` takes a lock to begin one.
        """
        if not self.open:
            return
        self.open = False
        atexit.unregister(self._at_exit)
        if not sys.is_finalizing():
            _thread.start_new_thread(self._backend.close, ())
        warnings.warn(f"{host} was never closed", ResourceWarning, source=self, stacklevel=3)

    def _at_exit(self) -> None:
        if self.open:
            try:
                warnings.warn(f"<Host {self._backend.uri}> was never closed", ResourceWarning, stacklevel=2)
            finally:
                self.close()
