"""A bridge between libvirt's stream of a guest's console and a socket pair, on the thread of libvirt's loop.

The stream has a connection of its own: only that thread uses it, and at last the one that ends it.

Nothing on the loop's thread blocks. If one side does not take more data, its bytes are buffered, and the other side is
not read.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen.backends.libvirt.binding import Connection, Stream, VirDomain, VirError, api, number
from pyxen.backends.libvirt.connection import Connected
from pyxen.backends.libvirt.frames import release
from pyxen.errors import ConnectFailed, NotFound, OperationFailed
from pyxen.libvirtxml.text import parse_tree
from pyxen.records.endpoints import ConsoleType

__all__ = ["console_name", "open_console"]

_LOG: Final = logger("pyxen.libvirt")

_READABLE: Final = number("VIR_STREAM_EVENT_READABLE")
_WRITABLE: Final = number("VIR_STREAM_EVENT_WRITABLE")
_STREAM_OVER: Final = number("VIR_STREAM_EVENT_ERROR") | number("VIR_STREAM_EVENT_HANGUP")
_FD_READABLE: Final = number("VIR_EVENT_HANDLE_READABLE")
_FD_WRITABLE: Final = number("VIR_EVENT_HANDLE_WRITABLE")
_FD_HANGUP: Final = number("VIR_EVENT_HANDLE_HANGUP")  # libvirt watches nothing of a descriptor without any event
_FD_OVER: Final = number("VIR_EVENT_HANDLE_ERROR") | _FD_HANGUP
_NONBLOCK: Final = number("VIR_STREAM_NONBLOCK")
_WOULD_BLOCK: Final = -2

_PIECE: Final = 4096
_MOST_KEPT: Final = 65536
_BETWEEN: Final = 1000  # milliseconds between attempts to end a stream, for which there is no thread
_TO_TAKE: Final = 5000  # milliseconds that a guest has to take what the user wrote before he hung up


def open_console(
    connected: Connected, find: Callable[[Connection], VirDomain], kind: ConsoleType | None, number: int
) -> int:
    """Return a descriptor of a domain's console, which the caller must close.

    Args:
        connected: A connection for this console alone; it is closed with the console, or if there is none.
        find: Finds the domain.
        kind: The kind of console; None for the usual one of that domain.
        number: Its number.

    Raises:
        NotFound: It has no such console.
    """
    try:
        with connected.use() as connection:
            return _opened(connected, connection, find, kind, number)
    except BaseException as error:
        release(error)  # its frames keep the connection open
        connected.close()
        raise


def _opened(
    connected: Connected,
    connection: Connection,
    find: Callable[[Connection], VirDomain],
    kind: ConsoleType | None,
    number: int,
) -> int:
    domain = find(connection)
    name = None if kind is None and number == 0 else console_name(domain.XMLDesc(0), kind, number)
    with contextlib.ExitStack() as made:
        with shortage(OperationFailed, "console: cannot begin"):
            ours, theirs = (made.enter_context(end) for end in socket.socketpair())
        ours.setblocking(False)
        stream = connection.newStream(_NONBLOCK)
        domain.openConsole(name, stream, 0)
        _Bridge(stream, ours, connected)
        made.pop_all()
    return theirs.detach()


def console_name(xml: str, kind: ConsoleType | None, place: int) -> str | None:
    """Return libvirt's name of a console; None for the one that libvirt itself chooses.

    libvirt's Xen driver opens serial ports by name, and of the others only the first.

    Raises:
        NotFound: The XML of the domain does not have it, or libvirt cannot open it.
    """
    root = parse_tree(xml)
    hvm = root.findtext("os/type") == "hvm"
    kind = kind or (ConsoleType.SERIAL if hvm else ConsoleType.PV)
    if kind is ConsoleType.PV and not hvm and place == 0:
        return None
    if kind is ConsoleType.SERIAL:
        for element in root.iterfind("devices/serial"):
            target, alias = element.find("target"), element.find("alias")
            port = None if target is None else target.get("port")
            if port == str(place) and alias is not None and alias.get("name"):
                return alias.get("name")
    message = f"libvirt has no console {kind} {place} of this domain: it opens serial ports, and of others the first"
    raise NotFound(message, operation="console")


def _let_go(stream: Stream) -> None:
    """Free a stream, which would keep its connection open; nobody may use it any more.

    libvirt never lets go of the object that was to be called back, and this has the stream.
    """
    stream.__del__()  # libvirt-python frees it nowhere else


class _Bridge:
    """Copies bytes both ways until either side ends. What was read until then still goes to the other side.

    At the end it closes the connection of the stream.
    """

    def __init__(self, stream: Stream, end: socket.socket, connected: Connected) -> None:
        self._stream = stream
        self._connected = connected
        self._end = end
        self._from_guest = b""
        self._to_guest = b""
        self._guest_ended = False
        self._user_ended = False
        self._hung_up = False  # what the user wrote before may still be in the socket
        self._timer: int | None = None
        # The socket comes first, since nobody has its other end yet: the stream may call back at once.
        self._watch: int = api.virEventAddHandle(end.fileno(), _FD_READABLE, self._on_end, None)
        try:
            stream.eventAddCallback(_READABLE, self._on_stream, None)
        except VirError:
            api.virEventRemoveHandle(self._watch)
            _let_go(stream)
            raise

    def _on_stream(self, _: Stream, events: int, __: Any) -> None:
        if self._guest_ended:
            return
        try:
            if events & _READABLE:
                self._read_stream()
        except VirError:
            events |= _STREAM_OVER
        if events & _STREAM_OVER:
            self._guest_ends()
        self._go_on()

    def _on_end(self, _: int, __: int, events: int, ___: Any) -> None:
        if self._hung_up:
            return
        if events & _FD_READABLE:
            self._read_end()
        if events & _FD_OVER or self._user_ended:
            self._user_hangs_up()
        self._go_on()

    def _go_on(self) -> None:
        """Pass on what was read, and end as soon as one side has ended and the other has all of it."""
        if not self._hung_up:
            try:
                self._write_end()
            except OSError:
                self._user_hangs_up()
        if not self._guest_ended:
            try:
                while self._write_stream() and self._hung_up and not self._user_ended:
                    self._read_end()
            except VirError:
                self._guest_ends()
        user_has_all = self._guest_ended and (self._hung_up or not self._from_guest)
        guest_has_all = self._user_ended and not self._to_guest
        if user_has_all or guest_has_all:
            self._close()
        else:
            self._update()

    def _read_stream(self) -> None:
        while len(self._from_guest) < _MOST_KEPT:
            data = self._stream.recv(_PIECE)
            if data == _WOULD_BLOCK:
                return
            if not data:
                self._guest_ends()
                return
            if isinstance(data, bytes):
                self._from_guest += data

    def _read_end(self) -> None:
        """Read what the user wrote, as far as there is room for it."""
        while len(self._to_guest) < _MOST_KEPT:
            try:
                data = self._end.recv(_PIECE)
            except BlockingIOError:
                self._user_ended = self._hung_up
                return
            except OSError:  # the user closed it, and left unread what the guest wrote
                data = b""
            if not data:
                self._user_ended = True
                return
            self._to_guest += data

    def _write_end(self) -> None:
        while self._from_guest:
            try:
                sent = self._end.send(self._from_guest)
            except BlockingIOError:
                return
            self._from_guest = self._from_guest[sent:]

    def _write_stream(self) -> bool:
        """Write to the guest; return False if it does not take all now."""
        while self._to_guest:
            sent = self._stream.send(self._to_guest)
            if sent == _WOULD_BLOCK:
                return False
            self._to_guest = self._to_guest[sent:]
        return True

    def _update(self) -> None:
        if not self._guest_ended:
            room = _READABLE if len(self._from_guest) < _MOST_KEPT else 0
            with suppress(VirError):  # the stream has ended, and says so
                self._stream.eventUpdateCallback(room | (_WRITABLE if self._to_guest else 0))
        if not self._hung_up:
            room = _FD_READABLE if len(self._to_guest) < _MOST_KEPT and not self._guest_ended else 0
            room |= _FD_WRITABLE if self._from_guest else 0
            api.virEventUpdateHandle(self._watch, room | _FD_HANGUP)

    def _user_hangs_up(self) -> None:
        """Watch the socket no longer, which would report its end for ever; the guest has a while to take the rest."""
        self._unwatch()
        if self._timer is None:
            self._timer = api.virEventAddTimeout(_TO_TAKE, lambda *_: self._close(), None)

    def _unwatch(self) -> None:
        if not self._hung_up:
            self._hung_up = True
            api.virEventRemoveHandle(self._watch)

    def _guest_ends(self) -> None:
        """Use the stream no longer, and end it as soon as libvirt has returned from its own callback of the stream."""
        if self._guest_ended:
            return
        self._guest_ended = True
        with suppress(VirError):  # it has already ended
            self._stream.eventRemoveCallback()
        api.virEventAddTimeout(0, self._end_stream, None)

    def _end_stream(self, timer: int, _: Any) -> None:
        """End the stream, on a thread: the other side confirms it, and libvirt's loop must not wait for that."""
        try:
            with shortage(OperationFailed, "console: cannot end it: cannot start a thread"):
                threading.Thread(target=self._abort, name="pyxen-libvirt-console", daemon=True).start()
        except OperationFailed as error:
            _LOG.warning("%s", error)
            api.virEventUpdateTimeout(timer, _BETWEEN)
        else:
            api.virEventRemoveTimeout(timer)

    def _abort(self) -> None:
        with suppress(VirError, ConnectFailed), self._connected.use():  # it has already ended
            self._stream.abort()
        _let_go(self._stream)
        self._connected.close()

    def _close(self) -> None:
        self._guest_ends()
        self._unwatch()
        if self._timer is not None:
            api.virEventRemoveTimeout(self._timer)
        self._end.close()
