"""Operations on worker threads, for libvirt's calls, which block and mostly cannot be interrupted."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, TypeVar

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen._common.stopped import what_stays
from pyxen.backends.libvirt.binding import Connection
from pyxen.backends.libvirt.error_map import stopped
from pyxen.backends.libvirt.timer_thread import TimerThread
from pyxen.errors import HostClosed, OperationFailed
from pyxen.operation import Operation

__all__ = ["ThreadedOperation", "ThreadedOperations"]

T = TypeVar("T")

_LOG: Final = logger("pyxen.libvirt")

_MOST_THREADS: Final = 24
_IDLE: Final = 10.0  # seconds after which an idle thread ends
_GRACE: Final = 5.0  # seconds that a call has to return after it was aborted or cancelled


class ThreadedOperation(Generic[T]):
    """An operation whose work runs on a thread.

    Args:
        operation: The handle that the caller has.
        lease: Gives the connection for `work` and `undo`.
        work: Does the work, on a thread; may block. Its exception becomes the operation's.
        describe: Turns an exception of `work` into the one that the caller sees.
        undo: Undoes the work if it succeeded after the operation was stopped.
        abort: Makes `work` return early. It is called on another thread, and may block and fail.
        late: What happens to work that cannot be stopped, for the error message.
    """

    def __init__(
        self,
        operation: Operation[T],
        lease: Callable[[], AbstractContextManager[Connection]],
        work: Callable[[Connection, ThreadedOperation[T]], T],
        describe: Callable[[Exception], BaseException],
        *,
        undo: Callable[[Connection, T], None] | None = None,
        abort: Callable[[], None] | None = None,
        late: str = "libvirt cannot stop it and goes on with it",
    ) -> None:
        self.operation = operation
        self.describe = describe
        self.abort = abort
        self.late = late
        self.begun = False
        self.waits = False
        self._lease = lease
        self._work = work
        self._undo = undo
        self._lock = threading.Lock()

    def settle(self, result: T) -> bool:
        """Set the result; return False if the operation has already ended."""
        with self._lock:
            if self.operation.done():
                return False
            self.operation.set_result(result)
            return True

    def fail(self, error: BaseException) -> bool:
        """Set an exception; return False if the operation has already ended."""
        with self._lock:
            if self.operation.done():
                return False
            self.operation.set_exception(error)
            return True

    def carry_out(self) -> None:
        """Do the work, on the calling thread."""
        self.begun = True
        try:
            if not self._gave_up():
                self._do()
        except Exception as error:  # noqa: BLE001 (any exception ends the operation)
            # Who keeps the error would keep the connection, and a daemon that hangs would hold up whoever collects it.
            traceback.clear_frames(error.__traceback__)
            self._fail_with(error)

    def _do(self) -> None:
        with self._lease() as connection:
            if self._gave_up():  # it may have been stopped while it waited for a connection
                return
            result = self._work(connection, self)
            if not self.waits:
                self._finish(connection, result)

    def _gave_up(self) -> bool:
        """End the operation if it was stopped before the work began."""
        if self.operation.stopped is None:
            return False
        self.fail(stopped(self.operation, "nothing had been done yet"))
        return True

    def _fail_with(self, error: Exception) -> None:
        found = self.describe(error)
        if self.operation.stopped is not None:
            found = stopped(self.operation, f"it ended with: {found}")
        self.fail(found)

    def _finish(self, connection: Connection, result: T) -> None:
        if self._undo is None:
            self.settle(result)
            return
        if self.operation.stopped is None and self.settle(result):
            return
        try:
            self._undo(connection, result)
        except Exception as error:  # noqa: BLE001 (there is no caller left to raise it to)
            _LOG.error("%r: it succeeded after it was stopped, and could not be undone: %s", self.operation, error)
        self.fail(stopped(self.operation, "what it had begun was undone"))


class ThreadedOperations:
    """A pool of threads that carry out operations. It grows as needed up to a limit; further operations wait."""

    def __init__(self) -> None:
        self.timer = TimerThread("pyxen-libvirt-timer")
        self._changed = threading.Condition()
        self._queue: deque[Callable[[], None]] = deque()
        self._threads = self._idle = 0
        self._running: set[ThreadedOperation[Any]] = set()
        self._open = True

    def start(self, threaded: ThreadedOperation[T]) -> Operation[T]:
        """Start an operation.

        Raises:
            HostClosed: The host was closed.
            OperationFailed: No thread can be started for it.
        """
        operation = threaded.operation
        with self._changed:
            if not self._open:
                raise HostClosed("the host was closed")
            self._running.add(threaded)
        operation.add_done_callback(lambda _: self._forget(threaded))
        operation.carried_by(lambda _: self._stop(threaded), self.timer.thread)
        if operation.deadline is not None:
            self.timer.at(operation.deadline, lambda: self._late(operation))
        try:
            self._submit(threaded.carry_out)
        except OperationFailed as error:
            threaded.fail(error)
            raise
        return operation

    def close(self) -> None:
        """Stop all operations and wait briefly for them. Those that cannot be stopped end here but go on in libvirt."""
        with self._changed:
            if not self._open:
                return
            self._open = False
            running = list(self._running)
        for threaded in running:
            threaded.operation.stop("closed")
        end = time.monotonic() + _GRACE
        with self._changed:
            self._changed.wait_for(lambda: not self._running, end - time.monotonic())
            left = list(self._running)
        for threaded in left:
            threaded.fail(stopped(threaded.operation, threaded.late))
        with self._changed:
            self._changed.notify_all()
        self.timer.close()

    @staticmethod
    def _late(operation: Operation[Any]) -> None:
        operation.stop("timeout")

    def _forget(self, threaded: ThreadedOperation[Any]) -> None:
        with self._changed:
            self._running.discard(threaded)
            self._changed.notify_all()

    def _stop(self, threaded: ThreadedOperation[Any]) -> None:
        operation = threaded.operation
        if not threaded.begun or threaded.waits:
            stays = what_stays(operation, "pyxen no longer waits for it")
            threaded.fail(stopped(operation, stays if threaded.begun else "nothing had been done yet"))
            return
        grace = _GRACE
        if threaded.abort is not None:
            try:
                self._submit(threaded.abort)
            except OperationFailed as error:
                _LOG.warning("%r cannot be stopped: %s", operation, error)
        elif operation.stopped == "timeout":
            grace = 0
        if grace:
            self.timer.at(time.monotonic() + grace, lambda: self._give_up(threaded))
        else:
            self._give_up(threaded)

    @staticmethod
    def _give_up(threaded: ThreadedOperation[Any]) -> None:
        threaded.fail(stopped(threaded.operation, threaded.late))

    def _submit(self, call: Callable[[], None]) -> None:
        """Have a thread make a call; if no more can be started, one that there is makes it later.

        Raises:
            OperationFailed: There is none, and none can be started.
        """
        with self._changed:
            if self._idle > len(self._queue) or self._threads >= _MOST_THREADS:
                self._queue.append(call)
                self._changed.notify_all()
                return
            try:
                with shortage(OperationFailed, "cannot start a thread"):
                    threading.Thread(target=self._serve, name="pyxen-libvirt-worker", daemon=True).start()
            except OperationFailed:
                if not self._threads:
                    raise
            else:
                self._threads += 1
            self._queue.append(call)
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._queue or not self._open, _IDLE)
                self._idle -= 1
                if not self._queue:
                    self._threads -= 1
                    return
                call = self._queue.popleft()
            try:
                call()
            except Exception as error:  # noqa: BLE001 (e.g. an abort over a broken link; its operation ends on its own)
                _LOG.debug("a call failed: %s", error)
            del call
