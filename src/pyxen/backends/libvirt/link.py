"""The link to libvirt's daemon, which reconnects after the daemon or the network was away."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen._common.shown_uri import shown
from pyxen.backends.libvirt.binding import Connection, VirError
from pyxen.backends.libvirt.connection import Connected, Opener, is_in_this_process
from pyxen.backends.libvirt.error_map import broke_the_link
from pyxen.errors import ConnectFailed, Error, HostClosed, OperationFailed

__all__ = ["Link"]

_NO_THREAD: Final = "cannot start a thread"
_LOG: Final = logger("pyxen.libvirt")

_FIRST_DELAY: Final = 0.1  # seconds between the first attempts to reconnect
_LONGEST_DELAY: Final = 5.0  # seconds between later attempts to reconnect
_CALLS: Final = 4  # at a time on a connection: a daemon reads at most 5 requests of a client, keepalives included
_LANES: Final = 4  # connections for work, opened as needed
_TO_CLOSE: Final = 5.0  # seconds that the daemon has to answer while the link is closed


class Link:
    """The connections to one URI: one for queries and events, and several for long calls.

    While the daemon is away, every call raises `ConnectFailed` at once.

    Args:
        uri: A libvirt URI.
        on_back: Called with the new connection after a reconnect, on a thread of the link. The link counts as broken
            until this returns.
    """

    def __init__(self, uri: str, on_back: Callable[[Connected], None]) -> None:
        self._uri = uri
        self._shown = shown(uri)
        self._on_back = on_back
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._open = True
        self._broken = True  # until it is open
        self._lanes: list[_Lane] = []
        self._places = threading.BoundedSemaphore(_CALLS * _LANES)
        self._opener = Opener(uri, self._break)
        self._main: Connected
        try:
            main = self._opener.open()
        except BaseException:
            self._opener.close()
            raise
        if not self._take(main):
            self._on_thread(main.close)
            raise ConnectFailed(f"{self._shown}: the connection broke while it was opened")

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
        with self.listening() as main, main.use() as connection:
            yield connection

    @contextmanager
    def listening(self) -> Iterator[Connected]:
        """Yield the connection for short calls, as what can `Connected.listen` to events."""
        self.check()
        main = self._main
        with main.use():
            try:
                yield main
            except VirError as error:
                if broke_the_link(error):
                    self._break(main)
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
            self.check()  # it may have been closed since
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
        """Close all connections; each stays open until the calls in progress on it have returned.

        A daemon that does not answer is waited for on threads that end by themselves.
        """
        if not self.is_here():
            return
        with self._changed:
            if not self._open:
                return
            self._open = False
            self._changed.notify_all()
            main, lanes = self._main, list(self._lanes)
        threads = []
        for close in (self._opener.close, main.close, *(lane.close for lane in lanes)):
            thread = self._on_thread(close)
            if thread is None:
                close()
            else:
                threads.append(thread)
        end = time.monotonic() + _TO_CLOSE
        for thread in threads:
            thread.join(max(0, end - time.monotonic()))

    def _on_thread(self, close: Callable[[], None]) -> threading.Thread | None:
        """Begin to close a connection, which may wait for the daemon or libvirt's loop; None if there is no thread."""
        thread = threading.Thread(target=close, name="pyxen-libvirt-close", daemon=True)
        try:
            with shortage(OperationFailed, _NO_THREAD):
                thread.start()
        except OperationFailed as error:
            _LOG.debug("%s: %s", self._shown, error)
            return None
        return thread

    def _lane(self) -> _Lane:
        with self._changed:
            free = [lane for lane in self._lanes if lane.calls < _CALLS]
            if not free:
                free = [_Lane(self._uri)]
                self._lanes += free
            lane = min(free, key=lambda lane: lane.calls)
            lane.calls += 1
            return lane

    def _break(self, connected: Connected) -> None:
        """Mark a connection as broken, and start to reconnect."""
        with self._changed:
            connected.broken = True
            if not self._open or self._broken or connected is not self._main:
                return
            self._broken = True
            lanes = list(self._lanes)
        _LOG.info("%s: the connection to libvirt broke", self._shown)
        for lane in lanes:
            self._on_thread(lane.drop)  # without a thread, the next use of the lane closes it
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
        """Return whether that is over: the link is connected, or was closed."""
        try:
            main = self._opener.open()
        except Error as error:
            _LOG.debug("%s: %s", self._shown, error)
            return self._is_closed()
        try:
            with main.use():
                self._on_back(main)
        except (VirError, Error) as error:  # the new connection has already broken
            _LOG.debug("%s: %s", self._shown, error)
        else:
            if self._take(main):
                _LOG.info("%s: reconnected to libvirt", self._shown)
                return True
        main.close()
        return self._is_closed()

    def _take(self, main: Connected) -> bool:
        """Use a new connection from now on, unless it has already broken, or the link was closed."""
        with self._changed:
            if main.broken or not self._open:
                return False
            self._main, self._broken = main, False
            return True


class _Lane:
    """A connection for long calls, opened on first use and reopened when it breaks."""

    def __init__(self, uri: str) -> None:
        self._opener = Opener(uri)
        self._lock = threading.Lock()
        self._connected: Connected | None = None
        self.calls = 0

    def connected(self) -> Connected:
        """Return the open connection."""
        with self._lock:
            if self._connected is None or not self._connected.is_alive():
                self._connected = self._opener.open()
            return self._connected

    def drop(self) -> None:
        """Close the connection; the next use reopens it."""
        with self._lock:
            connected, self._connected = self._connected, None
        if connected is not None:
            connected.close()

    def close(self) -> None:
        """Close the connection for good."""
        self._opener.close()
        self.drop()
