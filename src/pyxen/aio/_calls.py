"""Calls of an asyncio host: awaited in a task, run on threads, cancelled and undone.

When the host is closed, also at the end of the program, each call has been delivered to its task or is undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from io import FileIO
from typing import Any, Final, TypeVar

from pyxen._asyncio import done
from pyxen._common.shield import logger, report
from pyxen._common.shortage import submitted
from pyxen.aio._pending import Call, Getting
from pyxen.aio._threads import NO_THREAD, Daemons, start
from pyxen.errors import Error, HostClosed, OperationCancelled, OperationFailed, UnsupportedFeature
from pyxen.operation import Operation, StopReason, check_may_wait

__all__ = ["Calls"]

T = TypeVar("T")

_LOG = logger("pyxen.aio")

_NOT_ENDED: Final = "Cancelled, but a commit that had begun has not ended in %s s: it may still be made"
_NOT_UNDONE: Final = "%d calls were stopped and are not undone in %g s: what they have begun may stay"
_THREADS: Final = 16  # so that some that are slow, such as over a link, do not hold up the others
_STEPPING: Final = 4  # more would only get in each other's way: they change the same store
_PATIENCE: Final = 5.0
"""Seconds to wait for threads that may never come back: those of users' functions, of openings, and of a commit."""
_TO_UNDO: Final = 300.0
"""Seconds from the beginning of a close until calls in progress are undone: as long as a server takes for that."""
_AGAIN: Final = 1.0
"""Seconds after which calls are stopped again that are not undone."""
_TICK: Final = 0.05
"""Seconds between looks for something to undo that has no thread."""


