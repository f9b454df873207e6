"""The link to libvirt's daemon, which reconnects after the daemon or the network was away."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
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
_LANES: Final = 16  # connections for long calls, opened as needed: each has one call at a time
_QUERIES: Final = 3  # more connections for queries: the poller takes up to three for long, if domains do not answer
_TO_CLOSE: Final = 5.0  # seconds that the daemon has to answer while the link is closed


class Link:
    """The connections to one URI: the main one for events and queries, and more for queries and for long calls.

    Each connection has one call at a time; see `Connected`.

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
        self._in_process = is_in_this_process(uri)
        self._opener = Opener(uri, self._break)
        self._others = Opener(uri)
        self._lanes = _Lanes(_LANES, self._others)
        self._queries = _Lanes(_QUERIES, self._others, with_main=True)
        self._mine = threading.local()  # `connected`: what this thread looks through
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
        """Yield a connection for short calls; a look within a look has the same. Waits while all of them are busy."""
        self.check()
        connected: Connected | None = getattr(self._mine, "connected", None)
        if connected is not None:
            with connected.use() as connection:
                yield connection
            return
        with self._taken(self._queries) as connected:
            self._mine.connected = connected
            try:
                with connected.use() as connection:
                    yield connection
            finally:
                self._mine.connected = None

    @contextmanager
    def listening(self) -> Iterator[Connected]:
        """Yield the main connection, which can `Connected.listen` to events; waits while a query uses it."""
        self.check()
        with self._taken(self._queries, main=True) as connected, connected.use():
            yield connected

    @contextmanager
    def work(self) -> Iterator[Connection]:
        """Yield a connection for long calls; waits while all of them are busy."""
        self.check()
        if self._in_process:
            with self._main.use() as connection:
                yield connection
            return
        with self._taken(self._lanes) as connected, connected.use() as connection:
            yield connection

    def apart(self) -> Connected:
        """Open a connection for the caller alone, who closes it."""
        self.check()
        return self._others.open()

    @contextmanager
    def _taken(self, lanes: _Lanes, *, main: bool = False) -> Iterator[Connected]:
        """Yield a connection that no other caller has meanwhile, and note whether the link breaks."""
        with nullcontext() if self._in_process else lanes.taken(main=main) as lane:
            self.check()  # it may have been closed since
            connected = self._main if lane is None else lane.connected()
            try:
                yield connected
            except VirError as error:
                if broke_the_link(error):
                    if lane is None:
                        self._break(connected)
                    else:
                        lane.drop()
                raise

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
            main = self._main
        threads = []
        for close in (self._opener.close, self._others.close, main.close, *(lane.close for lane in self._all_lanes())):
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

    def _all_lanes(self) -> list[_Lane]:
        return [*self._queries.all(), *self._lanes.all()]

    def _break(self, connected: Connected) -> None:
        """Mark a connection as broken, and start to reconnect."""
        with self._changed:
            connected.broken = True
            if not self._open or self._broken or connected is not self._main:
                return
            self._broken = True
        _LOG.info("%s: the connection to libvirt broke", self._shown)
        for lane in self._all_lanes():
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


class _Lanes:
    """Connections, opened as needed, each of which one caller has at a time.

    Args:
        most: How many there may be.
        opener: Opens them.
        with_main: Whether the link's main connection, which is None here, is one more of them: the first to be taken.
    """

    def __init__(self, most: int, opener: Opener, *, with_main: bool = False) -> None:
        self._opener = opener
        self._most = most
        self._changed = threading.Condition()  # with a lock that a signal handler may take once more
        self._lanes: list[_Lane] = []
        self._free: list[_Lane] = []
        self._main_is_free = with_main

    @contextmanager
    def taken(self, *, main: bool = False) -> Iterator[_Lane | None]:
        """Yield one for the caller alone; waits while all of them are busy.

        Args:
            main: Wait for the main one.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._main_is_free or not (main or self._is_busy()))
            lane = None if self._main_is_free else self._free_or_new()
            self._main_is_free = False
        try:
            yield lane
        finally:
            with self._changed:
                if lane is None:
                    self._main_is_free = True
                else:
                    self._free.append(lane)
                self._changed.notify_all()

    def _is_busy(self) -> bool:
        return not self._free and len(self._lanes) >= self._most

    def _free_or_new(self) -> _Lane:
        if self._free:
            return self._free.pop()
        self._lanes.append(_Lane(self._opener))
        return self._lanes[-1]

    def all(self) -> list[_Lane]:
        """Return those that have been used."""
        with self._changed:
            return list(self._lanes)


class _Lane:
    """A connection that is opened on first use, and reopened when it breaks."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._connected: Connected | None = None

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
