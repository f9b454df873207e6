"""USB devices of the host, and who has them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Final

from pyxen._common.backend_path import backend_path
from pyxen.backends.xenlight import sysfs
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.records.host_devices import UsbDevice

__all__ = ["devices"]

_MOST_PORTS: Final = 31
"""Ports of a controller that are looked at; libxl makes no more."""


def devices(hypervisor: Hypervisor) -> list[UsbDevice]:
    """Return the host's USB devices, sorted by bus and address; sysfs and xenstore are read, and libxl is not asked."""
    places = _places(hypervisor)
    found = sysfs.usb_devices()
    return [dataclasses.replace(device, **places.get(device.port or "", {})) for device in found]


def _places(hypervisor: Hypervisor) -> dict[str, dict[str, Any]]:
    """Return domain, controller and port of each device that a domain has, by its port on the host."""
    domids = [info.domid for info in hypervisor.glance()]
    folders = [f"/libxl/{domid}/device/vusb" for domid in domids]
    controllers = [
        (domid, int(name), f"{folder}/{name}")
        for domid, folder, names in zip(domids, folders, hypervisor.look((), folders)[1], strict=True)
        for name in names
        if re.fullmatch(r"[0-9]{1,9}", name)
    ]
    if not controllers:
        return {}
    # The ports of an emulated controller are in libxl's own folder, those of others in the backend's.
    backends = map(backend_path, hypervisor.read_dom0s([f"{path}/backend" for _, _, path in controllers]))
    wanted = [
        (domid, number, port, f"{path if backend is None else backend.path}/port/{port}")
        for (domid, number, path), backend in zip(controllers, backends, strict=True)
        for port in range(1, _MOST_PORTS + 1)
    ]
    told = hypervisor.read_dom0s([path for *_, path in wanted])
    return {
        place: {"domid": domid, "controller": number, "controller_port": port}
        for (domid, number, port, _), place in zip(wanted, told, strict=True)
        if place
    }
