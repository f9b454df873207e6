"""The engine of a simulated host, which runs operations and guests' own actions on one thread, in order of time."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from pyxen._common.joinable import JoinableThread
from pyxen._common.shield import shielded
from pyxen._common.shortage import shortage
from pyxen._common.stopped import what_stays
from pyxen.backends.memory.clock import Clock
from pyxen.errors import (
    ConnectFailed,
    Error,
    HostClosed,
    InvalidArgument,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
)
from pyxen.operation import Operation, completing, describe

__all__ = ["LOST", "Engine", "Script", "Stopped", "Wait", "describe", "failed", "refused", "stopped"]

T = TypeVar("T")

_ERROR_FAIL: Final = -3
_ERROR_INVAL: Final = -6

LOST: Final = "lost"
"""The reason for stopping operations when their host goes away."""


class Stopped(Exception):
    """Raised in a waiting script when its operation is stopped. The script undoes its work and lets this propagate."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a script waits for: a time or a condition, whichever comes first."""

    until: float | None = None
    """A time of the clock."""
    ready: Callable[[], bool] | None = None
    """A condition."""
    abortable: bool = True
    """Whether the wait ends when the operation is stopped; False during cleanup."""
    outside: bool = False
    """Whether it is for a function of `Engine.outside`, while which virtual time stands still."""


Script = Generator[Wait, None, T]
"""The steps of an operation, each run under the engine's lock; it yields what it waits for between them."""


class _Task:
    """An operation and its script."""

    def __init__(
        self,
        operation: Operation[Any],
        script: Script[Any],
        owner: object,
        deadline: float | None,
        also: Engine | None,
        takes_time: bool,
    ) -> None:
        self.operation = operation
        self.also = also
        self.takes_time = takes_time
        self.script = script
        self.owner = owner
        self.deadline = deadline
        self.wait = Wait(until=float("-inf"))
        self.thrown = False

    def stops(self) -> bool:
        """Tell whether `Stopped` is to be raised in the script."""
        return self.operation.stopped is not None and self.wait.abortable and not self.thrown

    def goes_on(self, now: float) -> bool:
        """Tell whether the script's wait is over."""
        wait = self.wait
        return (wait.until is not None and now >= wait.until) or (wait.ready is not None and wait.ready())


