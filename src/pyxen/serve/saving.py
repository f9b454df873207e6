"""Saving a domain to a client, which must not be lost with the link: it ends when the client has all of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen._common.suspending import holding, release
from pyxen.backends.base import Backend, DomainRef
from pyxen.backends.remote.streams import Stream
from pyxen.errors import DomainNotFound, Error, OperationCancelled, OperationFailed, OperationTimeout
from pyxen.operation import Operation, describe

__all__ = ["save_over", "spoken_out"]

T = TypeVar("T")

_TO_SPEAK: Final = 10.0  # seconds for the last bytes of a conversation to arrive
_LOG: Final = logger("pyxen.serve")
_TICK: Final = 0.2  # seconds


def save_over(
    backend: Backend,
    domain: DomainRef,
    fd: int,
    stream: Stream,
    *,
    config: Any,
    checkpoint: bool,
    leave_paused: bool,
    timeout: float | None,
) -> Operation[None]:
    """Save a domain to a stream; see `Backend.save_over`.

    The host leaves it paused. It is destroyed, or goes on, once the client has written all of it, and goes on if that
    fails.
    """
    held: list[Operation[Any]] = []

    def begin() -> Operation[None]:
        with holding() as begun:  # nobody else is to save it before the client has all of it, or it goes on
            operation = backend.save_over(
                domain, fd, config=config, checkpoint=True, leave_paused=True, timeout=timeout
            )
        held.extend(begun)
        return operation

    def finish(saving: Operation[None], whole: Operation[None]) -> None:
        error: BaseException | None = None
        try:
            _finish(backend, domain, saving, whole, stream, checkpoint=checkpoint, leave_paused=leave_paused)
        except BaseException as problem:  # noqa: BLE001 (it is raised to the caller that waits)
            error = problem
        release(held)
        if error is None:
            whole.set_result(None)
        else:
            whole.set_exception(error)

    return _followed(begin, finish, "save")


def _finish(
    backend: Backend,
    domain: DomainRef,
    saving: Operation[None],
    whole: Operation[None],
    stream: Stream,
    *,
    checkpoint: bool,
    leave_paused: bool,
) -> None:
    error = saving.exception()
    if error is not None:
        if stream.broken is not None and whole.stopped is None:
            raise _broken(whole, stream, error.message if isinstance(error, Error) else str(error)) from error
        raise error
    try:
        arrived = _arrived(whole, stream)
    except BaseException:
        _let_go_on(backend, domain)
        raise
    if not arrived:
        raise _stopped(whole, stream, _let_go_on(backend, domain))
    if checkpoint and not leave_paused:
        backend.unpause(domain).wait()
    elif not leave_paused:
        backend.destroy(domain, timeout=None).wait()


def _arrived(whole: Operation[None], stream: Stream) -> bool:
    """Wait until the client has written all that was saved, and tell whether it has."""
    while not stream.wait(lambda: stream.drained or stream.broken is not None, _TICK):
        late = whole.deadline is not None and time.monotonic() > whole.deadline
        if late:
            whole.stop("timeout")
        if whole.stopped is not None or stream.closed:
            break
    return stream.drained


def _let_go_on(backend: Backend, domain: DomainRef) -> str:
    """Let a domain go on that was saved in vain, and return what has become of it, for the error."""
    try:
        error = backend.unpause(domain).exception()
    except Error as problem:  # it cannot begin
        error = problem
    if error is None:
        return "the domain goes on"
    if isinstance(error, DomainNotFound):
        return "the domain is gone"
    _LOG.error("save: domain %s stays paused: %s", domain.domid, error)
    return f"the domain stays paused, for {error}: unpause it"


def _stopped(whole: Operation[None], stream: Stream, fate: str) -> Error:
    if stream.broken is not None:
        return _broken(whole, stream, fate)
    if whole.stopped == "timeout":
        return describe(OperationTimeout, f"the deadline passed; {fate}", whole)
    return describe(OperationCancelled, f"cancelled; {fate}", whole)


def _broken(whole: Operation[None], stream: Stream, fate: str) -> OperationFailed:
    return describe(OperationFailed, f"cannot write to the descriptor: {stream.broken}; {fate}", whole)


def spoken_out(begin: Callable[[], Operation[Any]], stream: Stream) -> Operation[Any]:
    """Begin an operation with a conversation; return one that ends when the client has written all of that, too."""

    def finish(operation: Operation[Any], whole: Operation[Any]) -> None:
        error = operation.exception()
        stream.wait(lambda: stream.drained or stream.broken is not None, _TO_SPEAK)
        stream.close()
        if error is None:
            whole.set_result(operation.result())
        else:
            whole.set_exception(error)

    return _followed(begin, finish, "transfer")


def _followed(
    begin: Callable[[], Operation[T]], finish: Callable[[Operation[T], Operation[T]], None], name: str
) -> Operation[T]:
    """Begin an operation, and another one that goes on after it on a thread, which is there before anything begins.

    Args:
        begin: Begins the operation.
        finish: Called on the thread with both; it waits for the first, and ends the second.
        name: What it is, for the thread and for errors.

    Raises:
        OperationFailed: No thread can be started.
    """
    begun: Future[tuple[Operation[T], Operation[T]] | None] = Future()

    def follow() -> None:
        both = begun.result()
        if both is not None:
            finish(*both)

    with shortage(OperationFailed, f"{name}: cannot start a thread"):
        threading.Thread(target=follow, name=f"pyxen-serve-{name}", daemon=True).start()
    try:
        operation = begin()
        whole = operation.continued()
    except BaseException:
        begun.set_result(None)
        raise
    begun.set_result((operation, whole))
    return whole
