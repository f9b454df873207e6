"""One connection to libvirt, which is not closed while someone is in a call on it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from pyxen.backends.libvirt import event_loop
from pyxen.backends.libvirt.binding import Connection, VirError, open_connection
from pyxen.backends.libvirt.error_map import is_code, redacted, unsupported
from pyxen.errors import ConnectFailed, NotPrivileged, UnsupportedFeature

__all__ = ["Connected", "connect", "is_in_this_process"]

_LONGEST: Final = 30.0  # seconds that the other side has to let us in
_KEEPALIVE: Final = (5, 3)  # seconds between questions, and how many may go unanswered: a dead link is known after 20 s


def is_in_this_process(uri: str) -> bool:
    """Tell whether a URI is of libvirt's test driver, which is part of the library and has no daemon."""
    parts = urlsplit(uri)
    return parts.scheme == "test" and not parts.netloc


class Connected:
    """A connection that is open, and closed when its last user is done."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._users = 0
        self._closing = False
        self._lock = threading.Lock()

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """Yield the connection for some calls."""
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
        """Tell whether the other side is thought to be there; it is not asked."""
        try:
            with self.use() as connection:
                return bool(connection.isAlive())
        except (VirError, ConnectFailed):
            return False

    def close(self) -> None:
        """Close the connection when the last call on it has returned."""
        with self._lock:
            close = not self._closing and not self._users
            self._closing = True
        if close:
            self._close()

    def _close(self) -> None:
        with suppress(VirError):  # none is registered
            self._connection.unregisterCloseCallback()
        with suppress(VirError):  # it is gone already
            self._connection.close()


def connect(uri: str, on_close: Callable[[], None] | None = None) -> Connected:
    """Open a connection.

    Args:
        uri: libvirt's.
        on_close: Called on the thread of libvirt's loop when the other side has gone.

    Raises:
        ConnectFailed: libvirt cannot be reached.
        NotPrivileged: This user is not let in.
        UnsupportedFeature: This libvirt does not know such URIs.
    """
    _check_file(uri)
    event_loop.begin()
    try:
        connection = _opened(uri)
    except VirError as error:
        raise _why_not(uri, error) from None
    if on_close is not None:
        with suppress(VirError):  # a driver in this process has nothing that could go
            connection.registerCloseCallback(lambda *_: on_close(), None)
    with suppress(VirError):  # the same
        connection.setKeepAlive(*_KEEPALIVE)
    return Connected(connection)


def _opened(uri: str) -> Connection:
    """Open a connection on another thread, since a peer that never answers would block ours for ever."""
    opening: Future[Connection] = Future()

    def work() -> None:
        try:
            opening.set_result(open_connection(uri))
        except Exception as error:  # noqa: BLE001 (it is raised to who waits)
            opening.set_exception(error)

    threading.Thread(target=work, name="pyxen-libvirt-connecting", daemon=True).start()
    try:
        return opening.result(_LONGEST)
    except TimeoutError:
        opening.add_done_callback(_close_late)
        message = f"{redacted(uri)}: there is someone who has not answered for {_LONGEST:.0f} s; is the daemon stopped?"
        raise ConnectFailed(message) from None


def _close_late(opening: Future[Connection]) -> None:
    with suppress(VirError):
        opening.result().close()


def _check_file(uri: str) -> None:
    """Refuse a file of the test driver's that is missing: libvirt's XML parser would print that to stderr."""
    parts = urlsplit(uri)
    if is_in_this_process(uri) and parts.path != "/default" and not os.path.exists(parts.path):
        raise ConnectFailed(f"{uri}: no such file: {parts.path}; test:///default is a host that needs none")


def _why_not(uri: str, error: Exception) -> Exception:
    shown, words = redacted(uri), redacted(str(error).strip())
    if is_code(error, "AUTH_FAILED", "AUTH_CANCELLED", "AUTH_UNAVAILABLE", "ACCESS_DENIED", "OPERATION_DENIED"):
        return NotPrivileged(f"{shown}: libvirt does not let this user in: {words}")
    if "ermission denied" in words:
        return NotPrivileged(f"{shown}: {words}: be root, or a member of the group that libvirtd serves")
    if unsupported(error) or is_code(error, "NO_CONNECT", "INVALID_ARG") or "no connection driver" in words:
        return UnsupportedFeature(f"{shown}: libvirt here does not know such URIs: {words}", feature=shown)
    remedy = "" if urlsplit(uri).netloc else "; does libvirtd, or virtxend, run?"
    return ConnectFailed(f"{shown}: {words}{remedy}")
