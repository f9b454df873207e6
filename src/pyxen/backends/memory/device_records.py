"""A domain's devices under the kinds and numbers that xenstore and device events use."""

from __future__ import annotations

from typing import Any, Final

from pyxen.backends.memory.guests import Guest, is_hvm
from pyxen.config import Disk, DomainConfig, Part, UsbDev
from pyxen.config.device_table import KINDS
from pyxen.config.vdev import vdev_number

__all__ = ["DeviceKey", "device_keys", "in_ports", "key_of"]

DeviceKey = tuple[str, int]
"""The kind and number of a device, as in an event."""

_SPECIAL: Final = frozenset({"disks", "pcis", "channels", "usbdevs"})
"""Fields whose devices are not numbered by devid in xenstore."""

_NODES: Final = {kind.field: kind.node for kind in KINDS if kind.node is not None and kind.field not in _SPECIAL}
"""All other fields, and libxl's xenstore names for their devices."""

_CONSOLE: Final[DeviceKey] = ("console", 0)


def key_of(field: str, device: Part) -> DeviceKey | None:
    """Return the kind and number of a device; None if it has no xenstore entry of its own."""
    if isinstance(device, Disk):
        return "vbd", vdev_number(device.vdev or "") or 0
    if field == "pcis":
        return "pci", 0
    if field in _NODES:
        number: int | None = getattr(device, "devid", None)
        return _NODES[field], number or 0
    return None


def device_keys(guest: Guest) -> dict[DeviceKey, int]:
    """Return the devices of a domain in xenstore's order, each with the domid of its backend."""
    config = guest.config
    found: dict[DeviceKey, int] = {_CONSOLE: 0}
    if is_hvm(guest) and config.vkb_device is not False:
        found["vkbd", 0] = 0
    for number, vfb in enumerate(config.vfbs):
        if vfb.keyboard:
            found["vkbd", number] = 0
    for number, channel in enumerate(config.channels, 1):
        found["console", channel.devid or number] = channel.backend_domid
    for field in ("disks", "pcis", *_NODES):
        for device in _devices(config, field):
            key = key_of(field, device)
            if key is not None:
                found.setdefault(key, getattr(device, "backend_domid", 0))
    return dict(sorted(found.items()))


def _devices(config: DomainConfig, field: str) -> tuple[Any, ...]:
    devices: tuple[Any, ...] = getattr(config, field)
    return devices


def in_ports(config: DomainConfig) -> tuple[UsbDev, ...]:
    """Return the USB devices of a domain, each with the controller and the port that it is plugged into."""
    plugged: list[UsbDev] = []
    for device in config.usbdevs:
        controller = device.controller or 0
        taken = {other.port for other in plugged if other.controller == controller}
        port = device.port or next(number for number in range(1, 1000) if number not in taken)
        plugged.append(device.replace(controller=controller, port=min(port, 31)))
    return tuple(plugged)
