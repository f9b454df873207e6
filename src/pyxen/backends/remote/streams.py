"""Byte streams over a link: each end copies between a descriptor and messages.

A reader grants what may be sent, and grants more as it has written it where it belongs. So a stream whose reader is
slow holds up neither calls nor other streams, and no more than `WINDOW` bytes of it are in memory.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from pyxen._common.owner_thread import OwnerThread
from pyxen._common.shortage import shortage
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.messages import BACKLOG, CHUNK, WINDOW, Credit, Data, Drained, End, Snap
from pyxen.backends.remote.values import Malformed
from pyxen.errors import OperationFailed

__all__ = ["Stream", "Streams", "pair"]

_SMALL: Final = 4096  # bytes that a ready pipe accepts at once
_TICK: Final = 50  # milliseconds
_TO_JOIN: Final = 5.0  # seconds


def pair() -> tuple[int, int]:
    """Return two descriptors that lead to each other."""
    with shortage(OperationFailed, "a stream cannot begin"):
        ends = socket.socketpair()
    return ends[0].detach(), ends[1].detach()


class Stream:
    """Bytes of a call, in one direction or in both.

    Args:
        link: The link.
        call: The number of the call.
        source: Where bytes come from that are sent; it is closed. None if nothing is sent.
        sink: Where bytes go that arrive; it is closed. None if nothing arrives.
        both: Instead of these two, where bytes come from and go.
        serves: Whether this is the server's end. The client opens its end before it calls, and may send once the server
            has granted that; so the server may send at once.
        as_one: Whether the end of one direction is that of the other, too.
        own: Whether the descriptors belong to this process alone: they are made not to block.
        flush: With `as_one`, seconds to write what has arrived before the other end ended it; None for no limit.
        on_end: Called once when it has ended in both directions.

    Raises:
        OperationFailed: There is no descriptor or no thread for it. Its descriptors are closed.
    """

    def __init__(
        self,
        link: Link,
        call: int,
        *,
        source: int | None = None,
        sink: int | None = None,
        both: int | None = None,
        serves: bool = False,
        as_one: bool = False,
        own: bool = False,
        flush: float | None = None,
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._link, self._call = link, call
        self._as_one, self._own, self._flush, self._on_end = as_one, own, flush, on_end
        self._changed = threading.Condition()
        self._wake = -1
        self._credit = WINDOW if serves else 0
        self._window = 0 if sink is None and both is None else WINDOW
        self._queue = bytearray()  # one piece, however small those are that arrive
        self._queued = 0  # bytes that have arrived and are not yet written
        self._no_more = self._closed = self._over = False
        self._flush_until: float | None = None
        self.drained = False
        """Whether the other end has written all that was sent."""
        self.sent_all = False
        """Whether all that there was has been sent."""
        self.broken: str | None = None
        """Why the other end cannot write what is sent; None if it can."""
        fds = [fd for fd in (source, sink, both) if fd is not None]
        self._running = len(fds)  # descriptors that are open
        threads: dict[int, OwnerThread] = {}
        try:
            with shortage(OperationFailed, "a stream cannot begin"):
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                if both is not None:
                    source, sink = os.dup(both), both
                    fds.append(source)
                    self._running = len(fds)
                self._begin(threads, source, sink)
            if serves and self._window:
                link.send(Credit(call, WINDOW))
        except BaseException:
            self._give_up(threads, fds)
            raise

    def _begin(self, threads: dict[int, OwnerThread], source: int | None, sink: int | None) -> None:
        """Start the threads, each of which owns a descriptor."""
        for job, fd in ((self._send, source), (self._write, sink)):
            if fd is not None:
                if self._own:
                    os.set_blocking(fd, False)
                run, unused = partial(self._run, job, fd), partial(self._release, fd)
                threads[fd] = OwnerThread(run, unused, name="pyxen-stream")
        for thread in threads.values():
            thread.start()

    def _give_up(self, threads: dict[int, OwnerThread], fds: list[int]) -> None:
        """Release what no thread has, and end the threads that have begun."""
        with self._changed:
            self._closed = self._over = True
            self._rouse()
            self._changed.notify_all()
        for fd in fds:
            thread = threads.get(fd)
            if thread is None:
                self._release(fd)
            else:
                thread.drop()

    def _release(self, fd: int) -> None:
        """Close a descriptor, and with the last one what wakes the threads."""
        with contextlib.suppress(OSError):
            os.close(fd)
        with self._changed:
            self._running -= 1
            if not self._running and self._wake >= 0:
                wake, self._wake = self._wake, -1
                os.close(wake)

    def wait(self, until: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until something is so, or the stream is closed; tell whether it is so."""
        with self._changed:
            self._changed.wait_for(lambda: until() or self._closed, timeout)
            return until()

    @property
    def closed(self) -> bool:
        """Whether it was closed, or has ended in both directions."""
        return self._closed

    def close(self) -> None:
        """End it in both directions, and forget what was not written. Calling it again does nothing."""
        with self._changed:
            self._closed = True
            self._rouse()
            over = self._is_over()
        if over:
            self._on_end()

    def join(self) -> None:
        """Close it, and wait a while until its descriptors are not used any more: the caller's file is theirs, too."""
        self.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._running, _TO_JOIN)

    def _rouse(self) -> None:
        """Wake the threads; the caller holds the lock."""
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def take(self, message: Any) -> None:
        """Take a message about this stream.

        Raises:
            Malformed: The other end sends more than it may.
        """
        with self._changed:
            if isinstance(message, Data):
                self._queued += len(message.data)
                if self._queued > self._window or self._no_more:
                    raise Malformed("more of a stream was sent than was granted, or after its end")
                self._queue += message.data
            elif isinstance(message, Credit):
                self._credit += message.count
                if self._credit > WINDOW:
                    raise Malformed("more of a stream was granted than was sent")
            elif isinstance(message, End):
                self._no_more = True
                if self._as_one and self._flush is not None:
                    self._flush_until = time.monotonic() + self._flush
                    self._rouse()
            elif isinstance(message, Drained):
                self.drained = self.sent_all
            elif isinstance(message, Snap):
                self.broken = message.reason or "its reader is gone"
                self._closed = True
                self._rouse()
            over = self._is_over()
        if over:
            self._on_end()

    # The rest runs on its threads

    def _run(self, job: Callable[[int], None], fd: int) -> None:
        try:
            job(fd)
        except OSError as error:
            self._link.send(Snap(self._call, error.strerror or ""))
            self.close()
        finally:
            self._release(fd)
            with self._changed:
                over = self._is_over()
                as_one = self._as_one and self._flush_until is None
            if over:
                self._on_end()
            elif as_one:
                self.close()

    def _is_over(self) -> bool:
        """Tell whether it has ended just now, and have those that wait see it; the caller holds the lock."""
        waits = self.sent_all and not self.drained and not self._closed and not self._as_one
        over = not self._running and not waits and not self._over
        if over:
            self._over = self._closed = True
        self._changed.notify_all()
        return over

    def _send(self, fd: int) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._credit > 0 or self._closed or self._flush_until is not None)
                most = min(CHUNK, self._credit)
            if not self._room(of_streams=True) or not self._ready(fd, select.POLLIN):
                return
            try:
                data = os.read(fd, most)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                data = b""
            with self._changed:
                if self._closed:
                    return
                self._credit -= len(data)
                self.sent_all = not data
            self._link.send(Data(self._call, data) if data else End(self._call))
            if not data:
                return

    def _write(self, fd: int) -> None:
        mode = os.fstat(fd).st_mode
        most = CHUNK if stat.S_ISREG(mode) or self._own else _SMALL
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._no_more or self._closed)
                if self._closed:
                    return
                data = bytes(self._queue[:CHUNK])
                del self._queue[:CHUNK]
            if not data:
                break
            if not self._write_all(fd, data, most):
                return
            with self._changed:
                self._queued -= len(data)
            if not self._room():  # who does not read is granted nothing more
                return
            self._link.send(Credit(self._call, len(data)))
        if stat.S_ISREG(mode):
            os.fsync(fd)
        if stat.S_ISSOCK(mode) and self._own:
            own = socket.socket(fileno=fd)
            with contextlib.suppress(OSError):
                own.shutdown(socket.SHUT_WR)
            own.detach()
        self._link.send(Drained(self._call))

    def _write_all(self, fd: int, data: bytes, most: int) -> bool:
        rest = memoryview(data)
        while rest:
            if not self._ready(fd, select.POLLOUT):
                return False
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(fd, rest[:most]) :]
        return True

    def _room(self, *, of_streams: bool = False) -> bool:
        """Wait until the link has room; False if the stream was closed."""
        while not self._closed:
            if self._link.wait_for_room(BACKLOG, _TICK / 1000, of_streams=of_streams):
                return True
        return False

    def _ready(self, fd: int, event: int) -> bool:
        """Wait until a descriptor is ready; False if the stream was closed."""
        poller = select.poll()
        poller.register(fd, event)
        poller.register(self._wake, select.POLLIN)
        while not self._closed:
            if self._flush_until is not None:
                return event == select.POLLOUT and self._ready_soon(fd)
            if any(found == fd for found, _ in poller.poll()):
                return not self._closed
        return False

    def _ready_soon(self, fd: int) -> bool:
        """Wait until a descriptor can be written to, for no longer than there is to flush what has arrived."""
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        while not self._closed and time.monotonic() < (self._flush_until or 0):
            if poller.poll(_TICK):
                return True
        return False


