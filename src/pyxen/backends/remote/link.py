"""A link: messages over a pair of descriptors, read and written by two threads."""

from __future__ import annotations

import contextlib
import os
import select
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from pyxen._common.owner_thread import OwnerThread
from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen.backends.remote.messages import BACKLOG, MOST_FRAME, Data, End, Pong
from pyxen.backends.remote.values import Malformed
from pyxen.errors import ConnectFailed

__all__ = ["Link", "LinkLost", "framed"]

_LOG: Final = logger("pyxen.remote")
_LENGTH: Final = struct.Struct(">I")
_READ: Final = 256 << 10
_LAST_WORDS: Final = 2.0  # seconds
_TO_COME: Final = 60.0  # seconds for a message to come, and more for a long one, if the other end is held to that
_OVERHEAD: Final = 64
"""The bytes that a message takes in memory beside its own: a flood of small ones counts as what it costs."""
_ENCODER: Final = msgspec.msgpack.Encoder()

_OPEN: Final[weakref.WeakSet[Link]] = weakref.WeakSet()


class LinkLost(Exception):
    """The link to the other end is gone; the text says why."""


def framed(message: Any) -> bytes:
    """Return a message as it is sent."""
    data = _ENCODER.encode(message)
    return _LENGTH.pack(len(data)) + data


