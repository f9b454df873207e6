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
_LANES: Final = 16  # connections for long calls, opened as needed: each has one call at a time
_QUERIES: Final = 3  # more connections for queries: the poller takes up to three for long, if domains do not answer
_GLANCE: Final = 0.05  # seconds between looks whether the main connection is free, while all others are busy, too
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
        self._queries = _Lanes(_QUERIES, self._others)
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
        with self._for_a_query() as connected:
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
        with self._on_main(self._main) as main:
            yield main

    @contextmanager
    def work(self) -> Iterator[Connection]:
        """Yield a connection for long calls; waits while all of them are busy."""
        self.check()
        if self._in_process:
            with self._main.use() as connection:
                yield connection
            return
        with self._lanes.free() as lane, self._on(lane) as connected, connected.use() as connection:
            yield connection

    def apart(self) -> Connected:
        """Open a connection for the caller alone, who closes it."""
        self.check()
        return self._others.open()

    @contextmanager
    def _for_a_query(self) -> Iterator[Connected]:
        """Yield the main connection or another one, whichever is free first."""
        while True:
            main = self._main
            with main.if_free() as free:
                if free:
                    with self._on_main(main):
                        yield main
                    return
            with self._queries.free_within(_GLANCE) as lane:
                if lane is not None:
                    with self._on(lane) as connected:
                        yield connected
                    return

    @contextmanager
    def _on_main(self, main: Connected) -> Iterator[Connected]:
        with main.use():
            try:
                yield main
            except VirError as error:
                if broke_the_link(error):
                    self._break(main)
                raise

    @contextmanager
    def _on(self, lane: _Lane) -> Iterator[Connected]:
        self.check()  # it may have been closed since
        try:
            yield lane.connected()
        except VirError as error:
            if broke_the_link(error):
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
    """

    def __init__(self, most: int, opener: Opener) -> None:
        self._opener = opener
        self._places = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._lanes: list[_Lane] = []
        self._free: list[_Lane] = []

    @contextmanager
    def free(self) -> Iterator[_Lane]:
        """Yield one for the caller alone; waits while all of them are busy."""
        with self._places, self._taken() as lane:
            yield lane

    @contextmanager
    def free_within(self, seconds: float) -> Iterator[_Lane | None]:
        """Yield one for the caller alone; None if all of them are busy for so many seconds."""
        if not self._places.acquire(timeout=seconds):
            yield None
            return
        try:
            with self._taken() as lane:
                yield lane
        finally:
            self._places.release()

    @contextmanager
    def _taken(self) -> Iterator[_Lane]:
        with self._lock:
            lane = self._free.pop() if self._free else _Lane(self._opener)
            if lane not in self._lanes:
                self._lanes.append(lane)
        try:
            yield lane
        finally:
            with self._lock:
                self._free.append(lane)

    def all(self) -> list[_Lane]:
        """Return those that have been used."""
        with self._lock:
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
