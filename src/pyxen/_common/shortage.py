"""Shortage of what a process is granted: descriptors, threads, processes, memory, space for files."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Final, Protocol, TypeVar

from pyxen.errors import Error

__all__ = ["REMEDY", "is_full", "is_shortage", "shortage", "submitted"]

T = TypeVar("T")

REMEDY: Final = "raise its limits (ulimit -n and -u, or LimitNOFILE= and TasksMax= of its unit), or do less at once"

_ERRNOS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_NO_THREAD: Final = "can't start new thread"
"""What Python says in a `RuntimeError`."""


def is_shortage(error: OSError) -> bool:
    """Tell whether the system has refused a descriptor or memory: it says nothing of what was asked for."""
    return error.errno in _ERRNOS


def is_full(error: OSError) -> bool:
    """Tell whether a file system is full, or the user's share of it, or it has no files of that size."""
    return error.errno in _FULL


@contextlib.contextmanager
def shortage(kind: type[Error], what: str) -> Iterator[None]:
    """Turn a shortage into one of pyxen's exceptions. Other errors of the system become one, too, in their own words.

    Args:
        kind: The exception.
        what: What cannot be done, for its message.
    """
    try:
        yield
    except Error:
        raise
    except (OSError, RuntimeError, MemoryError) as error:
        if "cannot schedule new futures" in str(error):  # since the pool was shut down
            raise kind(f"{what}: it was closed meanwhile") from error
        if not _is_refused(error):
            raise kind(f"{what}: {error}") from error
        message = f"{what}: this process may have no more descriptors, threads or memory: {error}: {REMEDY}"
        raise kind(message) from error


def _is_refused(error: OSError | RuntimeError | MemoryError) -> bool:
    """Tell whether an error means that this process may have no more of something."""
    if isinstance(error, OSError):
        return is_shortage(error) or error.errno == errno.EAGAIN  # of a fork: no more processes
    return isinstance(error, MemoryError) or _NO_THREAD in str(error)


class _Pool(Protocol):
    """Threads that make calls: an `Executor`, or `pyxen.aio._threads.Daemons`."""

    def submit(self, call: Callable[[], object], /) -> object: ...


def submitted(
    pool: _Pool, call: Callable[[], T], kind: type[Error], what: str, answer: Future[T] | None = None
) -> Future[T]:
    """Have a pool of threads make a call. If it can start no thread for it, the call is not made.

    `Executor.submit` raises, too, but keeps the call, and a thread that ends its own work or is started later makes it.

    Args:
        pool: The pool.
        call: The call.
        kind: The exception for a shortage.
        what: What cannot be done, for its message.
        answer: The future that gets the result; a new one by default. A call whose future is cancelled is not made.
    """
    future: Future[T] = Future() if answer is None else answer

    def make() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 (it is raised to whoever asks for the result)
            future.set_exception(error)
        else:
            future.set_result(result)

    try:
        with shortage(kind, what):
            pool.submit(make)
    except kind:
        if future.cancel():
            raise
    return future
