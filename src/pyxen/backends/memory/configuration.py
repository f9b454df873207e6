"""The configuration of a domain in memory, as libxl would tell it."""

from __future__ import annotations

from pyxen._common.defaults import for_its_type
from pyxen.backends.memory.guests import Guest
from pyxen.config import DomainConfig, Scheduler

__all__ = ["config"]


def config(guest: Guest) -> DomainConfig:
    """Return a configuration as libxl tells it: in the fewest words, and nothing that other guest types have."""
    found = guest.config.canonical().replace(scheduler=guest.scheduler if guest.domid else Scheduler())
    return for_its_type(found).replace(domid=None)
