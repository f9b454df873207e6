"""Default settings that a backend must know before it creates a domain."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig
from pyxen.config.base import fields_of

__all__ = ["with_memory", "without_foreign_settings"]

_LEAST_MIB: Final = 32
"""The memory that libxl gives a domain whose configuration does not set any."""


def with_memory(config: DomainConfig) -> DomainConfig:
    """Return a configuration with its initial memory filled in: like libxl, with maxmem, or else with 32 MiB."""
    if config.memory is not None:
        return config
    return config.replace(memory=config.effective_maxmem or _LEAST_MIB)


def without_foreign_settings(config: DomainConfig) -> DomainConfig:
    """Return a configuration without the settings of other guest types.

    libxl keeps some of them for every domain, and a domain cannot be created from a configuration that has them.
    """
    fields = fields_of(DomainConfig)
    defaults = dict(zip(fields.names, fields.defaults, strict=True))
    foreign = {
        name for name, _ in config.non_defaults() if config.type not in (fields.settings[name].guests or {config.type})
    }
    return config.replace(**{name: defaults[name] for name in foreign})
