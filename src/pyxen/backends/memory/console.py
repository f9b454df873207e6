"""The console of a simulated guest, which prints a greeting and echoes its input."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

__all__ = ["Console"]

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
        ours, theirs = socket.socketpair()
        with self._lock:
            ours.sendall(self._unread)
            self._unread.clear()
            self._readers.append(ours)
        threading.Thread(target=self._serve, args=[ours], name="pyxen-console", daemon=True).start()
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
                self._readers.remove(reader)


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(4096)
    except OSError:  # the console was closed
        return b""
