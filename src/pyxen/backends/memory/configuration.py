"""The configuration of a domain in memory, as libxl would tell it."""

from __future__ import annotations

from pyxen.backends.memory.guests import Guest
from pyxen.config import DomainConfig, Scheduler
from pyxen.config.base import fields_of

__all__ = ["config"]


def config(guest: Guest) -> DomainConfig:
    """Return a configuration as libxl tells it: in the fewest words, and nothing that other guest types have."""
    found = guest.config.canonical().replace(scheduler=guest.scheduler if guest.domid else Scheduler())
    fields = fields_of(DomainConfig)
    defaults = dict(zip(fields.names, fields.defaults, strict=True))
    foreign = {name for name, _ in found.said() if found.type not in (fields.settings[name].guests or {found.type})}
    return found.replace(domid=None, **{name: defaults[name] for name in foreign})
