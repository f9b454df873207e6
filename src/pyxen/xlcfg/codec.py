"""xl configurations to and from `DomainConfig`."""

from __future__ import annotations

import os

from pyxen.config import DomainConfig
from pyxen.errors import ParseError
from pyxen.losses import OnLoss, report
from pyxen.xlcfg.domain import read_domain
from pyxen.xlcfg.settings import read_settings
from pyxen.xlcfg.source import Source

__all__ = ["load", "loads"]


def loads(text: str | bytes, *, on_loss: OnLoss = "warn") -> DomainConfig:
    """Read an xl configuration, with xl's meaning.

    What xl warns of and ignores, or passes over in silence (an unknown key, ``acpi="yes"``, a setting of another guest
    type), is left out here too, and reported.

    Args:
        text: The configuration; bytes are UTF-8, other bytes are kept as surrogates.
        on_loss: What to do about what xl passes over: ``"warn"`` (the default: xl goes on, too), ``"raise"`` or
            ``"ignore"``.

    Returns:
        The configuration.

    Raises:
        ParseError: xl would refuse it; with line and column.
        LossyConversion: xl would pass over something, and ``on_loss`` is ``"raise"``.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    source = Source(read_settings(text))
    config = read_domain(source)
    report(source.losses, on_loss)
    return config


def load(path: str | os.PathLike[str], *, on_loss: OnLoss = "warn") -> DomainConfig:
    """Read an xl configuration from a file; arguments and errors as `loads`, and OSError."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        return loads(data, on_loss=on_loss)
    except ParseError as error:
        error.source = os.fspath(path)
        raise
