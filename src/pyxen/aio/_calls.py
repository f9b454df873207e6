"""Calls of an asyncio host: awaited in a task, run on threads, cancelled and undone.

Cancellation is handled in callbacks of `concurrent.futures`, on the thread that completes the call. So it works even if
the task does not wait for it, or its loop is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, InvalidStateError, ThreadPoolExecutor, wait
from functools import partial
from io import FileIO
from typing import Any, Final, Generic, TypeVar

from pyxen._asyncio import done
from pyxen._common.shield import logger
from pyxen._common.shortage import shortage, submitted
from pyxen.errors import DomainNotFound, Error, HostClosed, OperationCancelled, OperationFailed, UnsupportedFeature
from pyxen.operation import Operation, check_may_wait

__all__ = ["Calls"]

T = TypeVar("T")

_LOG = logger("pyxen.aio")

_STAYS = "Cancelled, but it had already succeeded and cannot be undone: %s stays"

_NOT_ENDED: Final = "Cancelled, but a commit that had begun has not ended in %s s: it may still be made"
_NO_THREAD = "cannot start a thread"
_THREADS: Final = 16  # so that some that are slow, such as over a link, do not hold up the others
_STEPPING: Final = 4  # more would only get in each other's way: they change the same store
_NOTICED: Final = 0.05
"""Seconds that an operation waits for a thread before that counts."""
_PATIENCE: Final = 5.0
"""Seconds to wait for threads that may never come back: those of users' functions, of openings, and of a commit."""


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
        self._abandoned: set[Future[None]] = set()
        self._left: set[Future[None]] = set()
        """Openings that nobody waits for any more."""
        self._closing: _Closing | None = None
        self._gate = threading.Lock()  # two loops may close the host at once
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
        call: _Call[T] = _Call(self, begin, undo)
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
        calls: list[_Call[Any]] = []
        errors: list[Error | None] = []

        def abandon() -> list[Future[None]]:
            return [self._abandon(call) for call in calls]

        try:
            for begin in begins:
                calls.append(_Call(self, begin))  # noqa: PERF401 (for `abandon`)
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
        getting = _Getting(self, get, give_back)
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
        """Make a call that undoes something, on a thread of its own, or of a pool, whose threads have less time."""
        try:
            with shortage(OperationFailed, _NO_THREAD):
                threading.Thread(target=call, name="pyxen-aio-undo").start()
        except OperationFailed:
            submitted(self._begins, call, OperationFailed, _NO_THREAD)  # it has a thread: it has begun what is undone

    def file(self, fd: int) -> FileIO:
        """Return a descriptor as a raw file, which closes it, and which does not block."""
        file = FileIO(fd, "r+")
        os.set_blocking(fd, False)
        return file

    async def close(self, last: Callable[[], None]) -> None:
        """Refuse further calls, wait until cancelled ones are undone, call `last`, and end the threads.

        Calling it again waits for the same close. Cancelling it does not stop the close.

        Raises:
            RuntimeError: A loop runs here in a callback of an operation. The host stays open.
        """
        if self._process != os.getpid():
            last()  # a forked child does not have the threads, so there is nothing to wait for
            return
        check_may_wait("close", "the host stays open. Close it on another thread", completer=self.completer)
        with self._gate:
            first = self._closing is None
            closing = self._closing = self._closing or _Closing(lambda: self._close(last))
        if first:
            closing.begin()
        await closing.end()

    def release(self) -> None:
        """Let the threads end by themselves, if no host was opened and there is nothing to close."""
        for pool in (self._looks, self._begins, self._steps):
            pool.shutdown(wait=False)

    def _close(self, last: Callable[[], None]) -> None:
        wait(list(self._abandoned))
        try:
            last()
        finally:
            self._looks.shutdown()
            self._begins.shutdown()
            # These change nothing any more. Users' functions may wait for whoever waits for this close.
            going_on = wait([*self._stepping, *self._left], timeout=_PATIENCE).not_done
            self._steps.shutdown(wait=not going_on)

    def _abandon(self, call: _Call[Any]) -> Future[None]:
        return _kept(self._abandoned, call.abandon())

    def _leave(self, getting: _Getting[Any]) -> None:
        _kept(self._left, getting.leave())

    def _submit(self, pool: Executor, call: Callable[[], T]) -> Future[T]:
        """Make a call on a thread of a pool, with the context variables of the caller."""
        self._check_open()
        return submitted(pool, partial(contextvars.copy_context().run, call), OperationFailed, _NO_THREAD)

    def _check_open(self) -> None:
        if self._closing is not None or self._process != os.getpid():
            raise HostClosed("the host is closed, or was opened before a fork: open it again")


