"""Memory of a simulated domain: what it has, and waiting until it has what it should have."""

from __future__ import annotations

from typing import Any

from pyxen.backends.memory.engine import Script, Wait, describe
from pyxen.backends.memory.guests import Guest
from pyxen.errors import DomainNotFound
from pyxen.operation import Operation
from pyxen.records.memory import DomainMemory
from pyxen.units import mib_to_kib

__all__ = ["memory", "wait_memory"]


def memory(guest: Guest) -> DomainMemory:
    """Return the memory of a domain."""
    return DomainMemory(
        current_kib=guest.memory_kib,
        target_kib=guest.target_kib,
        maximum_kib=mib_to_kib(guest.config.effective_maxmem or 0),
        limit_kib=guest.limit_kib,
        videoram_kib=guest.videoram_kib,
        claimed_kib=0,
        shared_kib=0,
        paged_kib=0,
    )


def wait_memory(operation: Operation[Any], guest: Guest) -> Script[DomainMemory]:
    """Wait until a guest has reached its memory target."""
    yield Wait(ready=lambda: guest.gone or memory(guest).is_at_target)
    if guest.gone:
        raise describe(DomainNotFound, "the domain was destroyed meanwhile", operation)
    return memory(guest)
