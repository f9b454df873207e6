"""The closing of a host: by its user, by garbage collection, or at interpreter exit."""

from __future__ import annotations

import _thread
import atexit
import sys
import warnings
from collections.abc import Callable

from pyxen._copies.pool_keeper import Keeper
from pyxen.backends.base import Backend
from pyxen.operation import check_may_wait, may_wait

__all__ = ["Lifetime"]


class Lifetime:
    """Closes the backend of a host, for both APIs. A closing that was interrupted is gone on with by the next one.

    Args:
        backend: The backend.
        settle: Called before anything is closed: ends what only an open backend can undo. It may be called again.

    Attributes:
        open: True until the closing of the host begins.
    """

    def __init__(self, backend: Backend, settle: Callable[[], object] = lambda: None) -> None:
        self._backend = backend
        self._settle = settle
        self.open = True
        self._closed = False
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
        if not self.open and not may_wait(self._backend.completer):
            return  # who closes it waits until this callback has returned
        instead = "the host stays open. Close it on another thread"
        check_may_wait("close", instead, completer=self._backend.completer)
        self.open = False
        self._close()
        # Only now: what Ctrl-C has interrupted is gone on with by another call, or at exit.
        self._closed = True
        atexit.unregister(self._at_exit)

    def _close(self) -> None:
        self._settle()
        try:
            for keeper in list(self._keepers):
                keeper.close()
        except Exception:  # after Ctrl-C, the pools still need the backend
            self._backend.close()
            raise
        self._backend.close()

    def abandon(self, host: str) -> None:
        """Close the backend of a host that was garbage-collected.

        Collection can happen on any thread, even one that holds locks or runs operations. So the backend is closed on a
        separate thread, started with `_thread` because `threading` takes a lock to start one.
        """
        if self._closed:
            return
        was_open, self.open, self._closed = self.open, False, True
        if not sys.is_finalizing():
            try:
                _thread.start_new_thread(self._close, ())
            except RuntimeError:  # there is no thread for it: it is closed at exit
                self.open, self._closed = was_open, False
        if self._closed:
            atexit.unregister(self._at_exit)
        if was_open:
            warnings.warn(f"{host} was never closed", ResourceWarning, source=self, stacklevel=3)

    def _at_exit(self) -> None:
        try:
            if self.open:
                warnings.warn(f"<Host {self._backend.uri}> was never closed", ResourceWarning, stacklevel=2)
        finally:
            try:
                self.close()
            except KeyboardInterrupt:  # nobody waits for what is undone any more; the rest is closed all the same
                self._settle = lambda: None
                self.close()
                raise
