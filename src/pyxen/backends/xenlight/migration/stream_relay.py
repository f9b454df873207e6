"""A relay between libxl's pipe and the other end of a migration.

If the peer stalls, the thread of the threaded operation waits, and never libxl. libxl sees no stream whose beginning
could make it crash: see `stream_header`.
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

from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.migration.peer_channel import PeerChannel
from pyxen.backends.xenlight.operations import stream_header
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation
from pyxen.operation import Operation

__all__ = ["Passed", "relay_from", "relay_to"]

_PIPE_SIZE = 1 << 20

Passed = Callable[[], bool]
"""Tells whether the beginning of a stream has passed, so that libxl may be told to end."""

MakeStep = Callable[[Operation[Any], int, Passed], Script[None]]
"""Makes a script, given its operation, libxl's end of the pipe, and when libxl may be told to end."""


class _Outlet:
    """The end of a pipe where comes what libxl writes."""

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
    """The end of a pipe that libxl reads from."""

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
    """Carry out a script that writes a stream to a pipe, and pass that on; return when both have ended.

    Args:
        threaded: Whose script it is.
        channel: Where to pass it on.
        send: Makes the script.
        seen: Called with what has been passed on.
        abortable: Whether libxl may be told to end; otherwise it is left with a pipe that nobody reads.

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
        writing.callback(closed.wait)  # a step's callbacks come after its result
        try:
            channel.relay_from(outlet, seen)
        except BaseException:
            if abortable:
                step.cancel()
            # A pipe that is closed kills libxl's helper, by SIGPIPE, before it has tidied up.
            while (abortable or not outlet.passed()) and outlet.read():
                pass
            reading.close()
            with contextlib.suppress(Exception):  # which is what follows from that
                threaded.result(step)
            raise
        threaded.result(step)


def relay_to(threaded: ThreadedOperation, channel: PeerChannel, receive: MakeStep) -> None:
    """Carry out a script that reads a stream from a pipe, and pass on to it what comes; return when it has ended.

    Args:
        threaded: Whose script it is.
        channel: Where it comes.
        receive: Makes the script. Where nothing more comes, it finds the pipe at its end.

    Raises:
        Lost: The other end closed before the stream had begun.
        ParseError: What comes is no stream.
    """
    first = channel.read(stream_header.SIZE)
    stream_header.check(first, "<migration stream>")
    read_end, write_end = _pipe()
    ended = os.eventfd(0, os.EFD_CLOEXEC)
    with contextlib.ExitStack() as open_still:
        open_still.callback(os.close, read_end)
        open_still.callback(os.close, ended)
        with contextlib.ExitStack() as writing:
            writing.callback(os.close, write_end)
            os.set_blocking(write_end, False)
            inlet = _Inlet(write_end, read_end)
            inlet.write(first)
            step = threaded.begin(lambda operation: receive(operation, read_end, inlet.passed))
            step.add_done_callback(lambda _: os.eventfd_write(ended, 1))
            open_still.callback(os.eventfd_read, ended)  # nobody may write to it when it is closed
            channel.relay_to(inlet, ended)
        threaded.result(step)


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    with contextlib.suppress(OSError):  # where there are too many large pipes, a small one does
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return ends
