"""Operations that wait for something other than libxl, each on its own thread.

The event loop's thread must never wait for a peer. So such an operation alternates between I/O on its own thread and
scripts that the event loop runs for it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pyxen._common.joinable import JoinableThread
from pyxen._common.shortage import shortage
from pyxen._common.still_open import still_open
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import stopped
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.errors import HostClosed, OperationFailed
from pyxen.operation import Operation

__all__ = ["ThreadedOperation", "ThreadedOperations"]

T = TypeVar("T")


class ThreadedOperation:
    """The part of an operation that runs on its own thread.

    Args:
        context: The context that runs its scripts.
        operation: The operation that this carries out.
    """

    def __init__(self, context: Context, operation: Operation[Any]) -> None:
        self.operation = operation
        with shortage(OperationFailed, f"{operation.verb}: cannot begin"):
            self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable when the operation has been stopped."""
        self._context = context
        self._gate = threading.RLock()  # a coroutine that is collected may stop the operation on this thread
        self._step: Operation[Any] | None = None
        self._over = False

    def begin(self, script: Callable[[Operation[Any]], Script[T]], *, undoing: bool = False) -> Operation[T]:
        """Start a script; pass the operation that this returns to `result` to wait for it.

        Args:
            script: Makes the script, given the operation that it works for.
            undoing: The script undoes something, so it runs to its end even if the operation is stopped.

        Raises:
            OperationFailed: The operation has been stopped.
        """
        step = _Step[T](self.operation)
        with self._gate:
            if not undoing:
                if self.operation.stopped is not None:
                    raise stopped(self.operation)
                step.deadline = self.operation.deadline
                self._step = step
        return self._context.run(step, script(step))

    def result(self, step: Operation[T]) -> T:
        """Wait for the end of a script, and return its result."""
        try:
            return step.result()
        finally:
            with self._gate:
                self._step = None
            if step.stopped == "timeout":  # its deadline is the operation's
                self.operation.stop(step.stopped)

    def do(self, script: Callable[[Operation[Any]], Script[T]], *, undoing: bool = False) -> T:
        """Run a script and return its result; see `begin`."""
        return self.result(self.begin(script, undoing=undoing))

    def stop(self, operation: Operation[Any]) -> None:
        """Wake the thread, and stop the script that it waits for. Called when the operation is stopped."""
        with self._gate:
            if self._over:
                return
            os.eventfd_write(self.wake, 1)
            step = self._step
        if step is not None and operation.stopped is not None:
            step.stop(operation.stopped)

    def end(self) -> None:
        """Free the resources of the threaded operation, which is over."""
        with self._gate:
            self._over = True
            os.close(self.wake)


class _Step(Operation[T]):
    """A script's operation. In logs and errors, it appears as the operation that it is a step of."""

    def __init__(self, whole: Operation[Any]) -> None:
        super().__init__(whole.verb, whole.subject)
        self.domid = whole.domid
        self._run.log = whole.log
        self._whole = whole

    def report(self, what: str, percent: int) -> None:
        """Report progress."""
        self._whole.report(what, percent)


class ThreadedOperations:
    """The threaded operations of one context. Close them before the context, which they need to undo their work.

    Args:
        context: The context.
        completer: What completes the scripts that are their steps; see `pyxen.operation.completing`.
    """

    def __init__(self, context: Context, completer: object = None) -> None:
        self._context = context
        self._completer = completer
        self._gate = threading.RLock()  # reentrant: a signal handler may close the host, or begin an operation
        self._running: dict[Operation[Any], threading.Thread] = {}
        self._closed = False
        self._process = os.getpid()
        _ALL.add(self)

    def run(self, operation: Operation[T], work: Callable[[ThreadedOperation], T]) -> Operation[T]:
        """Start an operation that a function carries out on its own thread.

        Raises:
            HostClosed: The host was closed, or belongs to the parent of this process.
        """
        threaded = ThreadedOperation(self._context, operation)
        taken = threading.Lock()  # by the thread when it begins, or by who finds before that that it is not to begin
        thread = JoinableThread(
            target=self._run, args=[threaded, work, taken], name=f"pyxen-{operation.verb}", daemon=True
        )
        operation.carried_by(threaded.stop, thread, self._completer)
        try:
            if self._process != os.getpid():  # check first: a thread that the fork did not copy may hold the gate
                message = f"{operation.verb}: the host was opened before a fork: open it again"
                raise HostClosed(message)
            with self._gate:
                if self._is_closed():
                    message = f"{operation.verb}: the host is closed, or was opened before a fork: open it again"
                    raise HostClosed(message)
                self._running[operation] = thread
                with shortage(OperationFailed, f"{operation.verb}: cannot start a thread"):
                    thread.start()
                if self._is_closed():  # by a signal handler meanwhile, which could not wait for it
                    operation.stop("closed")
        except BaseException as error:
            if taken.acquire(blocking=False):  # Ctrl-C, or the limit on threads is reached
                self._running.pop(operation, None)
                threaded.end()
                operation.set_exception(error)
            else:  # Ctrl-C: nobody gets the operation
                operation.cancel()
            raise
        return operation

    def close(self) -> None:
        """Stop the running operations, and wait until they are undone. Calling it again does nothing."""
        if self._process != os.getpid():
            return
        with self._gate:
            self._closed = True
            running = dict(self._running)
        for operation in running:
            operation.stop("closed")
        for thread in running.values():
            if thread is not threading.current_thread() and thread.ident is not None:  # a signal handler may be early
                thread.join()

    def _is_closed(self) -> bool:
        return self._closed

    def _run(self, threaded: ThreadedOperation, work: Callable[[ThreadedOperation], T], taken: threading.Lock) -> None:
        if not taken.acquire(blocking=False):
            return
        operation = threaded.operation
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work(threaded)
        except BaseException as anything:  # noqa: BLE001 (the caller of `result` gets every error)
            error = anything
        threaded.end()
        try:
            if error is None:
                operation.set_result(result)
            else:
                operation.set_exception(error)
        finally:
            with self._gate, contextlib.suppress(KeyError):
                del self._running[operation]


_ALL: Final[weakref.WeakSet[ThreadedOperations]] = weakref.WeakSet()


def _close_all() -> None:
    for threaded_operations in still_open(_ALL):
        threaded_operations.close()


# Contexts also close themselves at exit. This runs before them, because functions registered later run earlier.
atexit.register(_close_all)
