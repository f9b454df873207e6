"""The grammars of ``ioports``, ``irqs``, ``iomem``, ``smbios`` and ``viridian``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import IomemRange, IoportRange, Smbios, SmbiosType, Viridian, ViridianEnlightenment
from pyxen.xlcfg.item_grammar import Note, SpecError, member, unsigned

__all__ = [
    "read_iomem",
    "read_ioports",
    "read_irq",
    "read_smbios",
    "read_viridian",
    "write_iomem",
    "write_ioports",
    "write_smbios",
    "write_viridian",
]

_LARGEST: Final = 2**32 - 2
_HEX = r"[ \t\n\v\f\r]*\+?(?:0[xX](?=[0-9a-fA-F]))?([0-9a-fA-F]+)"
_IOMEM = re.compile(rf"{_HEX},{_HEX}(?:@{_HEX})?")
_VIRIDIAN: Final = {one.name.lower(): one for one in ViridianEnlightenment}
_VIRIDIAN_WIDTH: Final = 64


def read_ioports(item: str, note: Note) -> IoportRange:
    """Read one item of ``ioports``: ``"2f8-2ff"``, in hexadecimal.

    Raises:
        SpecError: xl would refuse it, or the range runs backwards.
    """
    found = unsigned(item, 16)
    if found is None or found[0] > _LARGEST:
        raise SpecError(f"{quoted(item)} is not a range of I/O ports; write it like 2f8-2ff")
    first, rest = found
    last = first
    if rest.startswith("-"):
        end = unsigned(rest[1:], 16)
        if end is None or end[1] or end[0] > _LARGEST:
            raise SpecError(f"{quoted(item)} is not a range of I/O ports; write it like 2f8-2ff")
        last = end[0]
    elif rest:
        note(item, f"xl warns of {quoted(rest)} and continues without it")
    if last < first:
        raise SpecError(f"the range {quoted(item)} runs backwards")
    return IoportRange(first, last - first + 1)


def write_ioports(ports: IoportRange) -> str:
    """Write one item of ``ioports``."""
    if ports.number == 1:
        return f"{ports.first:x}"
    return f"{ports.first:x}-{ports.first + ports.number - 1:x}"


def read_irq(item: str) -> int:
    """Read one item of ``irqs``.

    Raises:
        SpecError: xl would refuse it.
    """
    found = unsigned(item)
    if found is None or found[1] or found[0] > _LARGEST:
        raise SpecError(f"{quoted(item)} is not the number of an interrupt")
    return found[0]


def read_iomem(item: str) -> IomemRange:
    """Read one item of ``iomem``: ``"START,NUMBER[@GFN]"``, page numbers in hexadecimal.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A number is impossible.
    """
    found = _IOMEM.fullmatch(item)
    if not found:
        raise SpecError(f"{quoted(item)} is not a range of pages; write it like a0,20 or a0,20@0, in hexadecimal")
    gfn = None if found[3] is None else int(found[3], 16)
    return IomemRange(int(found[1], 16), int(found[2], 16), gfn)


def write_iomem(pages: IomemRange) -> str:
    """Write one item of ``iomem``."""
    return f"{pages.start:x},{pages.number:x}" + ("" if pages.gfn is None else f"@{pages.gfn:x}")


def read_smbios(item: str) -> Smbios:
    """Read one item of ``smbios``: ``"system_manufacturer=ACME"``.

    Raises:
        SpecError: xl would refuse it.
    """
    name, sign, value = item.partition("=")
    if not sign or not value:
        raise SpecError(f"{quoted(item)} is not an SMBIOS string; write NAME=TEXT")
    return Smbios(member(SmbiosType, name, "SMBIOS string"), value)


def write_smbios(one: Smbios) -> str:
    """Write one item of ``smbios``."""
    return f"{one.type}={one.value}"


def read_viridian(items: Iterable[str]) -> Viridian:
    """Read the list form of ``viridian``: ``["defaults", "!synic"]``.

    Raises:
        SpecError: xl would refuse it.
    """
    said: dict[str, Any] = {}
    sets: dict[bool, set[int]] = {True: set(), False: set()}
    for item in items:
        if item == "all":
            sets[True] = set(range(_VIRIDIAN_WIDTH))
        elif item == "defaults":
            said["defaults"] = True
        else:
            wanted = not item.startswith("!")
            name = item.removeprefix("!").lower()
            if name not in _VIRIDIAN:
                raise SpecError(f"{quoted(item)} is not a group of enlightenments; it can be {', '.join(_VIRIDIAN)}")
            sets[wanted].add(_VIRIDIAN[name])
            sets[not wanted].discard(_VIRIDIAN[name])
    return Viridian(enable=sets[True], disable=sets[False], **said)


def write_viridian(viridian: Viridian) -> list[str] | int | None:
    """Write ``viridian``; None where there is nothing to say."""
    if not viridian.enable and not viridian.disable:
        return None if viridian.defaults is None else int(viridian.defaults)
    names = {one: one.name.lower() for one in ViridianEnlightenment}
    items = ["defaults"] if viridian.defaults else []
    everything = set(range(_VIRIDIAN_WIDTH)) - set(viridian.disable)
    if viridian.enable and viridian.enable >= everything:
        items.append("all")
    else:
        items += [names[one] for one in ViridianEnlightenment if one in viridian.enable]
    return items + [f"!{names[one]}" for one in ViridianEnlightenment if one in viridian.disable]
