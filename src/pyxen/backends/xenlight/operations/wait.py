"""Waiting for a domain to reach a state."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final
from uuid import UUID

from pyxen._common.endings import has_ended
from pyxen._common.starts import started
from pyxen.backends.base import DomainRef
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.event_loop import Script, Wait
from pyxen.records.info import ENDS, DomainInfo, DomainState, ShutdownReason

__all__ = ["wait", "wait_end", "wait_start"]

_FIRST_LOOK: Final = 0.01  # seconds
_MOST_APART: Final = 0.2  # seconds


def wait(context: Context, domid: int, uuid: UUID, states: Collection[DomainState]) -> Script[DomainInfo | None]:
    """Wait until a domain is in one of these states, and return its info; None if it is gone.

    libxl reports when a domain shuts down or dies. Xen reports no other changes, so other states are polled for, less
    and less often.
    """
    apart = _FIRST_LOOK
    with context.watching(domid) as token:
        while True:
            info = context.hypervisor.domain(domid)
            if info is None or info.uuid != uuid or info.state is DomainState.DYING:
                return None
            if info.state in states:
                return info
            if ENDS.issuperset(states) and info.state not in ENDS:
                yield from context.report(token)
            else:
                yield from context.report(token, until=time.monotonic() + apart)
                apart = min(2 * apart, _MOST_APART)


def wait_end(context: Context, token: int, domid: int, uuid: UUID) -> Script[ShutdownReason | int | None]:
    """Wait until the guest of a watched domain has ended, and return how; None if the domain is gone.

    A guest that is suspended, as for a save or a migration, has not ended: it may go on.
    """
    while True:
        info = context.hypervisor.glance_at(domid)
        if info is None or info.uuid != uuid or info.state is DomainState.DYING:
            return None
        if has_ended(info.shutdown_reason):
            return info.shutdown_reason
        yield from context.report(token)


def wait_start(context: Context, uuid: UUID, after: DomainRef | None) -> Script[DomainInfo]:
    """Wait until a domain with this uuid is not paused. Xen does not report that, so it is polled for."""
    apart = _FIRST_LOOK
    while True:
        found = started(context.hypervisor.glance(), uuid, after)
        named = None if found is None else context.hypervisor.domain(found.domid)
        if named is not None and named.uuid == uuid:
            return named
        yield Wait(context.token(), until=time.monotonic() + apart)
        apart = min(2 * apart, _MOST_APART)
