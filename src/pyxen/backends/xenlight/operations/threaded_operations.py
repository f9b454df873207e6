"""Operations that wait for something other than libxl, each on its own thread.

The event loop's thread must never wait for a peer. So such an operation alternates between I/O on its own thread and
scripts that the event loop runs for it.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pyxen._common.own_thread import OwnThreads
from pyxen._common.shortage import shortage
from pyxen._common.still_open import still_open
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import stopped
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.errors import OperationFailed
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
        """Free the resources of the threaded operation, which is over. It may be called again."""
        with self._gate:
            is_first, self._over = not self._over, True
        if is_first:
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
        self._threads = OwnThreads(completer)
        _ALL.add(self)

    def run(self, operation: Operation[T], work: Callable[[ThreadedOperation], T]) -> Operation[T]:
        """Start an operation that a function carries out on its own thread.

        Raises:
            HostClosed: The host was closed, or belongs to the parent of this process.
            OperationFailed: No thread can be started.
        """
        threaded = ThreadedOperation(self._context, operation)

        def carry_out() -> T:
            try:
                return work(threaded)
            finally:
                threaded.end()

        operation.add_done_callback(lambda _: threaded.end())  # its thread may never begin
        return self._threads.carry_out(operation, carry_out, threaded.stop)

    def close(self) -> None:
        """Stop the running operations, and wait until they are undone. Calling it again does nothing."""
        self._threads.close()


_ALL: Final[weakref.WeakSet[ThreadedOperations]] = weakref.WeakSet()


def _close_all() -> None:
    for threaded_operations in still_open(_ALL):
        threaded_operations.close()


# Contexts also close themselves at exit. This runs before them, because functions registered later run earlier.
atexit.register(_close_all)
