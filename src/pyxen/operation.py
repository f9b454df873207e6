"""Operations: running verbs that can be waited for, watched and cancelled."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from io import FileIO
from typing import Any, Final, NamedTuple, TypeVar

from pyxen._durations import timeout_of
from pyxen._functions import check_answer, check_function
from pyxen._local import Local
from pyxen._printable import printable
from pyxen.errors import DomainNotFound, Error, HostClosed, OperationCancelled, OperationFailed, UnsupportedFeature

__all__ = [
    "Calls",
    "Operation",
    "Progress",
    "StopReason",
    "check_may_wait",
    "completing",
    "describe",
    "finish",
    "has_begun",
    "may_wait",
]

T = TypeVar("T")
U = TypeVar("U")
E = TypeVar("E", bound=OperationFailed)

_BEGIN: Final = "nothing was begun. Begin it without waiting, as by host.begin.create(…), or call it on another thread"
_LATER: Final = "add a callback to the operation, or wait for it on another thread"

StopReason = str
"""Why an operation was stopped early: ``cancelled`` or ``timeout``."""


class Progress(NamedTuple):
    """How far an operation has got, see `Operation.progress`."""

    what: str
    """What it is doing: ``"memory"``, ``"Frames iteration 0"``, ``"checkpoint 12"``."""
    percent: int
    """How much of that is done, in percent, 0 to 100."""


class _Run:
    """The state of a running verb, shared by an operation and those mapped from it."""

    def __init__(self, verb: str, subject: str | int | None, deadline: float | None) -> None:
        self.verb = verb
        self.subject = subject
        self.domid: int | None = None
        self.deadline = deadline
        self.log: list[str] = []
        self.stopped: StopReason | None = None
        self.progress: Progress | None = None
        self.measure: Callable[[], float] | None = None
        self.stop: Callable[[], None] | None = None
        self.runner: threading.Thread | None = None
        self.completer: object = None
        self.domain: Any = None
        self.pid = os.getpid()


class Operation(Local, Future[T]):
    """A running operation, returned by the verbs of `Host.begin` and `Domain.begin`: a Future that can be undone.

    `result`, `exception` and `add_done_callback` work as in `concurrent.futures.Future`. Callbacks run on the thread
    that does the work, so they may begin operations of the same host but wait for none, see `add_done_callback`;
    exceptions they raise go to `threading.excepthook`. A coroutine can await the operation. If its task is cancelled
    meanwhile, it cancels the operation and waits until that is done.

    An operation always ends. If it is cancelled or times out, it is aborted in libxl and its partial work is undone.
    Only then does it end, with `OperationCancelled` or `OperationTimeout`.
    """

    def __init__(self, verb: str, subject: str | int | None = None, *, timeout: float | None = None) -> None:
        super().__init__()
        seconds = timeout_of(timeout, operation=verb)
        self._run = _Run(verb, subject, None if seconds is None else time.monotonic() + seconds)

    def __repr__(self) -> str:
        subject = "" if self.subject is None else " " + printable(str(self.subject)).replace("\n", "\\n")
        return f"<Operation {self.verb}{subject}: {self._status()}>"

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        yield "verb", self.verb
        yield "subject", self.subject
        yield "state", self._status()

    def _status(self) -> str:
        if not self.done():
            if self.stopped is not None:
                return f"stopping ({self.stopped})"
            progress = self.progress
            return f"running, {progress.what} {progress.percent} %" if progress else "running"
        error = self.exception()
        if error is None:
            return "done"
        return "cancelled" if isinstance(error, OperationCancelled) else f"failed ({type(error).__name__})"

    def __await__(self) -> Generator[Any, Any, T]:
        return self._outcome().__await__()

    async def _outcome(self) -> T:
        import asyncio  # loaded only if an operation is awaited

        from pyxen._asyncio import done

        try:
            await done(self)
        except asyncio.CancelledError:
            self.cancel()
            await done(self)
            raise
        except BaseException:  # GeneratorExit, or what a signal handler raises: nothing can be awaited any more
            self.cancel()
            raise
        return self.result()

    @property
    def verb(self) -> str:
        """What it does, in xl's terms: ``create``, ``shutdown`` and so on."""
        return self._run.verb

    @property
    def subject(self) -> str | int | None:
        """Name or domid of the domain that it works on, as shown in errors and logs; None if there is no domain."""
        return self._run.subject

    @subject.setter
    def subject(self, subject: str | int | None) -> None:
        self._run.subject = subject

    @property
    def domain(self) -> Any:
        """The handle of the domain that it works on: a `pyxen.Domain`, or a `pyxen.aio.Domain` in asyncio.

        For a verb that creates a domain, it is None until the operation has succeeded.
        """
        return self._run.domain

    @domain.setter
    def domain(self, domain: Any) -> None:
        self._run.domain = domain

    @property
    def domid(self) -> int | None:
        """The domid of the domain that it creates; None until Xen has assigned one."""
        return self._run.domid

    @domid.setter
    def domid(self, domid: int | None) -> None:
        self._run.domid = domid

    @property
    def deadline(self) -> float | None:
        """The time, on the clock of `time.monotonic`, at which it is stopped; None if there is no deadline."""
        return self._run.deadline

    @deadline.setter
    def deadline(self, deadline: float | None) -> None:
        self._run.deadline = deadline

    @property
    def log(self) -> list[str]:
        """The warnings and errors that libxl logged for it, oldest first."""
        return self._run.log

    @property
    def stopped(self) -> StopReason | None:
        """Why it is being stopped; None if no stop was requested."""
        return self._run.stopped

    @property
    def progress(self) -> Progress | None:
        """What it is doing and how far it has got, in percent: ``("memory", 45)``; None if unknown.

        For a save, a restore and a core dump, pyxen measures the file. For a migration, libxl reports progress, e.g.
        ``("Frames iteration 0", 45)``: pages that the guest modifies meanwhile are sent again, in further iterations.
        When several migrations run at once, there is no progress, since libxl does not tell them apart. For Remus, the
        progress counts the checkpoints sent: ``("checkpoint 12", 100)``.
        """
        run = self._run
        measure = run.measure
        if measure is not None:
            with contextlib.suppress(OSError, ValueError):  # the file was closed just now
                run.progress = Progress("memory", min(100, int(100 * measure())))
        return run.progress

    def cancel(self) -> bool:
        """Request that the operation be stopped and undone, and return at once.

        Returns:
            False if it has already ended, or if the parent of this process began it before a fork. True does not
            guarantee that it will be cancelled: it may still succeed.
        """
        return self.stop("cancelled")

    def stop(self, reason: StopReason) -> bool:
        """Stop the operation for a reason; see `cancel`."""
        run = self._run
        if os.getpid() != run.pid or self.done():
            return False
        if run.stopped is None:
            run.stopped = reason
            if run.stop is not None:
                run.stop()
        return True

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return the result.

        Args:
            timeout: Seconds to wait; the operation continues after that. 0 only looks. None waits without a limit.

        Raises:
            TimeoutError: It did not end in time.
            RuntimeError: It has not ended, and this is a callback on a thread that does the work. No timeout makes a
                wait possible there: only 0, which waits for nothing, raises TimeoutError there, too.
            HostClosed: It was begun before a fork, by the parent of this process, and had not ended then.
            OperationFailed: The operation failed.
        """
        self._check_process()
        self._check_may_wait(timeout)
        return super().result(timeout_of(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return the exception that it failed with; None if it succeeded.

        Args:
            timeout: Seconds to wait; the operation continues after that. 0 only looks. None waits without a limit.

        Raises:
            TimeoutError: It did not end in time.
            RuntimeError: It has not ended, and this is a callback on a thread that does the work; see `result`.
            HostClosed: It was begun before a fork, by the parent of this process, and had not ended then.
        """
        self._check_process()
        self._check_may_wait(timeout)
        return super().exception(timeout_of(timeout))

    def wait(self) -> T:
        """Wait for the end and return the result.

        Ctrl-C cancels the operation, waits until that is done, and then raises `KeyboardInterrupt`; a second Ctrl-C
        does not wait. The same holds for whatever a signal handler raises, such as `SystemExit`.

        Raises:
            RuntimeError: It has not ended, and this is a callback on a thread that does the work, which would wait for
                itself.
            OperationFailed: The operation failed.
        """
        self._check_process()
        self._check_may_wait(None)
        try:
            return super().result()
        except BaseException:
            if self.cancel():  # it has not ended: this is not its own failure
                self.exception()
            raise

    def add_done_callback(self, fn: Callable[[Operation[T]], object]) -> None:
        """Call a function with the operation when it ends; at once if it has already ended.

        Args:
            fn: The function. It mostly runs on the thread that completes all operations of the host, so it must not
                block: what would wait there for an operation of that host, such as `Host.create` or `Host.close`,
                raises `RuntimeError` before anything is begun. Begin it instead, with `Host.begin`, or leave it to
                another thread. It may wait where that holds up nothing that it waits for: in a callback of a clone, an
                apply or a pool, which have threads of their own, or for another host. Any exception that the function
                raises goes to `threading.excepthook`, including `SystemExit`, but not Ctrl-C on the main thread.

        Raises:
            InvalidArgument: It is an async function, of which nothing would run.
            HostClosed: It was begun before a fork, by the parent of this process, and had not ended then.
        """
        check_function(fn, "callback", "add_done_callback")
        self._check_process()
        super().add_done_callback(partial(_call, fn))

    def done(self) -> bool:
        """Tell whether it has ended."""
        return self._state == "FINISHED"  # read without the lock, which is held for ever in a child of a fork

    def running(self) -> bool:
        """Tell whether it has begun and has not ended. In the child of a fork, one of the parent's never ends."""
        return has_begun(self) and not self.done()

    def cancelled(self) -> bool:
        """Return False: one that was cancelled fails with `OperationCancelled`, which `exception` returns."""
        return False

    def _check_process(self) -> None:
        """Raise `HostClosed` in the child of a fork, where it never ends, unless it had ended before."""
        if os.getpid() != self._run.pid:
            if not self.done():
                raise HostClosed(f"{self.verb}: the operation was begun before a fork, in the parent of this process")
            self._condition = threading.Condition()  # a thread that the fork did not copy may hold the other

    def _check_may_wait(self, timeout: float | None) -> None:
        """Raise `RuntimeError` where a wait for the end would hold up the thread that brings it."""
        if self.done() or timeout == 0:
            return
        if threading.current_thread() is self._run.runner:
            raise _cannot_wait(self.verb, _LATER)
        check_may_wait(self.verb, _LATER, completer=self._run.completer)

    # The rest is for the code that runs operations, and for the blocking and asyncio APIs.

    def map(self, make: Callable[[T], U]) -> Operation[U]:
        """Map the result: return an operation that shares this run. Stopping either one stops both.

        Args:
            make: Converts this operation's result; called once, on the thread that does the work.
        """
        mapped: Operation[U] = Operation(self.verb)
        mapped._run = self._run

        def follow(_: Future[T]) -> None:
            try:
                value = make(self.result())
            except BaseException as error:  # noqa: BLE001 (it is raised to the caller that waits)
                mapped.set_exception(error)
            else:
                mapped.set_result(value)

        self.add_done_callback(follow)
        return mapped

    def continued(self) -> Operation[T]:
        """Return an operation that shares this run, as that of `map`, but which the caller ends."""
        longer: Operation[T] = Operation(self.verb)
        longer._run = self._run
        return longer

    def carried_by(
        self, stop: Callable[[Operation[T]], None], runner: threading.Thread, completer: object = None
    ) -> None:
        """Set what carries the operation out.

        Args:
            stop: Stops it.
            runner: The thread that runs it, and so must never wait for it.
            completer: What must not be held up until it has ended; see `completing`. None is not known.
        """
        self._run.stop = partial(stop, self)
        self._run.runner = runner
        self._run.completer = completer
        if _HERE.owner is not None:
            _HERE.owner.append(self)

    @contextlib.contextmanager
    def measured(self, measure: Callable[[], float]) -> Iterator[None]:
        """Measure `progress` for as long as the context lasts.

        Args:
            measure: Returns how much of the memory is done, from 0 to 1; called on any thread.
        """
        self._run.measure = measure
        try:
            yield
        finally:
            self._run.measure = None

    def report(self, what: str, percent: int) -> None:
        """Record the progress."""
        self._run.progress = Progress(what, percent)


