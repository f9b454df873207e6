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
from concurrent.futures import Executor, Future, InvalidStateError, ThreadPoolExecutor, wait
from functools import partial
from io import FileIO
from typing import Any, Final, TypeVar
from weakref import WeakSet

from pyxen._asyncio import done
from pyxen._common.shield import logger, report
from pyxen._common.shortage import submitted
from pyxen.aio._pending import Call, Getting
from pyxen.aio._threads import NO_THREAD, start
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
_TICK: Final = 0.05
"""Seconds between looks for something to undo that has no thread."""


class Calls:
    """Makes the calls of one host on threads and awaits them; any loop may use it.

    What may be slow has threads of its own, so that it holds up nothing else: an opening has one, and the functions of
    users in `attempt` have a pool. Operations do not wait for what only looks.
    """

    def __init__(self) -> None:
        self._looks = ThreadPoolExecutor(_THREADS, thread_name_prefix="pyxen-aio-ask")
        self._begins = ThreadPoolExecutor(_THREADS, thread_name_prefix="pyxen-aio-begin")
        self._steps = ThreadPoolExecutor(_STEPPING, thread_name_prefix="pyxen-aio-change")
        self._stepping: set[Future[Any]] = set()
        self._going: WeakSet[Call[Any]] = WeakSet()
        """Calls in progress. A task that is collected abandons its call."""
        self._abandoned: set[Future[None]] = set()
        self._left: set[Future[None]] = set()
        """Openings that nobody waits for any more."""
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
        return await _ended(self._submit(self._looks, make))

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
        lock, unwanted, changing = threading.Lock(), False, False

        def go_on(changes: bool) -> None:
            nonlocal changing
            self._check_open()
            with lock:  # a cancel comes either before the step, or finds that it has begun
                if unwanted:
                    raise OperationCancelled("cancelled before it was done")
                changing = changes

        answer = self._submit(self._steps, partial(make, go_on))
        self._stepping.add(answer)
        answer.add_done_callback(self._stepping.discard)
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
            return await call.result(lost=lambda: self._abandon(call))
        except asyncio.CancelledError:
            await done(self._abandon(call))
            raise
        except (GeneratorExit, KeyboardInterrupt):  # the loop ends before the task: nothing can be awaited here
            self._abandon(call)
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
            return [self._abandon(call) for call in calls]

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
            await done(getting.answer, lambda: self._leave(getting))
        except BaseException:  # also one that ends the loop
            self._leave(getting)
            raise
        return getting.answer.result()

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Begin an operation on a thread."""
        return self._submit(self._begins, call)

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
            first = self._closing is None
            closing = self._closing = self._closing or _Closing(lambda: self._close(last))
        if first:
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
            going = list(self._going)
        for call in going:
            self._abandon(call, "closed")
        end = time.monotonic() + _TO_UNDO
        while left := wait(list(self._abandoned), timeout=_TICK).not_done:
            self._undo_here()
            if time.monotonic() > end:
                _LOG.error(_NOT_UNDONE, len(left), _TO_UNDO)
                return

    def _undo_here(self) -> None:
        while self._undoes:
            with contextlib.suppress(IndexError):  # another thread was quicker
                undo = self._undoes.popleft()
                try:
                    undo()
                except Exception as error:  # noqa: BLE001 (others are undone, and the host is closed, all the same)
                    report(error)

    def release(self) -> None:
        """Let the threads end by themselves, if no host was opened and there is nothing to close."""
        for pool in (self._looks, self._begins, self._steps):
            pool.shutdown(wait=False)

    def _close(self, last: Callable[[], None]) -> None:
        try:
            last()
        finally:
            self._looks.shutdown()
            self._begins.shutdown()
            # These change nothing any more. Users' functions may wait for whoever waits for this close.
            going_on = wait([*self._stepping, *self._left], timeout=_PATIENCE).not_done
            self._steps.shutdown(wait=not going_on)

    def _call(self, begin: Callable[[], Operation[T]], undo: Callable[[T], object] | None = None) -> Call[T]:
        def begin_if_open() -> Operation[T]:
            self._check_open()  # it may have waited long for a thread
            return begin()

        self._check_open()  # first: in the child of a fork, another thread may hold the lock for ever
        with self._gate:  # `settle` refuses the call, or sees it
            call = Call(self, begin_if_open, undo)
            self._going.add(call)
        return call

    def _abandon(self, call: Call[Any], reason: StopReason = "cancelled") -> Future[None]:
        if not self._can_undo():
            nothing: Future[None] = Future()
            nothing.set_result(None)
            return nothing
        over = call.abandon(reason)
        _keep(self._abandoned, over)
        return over

    def _leave(self, getting: Getting[Any]) -> None:
        if self._can_undo():
            _keep(self._left, getting.leave())

    def _can_undo(self) -> bool:
        """Tell whether the threads that undo are there: not in the child of a fork, and not when Python ends."""
        return self._process == os.getpid() and not sys.is_finalizing()

    def _submit(self, pool: Executor, call: Callable[[], T]) -> Future[T]:
        """Make a call on a thread of a pool, with the context variables of the caller."""
        self._check_open()
        return submitted(pool, partial(contextvars.copy_context().run, call), OperationFailed, NO_THREAD)

    def _check_open(self) -> None:
        if self._closed or self._process != os.getpid():
            raise HostClosed("the host is closed, or was opened before a fork: open it again")


def _keep(over: set[Future[None]], one: Future[None]) -> None:
    """Keep a future in a set until it is done."""
    over.add(one)
    one.add_done_callback(over.discard)


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
    """Await the end of a commit, which has none if xenstored hangs.

    It does not use `asyncio.timeout`, which takes itself for the cancel of the task in Python 3.11.
    """
    over: Future[None] = Future()

    def end(_: object = None) -> None:
        with contextlib.suppress(InvalidStateError):  # the other one was first
            over.set_result(None)

    commit.add_done_callback(end)
    late = asyncio.get_running_loop().call_later(_PATIENCE, end)
    try:
        await done(over)
    finally:
        late.cancel()
    if not commit.done():
        _LOG.warning(_NOT_ENDED, _PATIENCE)


class _Closing:
    """A close that runs once, and that any number of tasks can wait for.

    It runs on a separate thread. If none can be started, it runs here, and the loop waits for it.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._end: Future[None] = Future()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin to close; called once."""
        self._thread = threading.Thread(target=self._run, name="pyxen-aio-close")
        try:
            start(self._thread)
        except OperationFailed:
            self._thread = None
            self._run()

    def _run(self) -> None:
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