def _kept(over: set[Future[None]], one: Future[None]) -> Future[None]:
    """Keep a future in a set until it is done."""
    over.add(one)
    one.add_done_callback(over.discard)
    return one


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


class _Getting(Generic[T]):
    """Gets something on a thread of its own, which does not keep the process from ending, and gives it back if left.

    Args:
        calls: The calls of the host.
        get: Gets it.
        give_back: Gives it back; may block.
    """

    def __init__(self, calls: Calls, get: Callable[[], T], give_back: Callable[[T], object]) -> None:
        self.answer: Future[T] = Future()
        self._calls = calls
        self._give_back = give_back
        self._left = self._given = False
        self._lock = threading.RLock()  # reentrant: `leave` is called in `set_result` if the loop is closed
        self._over: Future[None] = Future()
        run = partial(contextvars.copy_context().run, get)
        with shortage(OperationFailed, _NO_THREAD):
            threading.Thread(target=self._run, args=(run,), name="pyxen-aio-open", daemon=True).start()

    def _run(self, get: Callable[[], T]) -> None:
        try:
            got = get()
        except BaseException as error:  # noqa: BLE001 (it is raised to whoever waits for the answer)
            self._over.set_result(None)
            self.answer.set_exception(error)
            return
        with self._lock:
            if not self._left:
                self.answer.set_result(got)
            self._given = not self._left
        if not self._given:
            self._return(got)

    def leave(self) -> Future[None]:
        """Have it given back, whether it has come or is yet to come, and return at once. It may be called again.

        Returns:
            A future that is done when it has been given back.
        """
        with self._lock:
            begins, self._left = self._given and not self._left, True
        if begins:
            got = self.answer.result()
            try:
                self._calls.undo(lambda: self._return(got))
            except OperationFailed:
                _LOG.exception(_STAYS, got)
                self._over.set_result(None)
        return self._over

    def _return(self, got: T) -> None:
        try:
            self._give_back(got)
        except (DomainNotFound, HostClosed):  # it has ended with what it belongs to
            pass
        except Error:
            _LOG.exception(_STAYS, got)
        finally:
            self._over.set_result(None)


class _Call(Generic[T]):
    """A call that takes time: begun on a thread, completed by the thread that runs the operation.

    Args:
        calls: The calls of the host.
        begin: Begins the operation.
        undo: Undoes its success if the call was abandoned.
    """

    def __init__(
        self,
        calls: Calls,
        begin: Callable[[], Operation[T]],
        undo: Callable[[T], object] | None = None,
    ) -> None:
        self._waited = 0.0
        called = time.monotonic()

        def run() -> Operation[T]:
            self._waited = time.monotonic() - called
            return begin()

        self._begun = calls.begin(run)
        self._calls = calls
        self._undo = undo
        self._over: Future[None] = Future()
        self._once = threading.Lock()

    async def result(self, *, lost: Callable[[], object]) -> T:
        """Await the end and return the result.

        Args:
            lost: Called on any thread if the loop is closed when the call ends.
        """
        await done(self._begun, lost)
        operation = self._begun.result()
        with self._in_time(operation):
            await done(operation, lost)
        return operation.result()

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

    def abandon(self) -> Future[None]:
        """Cancel the call because its result is no longer wanted, and return at once. It may be called again.

        Returns:
            A future that is done when the call has been undone.
        """
        if self._once.acquire(blocking=False):
            self._begun.cancel()  # has an effect only if it is still waiting for a thread
            self._begun.add_done_callback(self._cancel)
        return self._over

    def _cancel(self, begun: Future[Operation[T]]) -> None:
        if begun.cancelled() or begun.exception() is not None:
            self._over.set_result(None)
        else:
            operation = begun.result()
            operation.cancel()
            operation.add_done_callback(self._ended)

    def _ended(self, operation: Future[T]) -> None:
        if self._undo is None or operation.exception() is not None:
            self._over.set_result(None)
            return
        # It was too late to cancel. Undo on another thread: this one may run the operations, or the loop.
        undo, result = self._undo, operation.result()
        try:
            self._calls.undo(lambda: self._undo_success(undo, result))
        except OperationFailed:
            _LOG.exception(_STAYS, result)
            self._over.set_result(None)

    def _undo_success(self, undo: Callable[[T], object], result: T) -> None:
        try:
            undo(result)
        except DomainNotFound:
            pass
        except Error:
            _LOG.exception(_STAYS, result)
        finally:
            self._over.set_result(None)


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
            with shortage(OperationFailed, _NO_THREAD):
                self._thread.start()
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
