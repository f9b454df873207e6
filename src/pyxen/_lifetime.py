"""The closing of a host: by its user, by garbage collection, or at interpreter exit."""

from __future__ import annotations

import _thread
import atexit
import sys
import warnings

from pyxen._copies.pool_keeper import Keeper
from pyxen.backends.base import Backend
from pyxen.operation import check_may_wait, may_wait

__all__ = ["Lifetime"]


class Lifetime:
    """Closes the backend of a host exactly once, for both APIs.

    Attributes:
        open: True until the host is closed.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.open = True
        self._keepers: set[Keeper] = set()
        # Registered after the handlers of the backend's modules, so it runs first, while all threads still run.
        atexit.register(self._at_exit)

    def add_pool(self, keeper: Keeper) -> None:
        """Close a pool before the backend."""
        self._keepers.add(keeper)

    def remove_pool(self, keeper: Keeper) -> None:
        """Forget a pool that is closed."""
        self._keepers.discard(keeper)

    def close(self) -> None:
        """Close the pools and the backend and wait until they are closed; may be called again.

        Raises:
            RuntimeError: This thread completes operations, on which the closing waits. All stays open.
        """
        if not self.open and not may_wait():
            return  # who closes it waits until this callback has returned
        check_may_wait("close", "the host stays open. Close it on another thread")
        self.open = False
        atexit.unregister(self._at_exit)
        self._close()

    def _close(self) -> None:
        try:
            for keeper in list(self._keepers):
                keeper.close()
        finally:
            self._backend.close()

    def abandon(self, host: str) -> None:
        """Close the backend of a host that was garbage-collected.

        Collection can happen on any thread, even one that holds locks or runs operations. So the backend is closed on a
        separate thread, started with `_thread` because `threading` takes a lock to start one.
        """
        if not self.open:
            return
        self.open = False
        if not sys.is_finalizing():
            try:
                _thread.start_new_thread(self._close, ())
            except RuntimeError:  # there is no thread for it: it is closed at exit
                self.open = True
        if not self.open:
            atexit.unregister(self._at_exit)
        warnings.warn(f"{host} was never closed", ResourceWarning, source=self, stacklevel=3)

    def _at_exit(self) -> None:
        if self.open:
            try:
                warnings.warn(f"<Host {self._backend.uri}> was never closed", ResourceWarning, stacklevel=2)
            finally:
                self.close()