def _call(fn: Callable[[Any], object], operation: Future[Any]) -> None:
    """Call a callback, and keep its exceptions away from the thread that completes operations."""
    try:
        check_answer(fn(operation), "callback", "add_done_callback")
    except BaseException as error:
        thread = threading.current_thread()
        if isinstance(error, KeyboardInterrupt) and thread is threading.main_thread():
            raise  # a real Ctrl-C, which only the main thread gets
        with contextlib.suppress(BaseException):  # the hook itself may fail
            threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))


class _Here(threading.local):
    """What is so on one thread."""

    owner: list[Operation[Any]] | None = None
    """The list of the innermost `finish`, which records the operations begun on the thread."""
    completes: tuple[int, object] | None = None
    """The process, and what the thread completes operations for, so that others wait for it; None if it does not."""


_HERE = _Here()


@contextlib.contextmanager
def completing(completer: object) -> Iterator[None]:
    """Mark this thread as one that completes operations, for as long as the context lasts.

    Nothing that needs the same completer may wait there: it would wait for itself. Mark the threads that serve many
    operations. A thread of one operation holds up nothing else.

    Args:
        completer: What the thread does it for: the engine or loop of a host. A backend has it as its `completer`.
    """
    before, _HERE.completes = _HERE.completes, (os.getpid(), completer)
    try:
        yield
    finally:
        _HERE.completes = before


