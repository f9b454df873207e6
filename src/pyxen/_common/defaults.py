"""What a domain gets that its configuration does not say, where backends must know it before they make the domain."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig
from pyxen.config.base import fields_of

__all__ = ["for_its_type", "with_memory"]

_LEAST_MIB: Final = 32
"""The memory that libxl gives a domain whose configuration says nothing of memory."""


def with_memory(config: DomainConfig) -> DomainConfig:
    """Return a configuration that says how much memory the domain has at first: as libxl, its maxmem or 32 MiB."""
    if config.memory is not None:
        return config
    return config.replace(memory=config.effective_maxmem or _LEAST_MIB)


def for_its_type(config: DomainConfig) -> DomainConfig:
    """Return a configuration without the settings of other guest types.

    libxl keeps some of them for every domain, and a configuration that has them could not be created again.
    """
    fields = fields_of(DomainConfig)
    defaults = dict(zip(fields.names, fields.defaults, strict=True))
    foreign = {
        name for name, _ in config.non_defaults() if config.type not in (fields.settings[name].guests or {config.type})
    }
    return config.replace(**{name: defaults[name] for name in foreign})
