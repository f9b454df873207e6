"""Operations that suspend a guest: one at a time for each domain, so that none resumes what another has suspended.

A soft reset counts, too: libxl destroys a guest that is reset while another reset is under way.

Neither Xen nor libxl knows on whose behalf a guest is suspended. So this process knows it, for all of its hosts. Of
other processes it knows nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

from pyxen._common.preconditions import being_suspended
from pyxen.operation import Operation, has_begun

__all__ = ["alone", "check_resumable", "holding", "release"]

_KEEPS: Final = "suspend"
"""The verb whose guest stays suspended for whoever resumes it. All others copy the guest's memory meanwhile."""

_going: Final[WeakValueDictionary[Hashable, Operation[Any]]] = WeakValueDictionary()
"""By the domain. An operation that has ended does not count, unless it is held."""

_held: Final[set[Operation[Any]]] = set()
"""Operations that count until they are released: more of the work follows their end."""

_here: Final = threading.local()
"""`holds`: the list of what `holding` holds on this thread."""

_gate = threading.RLock()  # a signal handler may save guests, too


@contextmanager
def alone(domain: Hashable, operation: Operation[Any], domid: int) -> Iterator[None]:
    """Refuse an operation that suspends a domain while another one does. It is checked and begun in the block.

    Args:
        domain: Identifies the domain, on whichever host of this process.
        operation: The operation. It counts until it has ended.
        domid: The domain's, for the error.

    Raises:
        InvalidState: Another operation of this process suspends the domain.
    """
    with _gate:
        other = _unfinished(domain)
        if other is not None:
            raise being_suspended(operation.verb, domid, other.verb)
        _going[domain] = operation
        holds: list[Operation[Any]] | None = getattr(_here, "holds", None)
        if holds is not None:
            _held.add(operation)
            holds.append(operation)
    try:
        yield
    except BaseException:
        with _gate:
            if not has_begun(operation):
                _held.discard(operation)
            if not has_begun(operation) and _going.get(domain) is operation:
                del _going[domain]
        raise


@contextmanager
def holding() -> Iterator[list[Operation[Any]]]:
    """Let operations that suspend a domain and are begun in the block, on this thread, count after their end, too.

    Yields:
        These operations, for `release`. If the block fails, they are released.
    """
    holds: list[Operation[Any]] = []
    _here.holds = holds
    try:
        yield holds
    except BaseException:
        release(holds)
        raise
    finally:
        _here.holds = None


def release(operations: Iterable[Operation[Any]]) -> None:
    """Let operations count no more once they have ended: what followed them is done."""
    with _gate:
        _held.difference_update(operations)


def check_resumable(domain: Hashable, domid: int) -> None:
    """Check that no operation needs a domain to stay suspended: its file, or the copy elsewhere, would be torn.

    Raises:
        InvalidState: One does.
    """
    with _gate:
        other = _unfinished(domain)
    if other is not None and other.verb != _KEEPS:
        raise being_suspended("resume", domid, other.verb)


def _unfinished(domain: Hashable) -> Operation[Any] | None:
    other = _going.get(domain)
    return None if other is None or (other.done() and other not in _held) else other


def _forget() -> None:
    """Forget the operations in the child of a fork: they are the parent's."""
    global _gate  # noqa: PLW0603 (a thread of the parent may hold the old one)
    _gate = threading.RLock()
    _going.clear()
    _held.clear()


os.register_at_fork(after_in_child=_forget)
