"""Waits for a simulated domain to reach a state."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from pyxen._common.starts import started
from pyxen.backends.base import DomainRef
from pyxen.backends.memory.engine import Script, Wait
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.machine import Machine
from pyxen.records.info import DomainInfo, DomainState

__all__ = ["wait", "wait_start"]


def wait(guest: Guest, states: Collection[DomainState]) -> Script[DomainInfo | None]:
    """Wait until a domain reaches one of these states, or is gone."""
    yield Wait(ready=lambda: guest.gone or guest.state in states)
    return None if guest.gone else guest.info()


def wait_start(machine: Machine, uuid: UUID, after: DomainRef | None) -> Script[DomainInfo]:
    """Wait until a domain with this uuid is not paused."""

    def look() -> DomainInfo | None:
        return started((guest.info() for guest in machine.domains.values()), uuid, after)

    found = look()
    while found is None:
        yield Wait(ready=lambda: look() is not None)
        found = look()
    return found
