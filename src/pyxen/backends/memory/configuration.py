"""The configuration of a domain in memory, as libxl would tell it."""

from __future__ import annotations

from pyxen._common.defaults import without_foreign_settings
from pyxen.backends.memory.guests import Guest
from pyxen.config import DomainConfig, Scheduler

__all__ = ["config"]


def config(guest: Guest) -> DomainConfig:
    """Return a configuration as libxl tells it: in the fewest words, and nothing that other guest types have."""
    found = guest.config.canonical().replace(scheduler=guest.scheduler if guest.domid else Scheduler())
    return without_foreign_settings(found).replace(domid=None)
