"""The console of a guest in memory: it greets its reader and echoes what it is sent, as a terminal does."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

__all__ = ["Console"]

_MOST: Final = 64 * 1024
"""Bytes of a guest's output that are kept while the console is not open; the oldest go first."""


class Console:
    """A guest's end of its console; of several readers, as with a real one, each byte reaches one."""

    def __init__(self) -> None:
        self.typed = bytearray()
        self._lock = threading.Lock()
        self._unread = bytearray()
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._closed = False

    def open(self) -> int:
        """Return a descriptor of the console, which is the caller's to close."""
        with self._lock:
            if self._ends is None:
                self._ends = socket.socketpair()
                if self._unread:
                    self._ends[1].sendall(self._unread)
                    self._unread.clear()
                threading.Thread(target=self._serve, args=[self._ends[1]], name="pyxen-console", daemon=True).start()
            return self._ends[0].dup().detach()

    def write(self, data: bytes) -> None:
        """Let the guest say something."""
        with self._lock:
            if self._ends is None:
                self._unread += data
                del self._unread[:-_MOST]
            else:
                with contextlib.suppress(BlockingIOError, OSError):
                    self._ends[1].send(data, socket.MSG_DONTWAIT)

    def close(self) -> None:
        """End it: its readers see the end of the stream."""
        with self._lock:
            ends, self._ends = self._ends, None
        if ends is not None:
            for end in ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            ends[0].close()

    def _serve(self, guest: socket.socket) -> None:
        with guest:
            while data := _received(guest):
                self.typed += data
                with contextlib.suppress(OSError):
                    guest.sendall(data.replace(b"\r", b"\r\n"))


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(4096)
    except OSError:  # it was closed
        return b""
