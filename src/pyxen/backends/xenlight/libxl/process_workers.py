"""Worker processes, which make libxl's long calls for this process.

libxl forks to destroy a domain. The cost of a fork, including the page faults after it, grows with the memory of the
process. For a manager with a large heap, it exceeds the cost of destroying the domain. A worker is a small program in C
(cffi_build/worker.c). Workers also run in parallel, while two contexts of one process wait for each other.

Everything here runs on the event loop's thread, except `close`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import NamedTuple

from pyxen._common.child import Child, spawn
from pyxen.backends.xenlight.libxl import binding
from pyxen.backends.xenlight.libxl.binding import CData, lib
from pyxen.backends.xenlight.libxl.lock import LIBXL

__all__ = ["HUNG", "LOST", "NO_DOMID", "Frame", "Worker", "Workers"]

_HEADER = struct.Struct("=IIQIi")  # struct pyxen_frame of worker.h
_PAUSE = 10.0  # seconds in which no worker is started after one could not be
_TO_END = 10.0  # seconds for all workers to end with their host
_MOMENT = 1.0  # seconds for one to end while other operations wait; it may hang in the kernel, or wait for xenstored
_MOST_ON_DEMAND = 8


class Frame(NamedTuple):
    """A message from a worker."""

    kind: int
    token: int
    domid: int
    number: int
    text: str = ""


class Worker:
    """A process that makes calls, several at a time. The context's loop watches its socket and its end.

    Its end does not always close the socket: a child that libxl has forked, e.g. to wait for a device model, has a copy
    of the worker's end, and may outlive the worker.

    Args:
        loop: The ``struct pyxen_loop`` of the context.
        stream: A descriptor that it gets a duplicate of, for a restore.
    """

    def __init__(self, loop: CData, stream: int | None = None) -> None:
        self._loop = loop
        self._unsent = bytearray()
        self._received = bytearray()
        self._watched = 0
        self.folder = _current_folder()
        """Its current directory, which relative paths in configurations refer to."""
        self.level = lib.XTL_WARN
        self.ready = False
        self.cut_off = False
        """It has lost xenstore: it ends what it does, and then itself."""
        self.running: set[int] = set()
        self.killed = False
        self.is_strange = False
        """Its program is of another pyxen than this process."""
        self._cpu_time = 0
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                # It is not, after `socket.setdefaulttimeout`, and with gevent. A worker that finds it full would think
                # that this process is gone.
                os.set_blocking(theirs.fileno(), True)
                self._child = Child(_spawn(theirs, stream))
        except BaseException:
            self._socket.close()
            raise
        self.pid = self._child.pid
        self._socket.setblocking(False)
        self._watch(select.POLLIN)
        if self._child.fileno() >= 0:
            _set_watch(loop, self._child.fileno(), select.POLLIN)

    def fileno(self) -> int:
        """Return the descriptor of our end of its socket."""
        return self._socket.fileno()

    def is_told_by(self, fd: int) -> bool:
        """Tell whether a descriptor that is ready says something of this worker."""
        return fd >= 0 and fd in {self.fileno(), self._child.fileno()}

    def has_ended(self) -> bool:
        """Tell whether the process has ended. What it has sent may still be there to be taken."""
        return self._child.ended(0)

    def call(self, kind: int, token: int, domid: int, payload: bytes, number: int = 0) -> None:
        """Have it make a call, as soon as it is ready. The frame of its end has this token."""
        self.running.add(token)
        self._send(kind, token=token, domid=domid, number=number, payload=payload)

    def abort(self, token: int) -> int:
        """Have it abort a call, if that still runs. Returns 0, like libxl's own function."""
        self._send(lib.PYXEN_ABORT, token=token)
        return 0

    def set_level(self, level: int) -> None:
        """Set the lowest level of the lines of libxl's log that it sends."""
        if level != self.level:
            self.level = level
            self._send(lib.PYXEN_LOG_LEVEL, number=level)

    def knock(self) -> None:
        """Send it something to read, for `hangs`."""
        self._cpu_time = self._child.cpu_time()
        if not self._unread():
            self._send(lib.PYXEN_LOG_LEVEL, number=self.level)

    def hangs(self) -> bool:
        """Tell whether it has neither read nor computed anything since `knock`.

        libxl does much of its work inside its calls, during which a worker reads nothing. A call that computes makes
        headway; one that only waits, e.g. for xenstored, does not.
        """
        return self._unread() and self._child.cpu_time() == self._cpu_time

    def kill(self) -> None:
        """Kill it. The calls that it was making are then lost, see `Workers.take`."""
        self.killed = True
        self._child.kill()
        self.hang_up()  # it is lost even where it could not be killed

    def exchange(self) -> Iterator[Frame]:
        """Send pending data, and yield the frames that have arrived.

        Raises:
            EOFError: The process is gone, and all that it has sent was taken; or it is not to be used.
        """
        had_ended = self.has_ended()  # asked first: what is not there then never comes
        try:
            self._flush()
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            if had_ended:
                raise EOFError from None
            return
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self._received += data
        while (frame := self._next()) is not None:
            if frame.kind == lib.PYXEN_HELLO and frame.number != lib.PYXEN_PROTOCOL:
                self.is_strange = True
                raise EOFError
            if frame.kind == lib.PYXEN_HELLO:
                self.ready = True
                self._flush()
            elif frame.kind == lib.PYXEN_CUT_OFF:
                self.cut_off = True
            elif frame.kind == lib.PYXEN_DONE:
                self.running.discard(frame.token)
            yield frame

    def hang_up(self) -> None:
        """Tell the process to end, once its calls are over. A process forked past Python may have a copy of our end."""
        with contextlib.suppress(OSError):  # it is gone
            self._socket.shutdown(socket.SHUT_RDWR)

    def ends(self, until: float) -> bool:
        """Tell whether the process has ended, or ends before a time, by `time.monotonic`."""
        return self._child.ended(max(0.0, until - time.monotonic()))

    def close(self, *, with_children: bool = False) -> None:
        """Make the process end, and wait for it. A thread waits for one that does not end at once.

        Args:
            with_children: Kill its children if it had to be killed itself.
        """
        self._watch(0)
        if self._child.fileno() >= 0:
            _set_watch(self._loop, self._child.fileno(), 0)
        self.hang_up()
        self._socket.close()
        end = partial(self._child.end, with_children=with_children)
        if self._child.fileno() >= 0 and not self._child.ended(_MOMENT):
            with contextlib.suppress(RuntimeError):  # there is no thread for it
                threading.Thread(target=end, name="pyxen-worker-end", daemon=True).start()
                return
        end()

    def forked(self) -> None:
        """Give it up in the child of a fork."""
        self._socket.close()
        self._child.forked()

    def _unread(self) -> bool:
        """Tell whether it has something to read, or we still have something to send."""
        (waiting,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))
        return bool(self._unsent or waiting)

    def _send(self, kind: int, *, token: int = 0, domid: int = 0, number: int = 0, payload: bytes = b"") -> None:
        self._unsent += _HEADER.pack(kind, len(payload), token, domid, number) + payload
        self._flush()

    def _flush(self) -> None:
        # A program of another pyxen must not begin anything: it may read the stream that is then restored without it.
        if self._unsent and self.ready:
            # The socket may be full, or the worker gone. Only the reading side reports that, so it is reported once.
            with contextlib.suppress(OSError):
                del self._unsent[: self._socket.send(self._unsent, socket.MSG_NOSIGNAL)]
            self._watch(select.POLLIN | (select.POLLOUT if self._unsent else 0))

    def _watch(self, events: int) -> None:
        if events != self._watched:
            _set_watch(self._loop, self.fileno(), events)
            self._watched = events

    def _next(self) -> Frame | None:
        if len(self._received) < _HEADER.size:
            return None
        kind, length, token, domid, number = _HEADER.unpack_from(self._received)
        end = _HEADER.size + length
        if len(self._received) < end:
            return None
        text = self._received[_HEADER.size : end].decode(errors="replace")
        del self._received[:end]
        return Frame(kind, token, domid, number, text)


