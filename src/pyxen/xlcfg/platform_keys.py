"""Keys of the platform: ``viridian``, ``smbios``, ``ioports``, limits, and others that set neither CPUs nor devices."""

from __future__ import annotations

from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import ArmSciType, McaCap
from pyxen.xlcfg.item_grammar import SpecError, unsigned
from pyxen.xlcfg.platform import read_iomem, read_ioports, read_irq, read_smbios, read_viridian
from pyxen.xlcfg.read_state import Reader, XlReadState
from pyxen.xlcfg.source import unnoting

__all__ = ["READERS"]


_LEAST_HOLE, _MOST_HOLE = 256, 3840
_INT_MAX: Final = 2**31 - 1
_MOST_OEM_STRINGS: Final = 99


def _bounded(draft: XlReadState, name: str) -> None:
    number = draft.settings.integer(name)
    if number is None or not 0 <= number <= _INT_MAX:
        raise draft.source.error(name, f"a number from 0 to {_INT_MAX} is needed")
    draft.fields[name] = number


def _mmio_hole(draft: XlReadState, name: str) -> None:
    number = draft.source.integer(name)
    if number is not None:
        if not _LEAST_HOLE <= number <= _MOST_HOLE:
            raise draft.source.error(name, f"{number} is out of range; it can be {_LEAST_HOLE} to {_MOST_HOLE} MiB")
        draft.fields[name] = number


def _viridian(draft: XlReadState, name: str) -> None:
    if isinstance(draft.settings.value(name), str):
        draft.fields[name] = draft.source.boolean(name)
    else:
        items = draft.source.plain_items(name)
        draft.fields[name] = draft.source.read(name, lambda: read_viridian(items))


def _smbios(draft: XlReadState, name: str) -> None:
    if isinstance(draft.settings.value(name), str):
        raise draft.source.error(name, "a list is needed")
    found = draft.source.each(name, draft.source.plain_items(name), unnoting(read_smbios))
    if sum(getattr(one, "type", None) == "oem" for one in found) > _MOST_OEM_STRINGS:
        raise draft.source.error(name, f"at most {_MOST_OEM_STRINGS} oem strings are possible")
    draft.fields[name] = found


def _ms_vm_genid(draft: XlReadState, name: str) -> None:
    value = draft.source.string(name)
    if value not in ("generate", "none", None):
        raise draft.source.error(name, f"{quoted(value)} is not a generation id; it can be generate or none")
    if value == "generate":
        draft.fields[name] = value


def _mca_caps(draft: XlReadState, name: str) -> None:
    if isinstance(draft.settings.value(name), str):
        raise draft.source.error(name, "a list is needed")
    items = draft.source.plain_items(name)
    if any(item != "lmce" for item in items):
        raise draft.source.error(name, "lmce is the only machine check capability")
    draft.fields[name] = [McaCap("lmce")] if items else []


def _ranges(draft: XlReadState, name: str) -> None:
    readers: dict[str, Any] = {"ioports": read_ioports, "irqs": unnoting(read_irq), "iomem": unnoting(read_iomem)}
    draft.fields[name] = draft.source.each(name, draft.source.plain_items(name), readers[name])


def _xenstore_quota(draft: XlReadState, name: str) -> None:
    quotas = draft.source.each(name, draft.source.plain_items(name), unnoting(_quota))
    draft.fields[name] = dict(quotas)  # of two quotas with the same name, the last one counts


def _arm_sci(draft: XlReadState, name: str) -> None:
    for word in (draft.source.string(name) or "").split(","):
        key, sign, value = word.partition("=")
        if sign and key == "type":
            draft.fields["arm.sci"] = draft.member(name, ArmSciType, value)
        elif word:
            draft.source.note(name, "xl ignores it without a warning", word)


def _quota(item: str) -> tuple[str, int]:
    name, sign, value = item.partition("=")
    found = unsigned(value, 0)
    if not sign or found is None or found[1] or found[0] >= 2**32:
        raise SpecError(f"{quoted(item)} is not a quota; write NAME=NUMBER")
    return name, found[0]


READERS: Final[dict[str, Reader]] = {
    "mmio_hole": _mmio_hole,
    "viridian": _viridian,
    "smbios": _smbios,
    "ms_vm_genid": _ms_vm_genid,
    "mca_caps": _mca_caps,
    "xenstore_quota": _xenstore_quota,
    "arm_sci": _arm_sci,
    **dict.fromkeys(("ioports", "irqs", "iomem"), _ranges),
    **dict.fromkeys(("max_grant_frames", "max_maptrack_frames", "max_grant_version"), _bounded),
}
"""Readers by key."""