class Room(Protocol):
    """How many streams there may be."""

    def take(self, count: int, timeout: float) -> bool:
        """Take room for so many; tell whether it was there in time."""

    def give(self, count: int) -> None:
        """Give it back."""


class Streams:
    """The streams of a link.

    Args:
        link: The link.
        room: What they share with those of other links; None is no bound.
    """

    def __init__(self, link: Link, room: Room | None = None) -> None:
        self._link, self._room = link, room
        self._lock = threading.Lock()
        self._open: dict[int, Stream] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self,
        call: int,
        *,
        source: int | None = None,
        sink: int | None = None,
        both: int | None = None,
        serves: bool = False,
        as_one: bool = False,
        own: bool = False,
        flush: float | None = None,
    ) -> Stream:
        """Begin a stream; the arguments are those of `Stream`.

        Raises:
            OperationFailed: There are too many, or there is no descriptor or no thread. Its descriptors are closed.
        """
        with self._lock:
            if self._room is not None and not self._room.take(1, 0):
                for fd in {fd for fd in (source, sink, both) if fd is not None}:
                    os.close(fd)
                raise OperationFailed("too many consoles and transfers of one user are open there: close one first")
            try:
                stream = Stream(
                    self._link,
                    call,
                    source=source,
                    sink=sink,
                    both=both,
                    serves=serves,
                    as_one=as_one,
                    own=own,
                    flush=flush,
                    on_end=lambda: self._forget(call),
                )
            except BaseException:
                self._give_back()
                raise
            self._open[call] = stream
            return stream

    def take(self, message: Any) -> None:
        """Take a message about a stream; one that has ended meanwhile is ignored."""
        with self._lock:  # one that is being opened has granted what now arrives
            stream = self._open.get(message.call)
        if stream is not None:
            stream.take(message)

    def close(self) -> None:
        """Close all."""
        with self._lock:
            found = list(self._open.values())
        for stream in found:
            stream.close()

    def _forget(self, call: int) -> None:
        with self._lock:
            if self._open.pop(call, None) is not None:
                self._give_back()

    def _give_back(self) -> None:
        if self._room is not None:
            self._room.give(1)
