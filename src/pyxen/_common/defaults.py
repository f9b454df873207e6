"""What a domain gets that its configuration does not say, where backends must know it before they make the domain."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig

__all__ = ["with_memory"]

_LEAST_MIB: Final = 32
"""The memory that libxl gives a domain whose configuration says nothing of memory."""


def with_memory(config: DomainConfig) -> DomainConfig:
    """Return a configuration that says how much memory the domain has at first: as libxl, its maxmem or 32 MiB."""
    if config.memory is not None:
        return config
    return config.replace(memory=config.effective_maxmem or _LEAST_MIB)