def may_wait(completer: object = None) -> bool:
    """Tell whether this thread may wait for operations: it does not complete them. See `check_may_wait`."""
    if _HERE.completes is None:
        return True
    process, completed = _HERE.completes
    if process != os.getpid():  # a callback has forked: in the child, nobody waits for this thread
        return True
    return completer is not None and completer is not completed


def check_may_wait(verb: str | None = None, instead: str = _BEGIN, *, completer: object = None) -> None:
    """Check that this thread may wait for operations. What begins one and then waits for it checks this first.

    Args:
        verb: What is to wait, for the error, if it is known.
        instead: What to do instead, for the error.
        completer: What completes what is waited for, see `completing`; None if it is not known, or is one of several.

    Raises:
        RuntimeError: It is a thread that completes operations.
    """
    if not may_wait(completer):
        raise _cannot_wait(verb, instead)


def _cannot_wait(verb: str | None, instead: str) -> RuntimeError:
    what = "" if verb is None else f"{verb}: "
    return RuntimeError(f"{what}cannot wait here, in a callback on a thread that completes operations: {instead}")


@contextlib.contextmanager
def _owning(begun: list[Operation[Any]]) -> Iterator[None]:
    """Record each operation that this thread begins, from the moment it can be stopped.

    Ctrl-C can arrive before the backend has returned the operation. Without the record it could not be cancelled.
    """
    outer, _HERE.owner = _HERE.owner, begun
    try:
        yield
    finally:
        _HERE.owner = outer


