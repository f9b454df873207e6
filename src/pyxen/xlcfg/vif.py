"""The grammar of ``vif``: ``"mac=00:16:3e:12:34:56, bridge=xenbr0, rate=10MB/s"``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import COLO_KEYS, NicType, Rate, Vif
from pyxen.xlcfg.c_numbers import BLANKS
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, number, tokens, unnoted, unsigned

__all__ = ["read_vif", "write_vif"]

_STRINGS: Final = {
    name: name for name in ("bridge", "gatewaydev", "ip", "script", "backend", "vifname", "model", "forwarddev", "vlan")
} | {"netdev": "gatewaydev"}
_TYPES: Final = {"vif": NicType.VIF, "ioemu": NicType.VIF_IOEMU}
_FLAGS: Final = {"trusted": True, "untrusted": False}
_COLO: Final = {f"colo_{name}": name for name in COLO_KEYS}
_USUAL_MAC: Final = re.compile("[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")
_OCTETS: Final = 6
_MOST: Final = 255


def read_vif(spec: str, note: Note = unnoted) -> Vif:
    """Read one item of ``vif``; words that xl does not know are noted, because xl ignores them.

    Raises:
        SpecError: A value is wrong.
        ValidationError: A value is impossible.
    """
    said: dict[str, Any] = {}
    colo: dict[str, str] = {}
    for token in tokens(spec):
        name, sign, value = token.partition("=")
        if sign and name in _STRINGS:
            said[_STRINGS[name]] = value
        elif sign and name in _COLO:
            colo[_COLO[name]] = value
        elif token in _FLAGS:
            said["trusted"] = _FLAGS[token]
        elif sign and name == "type" and value not in _TYPES:
            note(token, "xl knows the types vif and ioemu only; it warns, and ignores others")
        elif sign and name == "mtu":
            said["mtu"] = number(value, note) or None  # libxl takes 0 for its default
        elif sign and name in ("mac", "type", "rate", "devid"):
            said[name] = _value(name, value, note)
        elif sign and name == "accel":
            note(token, "xl has no accelerated interfaces")
        else:
            note(token, "xl warns that it does not know it, and ignores it")
    if colo:
        said["colo"] = colo
    return Vif(**said)


def _value(name: str, value: str, note: Note) -> Any:
    if name == "mac":
        return _mac(value, note)
    if name == "type":
        return _TYPES[value]
    if name == "rate":
        try:
            return Rate.parse(value)
        except ValueError as error:
            raise SpecError(str(error)) from None
    return number(value, note)


def _mac(value: str, note: Note) -> str:
    """Read an address as xl does: six hexadecimal numbers, with any character between two and blanks before each."""
    if _USUAL_MAC.fullmatch(value):
        return value.lower()
    octets: list[str] = []
    rest = value
    while len(octets) < _OCTETS:
        found = unsigned(rest, 16)
        if found is None or found[0] > _MOST:
            raise SpecError(f"{quoted(value)} is not a MAC address; write it like 00:16:3e:12:34:56")
        octets.append(f"{found[0]:02x}")
        rest = found[1] if len(octets) == _OCTETS else found[1][1:]
    if rest.strip(BLANKS):
        note(value, f"xl ignores {quoted(rest)}, which follows the address")
    return ":".join(octets)


def write_vif(vif: Vif) -> str:
    """Write one item of ``vif``, as far as the grammar has words for it."""
    return joined(_words(vif)) + {None: "", True: ",trusted", False: ",untrusted"}[vif.trusted]


def _words(vif: Vif) -> Iterator[tuple[str, Any]]:
    yield "mac", vif.mac
    yield "bridge", vif.bridge
    yield "type", None if vif.type is None else "ioemu" if vif.type is NicType.VIF_IOEMU else "vif"
    for name in ("model", "vifname", "script", "ip", "gatewaydev", "backend", "devid", "mtu", "vlan", "forwarddev"):
        yield name, getattr(vif, name)
    yield "rate", vif.rate and (vif.rate.text or vif.rate.text_above)
    for name, value in vif.colo:
        yield f"colo_{name}", value
