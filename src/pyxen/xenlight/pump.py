"""The thread that carries out operations: it makes libxl's calls, waits for their ends, and reaps libxl's children.

An operation is a *script*, a generator that calls libxl, and yields a `Wait` for what ends later. It runs on the pump's
thread, under the lock around libxl, and must never wait in any other way. Since most of libxl's work happens inside
the calls, one thread for both loses nothing, and nothing of the caller's ever runs in the middle of a call.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from pyxen.errors import HostClosed
from pyxen.operation import Operation
from pyxen.xenlight.binding import CData, ffi, lib
from pyxen.xenlight.failures import stopped
from pyxen.xenlight.lock import LIBXL
from pyxen.xenlight.log import LogSink

__all__ = ["Happening", "Pump", "Script", "Stopped", "Wait"]

T = TypeVar("T")

_CHILD = struct.Struct("ii")  # struct pyxen_child
_POLL_WITHOUT_PIDFD = 0.05  # seconds; kernels before 5.3


@dataclass(frozen=True, slots=True)
class Wait:
    """What a script yields: it goes on when an event bears this token."""

    token: int
    abort: Callable[[], int] | None = None
    """Makes libxl end the wait early. Without it, a script that is stopped gets `Stopped` raised where it waits."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of libxl's, as far as scripts need it."""

    type: int
    domid: int
    code: int = 0
    """Of an operation that is complete."""


class Stopped(Exception):
    """Raised inside a script that waits for something that cannot be aborted."""


Script = Generator[Wait, Happening, T]


@dataclass(slots=True, eq=False)
class _Task:
    operation: Operation[Any]
    script: Script[Any]
    wait: Wait | None = None


