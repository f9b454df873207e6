"""The closing of a host: by its user, by garbage collection, or at interpreter exit."""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Final

from pyxen._common.closing import Closing
from pyxen._common.own_thread import OwnThreads
from pyxen._common.shield import logger
from pyxen._copies.pool_keeper import Keeper
from pyxen.backends.base import Backend
from pyxen.errors import HostClosed
from pyxen.operation import check_may_wait, may_wait

__all__ = ["Lifetime"]

_LOG = logger("pyxen")

_TO_UNDO: Final = 300.0
"""Seconds that operations which consist of others have to undo what they did: as long as asyncio's calls have."""
_GIVEN_UP: Final = "%s: Ctrl-C came twice at the end: calls in progress may not be undone, and what they did may stay"
_INSTEAD: Final = "the host stays open. Close it on another thread"


class Lifetime:
    """Closes the backend of a host, for both APIs. A closing that was interrupted is gone on with by the next one.

    Args:
        backend: The backend.
        settle: Called before anything is closed: ends what only an open backend can undo. It may be called again.

    Attributes:
        open: True until the closing of the host begins.
        threads: The operations that consist of others, and need an open backend to undo what they did.
    """

    def __init__(self, backend: Backend, settle: Callable[[], object] = lambda: None) -> None:
        self._backend = backend
        self._settle = settle
        self.open = True
        self.threads = OwnThreads(backend.completer)
        self._to_undo = _TO_UNDO
        self._closing = Closing()
        self._keepers: set[Keeper] = set()
        self._keepers_end = False
        self._process = os.getpid()
        # Registered after the handlers of the backend's modules, so it runs first, while all threads still run.
        atexit.register(self._at_exit)

    def add_pool(self, keeper: Keeper) -> None:
        """Close a pool before the backend; called before the pool begins.

        Raises:
            HostClosed: The host is being closed: the pool must not begin.
        """
        self._keepers.add(keeper)
        if self._keepers_end:  # looked at after the pool was added: the closing sees the pool, or is seen here
            raise HostClosed("pool: the host is closed: open it again")

    def remove_pool(self, keeper: Keeper) -> None:
        """Forget a pool that is closed."""
        self._keepers.discard(keeper)

    def close(self) -> None:
        """Close the pools and the backend and wait until they are closed; may be called again.

        Raises:
            RuntimeError: This thread completes operations, on which the closing waits. All stays open.
        """
        if not self.open and (self._is_awaited() or not may_wait(self._backend.completer)):
            return  # who closes it waits until this callback has returned
        self.check_may_close()
        self.open = False
        self._finish()

    def check_may_close(self) -> None:
        """Check that the closing does not wait for this very thread.

        Raises:
            RuntimeError: It would.
        """
        check_may_wait("close", _INSTEAD, completer=self._backend.completer)
        if self._is_awaited():
            raise RuntimeError(f"close: cannot wait here, in a function that a clone or a pool calls: {_INSTEAD}")

    def _is_awaited(self) -> bool:
        """Tell whether the closing would wait for this very thread."""
        if os.getpid() != self._process:
            return False
        return self.threads.is_here() or any(keeper.is_here() for keeper in list(self._keepers))

    def _finish(self) -> None:
        """Close all of it, unless it is closed; wait for another thread that does so."""
        if os.getpid() != self._process:  # a thread that the fork did not copy may be closing it for ever
            self._close()
            return
        with self._closing.turn() as is_mine:
            if is_mine:
                self._close()
        if self._closing.done:  # what Ctrl-C has interrupted is gone on with by another call, or at exit
            atexit.unregister(self._at_exit)

    def _close(self) -> None:
        end = time.monotonic() + self._to_undo
        self._settle()  # it waits no longer than that either
        left = self.threads.close(max(0.0, end - time.monotonic()))
        if left:
            _LOG.error("%d operations are not undone in %g s: what they did may stay", len(left), self._to_undo)
        self._keepers_end = True
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
        separate thread, started with `_thread` because `threading` takes a lock to start one. A program that ends
        meanwhile waits for it.
        """
        if self._closing.done:
            return
        was_open, self.open = self.open, False
        if not sys.is_finalizing():
            try:
                _thread.start_new_thread(self._finish, ())
            except RuntimeError:  # there is no thread for it: it is closed at exit
                self.open = was_open
        if was_open:
            warnings.warn(f"{host} was never closed", ResourceWarning, source=self, stacklevel=3)

    def _at_exit(self) -> None:
        try:
            if self.open:
                warnings.warn(f"<Host {self._backend.uri}> was never closed", ResourceWarning, stacklevel=2)
        finally:
            try:
                self.close()
            except KeyboardInterrupt:
                self._close_in_haste()
                raise

    def _close_in_haste(self) -> None:
        """Close it after Ctrl-C; another one gives up what is not undone yet."""
        try:
            self.close()
        except KeyboardInterrupt:  # the rest is closed all the same
            _LOG.error(_GIVEN_UP, self._backend.uri)
            self._settle, self._to_undo = lambda: None, 0.0
            self.close()
