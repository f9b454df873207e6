"""The console of a simulated guest, which prints a greeting and echoes its input."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Final

from pyxen._common.shortage import shortage
from pyxen.config import ChannelConnection, DomainType
from pyxen.errors import NotFound, OperationFailed
from pyxen.records.endpoints import ConsoleType

if TYPE_CHECKING:
    from pyxen.backends.memory.guests import Guest

__all__ = ["Console", "close_all", "console_of"]

_MOST: Final = 64 * 1024
"""Bytes of output that are buffered while the console is not open; the oldest are dropped first."""


class Console:
    """The guest's end of a console. Each byte reaches only one of several readers: the one that came last."""

    def __init__(self) -> None:
        self.typed = bytearray()
        self._lock = threading.Lock()
        self._unread = bytearray()
        self._readers: list[socket.socket] = []
        """Our ends. Each reader has a descriptor of its own, which it can make blocking or not."""

    def open(self) -> int:
        """Return a descriptor of the console, which the caller must close."""
        with contextlib.ExitStack() as made, shortage(OperationFailed, "console: cannot begin"):
            ours, theirs = (made.enter_context(end) for end in socket.socketpair())
            thread = threading.Thread(target=self._serve, args=[ours], name="pyxen-console", daemon=True)
            with self._lock:
                thread.start()
                ours.sendall(self._unread)
                self._unread.clear()
                self._readers.append(ours)
            made.pop_all()
        return theirs.detach()

    def write(self, data: bytes) -> None:
        """Write output of the guest."""
        with self._lock:
            for reader in reversed(self._readers):
                try:
                    reader.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                except BlockingIOError:
                    return  # the reader does not read, so the output is lost
                except OSError:
                    continue  # the reader has just been closed
                else:
                    return
            self._unread += data
            del self._unread[:-_MOST]

    def close(self) -> None:
        """Close the console; readers see the end of the stream."""
        with self._lock:
            for reader in self._readers:
                with contextlib.suppress(OSError):
                    reader.shutdown(socket.SHUT_RDWR)

    def _serve(self, reader: socket.socket) -> None:
        with reader:
            while data := _received(reader):
                self.typed += data
                self.write(data.replace(b"\r", b"\r\n"))
            with self._lock:
                if reader in self._readers:  # else Ctrl-C has interrupted `open`
                    self._readers.remove(reader)


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(4096)
    except OSError:  # the console was closed
        return b""


def console_of(guest: Guest, kind: ConsoleType | None, number: int) -> Console:
    """Return a console of a guest. The caller holds the lock of the machine.

    Raises:
        NotFound: It has no such console.
    """
    primary = ConsoleType.SERIAL if guest.config.type is DomainType.HVM else ConsoleType.PV
    which = kind or primary, number
    if not guest.domid or which not in _consoles(guest):
        hint = (
            'an HVM guest has one with serial=["pty"]' if which[0] is ConsoleType.SERIAL else "is xenconsoled running?"
        )
        shown = "" if kind is None and not number else f" {which[0]} {number}"
        message = f"{guest.name} has no console{shown}, or none yet: {hint}"
        raise NotFound(message, operation="console", domain=guest.domid, domid=guest.domid)
    if which != (primary, 0):
        return guest.other_consoles.setdefault(which, Console())
    guest.console = guest.console or Console()
    return guest.console


def _consoles(guest: Guest) -> set[tuple[ConsoleType, int]]:
    found = {(ConsoleType.PV, 0)}
    found |= {(ConsoleType.SERIAL, number) for number, port in enumerate(guest.config.serial) if port == "pty"}
    for number, channel in enumerate(guest.config.channels, 1):
        if channel.connection is ChannelConnection.PTY:
            found.add((ConsoleType.PV, channel.devid or number))
    return found


def close_all(guest: Guest) -> None:
    """Close the consoles of a guest; their readers see the end of the stream."""
    for console in (guest.console, *guest.other_consoles.values()):
        if console is not None:
            console.close()
