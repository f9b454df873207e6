"""What xl would refuse of a configuration, item by item, so that it can be left out of a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyxen.config import DomainConfig, Smbios
from pyxen.config.checks import hide_keys
from pyxen.errors import ConfigError
from pyxen.losses import Loss, shown
from pyxen.xlcfg.device_grammars import GRAMMARS
from pyxen.xlcfg.item_grammar import SpecError, unnoted
from pyxen.xlcfg.keys import KEYS
from pyxen.xlcfg.platform import read_smbios, write_smbios

__all__ = ["without_refused"]


def _read_smbios_back(item: Smbios) -> None:
    read_smbios(write_smbios(item))


def _read_back(key: str) -> Callable[[Any], None]:
    grammar = GRAMMARS[key]

    def check(item: Any) -> None:
        grammar.read(grammar.write(item), unnoted)

    return check


_CHECKS: Final[dict[str, Callable[[Any], None]]] = {
    **{KEYS[key].field: _read_back(key) for key in GRAMMARS},
    "smbios": _read_smbios_back,
}
"""Functions that write an item of a list and read it again, by the fields of `DomainConfig`."""


def without_refused(config: DomainConfig) -> tuple[DomainConfig, list[Loss]]:
    """Return a configuration without the items that xl would refuse, and these as losses."""
    losses: list[Loss] = []
    changes: dict[str, Any] = {}
    for field, check in _CHECKS.items():
        kept = []
        for index, item in enumerate(getattr(config, field)):
            try:
                check(item)
            except (SpecError, ConfigError) as error:
                reason = f"left out, because xl would refuse it: {error}"
                losses.append(Loss(f"{field}[{index}]", hide_keys(shown(item)), hide_keys(reason)))
            else:
                kept.append(item)
        if len(kept) != len(getattr(config, field)):
            changes[field] = kept
    return (config.replace(**changes) if changes else config), losses
