"""From a task to the threads that do the work, and back: how the calls of a host are awaited, cancelled and undone.

Whatever must happen when a task is cancelled happens in callbacks of `concurrent.futures`, on whichever thread brings
the end. So it happens too when the task does not wait for it, or its loop is no more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

from pyxen._asyncio import done
from pyxen.errors import DomainNotFound, Error, HostClosed
from pyxen.operation import Operation

__all__ = ["Calls"]

T = TypeVar("T")

_LOG = logging.getLogger("pyxen.aio")

_THREADS = 4  # calls on them are short, and most of libxl's time is spent on the one thread that may be in it


class Calls:
    """Makes the calls of one host on a few threads of its own, and awaits them; any loop may use it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pyxen-aio")
        self._abandoned: set[Future[None]] = set()
        self._closing: _Closing | None = None
        self._process = os.getpid()

    async def ask(self, look: Callable[[], T]) -> T:
        """Await a call that only looks.

        Raises:
            HostClosed: The host was closed, or belongs to the parent of this process.
        """
        self._check_open()
        answer = self._threads.submit(look)
        try:
            await done(answer)
        except BaseException:
            answer.cancel()  # helps only if it has not begun; its answer does no harm
            raise
        return answer.result()

    async def finish(self, begin: Callable[[], Operation[T]], *, undo: Callable[[T], object] | None = None) -> T:
        """Await an operation, from before it is begun to its end; a cancelled one is undone first.

        Args:
            begin: Begins it, on a thread.
            undo: Undoes a success that came although the task was cancelled, and that nobody will see; may block.

        Raises:
            HostClosed: The host was closed, or belongs to the parent of this process.
        """
        self._check_open()
        call = _Call(self._threads, begin, undo)
        try:
            return await call.result(lost=lambda: self._abandon(call))
        except asyncio.CancelledError:
            await done(self._abandon(call))
            raise
        except GeneratorExit:  # the loop was closed without an end of the task: nothing can be awaited here
            self._abandon(call)
            raise

    async def acquire(self, get: Callable[[], T], *, give_back: Callable[[T], object]) -> T:
        """Await something that must be given back, and is if the task is cancelled before it has it.

        Raises:
            HostClosed: The host was closed, or belongs to the parent of this process.
        """

        def begin() -> Operation[T]:
            operation: Operation[T] = Operation("open")
            operation.set_result(get())
            return operation

        return await self.finish(begin, undo=give_back)

    async def close(self, last: Callable[[], None]) -> None:
        """Refuse further calls, wait until those that were cancelled are undone, do the last thing, end the threads.

        Calling it again waits for the same end. Cancelling it does not stop it.
        """
        if self._process != os.getpid():
            last()  # in the child of a fork there is none of the threads, and nothing to wait for
            return
        if self._closing is None:
            self._closing = _Closing(lambda: self._close(last))
        await self._closing.end()

    def release(self) -> None:
        """Let the threads end on their own: for where there is no host, and nothing to close."""
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
            raise HostClosed("the host is closed, or was opened before a fork: open it anew")


class _Call(Generic[T]):
    """A call that takes time: begun on a thread, ended by whoever carries the operation out.

    Args:
        threads: Where it is begun.
        begin: Begins it.
        undo: Undoes its success, where nobody wants it.
    """

    def __init__(
        self, threads: Executor, begin: Callable[[], Operation[T]], undo: Callable[[T], object] | None
    ) -> None:
        self._begun = threads.submit(begin)
        self._undo = undo
        self._over: Future[None] = Future()
        self._once = threading.Lock()

    async def result(self, *, lost: Callable[[], object]) -> T:
        """Await the end.

        Args:
            lost: Called, on any thread, when the end has come and the loop is closed.
        """
        await done(self._begun, lost)
        operation = self._begun.result()
        await done(operation, lost)
        return operation.result()

    def abandon(self) -> Future[None]:
        """Cancel it, since nobody wants its result any more, and return at once; calling it again changes nothing.

        Returns:
            Done when nothing is left of the call.
        """
        if self._once.acquire(blocking=False):
            self._begun.cancel()  # helps only if it waits for a thread
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
        else:
            # It was too late. Not here: this may be the very thread that carries operations out, or the loop's.
            threading.Thread(target=self._undo_success, args=[self._undo, operation.result()]).start()

    def _undo_success(self, undo: Callable[[T], object], result: T) -> None:
        try:
            undo(result)
        except DomainNotFound:
            pass
        except Error:
            _LOG.exception("Cancelled, but it had succeeded, and cannot be undone: %s stays", result)
        finally:
            self._over.set_result(None)


class _Closing:
    """Something that is done once, on a thread of its own, and that any number of tasks can wait for."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._end: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="pyxen-aio-close")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._close()
        except BaseException as error:  # noqa: BLE001 (whatever it is, it belongs to whoever waits)
            self._end.set_exception(error)
        else:
            self._end.set_result(None)

    async def end(self) -> None:
        await done(self._end)
        self._thread.join()  # it has nothing left to do
        self._end.result()
