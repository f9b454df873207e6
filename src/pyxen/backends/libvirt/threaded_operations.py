"""Operations on worker threads, for libvirt's calls, which block and mostly cannot be interrupted."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen._common.stopped import what_stays
from pyxen.backends.libvirt.binding import Connection
from pyxen.backends.libvirt.error_map import broke_the_link, stopped, words_of
from pyxen.backends.libvirt.frames import release
from pyxen.backends.libvirt.timer_thread import TimerThread
from pyxen.backends.libvirt.unanswered import Unanswered
from pyxen.errors import ConnectFailed, Error, HostClosed, OperationFailed
from pyxen.operation import Operation, completing

__all__ = ["ThreadedOperation", "ThreadedOperations"]

T = TypeVar("T")

_LOG: Final = logger("pyxen.libvirt")

_MOST_THREADS: Final = 24
_IDLE: Final = 10.0  # seconds after which an idle thread ends
_UNDONE_LATER: Final = "libvirt may still create it; pyxen undoes it once libvirt answers again"
_GRACE: Final = 5.0  # seconds that a call has to return after it was aborted or cancelled


class ThreadedOperation(Generic[T]):
    """An operation whose work runs on a thread.

    Args:
        operation: The handle that the caller has.
        lease: Gives the connection for `work` and `undo`.
        work: Does the work, on a thread; may block. Its exception becomes the operation's.
        describe: Turns an exception of `work` into the one that the caller sees.
        turn: Waits until the work may have a connection, and holds up others meanwhile.
        undo: Undoes the work if it succeeded after the operation was stopped.
        abort: Makes `work` return early. It is called on another thread, and may block and fail.
        late: What happens to work that cannot be stopped, for the error message.
        unsure: What libvirt may still do if the link breaks before it has answered, and pyxen does not undo it, for the
            error message.
    """

    def __init__(
        self,
        operation: Operation[T],
        lease: Callable[[], AbstractContextManager[Connection]],
        work: Callable[[Connection, ThreadedOperation[T]], T],
        describe: Callable[[Exception], BaseException],
        *,
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
        undo: Callable[[Connection, T], None] | None = None,
        abort: Callable[[], None] | None = None,
        late: str = "libvirt cannot stop it and goes on with it",
        unsure: str = "libvirt may have done it, or do it yet",
    ) -> None:
        self.operation = operation
        self.describe = describe
        self.abort = abort
        self.late = late
        self.unsure = unsure
        self.unanswered: Unanswered | None = None
        self.waits = False
        self._begun = False
        self._lease = lease
        self._work = work
        self._turn = turn
        self._undo = undo
        self._lock = threading.Lock()

    def settle(self, result: T) -> bool:
        """Set the result; return False if the operation has already ended."""
        if self.operation.done():  # without the lock, which the operation's callbacks may hold for long
            return False
        with self._lock:
            if self.operation.done():
                return False
            if self.unanswered is not None:
                self.unanswered.answered(self.operation)  # first: a callback may use the new domain
            self.operation.set_result(result)
            return True

    def fail(self, error: BaseException) -> bool:
        """Set an exception; return False if the operation has already ended."""
        release(error)
        if self.operation.done():  # as in `settle`: the timer's thread must not wait for callbacks
            return False
        with self._lock:
            if self.operation.done():
                return False
            self.operation.set_exception(error)
            return True

    def has_begun(self) -> bool:
        """Tell whether the work has begun: it has a connection, and was not stopped before."""
        with self._lock:
            return self._begun

    def asks_for(self, uuid: UUID, *, chosen: bool = False) -> None:
        """Note the domain that the work is about to ask libvirt for.

        Args:
            uuid: Its uuid.
            chosen: Whether pyxen has chosen it, for a create; this is undone if the link breaks before the answer.
        """
        if self.unanswered is not None:
            self.unanswered.ask(self.operation, uuid, chosen=chosen)

    def others(self) -> AbstractContextManager[set[Hashable]]:
        """Return the uuids of the domains that others ask for meanwhile."""
        return nullcontext(set()) if self.unanswered is None else self.unanswered.meanwhile()

    def carry_out(self) -> None:
        """Do the work, on the calling thread."""
        try:
            if not self._gave_up():
                self._do()
        except Exception as error:  # noqa: BLE001 (any exception ends the operation)
            release(error)
            self._fail_with(error)
        finally:
            if self.unanswered is not None:
                self.unanswered.answered(self.operation)

    def _do(self) -> None:
        with self._turn(), self._lease() as connection:
            if not self._begin():  # it may have been stopped while it waited for a connection
                return
            result = self._work(connection, self)
            if not self.waits:
                self._finish(connection, result)

    def _begin(self) -> bool:
        with self._lock:  # a stop either comes before this, or finds that the work has begun
            if self.operation.stopped is None:
                self._begun = True
                return True
        return not self._gave_up()

    def _gave_up(self) -> bool:
        """End the operation if it was stopped before the work began."""
        if self.operation.stopped is None:
            return False
        self.fail(stopped(self.operation, "nothing had been done yet"))
        return True

    def _fail_with(self, error: Exception) -> None:
        found = self.describe(error)
        if self._begun and broke_the_link(error):
            is_undone = self._is_undone_later(is_destroyed=False)
            found = ConnectFailed(f"{found}; {_UNDONE_LATER if is_undone else self.unsure}")
        if self.operation.stopped is not None:
            found = stopped(self.operation, f"it ended with: {found}")
        if not self.fail(found):
            _LOG.warning("%r: it ended later, with: %s", self.operation, str(found))

    def _is_undone_later(self, *, is_destroyed: bool) -> bool:
        """Have a create undone whose answer was lost; return False if it is not to be undone."""
        return self.unanswered is not None and self.unanswered.lost(
            self.operation, self._lease, is_destroyed=is_destroyed
        )

    def _finish(self, connection: Connection, result: T) -> None:
        if self._undo is None:
            self.settle(result)
            return
        if self.operation.stopped is None and self.settle(result):
            return
        what_now = "what it had begun was undone"
        try:
            self._undo(connection, result)
        except Exception as error:  # noqa: BLE001 (there is no caller left to raise it to)
            release(error)
            what_now = f"it succeeded then, and could not be undone: {words_of(error)}"
            if broke_the_link(error):
                what_now = f"it succeeded then, and it is not known whether it was undone: {words_of(error)}"
                if self._is_undone_later(is_destroyed=True):
                    what_now += "; pyxen undoes it once libvirt answers again"
            _LOG.error("%r: %s", self.operation, what_now)
        self.fail(stopped(self.operation, what_now))


class ThreadedOperations:
    """A pool of threads that carry out operations. It grows as needed up to a limit; further operations wait.

    Nothing may wait for an operation on one of its threads: there, an operation ends while it still has its connection
    and its turn, for which others wait. The timer stops what is late.

    Args:
        completer: What they complete operations for; see `pyxen.operation.completing`.
    """

    def __init__(self, completer: object = None) -> None:
        self._completer = self if completer is None else completer
        self.timer = TimerThread("pyxen-libvirt-timer", self._completer)
        self.unanswered = Unanswered(self.timer, self._submit)
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
        threaded.unanswered = self.unanswered
        operation.add_done_callback(lambda _: self._forget(threaded))
        operation.carried_by(lambda _: self._stop(threaded), self.timer.thread, self._completer)
        try:
            with self._changed:
                if not self._open:
                    raise HostClosed("the host was closed")
                self._running.add(threaded)
            if operation.deadline is not None:
                self.timer.at(operation.deadline, lambda: self._late(operation))
            self._submit(threaded.carry_out)
        except Error as error:
            threaded.fail(error)
            raise
        except BaseException:  # Ctrl-C: nobody has the operation
            operation.cancel()
            raise
        return operation

    def close(self) -> None:
        """Stop all operations and wait briefly for them. Those that cannot be stopped end here but go on in libvirt."""
        with self._changed:
            self._open = False
            running = list(self._running)
        self.unanswered.close()  # first, so that no operation that ends now is said to be undone later
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
        if not threaded.has_begun():
            threaded.fail(stopped(operation, "nothing had been done yet"))
            return
        if threaded.waits:
            threaded.fail(stopped(operation, what_stays(operation, "pyxen no longer waits for it")))
            return
        grace = _GRACE
        if threaded.abort is not None:
            try:
                self._submit(threaded.abort)
            except OperationFailed as error:
                _LOG.warning("%r cannot be stopped: %s", operation, str(error))
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
                with completing(self._completer):
                    call()
            except Exception as error:  # noqa: BLE001 (e.g. an abort over a broken link; its operation ends on its own)
                release(error)
                _LOG.debug("a call failed: %s", words_of(error))
            del call