class Calls:
    """Makes the calls of one host on threads and awaits them; any loop may use it.

    What may be slow has threads of its own, so that it holds up nothing else: an opening has one, and the functions of
    users in `attempt` have some, which do not keep the program from ending. Operations do not wait for what only looks.
    """

    def __init__(self) -> None:
        self._looks = Daemons(_THREADS, "pyxen-aio-ask")
        self._begins = Daemons(_THREADS, "pyxen-aio-begin")
        self._steps = Daemons(_STEPPING, "pyxen-aio-change")
        self._changes: set[Future[Any]] = set()
        """Changes in progress that cannot be undone."""
        # What follows is changed in single steps: Ctrl-C comes before or after each.
        self._going: dict[Future[None], Call[Any]] = {}
        """Calls that no task has the result of, and that are not undone, by their `over`."""
        self._left: dict[Future[None], Getting[Any]] = {}
        """Openings that nobody waits for any more, by their `over`."""
        self._undoes: deque[Callable[[], object]] = deque()
        """What is to be undone by the thread that closes the host, because there is no other."""
        self._closed = False
        self._closing: _Closing | None = None
        # For `_closed`, `_closing` and `_going`. Reentrant: garbage collection may end a coroutine of the user's, which
        # makes calls, on the thread that has it.
        self._gate = threading.RLock()
        self._process = os.getpid()
        self.completer: object = None
        """What completes the operations of the host; see `pyxen.operation.completing`. None while it is not open."""

    @property
    def opening(self) -> bool:
        """Whether an opening that was cancelled still goes on."""
        return bool(self._left)

    async def ask(self, look: Callable[[], T]) -> T:
        """Await a read-only call.

        Raises:
            HostClosed: The host was closed, or belongs to the parent process.
            OperationFailed: No thread can be started.
        """
        answer = self._submit(self._looks, look)
        try:
            await done(answer)
        except BaseException:
            answer.cancel()  # has an effect only if it has not begun; its answer is harmless
            raise
        return answer.result()

    async def change(self, make: Callable[[], T]) -> T:
        """Await a call that changes something and cannot be stopped. If the task is cancelled, it ends first.

        Raises:
            HostClosed: The host was closed, or belongs to the parent process.
            OperationFailed: No thread can be started.
        """
        return await _ended(self._changing(self._submit(self._looks, make)))

    async def attempt(self, make: Callable[[Callable[[bool], None]], T]) -> T:
        """Await a call that changes something in steps. If the task is cancelled, it ends before its next step.

        The cancel waits for a step that changes something, for a while. It does not wait for another, which may be a
        function of the user's, and which may wait for what the cancelled task does next.

        Args:
            make: Makes the change, on a thread. It calls the function that it gets before each step, with whether that
                step changes something. This raises if the change is no longer wanted.

        Raises:
            HostClosed: The host was closed, or belongs to the parent process.
            OperationFailed: No thread can be started.
        """
        lock, unwanted, changing = threading.RLock(), False, False  # reentrant, as `_gate`

        def go_on(changes: bool) -> None:
            nonlocal changing
            self._check_open()
            with lock:  # a cancel comes either before the step, or finds that it has begun
                if unwanted:
                    raise OperationCancelled("cancelled before it was done")
                changing = changes

        answer = self._changing(self._submit(self._steps, partial(make, go_on)))
        try:
            await done(answer)
        except BaseException:
            with lock:
                unwanted = True
            if not answer.cancel() and changing and isinstance(sys.exception(), asyncio.CancelledError):
                await _patiently(answer)
            raise
        return answer.result()

    async def finish(self, begin: Callable[[], Operation[T]], *, undo: Callable[[T], object] | None = None) -> T:
        """Begin an operation and await its end. If the task is cancelled, the operation is undone first.

        Args:
            begin: Begins the operation, on a thread.
            undo: Undoes an operation that succeeded although the task was cancelled; may block.

        Raises:
            HostClosed: The host was closed, or belongs to the parent process.
            OperationFailed: No thread can be started.
        """
        # A loop that runs in a callback of an operation would hold up what it waits for.
        check_may_wait(completer=self.completer)
        call = self._call(begin, undo)
        try:
            result = await call.result(lost=lambda: self._abandon(call))
            call.take()
            self._going.pop(call.over, None)
            return result  # within `try`: Ctrl-C may come even now
        except asyncio.CancelledError:
            await done(self._abandon(call, mine=True))
            raise
        except BaseException:  # its own failure; or the loop ends before the task, and nothing can be awaited here
            self._abandon(call, mine=True)
            raise

    async def finish_each(self, begins: Sequence[Callable[[], Operation[Any]]]) -> list[Error | None]:
        """Begin operations side by side, await all, and return the error of each, or None.

        If the task is cancelled, all are undone first.

        Raises:
            UnsupportedFeature: One cannot be begun for want of a feature, and so none of them.
            HostClosed: The host was closed, or belongs to the parent process.
            OperationFailed: No thread can be started.
        """
        check_may_wait(completer=self.completer)
        calls: list[Call[Any]] = []
        errors: list[Error | None] = []

        def abandon() -> list[Future[None]]:
            return [self._abandon(call, mine=True) for call in calls]

        try:
            for begin in begins:
                calls.append(self._call(begin))  # noqa: PERF401 (for `abandon`)
            for call in calls:
                try:
                    await call.result(lost=abandon)
                except Error as error:
                    if isinstance(error, UnsupportedFeature) and call.is_refused():
                        raise
                    errors.append(error)
                else:
                    errors.append(None)
                self._going.pop(call.over, None)  # it has ended, and cannot be undone
        except BaseException:
            over = abandon()
            if not isinstance(sys.exception(), GeneratorExit | KeyboardInterrupt):  # see `finish`
                for one in over:
                    await done(one)
            raise
        return errors

    async def acquire(self, get: Callable[[], T], *, give_back: Callable[[T], object]) -> T:
        """Acquire something that must be released. If the task is cancelled meanwhile, what then comes is released.

        The cancel does not wait for that: whom it is acquired from may not answer.

        Raises:
            HostClosed: The host was closed, or belongs to the parent process.
            OperationFailed: No thread can be started.
        """
        self._check_open()
        getting = Getting(self, get, give_back)
        try:
            getting.begin()
            await done(getting.answer, lambda: self._leave(getting))
        except BaseException:  # also one that ends the loop
            self._leave(getting)
            raise
        return getting.answer.result()

    def begin(self, call: Callable[[], T], answer: Future[T]) -> None:
        """Begin an operation on a thread."""
        self._submit(self._begins, call, answer)

    def undo(self, call: Callable[[], object]) -> None:
        """Make a call that undoes something, on a thread of its own.

        If there is none, a pool makes it, whose threads have less time, or the thread that closes the host. When the
        program ends, Python 3.12 starts no threads any more.

        Raises:
            OperationFailed: No thread can be started, and the host is not being closed.
        """
        try:
            # A daemon: at exit, Python would wait for it without a bound, before `settle`, which has one.
            start(threading.Thread(target=call, name="pyxen-aio-undo", daemon=True))
        except OperationFailed:
            try:
                submitted(self._begins, call, OperationFailed, NO_THREAD)  # its threads have begun what is undone
            except OperationFailed:
                if not self._closed:
                    raise
                self._undoes.append(call)

    def file(self, fd: int) -> FileIO:
        """Return a descriptor as a raw file, which closes it, and which does not block."""
        file = FileIO(fd, "r+")
        os.set_blocking(fd, False)
        return file

    async def close(self, last: Callable[[], None]) -> None:
        """Refuse further calls, call `last`, and end the threads.

        Calling it again waits for the same close. Cancelling it does not stop the close.

        Args:
            last: Calls `settle`, and closes the host.

        Raises:
            RuntimeError: A loop runs here in a callback of an operation. The host stays open.
        """
        if self._process != os.getpid():
            last()  # a forked child does not have the threads, so there is nothing to wait for
            return
        if sys.is_finalizing():
            return  # it was closed at exit, and nothing can be waited for
        check_may_wait("close", "the host stays open. Close it on another thread", completer=self.completer)
        with self._gate:
            self._closed = True
            closing = self._closing = self._closing or _Closing(lambda: self._close(last))
        closing.begin()
        await closing.end()

    async def closed(self) -> None:
        """Wait for the end of the close, if one was begun in this process."""
        if self._closing is not None and self._process == os.getpid():
            await self._closing.end()

    def settle(self) -> None:
        """Refuse further calls, and stop those in progress; wait until they and the cancelled ones are undone.

        It waits for no task: those that have not heard of their success will hear that it was undone. It may be called
        again, on any thread, also when the program ends.
        """
        if self._process != os.getpid():
            return
        with self._gate:
            self._closed = True
        again, end = 0.0, time.monotonic() + _TO_UNDO
        while going := self._going.copy():
            now = time.monotonic()
            if now > end:
                _LOG.error(_NOT_UNDONE, len(going), _TO_UNDO)
                break
            if now >= again:  # Ctrl-C may have interrupted whoever abandoned one
                for call in going.values():
                    self._abandon(call, "closed")
                again = now + _AGAIN
            wait(going, timeout=_TICK)
            self._undo_here()
        for getting in self._left.copy().values():
            getting.leave()
        wait(self._changes.copy(), timeout=_PATIENCE)

    def _undo_here(self) -> None:
        while self._undoes:
            with contextlib.suppress(IndexError):  # another thread was quicker
                undo = self._undoes.popleft()
                try:
                    undo()
                except Exception as error:  # noqa: BLE001 (others are undone, and the host is closed, all the same)
                    report(error)

    def release(self) -> None:
        """Let the threads end, if no host was opened and there is nothing to close."""
        for pool in (self._looks, self._begins, self._steps):
            pool.end()

    def _close(self, last: Callable[[], None]) -> None:
        try:
            last()
        finally:
            self._looks.end(_PATIENCE)
            self._begins.end(_PATIENCE)
            # These change nothing any more. Users' functions may wait for whoever waits for this close.
            wait([*self._changes.copy(), *self._left.copy()], timeout=_PATIENCE)
            self._steps.end()

    def _call(self, begin: Callable[[], Operation[T]], undo: Callable[[T], object] | None = None) -> Call[T]:
        def begin_if_open() -> Operation[T]:
            self._check_open()  # it may have waited long for a thread
            return begin()

        self._check_open()  # first: in the child of a fork, another thread may hold the lock for ever
        with self._gate:  # `settle` refuses the call, or sees it
            self._check_open()
            call = Call(self, begin_if_open, undo)
            call.over.add_done_callback(self._forget)
            self._going[call.over] = call
        try:
            call.begin()
        except BaseException:
            self._abandon(call, mine=True)
            raise
        return call

    def _forget(self, over: Future[None]) -> None:
        self._going.pop(over, None)
        self._left.pop(over, None)

    def _abandon(self, call: Call[Any], reason: StopReason = "cancelled", *, mine: bool = False) -> Future[None]:
        """Abandon a call: see there. Return a future that is done when the call has been undone."""
        if not self._can_undo():
            nothing: Future[None] = Future()
            nothing.set_result(None)
            return nothing
        if mine and not call.over.done():
            self._going[call.over] = call  # again, if its task had taken the result
        call.abandon(reason, mine=mine)
        return call.over

    def _leave(self, getting: Getting[Any]) -> None:
        if self._can_undo():
            self._left[getting.over] = getting
            getting.over.add_done_callback(self._forget)
            getting.leave()

    def _can_undo(self) -> bool:
        """Tell whether the threads that undo are there: not in the child of a fork, and not when Python ends."""
        return self._process == os.getpid() and not sys.is_finalizing()

    def _submit(self, pool: Daemons, call: Callable[[], T], answer: Future[T] | None = None) -> Future[T]:
        """Make a call on a thread of a pool, with the context variables of the caller."""
        self._check_open()
        return submitted(pool, partial(contextvars.copy_context().run, call), OperationFailed, NO_THREAD, answer)

    def _changing(self, change: Future[T]) -> Future[T]:
        """Keep a change until it is done."""
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)
        return change

    def _check_open(self) -> None:
        if self._closed or self._process != os.getpid():
            raise HostClosed("the host is closed, or was opened before a fork: open it again")


