"""Operations that suspend a guest: one at a time for each domain, so that none resumes what another has suspended.

Neither Xen nor libxl knows on whose behalf a guest is suspended. So this process knows it, for all of its hosts. Of
other processes it knows nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

from pyxen._common.preconditions import being_suspended
from pyxen.operation import Operation, has_begun

__all__ = ["alone", "check_resumable"]

_KEEPS: Final = "suspend"
"""The verb whose guest stays suspended for whoever resumes it. All others copy the guest's memory meanwhile."""

_going: Final[WeakValueDictionary[Hashable, Operation[Any]]] = WeakValueDictionary()
"""By the domain. An operation that has ended does not count."""

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
    try:
        yield
    except BaseException:
        with _gate:
            if not has_begun(operation) and _going.get(domain) is operation:
                del _going[domain]
        raise


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
    return None if other is None or other.done() else other


def _forget() -> None:
    """Forget the operations in the child of a fork: they are the parent's."""
    global _gate  # noqa: PLW0603 (a thread of the parent may hold the old one)
    _gate = threading.RLock()
    _going.clear()


os.register_at_fork(after_in_child=_forget)
