"""The two ends of a conversation: a channel of ours, and a peer that says what a test lets it say."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from pyxen.backends.xenlight.migration.peer_channel import PeerChannel
from pyxen.operation import Operation


class Pipe:
    """The end of a pipe that is read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bytes:
        return os.read(self._fd, 1 << 20)


class End:
    """One end of a connection: an operation, which a test may stop, and its channel."""

    def __init__(self, connection: socket.socket, *, timeout: float | None = None, grace: float = 0.2) -> None:
        self._wake = os.eventfd(0)
        self.operation: Operation[Any] = Operation("migrate", "web1", timeout=timeout)
        self.operation.carried_by(lambda _: os.eventfd_write(self._wake, 1), threading.current_thread())
        fd = connection.fileno()
        self.channel = PeerChannel(self.operation, fd, fd, peer="the peer", wake=self._wake, grace=grace)
        connection.close()

    def close(self) -> None:
        self.channel.close()
        os.close(self._wake)


PeerCommand = Callable[[socket.socket], None]


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def silent(connection: socket.socket) -> None:
    """Say nothing more until it is hung up on."""
    while connection.recv(1 << 16):
        pass
