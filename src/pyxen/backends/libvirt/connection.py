"""A connection to libvirt that stays open until the calls in progress on it have returned."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen._common.shown_uri import redacted, secrets_of, shown
from pyxen.backends.libvirt import event_loop
from pyxen.backends.libvirt.binding import Connection, VirError, open_connection
from pyxen.backends.libvirt.error_map import is_code, unsupported
from pyxen.errors import ConnectFailed, NotPrivileged, UnsupportedFeature

__all__ = ["Connected", "connect", "is_in_this_process"]

_LOG: Final = logger("pyxen.libvirt")

_LONGEST: Final = 30.0  # seconds that the daemon has to answer while a connection is opened
_KEEPALIVE: Final = (5, 3)  # seconds between probes, and how many may go unanswered: a dead link is noticed after 20 s


def is_in_this_process(uri: str) -> bool:
    """Tell whether a URI is for libvirt's test driver, which runs in this process without a daemon."""
    parts = urlsplit(uri)
    return parts.scheme == "test" and not parts.netloc


class Connected:
    """An open connection, which closes when its last user is done."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._users = 0
        self._closing = False
        self._lock = threading.Lock()

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """Yield the connection, and keep it open until the caller is done."""
        with self._lock:
            if self._closing:
                raise ConnectFailed("the connection to libvirt was closed")
            self._users += 1
        try:
            yield self._connection
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            close = self._closing and not self._users
        if close:
            self._close()

    def is_alive(self) -> bool:
        """Tell whether the connection is believed to be alive; this does not contact the daemon."""
        try:
            with self.use() as connection:
                return bool(connection.isAlive())
        except (VirError, ConnectFailed):
            return False

    def close(self) -> None:
        """Close the connection once the last call on it has returned."""
        with self._lock:
            close = not self._closing and not self._users
            self._closing = True
        if close:
            self._close()

    def _close(self) -> None:
        with suppress(VirError):  # no callback is registered
            self._connection.unregisterCloseCallback()
        with suppress(VirError):  # the connection is already gone
            held = self._connection.close()
            if held > 0:  # a domain that somebody keeps: whoever lets go of it last waits for the daemon
                _LOG.warning("a connection to libvirt stays open: %d references are left", held)


def connect(uri: str, on_close: Callable[[], None] | None = None) -> Connected:
    """Open a connection.

    Args:
        uri: A libvirt URI.
        on_close: Called on the thread of libvirt's loop when the daemon has gone.

    Raises:
        ConnectFailed: libvirt cannot be reached.
        NotPrivileged: libvirt rejects this user.
        UnsupportedFeature: This libvirt does not support such URIs.
    """
    _check_file(uri)
    event_loop.begin()
    try:
        connection = _opened(uri)
    except VirError as error:
        raise _why_not(uri, error) from None
    if on_close is not None:
        with suppress(VirError):  # a driver in this process has no connection that could break
            connection.registerCloseCallback(lambda *_: on_close(), None)
    with suppress(VirError):  # the same
        connection.setKeepAlive(*_KEEPALIVE)
    return Connected(connection)


def _opened(uri: str) -> Connection:
    """Open a connection on another thread, since a daemon that never answers would block this one forever."""
    opening: Future[Connection] = Future()

    def work() -> None:
        try:
            opening.set_result(open_connection(uri))
        except Exception as error:  # noqa: BLE001 (it is raised in the waiting thread)
            opening.set_exception(error)

    with shortage(ConnectFailed, f"{shown(uri)}: cannot start a thread"):
        threading.Thread(target=work, name="pyxen-libvirt-connecting", daemon=True).start()
    try:
        return opening.result(_LONGEST)
    except TimeoutError:
        opening.add_done_callback(_close_late)
        message = f"{shown(uri)}: the other side has not answered for {_LONGEST:.0f} s; is the daemon stopped?"
        raise ConnectFailed(message) from None


def _close_late(opening: Future[Connection]) -> None:
    with suppress(VirError):
        opening.result().close()


def _check_file(uri: str) -> None:
    """Refuse a missing file of the test driver: libvirt's XML parser would print an error to stderr."""
    parts = urlsplit(uri)
    if is_in_this_process(uri) and parts.path != "/default" and not os.path.exists(parts.path):
        raise ConnectFailed(f"{shown(uri)}: no such file; test:///default needs no file")


def _why_not(uri: str, error: Exception) -> Exception:
    seen, words = shown(uri), redacted(str(error).strip(), secrets_of(uri))
    if is_code(error, "AUTH_FAILED", "AUTH_CANCELLED", "AUTH_UNAVAILABLE", "ACCESS_DENIED", "OPERATION_DENIED"):
        return NotPrivileged(f"{seen}: libvirt rejects this user: {words}")
    if "ermission denied" in words:
        return NotPrivileged(f"{seen}: {words}: run as root, or as a member of the group that libvirtd serves")
    if unsupported(error) or is_code(error, "NO_CONNECT", "INVALID_ARG") or "no connection driver" in words:
        return UnsupportedFeature(f"{seen}: this libvirt does not support such URIs: {words}", feature=seen)
    remedy = "" if urlsplit(uri).netloc else "; is libvirtd or virtxend running?"
    return ConnectFailed(f"{seen}: {words}{remedy}")