class Pump:
    """Carries out scripts on one context, on a thread of its own.

    Args:
        context: The ``libxl_ctx``.
        sink: Where libxl's log goes.
        children: Reading end of the pipe into which `pyxen_fork` writes; must not block.
    """

    def __init__(self, context: CData, sink: LogSink, children: int) -> None:
        self._context = context
        self._sink = sink
        self._children_pipe = children
        self._children: dict[int, int] = {}  # pid: pidfd
        self._posted: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._tasks: dict[Operation[Any], _Task] = {}
        self._waiting: dict[int, _Task] = {}
        self._early: dict[int, Happening] = {}
        self._token = 0
        self._closing = False
        self._gate = threading.Lock()
        self._fds = ffi.new("struct pollfd[]", 16)
        self._nfds = ffi.new("int *")
        self._timeout = ffi.new("int *")
        self._now = ffi.new("struct timeval *")
        self._event = ffi.new("libxl_event **")
        self.disaster: str | None = None
        self._thread = threading.Thread(target=self._run, name="pyxen-libxl", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation[T], script: Script[T]) -> Operation[T]:
        """Begin a script, which ends the operation."""
        operation.carried_by(self._stop_later, self._thread)
        with self._gate:
            if self._closing:
                raise HostClosed(f"{operation.verb}: the host is closed")
            self._post(lambda: self._begin(operation, script))
        return operation

    def running(self) -> list[Operation[Any]]:
        """Return the operations that have begun and not ended."""
        return list(self._tasks)

    def token(self) -> int:
        """Return a number that no other wait has, for ``for_event`` and ``for_user``."""
        self._token += 1
        return self._token

    def forget(self, token: int) -> None:
        """Drop what has come for a token that nobody will wait for any more."""
        self._early.pop(token, None)

    def close(self) -> None:
        """Stop what runs, wait until that is undone, and end the thread."""
        self._post(self._stop_all)
        self._thread.join()
        os.close(self._wake)

    # What other threads ask for

    def _post(self, action: Callable[[], None]) -> None:
        self._posted.append(action)
        os.eventfd_write(self._wake, 1)

    def _stop_later(self, operation: Operation[Any]) -> None:
        self._post(lambda: self._stop(operation))

    # What follows runs on the pump's own thread

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            # Nobody may be left waiting for a thread that is no more.
            self.disaster = f"{type(error).__name__}: {error}"
            with self._gate:
                self._closing = True
            for operation in self.running():
                self._end(self._tasks[operation], error=error)
            while self._posted:  # what was submitted ends where it should have begun
                self._posted.popleft()()
            raise

    def _loop(self) -> None:
        while self._posted or self._tasks or not self._closing:
            if self._posted:
                self._posted.popleft()()
            else:
                for token, happening in self._poll():
                    self._deliver(token, happening)
            self._expire()

    def _begin(self, operation: Operation[Any], script: Script[Any]) -> None:
        task = _Task(operation, script)
        self._tasks[operation] = task
        if self._closing:
            operation.stop("closed")
        if operation.stopped is not None:
            self._end(task, error=stopped(operation))
        elif self.disaster is not None:
            message = f"{operation.verb}: libxl broke down, open the host anew: {self.disaster}"
            self._end(task, error=HostClosed(message))
        else:
            self._advance(task, lambda: next(script))

    def _advance(self, task: _Task, step: Callable[[], Wait]) -> None:
        """Let a script go on to its next wait, or its end."""
        try:
            with LIBXL:
                self._sink.adjust()
                self._sink.current = task.operation
                try:
                    task.wait = step()
                finally:
                    self._sink.current = None
        except StopIteration as end:
            self._end(task, result=end.value)
        except Stopped:
            self._end(task, error=stopped(task.operation))
        except BaseException as error:  # noqa: BLE001 (whatever it is, it belongs to whoever waits)
            self._end(task, error=error)
        else:
            self._waiting[task.wait.token] = task
            if early := self._early.pop(task.wait.token, None):
                self._deliver(task.wait.token, early)
            elif task.operation.stopped is not None:
                self._stop(task.operation)  # asked for while the script was in a call

    def _end(self, task: _Task, result: object = None, error: BaseException | None = None) -> None:
        del self._tasks[task.operation]
        self._sink.flush()
        if error is None:
            task.operation.set_result(result)
        else:
            task.operation.set_exception(error)

    def _deliver(self, token: int, happening: Happening) -> None:
        task = self._waiting.pop(token, None)
        if task is None:
            self._early[token] = happening
        else:
            self._advance(task, lambda: task.script.send(happening))

    def _stop(self, operation: Operation[Any]) -> None:
        task = self._tasks.get(operation)
        if task is None or task.wait is None or task.wait.token not in self._waiting:
            return
        if task.wait.abort is None:
            del self._waiting[task.wait.token]
            self._advance(task, lambda: task.script.throw(Stopped()))
        else:
            with LIBXL:
                task.wait.abort()

    def _stop_all(self) -> None:
        with self._gate:
            self._closing = True
        for operation in self.running():
            operation.stop("closed")

    def _expire(self) -> None:
        now = time.monotonic()
        for operation in self.running():
            if operation.deadline is not None and operation.deadline <= now and operation.stopped is None:
                operation.stop("timeout")

    # libxl's event loop

    def _poll(self) -> list[tuple[int, Happening]]:
        """Wait until something happens, and return it."""
        own = [self._wake, self._children_pipe, *(fd for fd in self._children.values() if fd >= 0)]
        with LIBXL:
            # libxl does not wake its poller for an operation that ended inside the call which began it.
            if events := self._events():
                return events
            self._before_poll(len(own))
        self._sink.flush()
        nfds = self._nfds[0]
        for index, fd in enumerate(own, nfds):
            self._fds[index].fd = fd
            self._fds[index].events = lib.POLLIN
            self._fds[index].revents = 0
        lib.poll(self._fds, nfds + len(own), self._milliseconds(self._timeout[0]))
        self._drain_wake()
        self._set_now()
        with LIBXL:
            lib.libxl_osevent_afterpoll(self._context, nfds, self._fds, self._now[0])
            self._reap()
            return self._events()

    def _before_poll(self, own: int) -> None:
        self._set_now()
        while True:
            self._nfds[0] = len(self._fds) - own
            self._timeout[0] = -1
            code = lib.libxl_osevent_beforepoll(self._context, self._nfds, self._fds, self._timeout, self._now[0])
            if code != lib.ERROR_BUFFERFULL:
                return
            self._fds = ffi.new("struct pollfd[]", 2 * (self._nfds[0] + own))

    def _milliseconds(self, timeout: int) -> int:
        limits = [] if timeout < 0 else [timeout / 1000]
        deadlines = [op.deadline for op in self._tasks if op.deadline is not None and op.stopped is None]
        if deadlines:
            limits.append(max(0.0, min(deadlines) - time.monotonic()))
        if any(fd < 0 for fd in self._children.values()):
            limits.append(_POLL_WITHOUT_PIDFD)
        return math.ceil(min(limits) * 1000) if limits else -1

    def _set_now(self) -> None:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        self._now.tv_sec = seconds
        self._now.tv_usec = nanoseconds // 1000

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _events(self) -> list[tuple[int, Happening]]:
        found = []
        while lib.libxl_event_check(self._context, self._event, lib.LIBXL_EVENTMASK_ALL, ffi.NULL, ffi.NULL) == 0:
            event = self._event[0]
            code = event.u.operation_complete.rc if event.type == lib.LIBXL_EVENT_TYPE_OPERATION_COMPLETE else 0
            found.append((event.for_user, Happening(event.type, event.domid, code)))
            lib.libxl_event_free(self._context, event)
        return found

    def _reap(self) -> None:
        """Tell libxl of its children that ended; a SIGCHLD handler is never needed, so the caller's keep working."""
        self._new_children()
        for pid, pidfd in list(self._children.items()):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                # The caller waits for any child (waitpid(-1)) and took this one. libxl's children report by their
                # effects; whoever needs the status checks those.
                ended, status = pid, 0
            if ended == 0:
                continue
            del self._children[pid]
            if pidfd >= 0:
                os.close(pidfd)
            lib.libxl_childproc_reaped(self._context, pid, status)

    def _new_children(self) -> None:
        try:
            data = os.read(self._children_pipe, 1024 * _CHILD.size)
        except BlockingIOError:
            return
        self._children.update(_CHILD.iter_unpack(data))