def finish(
    begin: Callable[[], Operation[T]],
    undo: Callable[[Any], object] | None = None,
    completer: object = None,
    begun: list[Operation[Any]] | None = None,
) -> T:
    """Begin an operation, wait for its end and return its result.

    Ctrl-C undoes the operation at any time: even before `begin` has returned it, and even if it has just succeeded but
    its result cannot be returned. `KeyboardInterrupt` is then raised; a second Ctrl-C does not wait. The same holds for
    whatever else ends the call, but is not the operation's own failure: what a signal handler or `begin` raises.

    Args:
        begin: Begins the operation.
        undo: Undoes a success whose result cannot be returned, given the backend's own. Its failure becomes a note.
        completer: What completes the operation, see `completing`; None if it is not known.
        begun: A list that gets each operation as soon as it can be stopped. After Ctrl-C it tells how each has ended.

    Raises:
        RuntimeError: This thread completes operations. Nothing was begun.
    """
    check_may_wait(completer=completer)
    begun = [] if begun is None else begun
    awaited: Operation[T] | None = None
    try:
        with _owning(begun):
            operation = begin()
        if not may_wait(operation._run.completer):  # noqa: SLF001 (of this module's own class)
            operation.cancel()  # it needs another host, too, whose thread this is
        awaited = operation
        return operation.wait()
    except BaseException as error:
        if isinstance(error, Exception) and awaited is not None and awaited.done() and awaited.exception() is error:
            raise  # its own failure: it has undone itself
        for started in begun:
            is_second = awaited is not None and started.stopped is not None and not started.done()
            started.cancel()
            if is_second or not may_wait(started._run.completer):  # noqa: SLF001 (as above)
                continue  # a second one has ended the wait for the undoing
            if started.exception() is None and undo is not None and (made := started.result()) is not None:
                try:
                    undo(made)
                except Error as failed:
                    if not isinstance(failed, DomainNotFound):  # the domain has ended by itself
                        error.add_note(f"{started.verb} had succeeded, and could not be undone: {failed}")
        raise


