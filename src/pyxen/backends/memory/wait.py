"""Waits for a simulated domain to reach a state."""

from __future__ import annotations

from collections.abc import Collection

from pyxen.backends.memory.engine import Script, Wait
from pyxen.backends.memory.guests import Guest
from pyxen.info import DomainInfo, DomainState

__all__ = ["wait"]


def wait(guest: Guest, states: Collection[DomainState]) -> Script[DomainInfo | None]:
    """Wait until a domain reaches one of these states, or is gone."""
    yield Wait(ready=lambda: guest.gone or guest.state in states)
    return None if guest.gone else guest.info()
