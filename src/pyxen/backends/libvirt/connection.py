"""A connection to libvirt that stays open until the calls in progress on it have returned."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext, suppress
from typing import Final
from urllib.parse import urlsplit

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen._common.shown_uri import redacted, secrets_of, shown
from pyxen.backends.libvirt import event_loop
from pyxen.backends.libvirt.binding import Connection, VirError, open_connection
from pyxen.backends.libvirt.error_map import broke_the_link, is_code, unsupported
from pyxen.errors import ConnectFailed, NotPrivileged, UnsupportedFeature

__all__ = ["Connected", "Opener", "connect", "is_in_this_process"]

_LOG: Final = logger("pyxen.libvirt")

_LONGEST: Final = 30.0  # seconds that the daemon has to answer while a connection is opened
_KEEPALIVE: Final = (5, 3)  # seconds between probes, and how many may go unanswered: a dead link is noticed after 20 s


def is_in_this_process(uri: str) -> bool:
    """Tell whether a URI is for libvirt's test driver, which runs in this process without a daemon."""
    parts = urlsplit(uri)
    return parts.scheme == "test" and not parts.netloc


class Connected:
    """An open connection, which one thread uses at a time, and which closes when its last user is done.

    If two calls wait for the daemon on one connection when that breaks, libvirt may crash this process or let both
    wait for ever. What asks the daemon is a call: also what registers for events, and what uses or ends a stream.

    Args:
        connection: The connection.
        in_process: Whether its driver runs in this process: it has no daemon, and any number of threads may use it.

    Attributes:
        broken: Whether the other side is known to be gone.
    """

    def __init__(self, connection: Connection, *, in_process: bool = False) -> None:
        self.broken = False
        self._in_process = in_process
        self._turn = threading.RLock()  # a look within a look uses the same connection
        self._connection = connection
        self._callbacks: list[int] = []
        self._users = 0
        self._closing = False
        self._lock = threading.RLock()  # a signal handler may use a host, too

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """Yield the connection for this thread alone, and keep it open until the caller is done.

        Waits while another thread uses it. The keepalive bounds that: a call that hangs ends with the connection.
        """
        with self._kept(), nullcontext() if self._in_process else self._turn:
            yield self._connection

    @contextmanager
    def if_free(self) -> Iterator[bool]:
        """Tell whether no other thread uses the connection; if so, none does until the caller is done."""
        if self._in_process:
            yield True
            return
        free = self._turn.acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self._turn.release()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Keep the connection open."""
        with self._lock:
            if self._closing:
                raise ConnectFailed("the connection to libvirt was closed")
            self._users += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            close = self._closing and not self._users
        if close:
            self._close()

    def listen(self, event: int, callback: Callable[..., None], opaque: object) -> None:
        """Register a callback for an event of all domains, until the connection is closed. The caller uses it.

        libvirt keeps a connection open for as long as it has callbacks, even if the other side is gone.
        """
        self._callbacks.append(self._connection.domainEventRegisterAny(None, event, callback, opaque))

    def is_alive(self) -> bool:
        """Tell whether the connection is believed to be alive; this does not contact the daemon."""
        try:
            with self._kept():
                return bool(self._connection.isAlive())
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
        for callback in self._callbacks:
            with suppress(VirError):  # libvirt forgets it first, and then tells the other side, which may be gone
                self._connection.domainEventDeregisterAny(callback)
        with suppress(VirError):  # no callback is registered
            self._connection.unregisterCloseCallback()
        with suppress(VirError):  # the connection is already gone
            held = self._connection.close()
            if held > 0:  # a domain that somebody keeps: whoever lets go of it last waits for the daemon
                _LOG.warning("a connection to libvirt stays open: %d references are left", held)


class Opener:
    """Opens connections to a URI, one after the other.

    An attempt that the daemon does not answer goes on, with a thread and a descriptor, and nothing can stop it. So who
    asks again waits for that attempt: none is begun beside it. Several threads may ask; each gets a connection.

    Args:
        uri: A libvirt URI.
        on_close: Called with a connection when the daemon has gone, on the thread of libvirt's loop. That may be before
            `open` has returned it.
    """

    def __init__(self, uri: str, on_close: Callable[[Connected], None] | None = None) -> None:
        self._uri = uri
        self._on_close = on_close
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._opening: Future[Connected] | None = None
        self._answers = 0
        self._closed = False

    def open(self) -> Connected:
        """Open a connection.

        Raises:
            ConnectFailed: libvirt cannot be reached, or has not answered yet.
            NotPrivileged: libvirt rejects this user.
            UnsupportedFeature: This libvirt does not support such URIs.
        """
        _check_file(self._uri)
        event_loop.begin()
        answers = self._answers
        while not self._turn.acquire(timeout=_LONGEST):
            if self._answers == answers:  # those before it got none, either
                raise self._silent()
            answers = self._answers
        try:
            opening = self._begun()
            wait([opening], _LONGEST)
            if not opening.done():
                raise self._silent()
            self._answers += 1
            with self._lock:
                if self._opening is opening:
                    self._opening = None
        finally:
            self._turn.release()
        try:
            return opening.result(0)
        except VirError as error:
            raise _why_not(self._uri, error) from None

    def _silent(self) -> ConnectFailed:
        seen = shown(self._uri)
        return ConnectFailed(f"{seen}: the other side has not answered for {_LONGEST:.0f} s; is the daemon stopped?")

    def close(self) -> None:
        """Open nothing more. What is being opened is closed as soon as it is open."""
        with self._lock:
            self._closed = True
            opening, self._opening = self._opening, None
        if opening is not None:
            opening.add_done_callback(_close_late)

    def _begun(self) -> Future[Connected]:
        """Return the attempt that is under way, or begin one on a thread of its own."""
        with self._lock:
            if self._closed:
                raise ConnectFailed(f"{shown(self._uri)}: the connection to libvirt was closed")
            if self._opening is not None:
                return self._opening
            opening: Future[Connected] = Future()
            with shortage(ConnectFailed, f"{shown(self._uri)}: cannot start a thread"):
                work = functools.partial(self._work, opening)
                threading.Thread(target=work, name="pyxen-libvirt-connecting", daemon=True).start()
            self._opening = opening
            return opening

    def _work(self, opening: Future[Connected]) -> None:
        try:
            opening.set_result(self._opened())
        except Exception as error:  # noqa: BLE001 (it is raised in the waiting thread)
            opening.set_exception(error)

    def _opened(self) -> Connected:
        connection = open_connection(self._uri)
        in_process, on_close = is_in_this_process(self._uri), self._on_close
        connected = Connected(connection, in_process=in_process)
        try:
            with _if_supported():  # it asks the daemon nothing, and gives a bound to all that does
                connection.setKeepAlive(*_KEEPALIVE)
            if on_close is not None and not in_process:  # libvirt would keep the callback of such a driver for ever
                with _if_supported():
                    connection.registerCloseCallback(lambda *_: on_close(connected), None)
        except VirError:
            connected.close()
            raise
        return connected


def connect(uri: str) -> Connected:
    """Open a connection that nobody opens again; the errors are those of `Opener.open`."""
    opener = Opener(uri)
    try:
        return opener.open()
    except BaseException:
        opener.close()
        raise


@contextmanager
def _if_supported() -> Iterator[None]:
    """Suppress the error of a driver in this process: it has no connection that could break."""
    try:
        yield
    except VirError as error:
        if broke_the_link(error):
            raise


def _close_late(opening: Future[Connected]) -> None:
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