class Calls:
    """The calls of the blocking API. `pyxen.aio` has a class of the same name with coroutines as its methods.

    Args:
        completer: What completes the operations of the host, see `completing`; None if it is not known.
    """

    def __init__(self, completer: object = None) -> None:
        self._completer = completer

    def ask(self, look: Callable[[], T]) -> T:
        """Make a read-only call."""
        return look()

    def finish(self, begin: Callable[[], Operation[T]], *, undo: Callable[[Any], object] | None = None) -> T:
        """Begin an operation and wait for its end; see `finish`."""
        return finish(begin, undo, self._completer)

    def acquire(self, get: Callable[[], T], *, give_back: Callable[[T], object]) -> T:  # noqa: ARG002 (as in pyxen.aio)
        """Acquire something that the caller must release."""
        return get()

    def change(self, make: Callable[[], T]) -> T:
        """Make a call that changes something and cannot be stopped."""
        return make()

    def attempt(self, make: Callable[[Callable[[bool], None]], T]) -> T:
        """Make a call that changes something in steps. Before each, it calls the function that it gets."""
        return make(lambda _: None)

    def finish_each(self, begins: Sequence[Callable[[], Operation[Any]]]) -> list[Error | None]:
        """Begin operations, wait for all, and return the error of each, or None.

        Ctrl-C undoes all, side by side; a second one does not wait. The same holds for what a signal handler raises.

        Raises:
            UnsupportedFeature: One cannot be begun for want of a feature, and so none of them.
            RuntimeError: This thread completes operations. Nothing was begun.
        """
        check_may_wait(completer=self._completer)
        started: list[Operation[Any]] = []
        try:
            with _owning(started):
                begun = [_begun(begin) for begin in begins]
            return [_error_of(one) for one in begun]
        except BaseException:
            for operation in started:
                operation.cancel()
            for operation in started:
                operation.exception()
            raise

    def file(self, fd: int) -> FileIO:
        """Return a descriptor as a raw file, which closes it."""
        return FileIO(fd, "r+")


def _begun(begin: Callable[[], Operation[Any]]) -> Operation[Any] | Error:
    """Begin an operation; return the error if it cannot be begun."""
    try:
        return begin()
    except UnsupportedFeature:
        raise
    except Error as error:
        return error


def _error_of(begun: Operation[Any] | Error) -> Error | None:
    """Wait for an operation, and return its error."""
    error = begun if isinstance(begun, Error) else begun.exception()
    if error is None or isinstance(error, Error):
        return error
    raise error


def has_begun(operation: Operation[Any]) -> bool:
    """Tell whether something carries an operation out, or has: otherwise it will never end."""
    return operation._run.runner is not None  # noqa: SLF001 (of this module's own class)


def describe(cls: type[E], message: str, operation: Operation[Any], code: int | None = None) -> E:
    """Return an exception with everything that is known about an operation."""
    return cls(
        message,
        operation=operation.verb,
        domain=operation.subject,
        domid=operation.domid,
        code=code,
        log=tuple(operation.log),
    )
