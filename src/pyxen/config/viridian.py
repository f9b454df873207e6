"""Enlightenments for Windows guests, as Hyper-V has them (xl.cfg ``viridian``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config.base import Coerced, Part, Refused, setting
from pyxen.config.checks import flag, part
from pyxen.config.enums import ViridianEnlightenment

__all__ = ["VIRIDIAN_WIDTH", "Viridian", "as_viridian"]

VIRIDIAN_WIDTH: Final = 64
"""Number of bits in libxl's maps; ``all`` sets every one, so that later Xen releases can add some."""

_NAMES: Final = {member.name.lower(): member for member in ViridianEnlightenment}


def _groups(value: Any) -> frozenset[int]:
    if value == "all":
        value = range(VIRIDIAN_WIDTH)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise Refused(f"takes names of enlightenments, or 'all', not {quoted(value)}")
    return frozenset(map(_group, value))


def _group(value: Any) -> int:
    if type(value) is ViridianEnlightenment:
        return value
    if isinstance(value, str) and value.lower() in _NAMES:
        return _NAMES[value.lower()]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < VIRIDIAN_WIDTH:
        return ViridianEnlightenment(value) if value < len(ViridianEnlightenment) else value
    raise Refused(f"{quoted(value)} is not one of {', '.join(_NAMES)}")


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Viridian(Part):
    """Which enlightenments an HVM guest is offered.

    xl.cfg's ``viridian=1`` is ``Viridian(defaults=True)``, its ``["defaults", "!synic"]`` is
    ``Viridian(defaults=True, disable={"synic"})``; `DomainConfig.viridian` also takes True and False.
    """

    defaults: bool | None = setting(None, flag)
    """Whether libxl's default groups are offered. Default: no."""
    enable: Coerced[frozenset[int], Iterable[str | int]] = setting(frozenset(), _groups)
    """Groups offered besides, as `ViridianEnlightenment`, their names, or ``"all"``."""
    disable: Coerced[frozenset[int], Iterable[str | int]] = setting(frozenset(), _groups)
    """Groups not offered."""

    def non_defaults(self) -> Iterator[tuple[str, Any]]:
        """Yield name and value of the fields that differ from their defaults; a set of all groups as ``"all"``."""
        for name, value in super(Viridian, self).non_defaults():
            yield name, "all" if isinstance(value, frozenset) and len(value) == VIRIDIAN_WIDTH else value


def as_viridian(value: Any) -> Viridian:
    """Pass a `Viridian`, or True, False or None for its ``defaults``."""
    if value is None or isinstance(value, bool):
        return Viridian(defaults=value)
    kept: Viridian = part(Viridian)(value)
    return kept
