"""The link to libvirt's daemon, which reconnects after the daemon or the network was away."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen._common.shown_uri import shown
from pyxen.backends.libvirt.binding import Connection, VirError
from pyxen.backends.libvirt.connection import Connected, connect, is_in_this_process
from pyxen.backends.libvirt.error_map import broke_the_link
from pyxen.errors import ConnectFailed, Error, HostClosed, OperationFailed

__all__ = ["Link"]

_NO_THREAD: Final = "cannot start a thread"
_LOG: Final = logger("pyxen.libvirt")

_FIRST_DELAY: Final = 0.1  # seconds between the first attempts to reconnect
_LONGEST_DELAY: Final = 5.0  # seconds between later attempts to reconnect
_CALLS: Final = 4  # at a time on a connection: a daemon reads at most 5 requests of a client, keepalives included
_LANES: Final = 4  # connections for work, opened as needed


class Link:
    """The connections to one URI: one for queries and events, and several for long calls.

    While the daemon is away, every call raises `ConnectFailed` at once.

    Args:
        uri: A libvirt URI.
        on_back: Called with the new connection after a reconnect, on a thread of the link. The link counts as broken
            until this returns.
    """

    def __init__(self, uri: str, on_back: Callable[[Connection], None]) -> None:
        self._uri = uri
        self._shown = shown(uri)
        self._on_back = on_back
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._open = True
        self._broken = False
        self._died = -1
        self._lanes: list[_Lane] = []
        self._places = threading.BoundedSemaphore(_CALLS * _LANES)
        self._main = connect(uri, self._closed_by_the_other_side(0))
        self._generation = 0

    def is_here(self) -> bool:
        """Tell whether this process opened the link. The child of a fork must wait for no lock of its parent."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Check that the link is usable.

        Raises:
            HostClosed: The host was closed, or was opened before a fork.
            ConnectFailed: The daemon is away.
        """
        if not self.is_here():
            raise HostClosed(f"{self._shown} was opened before a fork: open it again")
        if not self._open:
            raise HostClosed(f"{self._shown} was closed")
        if self._broken:
            raise ConnectFailed(f"{self._shown}: the connection broke; pyxen reconnects as soon as libvirt answers")

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """Yield the connection for short calls."""
        self.check()
        main, generation = self._main, self._generation
        with main.use() as connection:
            try:
                yield connection
            except VirError as error:
                if broke_the_link(error):
                    self._break(generation)
                raise

    @contextmanager
    def work(self) -> Iterator[Connection]:
        """Yield a connection for long calls; waits while all of them are busy."""
        self.check()
        if is_in_this_process(self._uri):
            with self._main.use() as connection:
                yield connection
            return
        with self._places:
            lane = self._lane()
            try:
                with lane.connected().use() as connection:
                    yield connection
            except VirError as error:
                if broke_the_link(error):
                    lane.drop()
                raise
            finally:
                with self._changed:
                    lane.calls -= 1

    def close(self) -> None:
        """Close all connections; each stays open until the calls in progress on it have returned."""
        if not self.is_here():
            return
        with self._changed:
            if not self._open:
                return
            self._open = False
            self._changed.notify_all()
            lanes = list(self._lanes)
        for lane in lanes:
            lane.drop()
        self._main.close()

    def _lane(self) -> _Lane:
        with self._changed:
            free = [lane for lane in self._lanes if lane.calls < _CALLS]
            if not free:
                free = [_Lane(self._uri)]
                self._lanes += free
            lane = min(free, key=lambda lane: lane.calls)
            lane.calls += 1
            return lane

    def _closed_by_the_other_side(self, generation: int) -> Callable[[], None]:
        return lambda: self._break(generation)

    def _break(self, generation: int) -> None:
        """Mark the connection as broken, and start to reconnect."""
        with self._changed:
            self._died = generation
            if not self._open or self._broken or generation != self._generation:
                return
            self._broken = True
            lanes = list(self._lanes)
        _LOG.info("%s: the connection to libvirt broke", self._shown)
        for lane in lanes:  # this may be libvirt's event loop thread, and a close may never return without the loop
            with suppress(OperationFailed), shortage(OperationFailed, _NO_THREAD):  # else its next use closes it
                threading.Thread(target=lane.drop, name="pyxen-libvirt-close", daemon=True).start()
        try:
            with shortage(OperationFailed, _NO_THREAD):
                threading.Thread(target=self._reconnect, name="pyxen-libvirt-reconnect", daemon=True).start()
        except OperationFailed as error:
            _LOG.warning("%s: cannot reconnect yet: %s", self._shown, error)
            with self._changed:
                self._broken = False  # the next call finds that out again, and tries again

    def _reconnect(self) -> None:
        self._main.close()
        delay = _FIRST_DELAY
        while not self._try_to_connect():
            with self._changed:
                if self._changed.wait_for(self._is_closed, delay):
                    return
            delay = min(2 * delay, _LONGEST_DELAY)

    def _is_closed(self) -> bool:
        return not self._open

    def _try_to_connect(self) -> bool:
        generation = self._generation + 1
        try:
            main = connect(self._uri, self._closed_by_the_other_side(generation))
        except Error as error:
            _LOG.debug("%s: %s", self._shown, error)
            return False
        try:
            with main.use() as connection:
                self._on_back(connection)
        except VirError as error:  # the new connection has already broken
            _LOG.debug("%s: %s", self._shown, error)
            main.close()
            return False
        with self._changed:
            if self._died == generation:
                main.close()
                return False
            if self._is_closed():
                main.close()
            else:
                self._main, self._generation, self._broken = main, generation, False
                _LOG.info("%s: reconnected to libvirt", self._shown)
        return True


class _Lane:
    """A connection for long calls, opened on first use and reopened when it breaks."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._connected: Connected | None = None
        self.calls = 0

    def connected(self) -> Connected:
        """Return the open connection."""
        with self._lock:
            if self._connected is None or not self._connected.is_alive():
                self._connected = connect(self._uri)
            return self._connected

    def drop(self) -> None:
        """Close the connection; the next use reopens it."""
        with self._lock:
            connected, self._connected = self._connected, None
        if connected is not None:
            connected.close()
