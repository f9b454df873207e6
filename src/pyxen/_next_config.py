"""The configuration from which a running domain is started again, as xl keeps it: a note with a text of xl's format."""

from __future__ import annotations

from typing import Final

from pyxen import xlcfg
from pyxen.config import DomainConfig

__all__ = ["NEXT_CONFIG", "config_of", "config_text"]

NEXT_CONFIG: Final = "xl"
"""The key of the note."""


def config_text(config: DomainConfig | None) -> bytes | None:
    """Return the note for a configuration; None for none.

    Raises:
        LossyConversion: xl's format cannot say all of it.
        ValidationError: Settings contradict each other.
    """
    if config is None:
        return None
    config.validate()
    return xlcfg.dumps(config).encode("utf-8", "surrogateescape")


def config_of(note: bytes) -> DomainConfig:
    """Return the configuration in a note.

    Raises:
        ConfigError: It is not a configuration.
    """
    return xlcfg.loads(note.rstrip(b"\0").decode("utf-8", "surrogateescape"))
