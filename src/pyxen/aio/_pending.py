"""What the tasks of an asyncio host wait for. Each task gets it, or else it is given back: never neither.

Giving back begins in callbacks of `concurrent.futures`, on the thread that completes the call. So it works even if the
task does not wait for it, or its loop is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from pyxen._asyncio import done
from pyxen._common.owner_thread import OwnerThread
from pyxen._common.shield import logger
from pyxen.aio._threads import start
from pyxen.errors import DomainNotFound, Error, HostClosed, OperationCancelled, OperationFailed
from pyxen.operation import Operation, StopReason, describe

__all__ = ["Call", "Getting"]

T = TypeVar("T")

_LOG = logger("pyxen.aio")

_STAYS: Final = "Cancelled, but it had already succeeded and cannot be undone: %s stays"
_NOTICED: Final = 0.05
"""Seconds that an operation waits for a thread before that counts."""


class _Threads(Protocol):
    """What makes calls on other threads: `pyxen.aio._calls.Calls`."""

    def begin(self, call: Callable[[], T], answer: Future[T]) -> None: ...
    def undo(self, call: Callable[[], object]) -> None: ...


class _GivingBack(Generic[T]):
    """Gives back what no task gets, once. Its methods may be called again: Ctrl-C may have come in the first time.

    Args:
        threads: Has threads for it.
        give_back: Gives it back; may block. None if there is nothing to give back.
        gone: The errors that mean that it has ended by itself.
    """

    def __init__(
        self, threads: _Threads, give_back: Callable[[T], object] | None, gone: tuple[type[Error], ...]
    ) -> None:
        self.over: Future[None] = Future()
        """Done when it was given back, or need not be."""
        self._threads = threads
        self._give_back = give_back
        self._gone = gone
        self._once = threading.Lock()  # acquired by the thread that gives it back, which no Ctrl-C interrupts

    def skip(self) -> None:
        """Give nothing back."""
        with contextlib.suppress(InvalidStateError):  # it is over
            self.over.set_result(None)

    def begin(self, got: T) -> None:
        """Give it back on another thread: this one may run the operations, or the loop."""
        if self._give_back is None:
            self.skip()
            return
        try:
            self._threads.undo(partial(self.now, got))
        except OperationFailed:
            _LOG.exception(_STAYS, got)
            self.skip()

    def now(self, got: T) -> None:
        """Give it back on this thread."""
        if not self._once.acquire(blocking=False):
            return
        try:
            if self._give_back is not None:
                self._give_back(got)
        except self._gone:
            pass
        except Error:
            _LOG.exception(_STAYS, got)
        finally:
            self.skip()


class Getting(Generic[T]):
    """Gets something on a thread of its own, which does not keep the process from ending, and gives it back if left.

    Args:
        threads: Has threads for the giving back.
        get: Gets it.
        give_back: Gives it back; may block.
    """

    def __init__(self, threads: _Threads, get: Callable[[], T], give_back: Callable[[T], object]) -> None:
        self.answer: Future[T] = Future()
        self._back = _GivingBack(threads, give_back, (DomainNotFound, HostClosed))  # it ends with what it belongs to
        self.over = self._back.over
        """Done when it was given back after all."""
        self._left = self._given = False
        self._lock = threading.RLock()  # reentrant: `leave` is called in `set_result` if the loop is closed
        run = partial(contextvars.copy_context().run, get)
        self._thread = OwnerThread(lambda: self._run(run), self._back.skip, name="pyxen-aio-open")

    def begin(self) -> None:
        """Begin to get it. If that raises, it is left, or is never begun.

        Raises:
            OperationFailed: No thread can be started.
        """
        start(self._thread)

    def _run(self, get: Callable[[], T]) -> None:
        try:
            got = get()
        except BaseException as error:  # noqa: BLE001 (it is raised to whoever waits for the answer)
            self._back.skip()
            self.answer.set_exception(error)
            return
        with self._lock:
            if not self._left:
                self.answer.set_result(got)
            self._given = not self._left
        if not self._given:
            self._back.now(got)

    def leave(self) -> None:
        """Have it given back, whether it has come or is yet to come, and return at once. It may be called again."""
        with self._lock:
            self._left = True
            given = self._given
        if given:
            self._back.begin(self.answer.result())


class Call(Generic[T]):
    """A call that takes time: begun on a thread, completed by the thread that runs the operation.

    Its task takes the result, or it is abandoned: whichever is first. A result that was abandoned is undone, and its
    task does not get it any more, even if it was not cancelled.

    Args:
        threads: Has threads for it.
        begin: Begins the operation.
        undo: Undoes its success if the call was abandoned.
    """

    def __init__(
        self, threads: _Threads, begin: Callable[[], Operation[T]], undo: Callable[[T], object] | None = None
    ) -> None:
        self._threads = threads
        self._begin = begin
        self._waited = 0.0
        self._undoes = undo is not None
        self._back = _GivingBack(threads, undo, (DomainNotFound,))
        self.over = self._back.over
        """Done when it was abandoned, and has been undone or needs no undoing."""
        self._begun: Future[Operation[T]] = Future()
        # No locks: garbage collection may abandon it on any thread, and Ctrl-C interrupt the thread that has one.
        self._taken = self._abandoned = False
        self._reason: StopReason = "cancelled"

    def begin(self) -> None:
        """Have a thread begin the operation.

        Raises:
            OperationFailed: No thread can be started.
        """
        called = time.monotonic()

        def run() -> Operation[T]:
            self._waited = time.monotonic() - called
            return self._begin()

        self._threads.begin(run, self._begun)

    async def result(self, *, lost: Callable[[], object]) -> T:
        """Await the end and return the result, which the task has not taken yet.

        Args:
            lost: Called on any thread if the loop is closed when the call ends.
        """
        await done(self._begun, lost)
        operation = self._begun.result()
        with self._in_time(operation):
            await done(operation, lost)
        return operation.result()

    def take(self) -> None:
        """Take the result for the task.

        Raises:
            OperationCancelled: The call was abandoned before this task heard of its success: the host was closed.
        """
        self._taken = True
        if self._abandoned and self._undoes:  # looked at last, as in `abandon`: one of the two sees the other
            message = "the host was closed; what it had done was undone"
            raise describe(OperationCancelled, message, self._begun.result())

    @contextlib.contextmanager
    def _in_time(self, operation: Operation[T]) -> Iterator[None]:
        """Count the deadline of an operation from the call, if it has waited for a thread."""
        now, deadline = time.monotonic(), operation.deadline
        if deadline is None or deadline <= now or self._waited < _NOTICED:  # one without any time only looks
            yield
            return
        left = max(0.0, deadline - self._waited - now)
        late = asyncio.get_running_loop().call_later(left, operation.stop, "timeout")
        try:
            yield
        finally:
            late.cancel()

    def is_refused(self) -> bool:
        """Tell whether its operation could not be begun."""
        return self._begun.done() and not self._begun.cancelled() and self._begun.exception() is not None

    def abandon(self, reason: StopReason, *, mine: bool = False) -> None:
        """Stop the call because its result is no longer wanted, and return at once. It may be called again.

        Args:
            reason: ``cancelled``: its task does not wait for it any more. ``closed``: it may, and hears of the stop.
            mine: Whether its task says so, which then returns no result, even if it has taken it.
        """
        if not self._abandoned:
            self._reason = reason
        self._abandoned = True
        if mine:
            self._taken = False
        elif self._taken:
            return
        if reason == "cancelled":
            self._begun.cancel()  # has an effect only if it is still waiting for a thread
        self._begun.add_done_callback(self._stop)

    def _stop(self, begun: Future[Operation[T]]) -> None:
        if begun.cancelled() or begun.exception() is not None:
            self._back.skip()
        else:
            operation = begun.result()
            operation.stop(self._reason)
            operation.add_done_callback(self._ended)

    def _ended(self, operation: Future[Any]) -> None:
        if operation.exception() is not None:
            self._back.skip()
        else:
            self._back.begin(operation.result())  # it was too late to stop it