class Workers:
    """The workers of a context. They are started when they are first needed.

    Args:
        wanted: How many. With None, one is started, and another whenever all have work, up to one for each CPU.
        loop: The ``struct pyxen_loop`` that waits for them.
        log: Called for each line of libxl's log with the token of a call (0: no call), the level and the text.
    """

    def __init__(self, wanted: int | None, loop: CData, log: Callable[[int, int, str], None]) -> None:
        self._wanted = _for_cpus() if wanted is None else wanted
        self._on_demand = wanted is None
        self.enabled = self._wanted > 0
        """Whether there are to be workers."""
        self._loop = loop
        self._log = log
        self._workers: dict[int, Worker] = {}
        self._apart: dict[int, Worker] = {}
        self._leaving: dict[int, Worker] = {}
        self._not_before = 0.0
        self._was_cut_off = False
        self._waiting: set[int] = set()

    def free(self) -> Worker | None:
        """Return the worker with the fewest calls; None if no worker is ready, or another one that has no work starts.

        Relative paths refer to the current directory, so a worker that was started in another one cannot be used.
        """
        while len(self._living()) < self._wanted and self._are_too_few() and time.monotonic() >= self._not_before:
            try:
                worker = Worker(self._loop)
            except (OSError, NotImplementedError) as error:
                self._not_before = time.monotonic() + _PAUSE
                self._log(0, lib.XTL_WARN, f"no worker process: {error}")
            else:
                self._workers[worker.fileno()] = worker
        ready = [worker for worker in self._living() if worker.ready and _here(worker.folder)]
        least = min(ready, key=lambda worker: len(worker.running), default=None)
        if self._on_demand and least is not None and least.running and self.starting():
            return None  # many calls that come at once would all go to the first worker
        return least

    def _living(self) -> list[Worker]:
        """Return the workers without those that are gone: what such a one still got would be lost with it.

        One that has ended before it was ready still counts until that is told: another would end so, too.
        """
        return [
            worker
            for worker in self._workers.values()
            if not worker.killed and not (worker.ready and worker.has_ended())
        ]

    def _are_too_few(self) -> bool:
        """Tell whether another worker is wanted now."""
        if not self._on_demand:
            return True
        here = [worker for worker in self._living() if _here(worker.folder)]
        return all(worker.ready and worker.running for worker in here)

    def starting(self) -> bool:
        """Tell whether a usable worker is starting."""
        return any(not worker.ready and _here(worker.folder) for worker in self._living())

    def apart(self, stream: int | None = None) -> Worker:
        """Start a worker for exclusive use, which must be passed to `dismiss` later. It need not be ready yet.

        Args:
            stream: As of `Worker`.

        Raises:
            OSError: It cannot be started.
        """
        try:
            worker = Worker(self._loop, stream)
        except NotImplementedError as error:
            raise OSError(errno.ENOSYS, str(error)) from error
        self._apart[worker.fileno()] = worker
        return worker

    def dismiss(self, worker: Worker) -> None:
        """End a worker of `apart`, and wait for it. If it is gone already, this does nothing."""
        if self._apart.pop(worker.fileno(), None) is not None:
            with LIBXL.released():  # it may wait for xenstored before it ends: other hosts do not wait for it
                worker.close(with_children=True)

    @contextlib.contextmanager
    def change(self, token: int) -> Iterator[None]:
        """Deliver an event with this token when a worker becomes ready or goes away."""
        self._waiting.add(token)
        try:
            yield
        finally:
            self._waiting.discard(token)

    def take(self, fd: int) -> list[Frame]:
        """Read from a worker of which a descriptor is ready; return the ends of its calls, and events for `change`."""
        everyone = chain(self._workers.values(), self._apart.values(), self._leaving.values())
        worker = next((worker for worker in everyone if worker.is_told_by(fd)), None)
        done: list[Frame] = []
        if worker is None:
            return done
        fd = worker.fileno()
        try:
            for frame in worker.exchange():
                if frame.kind == lib.PYXEN_LOG:
                    self._log(frame.token, frame.number, frame.text)
                elif frame.kind == lib.PYXEN_DONE:
                    done.append(frame._replace(kind=LOST) if worker.cut_off and frame.number < 0 else frame)
                elif frame.kind == lib.PYXEN_CUT_OFF:
                    self._let_go(fd, worker)
                else:
                    done += self._changed()
            if worker.cut_off and not worker.running and self._leaving.pop(fd, None) is not None:
                worker.close()
        except EOFError:
            done += [*self._lose(fd, worker), *self._changed()]
        return done

    def _changed(self) -> list[Frame]:
        return [Frame(lib.PYXEN_HELLO, token, NO_DOMID, 0) for token in self._waiting]

    def was_cut_off(self) -> bool:
        """Tell whether a worker has lost xenstore since this was called the last time."""
        was, self._was_cut_off = self._was_cut_off, False
        return was

    def _let_go(self, fd: int, worker: Worker) -> None:
        """Give a worker that has lost xenstore nothing more to do."""
        self._was_cut_off = True
        self._log(0, lib.XTL_WARN, f"the worker process {worker.pid} has lost its connection to xenstore: it ends")
        if self._workers.pop(fd, None) is not None:
            self._leaving[fd] = worker

    def _lose(self, fd: int, worker: Worker) -> Iterator[Frame]:
        if not worker.ready and not worker.killed:
            self._not_before = time.monotonic() + _PAUSE  # for the moment, another worker would fail, too
        if fd in self._apart:
            self.dismiss(worker)
        else:
            self._workers.pop(fd, None)
            self._leaving.pop(fd, None)
            worker.close()
        how = "did not answer, and was killed" if worker.killed else "ended in the middle of it"
        if worker.is_strange:
            remedy = "start this process again, or install pyxen again"
            self._log(0, lib.XTL_WARN, f"no worker process: {binding.worker} is of another pyxen: {remedy}")
        elif not worker.running:
            self._log(0, lib.XTL_WARN, f"the worker process {worker.pid} has ended")
        for token in sorted(worker.running):
            self._log(token, lib.XTL_ERROR, f"the worker process {worker.pid} {how}")
            yield Frame(HUNG if worker.killed else LOST, token, NO_DOMID, lib.ERROR_FAIL)

    def close(self) -> None:
        """End all workers. Their calls must be over. Those that hang, as with xenstored, do not hang one by one."""
        self._wanted = 0
        everyone = [*self._workers.values(), *self._leaving.values(), *self._apart.values()]
        for worker in everyone:
            worker.hang_up()
        until = time.monotonic() + _TO_END
        for worker in everyone:
            if not worker.ends(until):
                worker.kill()
        for workers in (self._workers, self._leaving):
            while workers:
                workers.popitem()[1].close()
        for worker in list(self._apart.values()):
            self.dismiss(worker)

    def forked(self) -> None:
        """Release them in the child of a fork: they belong to the parent, and must notice when it ends."""
        for workers in (self._workers, self._apart, self._leaving):
            for worker in workers.values():
                worker.forked()
            workers.clear()
        self._wanted = 0


