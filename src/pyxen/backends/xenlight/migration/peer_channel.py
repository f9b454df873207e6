"""The channel to the other end of a migration. Its descriptors may be slow or dead, so every wait is bounded."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import Any, Protocol

from pyxen._common.duplicates import duplicated
from pyxen._durations import LONGEST_WAIT
from pyxen.backends.xenlight.libxl.error_map import stopped
from pyxen.operation import Operation

__all__ = ["Inlet", "Lost", "Outlet", "PeerChannel"]

_CHUNK = 4096  # bytes that a ready pipe or socket accepts at once
_STREAM_CHUNK = 1 << 20
_GRACE = 10.0  # seconds
_MOST_SHOWN = 100  # bytes of an unexpected answer


class Lost(Exception):
    """The other end is gone, or does not follow the protocol."""


class Outlet(Protocol):
    """A source to read from."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def read(self) -> bytes:
        """Return the available bytes; none at the end."""


class Inlet(Protocol):
    """A non-blocking sink to write to."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def write(self, data: memoryview, /) -> int:
        """Write some of the data, and return how many bytes were taken."""


class PeerChannel:
    """Two descriptors to the other end, and an operation that bounds every wait. For use by one thread.

    Args:
        operation: If it is stopped, or its deadline passes, waits on this channel raise its exception.
        read_fd: Where to read. The channel duplicates both descriptors.
        write_fd: Where to write.
        peer: Name of the other end in messages.
        wake: Readable once the operation has been stopped. It can be set later through the attribute `wake`.
        grace: Seconds to wait, after the operation has been stopped, for an answer to a step that cannot be undone.

    Raises:
        InvalidArgument: A descriptor is not valid.
        OperationFailed: This process may have no more descriptors.
    """

    def __init__(
        self,
        operation: Operation[Any],
        read_fd: int,
        write_fd: int,
        *,
        peer: str,
        wake: int | None = None,
        grace: float = _GRACE,
    ) -> None:
        self._operation = operation
        self.wake = wake
        self._peer = peer
        self._grace = grace
        self._until: float | None = None
        self.committed = False
        """Past the point of no return: stopping the operation only bounds the conversation, it no longer ends it."""
        self._open = duplicated(operation.verb, read_fd, write_fd)
        """What is open still: whoever takes a descriptor out of here closes it."""
        self.read_fd, self._write_fd = self._open

    def close(self) -> None:
        """Close the duplicates. Calling it again does nothing."""
        self.read_fd = self._write_fd = -1
        with contextlib.suppress(IndexError):  # none is left: another thread has taken it, or an earlier call
            while True:
                os.close(self._open.pop())

    def read(self, size: int) -> bytes:
        """Read exactly this many bytes.

        Raises:
            Lost: The other end closed before sending them.
        """
        data = bytearray()  # which grows in place: the other end may send it in tiny pieces
        while len(data) < size:
            self._wait(self.read_fd, select.POLLIN)
            try:
                more = os.read(self.read_fd, min(size - len(data), _STREAM_CHUNK))
            except BlockingIOError:
                continue
            except OSError as error:
                raise Lost(f"{self._peer} cannot be heard: {error.strerror}") from None
            if not more:
                raise Lost(f"{self._peer} is gone")
            data += more
        return bytes(data)

    def expect(self, message: bytes, what: str) -> None:
        """Read a message, which must be the next thing that the other end sends.

        Args:
            message: The message.
            what: Description of it for errors.

        Raises:
            Lost: The other end closed, or sent something else.
        """
        said = b""
        while said != message:
            said += self.read(1)
            if not message.startswith(said):
                said += self._at_hand()
                raise Lost(f"{self._peer} said {said!r} instead of {what}: is xl or pyxen migrate-receive there?")

    def lost(self) -> Lost | None:
        """Return an exception if the other end has closed. This discards a byte that it may still have sent."""
        poller = select.poll()
        poller.register(self.read_fd, select.POLLIN)
        try:
            if not poller.poll(0) or os.read(self.read_fd, 1):
                return None
        except OSError:
            pass
        return Lost(f"{self._peer} is gone")

    def _at_hand(self) -> bytes:
        """Return up to `_MOST_SHOWN` bytes that can be read without waiting."""
        poller = select.poll()
        poller.register(self.read_fd, select.POLLIN)
        try:
            return os.read(self.read_fd, _MOST_SHOWN) if poller.poll(0) else b""
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            Lost: The other end closed.
        """
        self._write(data, _CHUNK)

    def commit(self, message: bytes) -> None:
        """Write a message that cannot be taken back: `committed` is true from its first byte on.

        Raises:
            Lost: The other end closed.
        """
        self._wait(self._write_fd, select.POLLOUT)
        try:
            sent = os.write(self._write_fd, message[:_CHUNK])
        except OSError as error:
            raise Lost(f"{self._peer} is gone: {error.strerror}") from None
        self.committed = True
        self.write(message[sent:])

    def relay_from(self, outlet: Outlet, seen: Callable[[memoryview], None] | None = None) -> None:
        """Forward everything from an outlet, up to its end.

        Args:
            outlet: Where the data comes from.
            seen: Called with each piece of data after it was written.

        Raises:
            Lost: The other end closed.
        """
        blocking = os.get_blocking(self._write_fd)
        os.set_blocking(self._write_fd, False)  # this also changes the caller's own descriptor
        try:
            while True:
                self._wait(outlet.fileno(), select.POLLIN)
                data = outlet.read()
                if not data:
                    return
                self._write(data, _STREAM_CHUNK, seen)
        finally:
            os.set_blocking(self._write_fd, blocking)

    def relay_to(self, inlet: Inlet, ended: int) -> None:
        """Forward everything that arrives until the other end closes or `ended` is readable. Nothing else stops it."""
        while _ready(self.read_fd, select.POLLIN, ended):
            try:
                data = os.read(self.read_fd, _STREAM_CHUNK)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not data:
                return
            rest = memoryview(data)
            while rest:
                if not _ready(inlet.fileno(), select.POLLOUT, ended):
                    return
                with contextlib.suppress(BlockingIOError):
                    rest = rest[inlet.write(rest) :]

    def conclude(self) -> None:
        """Start the grace period now; from here on, only it bounds the rest of the conversation."""
        self.committed = True
        self._until = time.monotonic() + self._grace

    def expect_end(self) -> None:
        """Wait until the other end has closed, and discard what it still sends.

        Raises:
            Lost: It did not close within the grace period; see `conclude`.
        """
        while True:
            self._wait(self.read_fd, select.POLLIN)
            try:
                if not os.read(self.read_fd, _STREAM_CHUNK):
                    return
            except BlockingIOError:
                continue
            except OSError:
                return

    def _write(self, data: bytes, chunk: int, seen: Callable[[memoryview], None] | None = None) -> None:
        rest = memoryview(data)
        while rest:
            self._wait(self._write_fd, select.POLLOUT)
            try:
                sent = os.write(self._write_fd, rest[:chunk])
            except BlockingIOError:
                continue
            except OSError as error:
                raise Lost(f"{self._peer} is gone: {error.strerror}") from None
            if seen is not None:
                seen(rest[:sent])
            rest = rest[sent:]

    def _wait(self, fd: int, event: int) -> None:
        """Wait until a descriptor is ready."""
        while True:
            poller = select.poll()
            poller.register(fd, event)
            if self.committed and poller.poll(0):
                return  # however late it is
            limit = self._limit()
            if self._operation.stopped is None and self.wake is not None:
                poller.register(self.wake, select.POLLIN)
            left = None if limit is None else min(LONGEST_WAIT, max(0.0, limit - time.monotonic())) * 1000 + 1
            if any(ready == fd for ready, _ in poller.poll(left)):
                return

    def _limit(self) -> float | None:
        """Return the time at which to look again.

        Raises:
            OperationFailed: The operation is stopped, and can still be undone.
            Lost: It is stopped and cannot be undone, and no answer came within the grace period.
        """
        now = time.monotonic()
        operation = self._operation
        if self._until is not None:
            return self._left(now)
        if operation.stopped is None and operation.deadline is not None and operation.deadline <= now:
            operation.stop("timeout")
        if operation.stopped is None:
            return operation.deadline
        if not self.committed:
            raise stopped(operation)
        self._until = now + self._grace
        return self._left(now)

    def _left(self, now: float) -> float:
        if self._until is None or self._until <= now:
            raise Lost(f"{self._peer} does not answer")
        return self._until


def _ready(fd: int, event: int, ended: int) -> bool:
    """Wait until a descriptor is ready; return False if `ended` has become readable."""
    poller = select.poll()
    poller.register(fd, event)
    poller.register(ended, select.POLLIN)
    return all(ready != ended for ready, _ in poller.poll())
