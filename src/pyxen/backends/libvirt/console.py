"""A bridge between libvirt's stream of a guest's console and a socket pair, on the thread of libvirt's loop.

Nothing here blocks. If one side does not take more data, its bytes are buffered, and the other side is not read.
"""

from __future__ import annotations

import contextlib
import socket
from contextlib import suppress
from typing import Any, Final

from pyxen._common.shortage import shortage
from pyxen.backends.libvirt.binding import Connection, Stream, VirDomain, VirError, api, number
from pyxen.errors import NotFound, OperationFailed
from pyxen.libvirtxml.text import parse_tree
from pyxen.records.endpoints import ConsoleType

__all__ = ["console_name", "open_console"]

_READABLE: Final = number("VIR_STREAM_EVENT_READABLE")
_WRITABLE: Final = number("VIR_STREAM_EVENT_WRITABLE")
_STREAM_OVER: Final = number("VIR_STREAM_EVENT_ERROR") | number("VIR_STREAM_EVENT_HANGUP")
_FD_READABLE: Final = number("VIR_EVENT_HANDLE_READABLE")
_FD_WRITABLE: Final = number("VIR_EVENT_HANDLE_WRITABLE")
_FD_OVER: Final = number("VIR_EVENT_HANDLE_ERROR") | number("VIR_EVENT_HANDLE_HANGUP")
_NONBLOCK: Final = number("VIR_STREAM_NONBLOCK")
_WOULD_BLOCK: Final = -2

_PIECE: Final = 4096
_MOST_KEPT: Final = 65536


def open_console(connection: Connection, domain: VirDomain, kind: ConsoleType | None, number: int) -> int:
    """Return a descriptor of a domain's console, which the caller must close.

    Raises:
        NotFound: It has no such console.
    """
    name = None if kind is None and number == 0 else console_name(domain.XMLDesc(0), kind, number)
    with contextlib.ExitStack() as made:
        with shortage(OperationFailed, "console: cannot begin"):
            ours, theirs = (made.enter_context(end) for end in socket.socketpair())
        ours.setblocking(False)
        stream = connection.newStream(_NONBLOCK)
        domain.openConsole(name, stream, 0)
        _Bridge(stream, ours)
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


class _Bridge:
    """Copies bytes both ways until either side ends."""

    def __init__(self, stream: Stream, end: socket.socket) -> None:
        self._stream = stream
        self._end = end
        self._from_guest = b""
        self._to_guest = b""
        self._over = False
        stream.eventAddCallback(_READABLE, self._on_stream, None)
        self._watch: int = api.virEventAddHandle(end.fileno(), _FD_READABLE, self._on_end, None)

    def _on_stream(self, _: Stream, events: int, __: Any) -> None:
        if self._over:
            return
        try:
            if events & _READABLE:
                self._read_stream()
            self._write_stream()
        except (VirError, OSError):
            self._close()
            return
        if events & _STREAM_OVER:
            self._close()
        else:
            self._update()

    def _on_end(self, _: int, __: int, events: int, ___: Any) -> None:
        if self._over:
            return
        try:
            if events & _FD_READABLE:
                self._read_end()
            self._write_stream()
            self._write_end()
        except (VirError, OSError):
            self._close()
            return
        if events & _FD_OVER and not events & _FD_READABLE:
            self._close()
        else:
            self._update()

    def _read_stream(self) -> None:
        while len(self._from_guest) < _MOST_KEPT:
            data = self._stream.recv(_PIECE)
            if data == _WOULD_BLOCK:
                break
            if not data:
                self._write_end()
                self._close()
                return
            if isinstance(data, bytes):
                self._from_guest += data
        self._write_end()

    def _read_end(self) -> None:
        if len(self._to_guest) >= _MOST_KEPT:
            return
        data = self._end.recv(_PIECE)
        if not data:
            self._close()
            return
        self._to_guest += data

    def _write_end(self) -> None:
        if self._over:
            return
        while self._from_guest:
            try:
                sent = self._end.send(self._from_guest)
            except BlockingIOError:
                return
            self._from_guest = self._from_guest[sent:]

    def _write_stream(self) -> None:
        if self._over:
            return
        while self._to_guest:
            sent = self._stream.send(self._to_guest)
            if sent == _WOULD_BLOCK:
                return
            self._to_guest = self._to_guest[sent:]

    def _update(self) -> None:
        if self._over:
            return
        room = _READABLE if len(self._from_guest) < _MOST_KEPT else 0
        self._stream.eventUpdateCallback(room | (_WRITABLE if self._to_guest else 0))
        room = _FD_READABLE if len(self._to_guest) < _MOST_KEPT else 0
        api.virEventUpdateHandle(self._watch, room | (_FD_WRITABLE if self._from_guest else 0))

    def _close(self) -> None:
        if self._over:
            return
        self._over = True
        api.virEventRemoveHandle(self._watch)
        for end in (self._stream.eventRemoveCallback, self._stream.abort):
            with suppress(VirError):  # the stream has already ended
                end()
        self._end.close()