async def _ended(change: Future[T]) -> T:
    """Await a change. If the task is cancelled, await its end first; a second cancel does not wait.

    What has not begun is not made.
    """
    try:
        await done(change)
    except asyncio.CancelledError:
        if not change.cancel():
            await done(change)
        raise
    except BaseException:  # nothing can be awaited here
        change.cancel()
        raise
    return change.result()


async def _patiently(commit: Future[Any]) -> None:
    """Await the end of a commit, which has none if xenstored hangs."""
    await done(commit, seconds=_PATIENCE)
    if not commit.done():
        _LOG.warning(_NOT_ENDED, _PATIENCE)


class _Closing:
    """A close that runs once, and that any number of tasks can wait for.

    It runs on a separate thread. If none can be started, it runs here, and the loop waits for it.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._end: Future[None] = Future()
        self._begun = threading.Lock()  # acquired by the thread that closes
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin to close, unless that has begun: Ctrl-C may have come in an earlier call."""
        if self._begun.locked():
            return
        thread = threading.Thread(target=self._run, name="pyxen-aio-close")
        try:
            start(thread)
        except OperationFailed:
            self._run()
        else:
            self._thread = thread

    def _run(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self._close()
        except BaseException as error:  # noqa: BLE001 (it is raised in the tasks that wait)
            self._end.set_exception(error)
        else:
            self._end.set_result(None)

    async def end(self) -> None:
        await done(self._end)
        if self._thread is not None:
            self._thread.join()  # the thread is about to end
        self._end.result()
