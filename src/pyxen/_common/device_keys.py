"""Keys by which a device is found among those of its kind: vdev, MAC, address or number."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import UUID

from pyxen._common.device_kinds import Kind, matches, name_of
from pyxen._printable import quoted, shown_number
from pyxen.config import Channel, Device, Disk, Pci, PciAddress, UsbDev, Vif, Vtpm
from pyxen.config.checks import hide_keys
from pyxen.config.vdev import vdev_number
from pyxen.config.vif import Mac
from pyxen.errors import ConfigError, InvalidArgument, NotFound
from pyxen.records.live_device import LiveDevice

__all__ = ["DeviceKey", "find_device", "named_device", "no_such_device"]

DeviceKey = str | int | Device | LiveDevice[Device]
"""A vdev, MAC, address, uuid or name; a devid; a device, compared by its names; or an entry of a collection."""


_USB: Final = re.compile(r"(\d{1,3}):(\d{1,3})", re.ASCII)


def _disk(vdev: str) -> Disk:
    if vdev_number(vdev) is None:
        raise ValueError(f"{vdev} is not a vdev")
    return Disk(vdev=vdev)


def _usb_device(text: str) -> UsbDev:
    found = _USB.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is not a bus and an address")
    return UsbDev(hostbus=int(found[1]), hostaddr=int(found[2]))


_FROM_TEXT: Final[dict[type[Device], tuple[str, Callable[[str], Device]]]] = {
    Disk: ("a vdev such as 'xvda'", _disk),
    Vif: ("a MAC address", lambda text: Vif(mac=Mac(text))),
    Pci: ("a PCI address such as '03:00.0'", lambda text: Pci(PciAddress(text))),
    Vtpm: ("a uuid", lambda text: Vtpm(uuid=UUID(text))),
    UsbDev: ("BUS:ADDRESS as lsusb prints them", _usb_device),
    Channel: ("a channel's name", Channel),
}
"""What text is for a kind, and how it names a device."""


def named_device(kind: Kind, key: object, verb: str) -> Device:
    """Return a device of a kind that has the names, and only these, which a key stands for.

    Args:
        kind: The kind.
        key: A `DeviceKey`.
        verb: The verb, or the collection, for the error.

    Raises:
        InvalidArgument: The key does not name a device of this kind.
    """
    if isinstance(key, LiveDevice):
        key = key.config
    if isinstance(key, kind.part):
        return key
    if isinstance(key, str) and kind.part in _FROM_TEXT:
        try:
            return _FROM_TEXT[kind.part][1](key)
        except (ValueError, ConfigError):
            raise InvalidArgument(f"{hide_keys(quoted(key))} {_remedy(kind)}", operation=verb) from None
    if isinstance(key, int) and not isinstance(key, bool):
        try:
            if kind.part is Disk:
                return _disk(str(key))
            if ("devid",) in kind.names:
                part: Any = kind.part
                numbered: Device = part(devid=key)
                return numbered
        except (ValueError, ConfigError):
            raise InvalidArgument(f"{shown_number(key)} {_remedy(kind)}", operation=verb) from None
    if isinstance(key, bool) or not isinstance(key, str | int):
        given = f"a key of type {type(key).__name__}"
    else:
        given = shown_number(key) if isinstance(key, int) else quoted(key)
    raise InvalidArgument(f"{given} {_remedy(kind)}", operation=verb)


def _remedy(kind: Kind) -> str:
    ways = [f"a {kind.part.__name__}"]
    if kind.part is Disk or ("devid",) in kind.names:
        ways.insert(0, "a devid")
    if kind.part in _FROM_TEXT:
        ways.insert(0, _FROM_TEXT[kind.part][0])
    return f"does not name a {kind.noun}: give {', '.join(ways[:-1])} or {ways[-1]}"


def find_device(kind: Kind, key: object, entries: Iterable[LiveDevice[Any]]) -> LiveDevice[Any] | None:
    """Return the entry that a key stands for; None if there is none.

    Raises:
        InvalidArgument: The key does not name a device of this kind.
    """
    wanted = named_device(kind, key, kind.field)
    return next((entry for entry in entries if _fits(wanted, entry.config)), None)


def _fits(wanted: Device, device: Device) -> bool:
    if isinstance(wanted, Channel) and isinstance(device, Channel) and wanted.name is not None:
        return wanted.name == device.name
    return matches(wanted, device)


def no_such_device(kind: Kind, key: object, entries: Iterable[LiveDevice[Any]], domid: int) -> NotFound:
    """Return the exception for a key that no device has."""
    wanted = named_device(kind, key, kind.field)
    has = ", ".join(_said(entry.config) for entry in entries) or "none"
    message = f"the domain has no {kind.noun} {_said(wanted)}; it has {has}"
    return NotFound(message, operation=kind.field, domain=domid, domid=domid)


def _said(device: Device) -> str:
    return device.name if isinstance(device, Channel) and device.name is not None else name_of(device)
