"""Calls of an asyncio host: awaited in a task, run on threads, cancelled and undone.

Cancellation is handled in callbacks of `concurrent.futures`, on the thread that completes the call. So it works even if
the task does not wait for it, or its loop is closed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from io import FileIO
from typing import Any, Generic, TypeVar

from pyxen._asyncio import done
from pyxen._common.shield import logger
from pyxen._common.shortage import shortage, submitted
from pyxen.errors import DomainNotFound, Error, HostClosed, OperationFailed
from pyxen.operation import Operation

__all__ = ["Calls"]

T = TypeVar("T")

_LOG = logger("pyxen.aio")

_STAYS = "Cancelled, but it had already succeeded and cannot be undone: %s stays"

_NO_THREAD = "cannot start a thread"
_THREADS = 4  # their calls are short, and only one thread at a time can be in libxl


class Calls:
    """Makes the calls of one host on a small pool of threads and awaits them; any loop may use it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pyxen-aio")
        self._abandoned: set[Future[None]] = set()
        self._closing: _Closing | None = None
        self._gate = threading.Lock()  # two loops may close the host at once
        self._process = os.getpid()

    async def ask(self, look: Callable[[], T]) -> T:
        """Await a read-only call.

        Raises:
            HostClosed: The host was closed, or belongs to the parent process.
            OperationFailed: No thread can be started.
        """
        answer = self.submit(look)
        try:
            await done(answer)
        except BaseException:
            answer.cancel()  # has an effect only if it has not begun; its answer is harmless
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
        call = _Call(self, begin, undo)
        try:
            return await call.result(lost=lambda: self._abandon(call))
        except asyncio.CancelledError:
            await done(self._abandon(call))
            raise
        except (GeneratorExit, KeyboardInterrupt):  # the loop ends before the task: nothing can be awaited here
            self._abandon(call)
            raise

    async def acquire(self, get: Callable[[], T], *, give_back: Callable[[T], object]) -> T:
        """Acquire something that must be released. If the task is cancelled meanwhile, it is released here.

        Raises:
            HostClosed: The host was closed, or belongs to the parent process.
        """

        def begin() -> Operation[T]:
            operation: Operation[T] = Operation("open")
            operation.set_result(get())
            return operation

        return await self.finish(begin, undo=give_back)

    async def cancel_all(self, operations: Collection[Operation[Any]]) -> None:
        """Cancel operations, and wait until they are undone."""
        for operation in operations:
            operation.cancel()
        if isinstance(sys.exception(), GeneratorExit | KeyboardInterrupt):  # see `finish`
            return
        for operation in operations:
            await done(operation)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Make a call on a thread of the pool."""
        self._check_open()
        return submitted(self._threads, call, OperationFailed, _NO_THREAD)

    def undo(self, call: Callable[[], object]) -> None:
        """Make a call that undoes something, on a thread of its own, or of the pool, whose threads have less time."""
        try:
            with shortage(OperationFailed, _NO_THREAD):
                threading.Thread(target=call, name="pyxen-aio-undo").start()
        except OperationFailed:
            submitted(self._threads, call, OperationFailed, _NO_THREAD)

    def file(self, fd: int) -> FileIO:
        """Return a descriptor as a raw file, which closes it, and which does not block."""
        file = FileIO(fd, "r+")
        os.set_blocking(fd, False)
        return file

    async def close(self, last: Callable[[], None]) -> None:
        """Refuse further calls, wait until cancelled ones are undone, call `last`, and end the threads.

        Calling it again waits for the same close. Cancelling it does not stop the close.
        """
        if self._process != os.getpid():
            last()  # a forked child does not have the threads, so there is nothing to wait for
            return
        with self._gate:
            first = self._closing is None
            closing = self._closing = self._closing or _Closing(lambda: self._close(last))
        if first:
            closing.begin()
        await closing.end()

    def release(self) -> None:
        """Let the threads end by themselves, if no host was opened and there is nothing to close."""
        self._threads.shutdown(wait=False)

    def _close(self, last: Callable[[], None]) -> None:
        wait(list(self._abandoned))
        try:
            last()
        finally:
            self._threads.shutdown()

    def _abandon(self, call: _Call[Any]) -> Future[None]:
        over = call.abandon()
        self._abandoned.add(over)
        over.add_done_callback(self._abandoned.discard)
        return over

    def _check_open(self) -> None:
        if self._closing is not None or self._process != os.getpid():
            raise HostClosed("the host is closed, or was opened before a fork: open it again")


class _Call(Generic[T]):
    """A call that takes time: begun on a thread of the pool, completed by the thread that runs the operation.

    Args:
        calls: The calls of the host.
        begin: Begins the operation.
        undo: Undoes its success if the call was abandoned.
    """

    def __init__(self, calls: Calls, begin: Callable[[], Operation[T]], undo: Callable[[T], object] | None) -> None:
        self._begun = calls.submit(begin)
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
        await done(operation, lost)
        return operation.result()

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