LOST = 0
"""Kind of the frame for the end of a call whose worker is gone."""

HUNG = -1
"""Kind of the frame for the end of a call whose worker was killed since it did not answer."""

NO_DOMID = 0xFFFFFFFF
"""libxl's INVALID_DOMID, a macro with a cast that cffi cannot parse."""


def _set_watch(loop: CData, fd: int, events: int) -> None:
    if lib.pyxen_loop_watch(loop, fd, events) < 0:
        raise MemoryError


def _for_cpus() -> int:
    return min(len(os.sched_getaffinity(0)), _MOST_ON_DEMAND)


def _spawn(theirs: socket.socket, stream: int | None) -> int:
    given = {lib.PYXEN_SOCKET_FD: theirs.fileno()}
    if stream is not None:
        given[lib.PYXEN_STREAM_FD] = stream
    return spawn(
        [binding.worker],
        given,
        first=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            *((os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2) if not _standard(fd)),
        ],
    )


def _standard(fd: int) -> bool:
    """Tell whether children inherit standard output or error. If it was closed, libxl would open something there."""
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def _current_folder() -> tuple[int, int]:
    """Return what the current directory is known by: its path may soon be that of another one."""
    found = os.stat(".")
    return found.st_dev, found.st_ino


def _here(folder: tuple[int, int]) -> bool:
    try:
        return _current_folder() == folder
    except OSError:
        return False
