"""A relay between libxl's pipe and the other end of a migration.

If the peer stalls, only the thread of the threaded operation waits, never libxl. libxl is never given a stream whose
beginning could make it crash; see `stream_header`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import termios
import threading
from collections.abc import Callable
from typing import Any

from pyxen._common.shortage import shortage
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.migration.peer_channel import PeerChannel
from pyxen.backends.xenlight.operations import stream_header
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation
from pyxen.errors import OperationFailed
from pyxen.operation import Operation

__all__ = ["Passed", "relay_from", "relay_to"]

_PIPE_SIZE = 1 << 20
_NO_PIPE = "cannot make a pipe for libxl's stream"

Passed = Callable[[], bool]
"""Tells whether the beginning of a stream has passed, so that libxl's operation may be aborted."""

MakeStep = Callable[[Operation[Any], int, Passed], Script[None]]
"""Makes a script from its operation, libxl's end of the pipe, and a test whether libxl's operation may be aborted."""


class _Outlet:
    """The read end of libxl's output pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._taken = 0

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bytes:
        data = os.read(self._fd, _PIPE_SIZE)
        self._taken += len(data)
        return data

    def passed(self) -> bool:
        return self._taken >= stream_header.SIZE


class _Inlet:
    """The write end of libxl's input pipe."""

    def __init__(self, fd: int, libxls: int) -> None:
        self._fd = fd
        self._libxls = libxls
        self._given = 0
        self._gate = threading.Lock()

    def fileno(self) -> int:
        return self._fd

    def write(self, data: bytes | memoryview) -> int:
        with self._gate:
            size = os.write(self._fd, data)
            self._given += size
        return size

    def passed(self) -> bool:
        with self._gate:
            left = int.from_bytes(fcntl.ioctl(self._libxls, termios.FIONREAD, bytes(4)), sys.byteorder)
            return self._given - left >= stream_header.SIZE


def relay_from(
    threaded: ThreadedOperation,
    channel: PeerChannel,
    send: MakeStep,
    seen: Callable[[memoryview], None] | None = None,
    *,
    abortable: bool = True,
) -> None:
    """Run a script that writes a stream to a pipe, and forward the stream; return when both have ended.

    Args:
        threaded: Whose script it is.
        channel: Where to forward the stream.
        send: Makes the script.
        seen: Called with each piece of data after it was forwarded.
        abortable: Whether libxl's operation may be aborted. Otherwise, its pipe is closed at the reading end.

    Raises:
        Lost: The other end closed.
    """
    read_end, write_end = _pipe()
    closed = threading.Event()

    def close(_: object) -> None:
        os.close(write_end)
        closed.set()

    with contextlib.ExitStack() as writing, contextlib.ExitStack() as reading:
        reading.callback(os.close, read_end)
        outlet = _Outlet(read_end)
        try:
            step = threaded.begin(lambda operation: send(operation, write_end, outlet.passed))
        except BaseException:
            close(None)
            raise
        step.add_done_callback(close)
        writing.callback(closed.wait)  # a step's callbacks run after its result is set
        try:
            channel.relay_from(outlet, seen)
        except BaseException:
            if abortable:
                step.cancel()
            # Closing the pipe kills libxl's helper by SIGPIPE before it has cleaned up.
            while (abortable or not outlet.passed()) and outlet.read():
                pass
            reading.close()
            with contextlib.suppress(Exception):  # the script fails because of the closed pipe
                threaded.result(step)
            raise
        threaded.result(step)


def relay_to(threaded: ThreadedOperation, channel: PeerChannel, receive: MakeStep) -> None:
    """Run a script that reads a stream from a pipe, and forward what arrives into it; return when the script has ended.

    Args:
        threaded: Whose script it is.
        channel: Where the stream arrives.
        receive: Makes the script. When no more data arrives, the script sees the end of the pipe.

    Raises:
        Lost: The other end closed before the stream began.
        ParseError: The data is not a libxl stream.
    """
    first = channel.read(stream_header.SIZE)
    stream_header.check(first, "<migration stream>")
    with contextlib.ExitStack() as open_still:
        with contextlib.ExitStack() as writing:
            read_end, write_end = _pipe()
            open_still.callback(os.close, read_end)
            writing.callback(os.close, write_end)
            with shortage(OperationFailed, _NO_PIPE):
                ended = os.eventfd(0, os.EFD_CLOEXEC)
            open_still.callback(os.close, ended)
            os.set_blocking(write_end, False)
            inlet = _Inlet(write_end, read_end)
            inlet.write(first)
            step = threaded.begin(lambda operation: receive(operation, read_end, inlet.passed))
            step.add_done_callback(lambda _: os.eventfd_write(ended, 1))
            open_still.callback(os.eventfd_read, ended)  # wait for the write before the eventfd is closed
            channel.relay_to(inlet, ended)
        threaded.result(step)


def _pipe() -> tuple[int, int]:
    with shortage(OperationFailed, _NO_PIPE):
        ends = os.pipe()
    with contextlib.suppress(OSError):  # if the limit on large pipes is reached, a small one will do
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return ends
