"""Memory that dom0 gives up for new domains: whether it does, and how much."""

from __future__ import annotations

import re
from typing import Any, Final

from pyxen._common.preconditions import not_enough_memory
from pyxen.operation import Operation
from pyxen.records.memory import DomainMemory

__all__ = ["CREDIT", "STALL", "is_automatic", "new_target_kib", "pending_kib"]

CREDIT: Final = 30.0
"""Seconds that dom0 gets to give up memory for a new domain, as xl gives it."""

STALL: Final = 10.0
"""Seconds without progress after which dom0 is not expected to give up more, as for xl."""

_LEAST_KIB: Final = 128 * 1024
"""The least memory that libxl leaves dom0."""

_SIZE: Final = r"-?[0-9]+[bBkKmMgGtT]?"
_FIXED: Final = re.compile(rf"(^| )dom0_mem=((|min:|max:)({_SIZE}|({_SIZE}\+)?[0-9]{{1,2}}%),?)+($| )")


def is_automatic(command_line: str) -> bool:
    """Tell from Xen's command line whether dom0 gives up memory unasked: unless ``dom0_mem`` says what it has."""
    return _FIXED.search(command_line) is None


def pending_kib(dom0: DomainMemory) -> int:
    """Return the memory that dom0 has already been asked to give up, and still has."""
    return 0 if dom0.target_kib is None else max(0, dom0.current_kib - dom0.target_kib)


def new_target_kib(operation: Operation[Any], dom0: DomainMemory, more_kib: int, needed_kib: int, free_kib: int) -> int:
    """Return the target with which dom0 gives up so much more.

    Args:
        operation: The create, for the exception.
        dom0: The memory of dom0.
        more_kib: How much more it should give up.
        needed_kib: What the new domain needs, for the exception.
        free_kib: What the host has free, for the exception.

    Raises:
        NotEnoughMemory: It would have too little left.
    """
    target = (dom0.current_kib if dom0.target_kib is None else dom0.target_kib) - more_kib
    if target < _LEAST_KIB:
        raise not_enough_memory(operation, needed_kib, free_kib, dom0_keeps_kib=_LEAST_KIB)
    return target
