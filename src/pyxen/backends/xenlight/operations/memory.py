"""Memory of a domain: what it has, and waiting until it has what it should have."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe
from pyxen.backends.xenlight.libxl.event_loop import Script, Wait
from pyxen.errors import DomainNotFound
from pyxen.operation import Operation
from pyxen.records.info import DomainInfo, DomainState
from pyxen.records.memory import DomainMemory

__all__ = ["memory", "wait_memory"]

_FIRST_LOOK: Final = 0.01  # seconds
_MOST_APART: Final = 0.2  # seconds


def memory(hypervisor: Hypervisor, info: DomainInfo) -> DomainMemory:
    """Return the memory of a domain."""
    paths = [f"/local/domain/{info.domid}/memory/{name}" for name in ("target", "static-max", "videoram")]
    target, maximum, videoram = (_number(text) for text in hypervisor.read_all(paths))
    return DomainMemory(
        current_kib=info.memory_kib,
        target_kib=None if target is None else target + (videoram or 0),  # libxl writes it without the graphics card's
        maximum_kib=maximum,
        limit_kib=info.maxmem_kib,
        videoram_kib=videoram or 0,
        claimed_kib=info.claimed_kib or 0,
        shared_kib=info.shared_kib or 0,
        paged_kib=info.paged_kib or 0,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def wait_memory(context: Context, operation: Operation[DomainMemory], domid: int, uuid: UUID) -> Script[DomainMemory]:
    """Wait until a guest has reached its memory target. Xen does not report that, so it is polled for."""
    apart = _FIRST_LOOK
    while True:
        info = context.hypervisor.domain(domid)
        if info is None or info.uuid != uuid or info.state is DomainState.DYING:
            raise describe(DomainNotFound, "the domain was destroyed meanwhile", operation)
        found = memory(context.hypervisor, info)
        if found.is_at_target and (found.target_kib is not None or domid == 0):  # a domain loses it before it dies
            return found
        yield Wait(context.token(), until=time.monotonic() + apart)
        apart = min(2 * apart, _MOST_APART)
