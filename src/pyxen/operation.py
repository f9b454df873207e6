"""Something long that a host does: it can be waited for, watched, cancelled, and has a deadline."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from pyxen.errors import DomainNotFound, OperationFailed

__all__ = ["Operation", "StopReason", "describe", "finish"]

T = TypeVar("T")
U = TypeVar("U")
E = TypeVar("E", bound=OperationFailed)


class _Begun(threading.local):
    operations: list[Operation[Any]] | None = None


_BEGUN = _Begun()
"""What `finish` has begun on this thread."""

StopReason = str
"""Why an operation was stopped before its end: ``cancelled`` or ``timeout``."""


class Operation(Future[T]):
    """A running operation, as `Host.begin` and `Domain.begin` give it: a `concurrent.futures.Future` with an undo.

    `result`, `exception` and `add_done_callback` are the Future's; callbacks come on the thread that does the work.
    Where a loop runs, it can be awaited too: a task that is cancelled meanwhile cancels the operation and waits until
    that is done. Its end always comes: a cancelled or late operation is aborted in libxl, what it had begun is undone,
    and only then does it end, with `OperationCancelled` or `OperationTimeout`.

    Attributes:
        verb: What it does, as xl's: ``create``, ``shutdown`` …
        domain: The domain it works on, by name or domid, where there is one.
        domid: Its domid, as soon as there is one.
        deadline: The moment, by `time.monotonic`, at which it is stopped; None: never.
        log: The lines that libxl logged for it, from warnings upwards, oldest first.
        stopped: Why it is being stopped; None while nobody asked for it.
    """

    def __init__(self, verb: str, domain: str | int | None = None, *, timeout: float | None = None) -> None:
        super().__init__()
        self.verb = verb
        self.domain = domain
        self.domid: int | None = None
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.log: list[str] = []
        self.stopped: StopReason | None = None
        self._progress: tuple[str, int] | None = None
        self._stop: Callable[[Operation[T]], None] | None = None
        self._runner: threading.Thread | None = None
        self._measure: Callable[[], float] | None = None
        self._make: Callable[[Any], T] | None = None

    def __repr__(self) -> str:
        state = "done" if self.done() else self.stopped or "running"
        subject = "" if self.domain is None else f" {self.domain}"
        return f"<Operation {self.verb}{subject}: {state}>"

    def __await__(self) -> Generator[Any, Any, T]:
        return self._outcome().__await__()

    async def _outcome(self) -> T:
        import asyncio  # which those who do not await need not load

        from pyxen._asyncio import done

        try:
            await done(self)
        except asyncio.CancelledError:
            self.cancel()
            await done(self)
            raise
        return self.result()

    @property
    def progress(self) -> tuple[str, int] | None:
        """What it is at and how far, in percent: ``("memory", 45)``; None where nothing tells.

        For a save, a restore and a core dump it is measured by the file. For a migration it is what libxl tells, such
        as ``("Frames iteration 0", 45)``: what the guest writes to meanwhile is sent again, in further iterations. Of
        several migrations at once libxl does not say whose progress it is: then there is none. For Remus it counts the
        checkpoints that were sent: ``("checkpoint 12", 100)``.
        """
        if self._measure is not None:
            with contextlib.suppress(OSError, ValueError):  # it has come to an end just now
                self._progress = ("memory", min(100, int(100 * self._measure())))
        return self._progress

    def cancel(self) -> bool:
        """Ask for the operation to be undone, and return at once.

        Returns:
            False if it is over already. True does not promise that it will be cancelled: it may end well before.
        """
        return self.stop("cancelled")

    def stop(self, reason: StopReason) -> bool:
        """Stop the operation for a reason; see `cancel`."""
        if self.done():
            return False
        if self.stopped is None:
            self.stopped = reason
            if self._stop is not None:
                self._stop(self)
        return True

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return the result.

        Args:
            timeout: Seconds to wait; the operation goes on after that. None waits for ever.

        Raises:
            TimeoutError: It has not ended in time.
            OperationFailed: The operation failed.
        """
        value = super().result(timeout)
        return value if self._make is None else self._make(value)

    def wait(self) -> T:
        """Wait for the end and return the result.

        Ctrl-C cancels the operation, waits until that is done, and then raises `KeyboardInterrupt`; a second Ctrl-C
        does not wait.

        Raises:
            RuntimeError: Called from a callback of an operation, which would wait for itself.
            OperationFailed: The operation failed.
        """
        if threading.current_thread() is self._runner:
            raise RuntimeError(f"{self.verb}: cannot wait here, in a callback on the thread that does the work")
        try:
            return self.result()
        except KeyboardInterrupt:
            if self.cancel():
                self.exception()
            raise

    # What is below is for whoever carries the operation out, or hands it on.

    def giving(self, make: Callable[[T], U]) -> Operation[U]:
        """Have another result made of the result whenever someone takes it, and return this same operation."""
        changed = cast("Operation[U]", self)
        changed._make = make
        return changed

    def carried_by(self, stop: Callable[[Operation[T]], None], runner: threading.Thread) -> None:
        """Say how to stop it, and which thread must never wait for it."""
        self._stop = stop
        self._runner = runner
        if _BEGUN.operations is not None:
            _BEGUN.operations.append(self)

    @contextlib.contextmanager
    def measured(self, measure: Callable[[], float]) -> Iterator[None]:
        """Have `progress` measured while something goes on.

        Args:
            measure: Returns how much of the memory is through, from 0 to 1; called on any thread.
        """
        self._measure = measure
        try:
            yield
        finally:
            self._measure = None

    def report(self, what: str, percent: int) -> None:
        """Note how far it is."""
        self._progress = (what, percent)


def finish(begin: Callable[[], Operation[T]], undo: Callable[[T], object] | None = None) -> T:
    """Begin an operation, wait for its end and return its result.

    Ctrl-C undoes it, at whatever moment it comes: before anyone has the operation in hand, too, and when it has just
    ended well and nobody will see the result. Then `KeyboardInterrupt` is raised; a second Ctrl-C does not wait.

    Args:
        begin: Begins it.
        undo: Undoes its success, where nobody gets the result.
    """
    begun: list[Operation[Any]] = []
    _BEGUN.operations = begun
    try:
        operation = begin()
        _BEGUN.operations = None
        return operation.wait()
    except KeyboardInterrupt:
        for operation in begun:
            operation.cancel()
            if operation.exception() is None and undo is not None:
                with contextlib.suppress(DomainNotFound):  # it is gone by itself
                    undo(operation.result())
        raise
    finally:
        _BEGUN.operations = None


def describe(cls: type[E], message: str, operation: Operation[Any], code: int | None = None) -> E:
    """Return an exception that carries all that is known of an operation."""
    return cls(
        message,
        operation=operation.verb,
        domain=operation.domain,
        domid=operation.domid,
        code=code,
        log=tuple(operation.log),
    )
