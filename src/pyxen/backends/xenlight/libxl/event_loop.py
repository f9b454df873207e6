"""The event loop: a thread that carries out operations. It makes libxl's calls and waits for their completion.

An operation is a *script*: a generator that calls libxl, and yields a `Wait` for each asynchronous completion. It runs
on the event loop's thread, under the lock around libxl, and must never block in any other way. libxl does most of its
work inside the calls, so a second thread would gain nothing. The caller's code never runs in the middle of a call.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from pyxen._common.joinable import JoinableThread
from pyxen._common.shield import shielded
from pyxen._durations import bounded
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.error_map import stopped
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.errors import HostClosed, OperationFailed
from pyxen.operation import Operation, completing, describe

__all__ = ["TIME_IS_UP", "Arrival", "EventLoop", "LibxlEvent", "Script", "Stopped", "Wait"]

T = TypeVar("T")

_MOST_EVENTS = 64  # per poll; the rest are taken at the next poll
_BROKEN_DOWN: Final = "libxl's event loop broke down: close the host, and open it again"
_AGAIN = 0.005  # seconds until the next check of a wait that may not be aborted yet


@dataclass(frozen=True, slots=True)
class Wait:
    """A request that a script yields. The script continues when an event with this token arrives."""

    token: int
    abort: Callable[[], int] | None = None
    """Makes libxl end the wait early. Without it, stopping the script raises `Stopped` where it waits."""
    may_abort: Callable[[], bool] | None = None
    """Tells whether `abort` may be called yet. It is polled. Default: always."""
    until: float | None = None
    """The time, by `time.monotonic`, at which the script continues with `TIME_IS_UP` if no event has arrived."""


class LibxlEvent(NamedTuple):
    """The fields of a libxl event that scripts need."""

    type: int
    domid: int
    code: int = 0
    """The result of an operation that is complete."""
    lost: bool = False
    """The worker that made the call died or lost xenstore, so the result is unknown."""
    hung: bool = False
    """It was killed since it did not answer, so the same call may hang again."""


TIME_IS_UP = LibxlEvent(0, 0)


Arrival = tuple[int, LibxlEvent]
"""An event with its token."""


class Stopped(Exception):
    """Raised inside a script that waits for something that cannot be aborted."""


Script = Generator[Wait, LibxlEvent, T]


@dataclass(slots=True, eq=False)
class _Task:
    operation: Operation[Any]
    script: Script[Any]
    wait: Wait | None = None


class EventLoop:
    """Carries out scripts on one context, on a thread of its own.

    Args:
        context: The ``libxl_ctx``.
        sink: Receives libxl's log.
        loop: The ``struct pyxen_loop`` that waits for libxl.
        wake: The loop's eventfd. The caller still owns it, and closes it after `close`.
        on_ready: Called when a watched descriptor is ready; returns the available events with their tokens.
        on_refused: Called with a domid and an errno when xenstored has refused libxl a watch for a guest's answer.
    """

    def __init__(
        self,
        context: CData,
        sink: LogSink,
        loop: CData,
        wake: int,
        on_ready: Callable[[int], Iterable[Arrival]],
        on_refused: Callable[[int, int], None],
    ) -> None:
        self.context = context
        """The ``libxl_ctx`` to wait for; NULL while there is none that works."""
        self.rests = False
        """Look at libxl only now and then: its descriptors may be ready all the time."""
        self._sink = sink
        self._c_loop = loop
        self._wake = wake
        self._on_ready, self._on_refused = on_ready, on_refused
        self._posted: deque[Callable[[], None]] = deque()
        self._tasks: dict[Operation[Any], _Task] = {}
        self._waiting: dict[int, _Task] = {}
        self._early: dict[int, LibxlEvent] = {}
        self._unaborted: list[Operation[Any]] = []
        self._token = 0
        self._closing = False
        self._over = False  # the thread does nothing any more
        self._gate = threading.RLock()  # reentrant: a signal handler or garbage collection may stop an operation
        self._events = ffi.new("struct pyxen_event[]", _MOST_EVENTS)
        self.disaster: str | None = None
        self._thread = JoinableThread(target=self._run, name="pyxen-libxl", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether something is carried out, or is to be."""
        return bool(self._posted or self._tasks)

    @property
    def thread(self) -> int | None:
        """The thread that carries out scripts, by `threading.get_ident`."""
        return self._thread.ident

    def submit(self, operation: Operation[T], script: Script[T]) -> Operation[T]:
        """Start a script. Its end ends the operation."""
        # One without any time, which only looks, is to look once. So only a deadline that passes from now on counts.
        deadline = operation.deadline
        if deadline is not None and deadline <= time.monotonic():
            deadline = None
        with self._gate:
            if self.disaster is not None:
                raise self._broken_down(operation)
            if self._closing:
                raise HostClosed(f"{operation.verb}: the host is closed")
            operation.carried_by(self._stop_later, self._thread, self)
            self._post(lambda: self._begin(operation, script, deadline))
        return operation

    def running(self) -> list[Operation[Any]]:
        """Return the operations that have started and not ended."""
        return list(self._tasks)

    def waiting(self, token: int) -> Operation[Any] | None:
        """Return the operation that waits for an event with this token."""
        task = self._waiting.get(token)
        return None if task is None else task.operation

    def token(self) -> int:
        """Return a unique number for a wait, for ``for_event`` and ``for_user``."""
        self._token += 1
        return self._token

    def bring(self, token: int, event: LibxlEvent) -> None:
        """Store an event that a script will wait for later. Scripts call this."""
        self._early[token] = event

    def arrive(self, token: int) -> None:
        """Resume the script that waits for a token. Any thread may call this."""
        self._post(lambda: self._deliver(token, LibxlEvent(0, 0)))

    def forget(self, token: int) -> None:
        """Drop an event for a token that no script will wait for any more."""
        self._early.pop(token, None)

    def close(self) -> None:
        """Stop running operations, wait until they are undone, and end the thread."""
        self._post(self._stop_all)
        self._thread.join()
        with self._gate:
            self._wake = -1

    # Requests from other threads

    def _post(self, action: Callable[[], None]) -> None:
        self._posted.append(action)
        with self._gate:
            over = self._over
            if not over and self._wake >= 0:  # otherwise its number may be another file's by now
                os.eventfd_write(self._wake, 1)
        if over:  # nobody else would do it, e.g. end an operation that Ctrl-C kept from being submitted
            self._do_posted()

    def _do_posted(self) -> None:
        while self._posted:
            with contextlib.suppress(IndexError):  # another thread was quicker
                shielded(self._posted.popleft())

    def _stop_later(self, operation: Operation[Any]) -> None:
        self._post(lambda: self._stop(operation))

    # The following methods run on the event loop's thread

    def _run(self) -> None:
        try:
            with completing(self):
                self._loop()
        except BaseException as error:
            # No caller may be left waiting for a thread that has ended.
            self.disaster = f"{type(error).__name__}: {error}"
            with self._gate:
                self._closing = True
            for operation in self.running():
                message = f"how far it came is not known, since {_BROKEN_DOWN}: {self.disaster}"
                failure = describe(OperationFailed, message, operation)
                failure.__cause__ = error
                self._end(self._tasks[operation], error=failure)
            raise
        finally:
            with self._gate:
                self._closing = self._over = True
            self._do_posted()  # submitted operations end in `_begin`

    def _loop(self) -> None:
        while self._posted or self._tasks or not self._closing:
            if self._posted:
                shielded(self._posted.popleft())
            else:
                for token, event in self._poll():
                    shielded(self._deliver, token, event)
            shielded(self._expire)

    def _begin(self, operation: Operation[Any], script: Script[Any], deadline: float | None) -> None:
        task = _Task(operation, script)
        self._tasks[operation] = task
        if self._closing and self.disaster is None:
            operation.stop("closed")
        elif deadline is not None and deadline <= time.monotonic():
            operation.stop("timeout")  # others kept the thread busy: each waits for a xenstored that hangs, say
        if operation.stopped is not None:
            self._end(task, error=stopped(operation))
        elif self.disaster is not None:
            self._end(task, error=self._broken_down(operation))
        else:
            self._sink.adjust()
            self._advance(task, None)

    def _broken_down(self, operation: Operation[Any]) -> HostClosed:
        return HostClosed(f"{operation.verb}: {_BROKEN_DOWN}: {self.disaster}")

    def _advance(self, task: _Task, event: LibxlEvent | BaseException | None) -> None:
        """Run a script to its next wait or its end. None starts it; an exception is raised where it waits."""
        result: object = None
        error: BaseException | None = None
        with LIBXL:
            self._sink.current = task.operation
            try:
                if isinstance(event, BaseException):
                    task.wait = task.script.throw(event)
                else:
                    task.wait = task.script.send(event)  # type: ignore[arg-type]  # a new generator only takes None
            except StopIteration as end:
                task.wait, result = None, end.value
            except Stopped:
                task.wait, error = None, stopped(task.operation)
            except BaseException as anything:  # noqa: BLE001 (the operation's caller gets every error)
                task.wait, error = None, anything
            finally:
                self._sink.current = None
        if task.wait is None:
            self._end(task, result, error)
        else:
            self._await(task, task.wait)

    def _await(self, task: _Task, wait: Wait) -> None:
        self._waiting[wait.token] = task
        if early := self._early.pop(wait.token, None):
            self._deliver(wait.token, early)
        elif task.operation.stopped is not None:
            self._stop(task.operation)  # stopped while the script was in a call

    def _end(self, task: _Task, result: object = None, error: BaseException | None = None) -> None:
        """End an operation. Exceptions from its callbacks and log handlers must not affect other operations."""
        del self._tasks[task.operation]
        shielded(self._sink.flush)  # first, so that who waits for the end finds its lines in the log
        if error is None:
            shielded(task.operation.set_result, result)
        else:
            shielded(task.operation.set_exception, error)

    def _deliver(self, token: int, event: LibxlEvent) -> None:
        task = self._waiting.pop(token, None)
        if task is None:
            self._early[token] = event
        else:
            self._advance(task, event)

    def _stop(self, operation: Operation[Any]) -> None:
        task = self._tasks.get(operation)
        if task is None and not operation.done():
            shielded(operation.set_exception, stopped(operation))  # Ctrl-C arrived before it was submitted
        if task is None or task.wait is None or task.wait.token not in self._waiting:
            return
        if task.wait.abort is None:
            del self._waiting[task.wait.token]
            self._advance(task, Stopped())
        else:
            try:
                self._abort(operation, task.wait.abort, task.wait.may_abort)
            except BaseException as error:  # noqa: BLE001 (the operation's caller gets it)
                del self._waiting[task.wait.token]
                self._advance(task, error)

    def _abort(self, operation: Operation[Any], abort: Callable[[], int], may_abort: Callable[[], bool] | None) -> None:
        if may_abort is not None and not may_abort():
            self._unaborted.append(operation)
            return
        with LIBXL:
            abort()

    def _stop_all(self) -> None:
        with self._gate:
            self._closing = True
        for operation in self.running():
            operation.stop("closed")

    def _expire(self) -> None:
        if not self._tasks:
            return
        unaborted, self._unaborted = self._unaborted, []
        for operation in unaborted:
            self._stop(operation)
        now = time.monotonic()
        for operation in self.running():
            if operation.deadline is not None and operation.deadline <= now and operation.stopped is None:
                operation.stop("timeout")
        for token, task in list(self._waiting.items()):
            if task.wait is not None and task.wait.until is not None and task.wait.until <= now:
                self._deliver(token, TIME_IS_UP)

    def _poll(self) -> list[Arrival]:
        """Wait for events and return them."""
        if self.rests and self.context != ffi.NULL:
            time.sleep(_AGAIN)
        found = lib.pyxen_loop_wait(self._c_loop, self.context, self._milliseconds(), self._events, _MOST_EVENTS)
        self._sink.flush()
        if found < 0:
            raise OSError(-found, f"libxl's event loop: {os.strerror(-found)}")
        arrivals: list[Arrival] = []
        for event in self._events[0:found]:
            if event.type == lib.PYXEN_READY:
                arrivals += self._on_ready(event.token)
            elif event.type == lib.PYXEN_REFUSED:
                self._on_refused(event.domid, event.code)
            else:
                arrivals.append((event.token, LibxlEvent(event.type, event.domid, event.code)))
        return arrivals

    def _milliseconds(self) -> int:
        """Return the milliseconds until the next deadline; -1 if there is no deadline."""
        if not self._tasks:
            return -1
        moments = [op.deadline for op in self._tasks if op.deadline is not None and op.stopped is None]
        moments += [wait.until for task in self._waiting.values() if (wait := task.wait) and wait.until is not None]
        if self._unaborted:
            moments.append(time.monotonic() + _AGAIN)
        left = bounded(min(moments) - time.monotonic()) if moments else None
        return -1 if left is None else math.ceil(left * 1000)
