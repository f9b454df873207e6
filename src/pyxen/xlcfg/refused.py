"""What xl would refuse of a configuration, found so that it can be left out of a text and reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyxen.config import DomainConfig, DomainType, Part, Smbios
from pyxen.config.base import fields_of
from pyxen.config.checks import hide_keys
from pyxen.errors import ConfigError
from pyxen.losses import Loss, shown
from pyxen.xlcfg.device_grammars import GRAMMARS
from pyxen.xlcfg.item_grammar import SpecError, unnoted
from pyxen.xlcfg.keys import KEYS
from pyxen.xlcfg.platform import read_smbios, write_smbios

__all__ = ["refused_by_libxl", "without_refused_items", "without_refused_setting"]

_LEFT_OUT: Final = "left out, because xl would refuse it"

_RANGES: Final = ("ioports", "irqs", "iomem")
"""Lists whose items mean the same without the others."""


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


def without_refused_items(config: DomainConfig) -> tuple[DomainConfig, list[Loss]]:
    """Return a configuration without the devices that xl would refuse, and these as losses."""
    losses: list[Loss] = []
    changes: dict[str, Any] = {}
    for field, check in _CHECKS.items():
        kept = []
        for index, item in enumerate(getattr(config, field)):
            try:
                check(item)
            except (SpecError, ConfigError) as error:
                losses.append(_loss(f"{field}[{index}]", item, f"{_LEFT_OUT}: {error}"))
            else:
                kept.append(item)
        if len(kept) != len(getattr(config, field)):
            changes[field] = kept
    return (config.replace(**changes) if changes else config), losses


def without_refused_setting(config: DomainConfig, error: ConfigError) -> tuple[DomainConfig | None, Loss]:
    """Return a configuration without the setting that xl would refuse, and this as a loss.

    Args:
        config: The configuration.
        error: The error with which xl's text of it was refused.

    Returns:
        The configuration; None if nothing can be left out, because something is missing. The loss.
    """
    key, bracket, place = (error.path or "name").partition("[")
    known = KEYS.get(key)
    path = known.field if known is not None and known.field else key
    reason = error.message.removeprefix(f"{error.path}: ")
    value = _value(config, path)
    if value is None or path == "name":
        return None, Loss(path, "", hide_keys(f"xl would refuse the text: {reason}"))
    if bracket and path in _RANGES:
        index = int(place.removesuffix("]"))
        rest = (*value[:index], *value[index + 1 :])
        return config.replace(**{path: rest}), _loss(f"{path}[{index}]", value[index], f"{_LEFT_OUT}: {reason}")
    group, dot, field = path.rpartition(".")
    part: Part = getattr(config, group) if dot else config
    fields = fields_of(type(part))
    default = fields.defaults[fields.names.index(field)]
    if value == default:
        return None, _loss(path, value, f"xl would refuse the text: {reason}")
    less = part.replace(**{field: default})
    loss = _loss(path, value, f"{_LEFT_OUT}: {reason}", is_secret="passw" in field)
    return (config.replace(**{group: less}) if dot else config.replace(**{field: default})), loss


def _value(config: DomainConfig, path: str) -> Any:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


def _loss(path: str, value: object, reason: str, *, is_secret: bool = False) -> Loss:
    return Loss(path, "***" if is_secret else hide_keys(shown(value)), hide_keys(reason))


def refused_by_libxl(config: DomainConfig) -> list[Loss]:
    """Return what xl reads, but libxl then refuses because something is missing."""
    spice = config.spice
    losses = []
    if config.type is DomainType.HVM and spice.enable:
        if not spice.port and not spice.tls_port:
            reason = "libxl refuses SPICE without a port, and chooses none itself: set spice.port, to 5900 for example"
            losses.append(Loss("spice.port", "", reason))
        if not spice.disable_ticketing and not spice.passwd:
            reason = "libxl refuses SPICE without a password: set spice.passwd, or spice.disable_ticketing=True"
            losses.append(Loss("spice.passwd", "", reason))
    return losses