class Link:
    """Messages to and from another process.

    Messages are sent in order, except that bytes of streams wait for everything else. Sending never blocks.

    Args:
        read_fd: Where messages come from. The link closes both descriptors.
        write_fd: Where messages go.
        incoming: The messages that may come, as a union for msgspec.

    Raises:
        ConnectFailed: This process may have no more descriptors. Both are closed.
    """

    def __init__(self, read_fd: int, write_fd: int, incoming: Any) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        try:
            with shortage(ConnectFailed, "a link cannot begin"):
                for fd in (read_fd, write_fd):
                    os.set_blocking(fd, False)
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except BaseException:
            for fd in {read_fd, write_fd}:
                os.close(fd)
            raise
        self._decoder = msgspec.msgpack.Decoder(incoming)
        self._changed = threading.Condition()
        self._closing = threading.Lock()
        self._first: deque[bytes] = deque()
        self._later: deque[bytes] = deque()
        self._waiting = self._waiting_later = 0
        self._ended: str | None = None
        self._finishing = False
        self._buffer = bytearray()
        self._threads: list[OwnerThread] = []
        self.most_frame = MOST_FRAME
        """The most bytes of a message that comes."""
        self.slowest: int | None = None
        """The bytes a second at which a message must come, once it has begun; None lets it take its time."""
        self.admit: Callable[[int], bool] = lambda _: True
        """Called on the reading thread with a message's size, before its bytes are read; False reads no more."""
        self.heard = time.monotonic()
        self.sent_bytes = self.sent_messages = 0
        _OPEN.add(self)

    @property
    def ended(self) -> str | None:
        """Why the link has ended; None if it has not."""
        return self._ended

    @property
    def backlog(self) -> int:
        """The bytes that wait to be sent, without those of streams."""
        return self._waiting

    def read_exactly(self, count: int, timeout: float) -> bytes:
        """Return the first bytes that come, before `start`; fewer if the other end has ended.

        Raises:
            LinkLost: They did not come in time.
        """
        end = time.monotonic() + timeout
        while len(self._buffer) < count:
            left = end - time.monotonic()
            if left <= 0:
                raise LinkLost(f"no answer within {timeout:.0f} s")
            if self._poll(self._read_fd, select.POLLIN, left) and not self._read():
                break
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    def read_what_comes(self, timeout: float) -> bytes:
        """Return what comes in a while, before `start`."""
        with contextlib.suppress(LinkLost, OSError):
            return self.read_exactly(_READ, timeout)
        return bytes(self._buffer)

    def start(self, on_message: Callable[[Any], None], on_end: Callable[[str], None], name: str) -> None:
        """Begin to read and to write.

        Args:
            on_message: Called with each message, on the reading thread. It raises `Malformed` to end the link.
            on_end: Called once with the reason when the link has ended, on the reading thread.
            name: The name of the threads.

        Raises:
            ConnectFailed: A thread cannot be started.
        """

        def read() -> None:
            reason = self._read_all(on_message)
            self.end(reason)
            on_end(self._ended or reason)

        self._threads = [
            OwnerThread(self._write_all, lambda: None, name=f"{name}-writer"),
            OwnerThread(read, lambda: None, name=f"{name}-reader"),
        ]
        for thread in self._threads:
            with shortage(ConnectFailed, "a link cannot begin"):
                thread.start()

    def send(self, message: Any) -> None:
        """Send a message. If the link has ended, this does nothing."""
        frame = framed(message)
        with self._changed:
            if self._ended is not None or self._finishing:
                return
            if isinstance(message, (Data, End)):
                self._later.append(frame)
                self._waiting_later += len(frame) + _OVERHEAD
            else:
                self._first.append(frame)
                self._waiting += len(frame) + _OVERHEAD
            self.sent_messages += 1
            self._changed.notify_all()

    def answer_ping(self) -> None:
        """Say that this end is there; if much waits to be sent, that says so, and a flood of questions adds nothing."""
        if self._waiting < BACKLOG:
            self.send(Pong())

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are no message, as the first ones."""
        with self._changed:
            self._first.append(data)
            self._waiting += len(data) + _OVERHEAD
            self._changed.notify_all()

    def wait_for_room(self, most: int, timeout: float | None = None, *, of_streams: bool = False) -> bool:
        """Wait until fewer bytes than that wait to be sent, or the link has ended; tell whether that is so.

        Args:
            most: The bytes.
            timeout: Seconds to wait at most.
            of_streams: Count the bytes of streams, and not what is sent before them.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: (self._waiting_later if of_streams else self._waiting) < most or self._ended is not None,
                timeout,
            )

    def finish(self, timeout: float) -> None:
        """Send what waits to be sent, and end the link; send nothing more after that."""
        with self._changed:
            self._finishing = True
            self._changed.wait_for(
                lambda: not (self._waiting or self._waiting_later) or self._ended is not None, timeout
            )
        self.end("closed")

    def end(self, reason: str) -> None:
        """End the link, and wake everything that waits for it. Calling it again does nothing."""
        with self._changed:
            if self._ended is not None:
                return
            self._ended = reason
            self._forget()
            self._changed.notify_all()
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """End the link, wait for its threads, and close the descriptors."""
        self.end("closed")
        for thread in self._threads:
            if thread is not threading.current_thread() and not thread.drop():
                thread.join()
        self.forked()

    def forked(self, *, in_child: bool = False) -> None:
        """Close the descriptors; in the child of a fork, the link goes on in the parent."""
        if in_child:
            self._closing = threading.Lock()  # another thread may have held it
        with self._closing:
            fds = {self._read_fd, self._write_fd, self._wake} - {-1}
            self._read_fd = self._write_fd = self._wake = -1
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._ended = self._ended or "it was opened before a fork"
        _OPEN.discard(self)

    # The rest runs on the threads

    def _read_all(self, on_message: Callable[[Any], None]) -> str:
        try:
            while True:
                frame = self._frame()
                if frame is None:
                    return self._ended or "the other end has ended"
                on_message(self._decoder.decode(frame))
        # A text that is not UTF-8 is a ValueError.
        except (msgspec.MsgspecError, ValueError, Malformed, RecursionError) as error:
            return f"what it sends is not pyxen's protocol: {str(error)[:300]}"
        except OSError as error:
            return f"{error.strerror}"
        except Exception as error:  # noqa: BLE001 (the link ends, and says so)
            _LOG.exception("a message could not be handled")
            return f"a message could not be handled: {type(error).__name__}"

    def _frame(self) -> bytes | None:
        """Return the next message; None if the link has ended."""
        size, seconds, end = None, 0.0, None
        while True:
            if size is None and len(self._buffer) >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(self._buffer)
                if size > self.most_frame:
                    raise Malformed(f"a message of {size} bytes, of at most {self.most_frame}")
                if not self.admit(size):
                    return None
                if self.slowest is not None:
                    seconds = _TO_COME + size / self.slowest
                    end = time.monotonic() + seconds
            if size is not None and len(self._buffer) >= _LENGTH.size + size:
                frame = bytes(self._buffer[_LENGTH.size : _LENGTH.size + size])
                del self._buffer[: _LENGTH.size + size]
                return frame
            left = None if end is None else max(0.0, end - time.monotonic())
            ready = self._poll(self._read_fd, select.POLLIN, left)
            if self._ended is not None:
                return None
            if not ready and left is not None:
                raise Malformed(f"a message of {size} bytes has not come within {seconds:.0f} s")
            if not self._read():
                return None

    def _read(self) -> bool:
        """Read what there is; False at the end."""
        try:
            data = os.read(self._read_fd, _READ)
        except BlockingIOError:
            return True
        self._buffer += data
        self.heard = time.monotonic()
        return bool(data)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._first or self._later or self._ended is not None)
                if self._ended is not None:
                    return
                first = bool(self._first)
                frame = (self._first if first else self._later).popleft()
            try:
                self._write(frame)
            except OSError as error:
                self._stop_sending(error.strerror or "")
                return
            size = len(frame) + _OVERHEAD
            with self._changed:
                if first:
                    self._waiting = max(0, self._waiting - size)
                else:
                    self._waiting_later = max(0, self._waiting_later - size)
                self.sent_bytes += len(frame)
                self._changed.notify_all()

    def _forget(self) -> None:
        """Forget what waits to be sent; the caller holds the lock."""
        self._first.clear()
        self._later.clear()
        self._waiting = self._waiting_later = 0

    def _stop_sending(self, reason: str) -> None:
        """Send no more, and end the link once the reader had time for what the other end has said before it went."""
        with self._changed:
            self._finishing = True
            self._forget()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ended is not None, _LAST_WORDS)
        self.end(reason)

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        while rest and self._ended is None:
            try:
                rest = rest[os.write(self._write_fd, rest) :]
            except BlockingIOError:
                self._poll(self._write_fd, select.POLLOUT, None)

    def _poll(self, fd: int, event: int, timeout: float | None) -> bool:
        """Wait until a descriptor is ready, or the link has ended; tell whether the descriptor is."""
        poller = select.poll()
        poller.register(fd, event)
        poller.register(self._wake, select.POLLIN)
        ready = poller.poll(None if timeout is None else max(0, timeout * 1000))
        return any(found == fd for found, _ in ready)


def _forked() -> None:
    for link in list(_OPEN):
        link.forked(in_child=True)


os.register_at_fork(after_in_child=_forked)
