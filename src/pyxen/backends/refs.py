"""How the backends refer to domains, and to parts of Xen's log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pyxen.operation import Operation

__all__ = ["DomainRef", "LogChunk", "operation_on"]


@dataclass(frozen=True, slots=True)
class DomainRef:
    """A domain's domid and uuid: domids are reused, so the uuid tells whether it is still the same domain."""

    domid: int
    uuid: UUID

    def __str__(self) -> str:
        return str(self.domid)


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A part of Xen's log."""

    data: bytes
    """What Xen wrote."""
    position: int
    """Where the next part begins, as Xen counts: bytes since it started, modulo 2^32."""
    lost: int
    """Number of bytes between the position that was asked for and this part: Xen does not have them any more."""


def operation_on(domain: DomainRef, verb: str, timeout: float | None = None) -> Operation[Any]:
    """Return an operation on a domain, which has not begun."""
    operation: Operation[Any] = Operation(verb, domain.domid, timeout=timeout)
    operation.domid = domain.domid
    return operation
