"""The grammars of ``usbctrl`` (``"type=devicemodel,version=2"``) and ``usbdev`` (``"hostbus=1,hostaddr=3"``)."""

from __future__ import annotations

from typing import Any

from pyxen._printable import quoted
from pyxen.config import UsbCtrl, UsbCtrlType, UsbDev
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, member, number_or_zero, tokens, unnoted

__all__ = ["read_usbctrl", "read_usbdev", "write_usbctrl", "write_usbdev"]


def read_usbctrl(spec: str, note: Note = unnoted) -> UsbCtrl:
    """Read one item of ``usbctrl``.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    said: dict[str, Any] = {}
    for token in tokens(spec):
        name, sign, value = token.partition("=")
        if sign and name == "type":
            said["type"] = member(UsbCtrlType, value, "type of USB controller")
        elif sign and name in ("version", "ports"):
            said[name] = number_or_zero(token, value, note, base=10) or None
        else:
            raise SpecError(f"{quoted(token)} is not a setting of a USB controller; type, version and ports are")
    return UsbCtrl(**said)


def write_usbctrl(usbctrl: UsbCtrl) -> str:
    """Write one item of ``usbctrl``, as far as the grammar has words for it."""
    return joined([("type", usbctrl.type), ("version", usbctrl.version), ("ports", usbctrl.ports)])


def read_usbdev(spec: str, note: Note = unnoted) -> UsbDev:
    """Read one item of ``usbdev``.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    said: dict[str, Any] = {}
    for token in tokens(spec):
        name, sign, value = token.partition("=")
        if sign and name == "type":
            if value.lower() != "hostdev":
                raise SpecError(f"{quoted(value)} is not a type of USB device; it can be hostdev")
            said = {"hostbus": 0, "hostaddr": 0} | said
        elif sign and name in ("hostbus", "hostaddr"):
            said = {"hostbus": 0, "hostaddr": 0} | said
            said[name] = number_or_zero(token, value, note)
        elif sign and name in ("controller", "port"):
            said[name] = number_or_zero(token, value, note, base=10)
        else:
            raise SpecError(
                f"{quoted(token)} is not a setting of a USB device; type, hostbus, hostaddr, controller and port are"
            )
    return UsbDev(**said)


def write_usbdev(usbdev: UsbDev) -> str:
    """Write one item of ``usbdev``, as far as the grammar has words for it."""
    known = usbdev.hostbus is not None or usbdev.hostaddr is not None
    return joined(
        [
            ("type", "hostdev" if known else None),
            ("hostbus", usbdev.hostbus),
            ("hostaddr", usbdev.hostaddr),
            ("controller", usbdev.controller),
            ("port", usbdev.port or None),
        ]
    )
