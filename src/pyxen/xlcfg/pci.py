"""The grammars of ``pci`` (``"03:00.0,permissive=1"``) and ``rdm`` (``"strategy=host"``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import Pci, Rdm, RdmReservePolicy, RdmReserveStrategy
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, member, switch, unnoted, unsigned

__all__ = ["FLAGS", "read_pci", "read_rdm", "write_pci", "write_rdm"]

_ADDRESS = re.compile(r"(?:([0-9a-fA-F]+):)?([0-9a-fA-F]+):([0-9a-fA-F]+)\.(\*|[0-9a-fA-F]+)")
_MOST_DOMAIN, _MOST_BUS, _MOST_DEVICE, _MOST_FUNCTION = 0xFFFF, 0xFF, 0x1F, 7

_NO_DEFAULTS: Final[Mapping[str, Any]] = {}

FLAGS: Final = ("permissive", "msitranslate", "seize", "power_mgmt")
"""The switches of a device; each is also a key of its own, ``pci_permissive`` …, that sets it for all devices."""


def read_pci(spec: str, note: Note = unnoted, defaults: Mapping[str, Any] = _NO_DEFAULTS) -> Pci:
    """Read one item of ``pci``.

    Args:
        spec: The item.
        note: Called with what xl ignores.
        defaults: What holds for every device.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    said: dict[str, Any] = dict(defaults)
    address, rest = _address(spec)
    if address:
        said["address"] = address
        if rest.startswith("@"):
            said["vslot"], rest = _vslot(rest[1:])
        if rest and not rest.startswith(","):
            raise SpecError(f"{quoted(rest)} cannot follow the address; write @SLOT, or a comma and name=value")
        rest = rest[1:]
    while rest:
        key, sign, behind = rest.partition("=")
        if not sign:
            raise SpecError(
                f"{quoted(rest)} is neither an address nor a setting; "
                "write the address like 0000:03:00.0 and settings as name=value"
            )
        value, _, rest = behind.partition(",")
        _set(said, key, value, note)
    if (said.get("address") is None) == (said.get("name") is None):
        raise SpecError("a device needs either an address (bdf) or a name")
    return Pci(**said)


def _set(said: dict[str, Any], key: str, value: str, note: Note) -> None:
    if key in FLAGS:
        said[key] = switch(f"{key}={value}", value, note, base=10)
    elif key == "bdf":
        said["address"], _ = _address(value)
        if said["address"] is None:
            raise SpecError(f"{quoted(value)} is not a PCI address; write it like 0000:03:00.0")
    elif key == "vslot":
        said["vslot"], _ = _vslot(value)
    elif key == "rdm_policy":
        said["rdm_policy"] = member(RdmReservePolicy, value, "policy")
    elif key == "name":
        said["name"] = value
    else:
        raise SpecError(f"{quoted(key)} is not a setting of a PCI device")


def _address(text: str) -> tuple[str | None, str]:
    found = _ADDRESS.match(text)
    if not found:
        return None, text
    domain, bus, device = (int(part or "0", 16) for part in found.groups()[:3])
    function = 0 if found[4] == "*" else int(found[4], 16)
    if domain > _MOST_DOMAIN or bus > _MOST_BUS or device > _MOST_DEVICE or function > _MOST_FUNCTION:
        return None, text
    shown = "*" if found[4] == "*" else function
    return f"{domain:04x}:{bus:02x}:{device:02x}.{shown}", text[found.end() :]


def _vslot(text: str) -> tuple[int | None, str]:
    found = unsigned(text, 16)
    if found is None or found[0] > _MOST_DEVICE:
        raise SpecError(f"{quoted(text)} is not a slot; it can be 0 to 1f, in hexadecimal")
    return found[0] or None, found[1]


def write_pci(pci: Pci) -> str:
    """Write one item of ``pci``, as far as the grammar has words for it."""
    return joined(_words(pci))


def _words(pci: Pci) -> Iterator[tuple[str, Any]]:
    yield "bdf", pci.address
    yield "name", pci.name
    yield "vslot", None if pci.vslot is None else f"{pci.vslot:x}"
    for name in FLAGS:
        yield name, 1 if getattr(pci, name) else None
    yield "rdm_policy", pci.rdm_policy


def read_rdm(spec: str) -> Rdm | None:
    """Read ``rdm`` as xl has done since Xen 4.15; None if it names a policy that exists.

    xl takes success in reading the policy for failure, and then ignores the whole setting.
    """
    strategy = RdmReserveStrategy.IGNORE
    for word in spec.split(","):
        key, _, value = word.partition("=")
        if key == "strategy" and value == "host":
            strategy = RdmReserveStrategy.HOST
        elif key != "policy" or value.lower() in list(RdmReservePolicy):
            return None
    return Rdm(strategy=strategy)


def write_rdm(rdm: Rdm) -> str | None:
    """Write ``rdm``; None if it says nothing."""
    if rdm == Rdm():
        return None
    policy = f",policy={rdm.policy}" if rdm.policy else ""
    return f"strategy={rdm.strategy}{policy}" if rdm.strategy is RdmReserveStrategy.HOST else policy[1:]