class Engine:
    """Runs scripts and scheduled calls on its own thread, which exists while the host is in use.

    Attributes:
        clock: The clock.
        thread: The thread; None while the host is not in use.
    """

    def __init__(self, clock: Clock) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._pid = os.getpid()
        self.clock = clock
        self.thread: threading.Thread | None = None
        self._users = 0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._tasks: list[_Task] = []
        self._outbox: deque[Callable[[], object]] = deque()

    @property
    def is_inherited(self) -> bool:
        """Whether this is the child of a fork: the thread is the parent's, and so is what the host holds open."""
        return os.getpid() != self._pid

    @property
    def changed(self) -> threading.Condition:
        """The lock for all access to the host's state, and the condition for its changes.

        Raises:
            HostClosed: In the child of a fork, where a thread that does not exist there may hold it for ever.
        """
        if self.is_inherited:
            raise HostClosed("the host was opened before a fork: open it again")
        return self._changed

    def begin_use(self) -> None:
        """Add a user; the first one starts the thread.

        Raises:
            ConnectFailed: It cannot be started.
        """
        with self.changed:
            if self.thread is None:
                thread = JoinableThread(target=self._run, name="pyxen-memory", daemon=True)
                with shortage(ConnectFailed, "the simulated host cannot start a thread"):
                    thread.start()  # it waits for the lock
                self.thread = thread
            self._users += 1

    def end_use(self) -> None:
        """Remove a user after all its events have been delivered; the last one ends the thread."""
        delivered = threading.Event()
        with self.changed:
            thread = self.thread
            self.say(delivered.set)
            self._users -= 1
            last = self._users == 0
            if last:
                self.thread = None
            self.changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            delivered.wait()
            if last:
                thread.join()

    def is_me(self) -> bool:
        """Tell whether the caller is on the engine's thread, which must not wait for itself."""
        return threading.current_thread() is self.thread

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Schedule a call for a time."""
        with self.changed:
            heapq.heappush(self._timers, (time, next(self._count), call))
            self.changed.notify_all()

    def say(self, call: Callable[[], object]) -> None:
        """Queue a call to be made on the thread without the lock, after all calls queued before it."""
        with self.changed:
            self._outbox.append(call)
            self.changed.notify_all()

    def run(
        self,
        operation: Operation[T],
        script: Script[T],
        owner: object,
        timeout: float | None = None,
        also: Engine | None = None,
        takes_time: bool = True,
    ) -> Operation[T]:
        """Start an operation.

        Args:
            operation: The operation.
            script: Its steps.
            owner: Whose operation it is, for `stop`.
            timeout: Seconds after which it is stopped.
            also: The engine of another host that it changes: its events, too, are delivered before the operation ends.
            takes_time: Whether virtual time passes while it runs; False for one that only stands for a reader.
        """
        with self.changed:
            deadline = None if timeout is None else self.clock.now() + timeout
            task = _Task(operation, script, owner, deadline, also, takes_time)
            try:
                if self.thread is not None:
                    operation.carried_by(self._rouse, self.thread, self if also is None else None)  # else it needs both
                self._tasks.append(task)
            except BaseException:  # Ctrl-C: who waits for its end must not wait for what nobody carries out
                if task not in self._tasks:
                    operation.set_exception(describe(OperationCancelled, "it was not begun", operation))
                raise
            self.changed.notify_all()
        return operation

    def outside(self, function: Callable[[], T]) -> Script[T]:
        """Call a slow function on a thread of its own, without the lock, and return its result. A part of a script."""
        results: list[T] = []
        failures: list[BaseException] = []

        def call() -> None:
            try:
                with completing(self):  # the operation waits for this thread: a user's function must not for others
                    results.append(function())
            except BaseException as error:  # noqa: BLE001 (the script gets every error)
                failures.append(error)
            with self.changed:
                self.changed.notify_all()

        with shortage(OperationFailed, "cannot start a thread"):
            threading.Thread(target=call, name="pyxen-memory-outside", daemon=True).start()
        yield Wait(ready=lambda: bool(results or failures), abortable=False, outside=True)
        if failures:
            raise failures[0]
        return results[0]

    def stop(self, reason: str, owner: object = None) -> list[Operation[Any]]:
        """Stop the operations in progress, of one owner or of all, and return them."""
        with self.changed:
            found = [task.operation for task in self._tasks if owner is None or task.owner is owner]
            for operation in found:
                operation.stop(reason)
        return found

    def _rouse(self, _: Operation[Any]) -> None:
        with self.changed:
            self.changed.notify_all()

    # The rest runs on the thread

    def _run(self) -> None:
        me = threading.current_thread()
        with completing(self):
            while True:
                with self.changed:
                    if not self._advance() and not self._outbox:
                        if self.thread is not me:
                            return
                        self.clock.idle(self.changed, self._due(), busy=self._is_busy())
                    said, self._outbox = self._outbox, deque()
                while said:
                    shielded(said.popleft())  # nothing keeps a call that was made, and the host with it

    def _is_busy(self) -> bool:
        """Tell whether virtual time is to pass: somebody waits for an operation, and none for what is outside."""
        return any(task.takes_time for task in self._tasks) and not any(task.wait.outside for task in self._tasks)

    def _due(self) -> float | None:
        times = [self._timers[0][0]] if self._timers else []
        times += [task.wait.until for task in self._tasks if task.wait.until is not None]
        times += [task.deadline for task in self._tasks if task.deadline is not None and task.operation.stopped is None]
        return min(times, default=None)

    def _advance(self) -> bool:
        """Do one thing that is due; return False if nothing is due."""
        now = self.clock.now()
        task = next((task for task in self._tasks if task.stops() or task.goes_on(now)), None)
        if task is not None:
            self._step(task)
            return True
        if self._timers and self._timers[0][0] <= now:
            shielded(heapq.heappop(self._timers)[2])
            return True
        late = [task for task in self._tasks if task.deadline is not None and now >= task.deadline]
        return any(task.operation.stopped is None and task.operation.stop("timeout") for task in late)

    def _step(self, task: _Task) -> None:
        operation = task.operation
        try:
            if task.stops():
                task.thrown = True
                task.wait = task.script.throw(Stopped())
            else:
                task.wait = next(task.script)
        except StopIteration as end:
            self._end(task, partial(operation.set_result, end.value))
        except Stopped:
            self._end(task, partial(operation.set_exception, stopped(operation)))
        except BaseException as error:  # noqa: BLE001 (any exception goes to the caller who waits)
            self._end(task, partial(operation.set_exception, error))

    def _end(self, task: _Task, tell: Callable[[], object]) -> None:
        self._tasks.remove(task)
        also = task.also
        self._outbox.append(tell if also is None else lambda: also.say(tell))


def failed(operation: Operation[Any], line: str) -> OperationFailed:
    """Return the exception for what libxl refuses without a reason, except for a line in its log."""
    operation.log.append(line)
    return describe(OperationFailed, "failed (ERROR_FAIL)", operation, _ERROR_FAIL)


def refused(operation: Operation[Any], line: str) -> InvalidArgument:
    """Return the exception for a value that libxl refuses with a code of its own, and a line in its log."""
    operation.log.append(line)
    return describe(InvalidArgument, "libxl refuses a value (ERROR_INVAL)", operation, _ERROR_INVAL)


def stopped(operation: Operation[Any]) -> Error:
    """Return the exception for an operation that was stopped."""
    if operation.stopped == LOST:
        return ConnectFailed(f"{operation.verb}: the host went away")
    if operation.stopped == "timeout":
        return describe(OperationTimeout, f"the deadline passed; {what_stays(operation)}", operation)
    reason = "the host was closed" if operation.stopped == "closed" else "cancelled"
    return describe(OperationCancelled, f"{reason}; {what_stays(operation)}", operation)
