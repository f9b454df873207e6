"""``<memory>``, the maximum memory, and ``<currentMemory>``, the initial memory."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.units import kib_to_mib, mib_to_kib

__all__ = ["DEFAULT_MEMORY", "kibibytes", "read", "write"]

DEFAULT_MEMORY: Final = 32
"""libxl's default memory in MiB, which libvirt's XML must include."""

_UNITS: Final = {
    "b": 1, "bytes": 1, "byte": 1,
    **{f"{prefix}{unit}": base**power
       for power, prefix in enumerate("kmgtpe", 1)
       for unit, base in (("b", 1000), ("ib", 1024), ("", 1024))},
}  # fmt: skip
_LIMIT: Final = 2**63
_MIB: Final = 1024


def kibibytes(node: Node, text: str) -> int:
    """Return an amount of memory in KiB, rounded up as libvirt does; `node` may have a unit.

    Raises:
        ParseError: The amount or the unit is not valid.
    """
    unit = node.get("unit") or "KiB"
    factor = _UNITS.get(unit.lower())
    if factor is None:
        raise node.wrong(f"{unit!r} is not a valid unit of memory; use b, KB, KiB, MB, MiB, GB, GiB or a larger one")
    amount: int = -(-node.as_number(text, 0, _LIMIT) * factor // _MIB)
    return amount


def read(domain: Node, found: XmlReadState) -> None:
    """Read both amounts."""
    total, current = domain.child("memory"), domain.child("currentMemory")
    most = kibibytes(total, total.word() or "") if total is not None else 0
    now = kibibytes(current, current.word() or "") if current is not None else 0
    if total is not None and (most or not found.fields.get("vnuma")):  # libvirt takes 0 for the sum of the nodes
        found.put("maxmem", kib_to_mib(most), total)
        # The guest begins with all of it if the initial amount is 0, or more than all.
        found.put("memory", kib_to_mib(min(now or most, most)), current or total)
    elif current is not None and now:
        found.put("memory", kib_to_mib(now), current)
    if found.fields.get("maxmem") == found.fields.get("memory") and not found.fields.get("vnuma"):
        found.fields.pop("maxmem", None)


def write(config: DomainConfig, domain: Node) -> None:
    """Write both amounts."""
    maxmem = config.effective_maxmem
    if maxmem is None:
        maxmem = DEFAULT_MEMORY
    memory = maxmem if config.memory is None else config.memory
    domain.add("memory", mib_to_kib(maxmem), unit="KiB")
    domain.add("currentMemory", mib_to_kib(memory), unit="KiB")
