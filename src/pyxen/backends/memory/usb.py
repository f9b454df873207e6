"""USB controllers of a simulated domain, and the ports of them that devices are plugged into, as libxl chooses both."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, Final

from pyxen.backends.memory.defaults import EMULATED_PORTS, filled_device
from pyxen.backends.memory.device_records import in_ports
from pyxen.backends.memory.engine import describe, failed, refused
from pyxen.config import DomainConfig, DomainType, UsbCtrl, UsbCtrlType, UsbDev
from pyxen.errors import InvalidState
from pyxen.operation import Operation

__all__ = ["check_controllers", "plugged", "without_controller"]

_MOST_PORTS: Final = 15
"""Ports that QEMU's controller of version 3 can have."""

_MOST_PV_VERSION: Final = 2


def check_controllers(operation: Operation[Any], controllers: Iterable[UsbCtrl]) -> None:
    """Refuse controllers that there are not; the settings that libxl fills in are there."""
    for controller in controllers:
        version, ports = controller.version or 0, controller.ports or 0
        if controller.type is not UsbCtrlType.DEVICEMODEL:
            if version > _MOST_PV_VERSION:
                raise refused(operation, "USB version for paravirtualized devices must be 1 or 2")
            continue
        fixed = EMULATED_PORTS.get(version)
        if fixed is not None and ports != fixed:
            raise refused(operation, f"Number of ports for USB controller of version {version} is always {fixed}")
        if ports > _MOST_PORTS:
            raise refused(operation, f"Number of ports for USB controller of version 3 is limited to {_MOST_PORTS}")


def plugged(
    operation: Operation[Any], config: DomainConfig, device: UsbDev, random: Random
) -> tuple[UsbDev, tuple[UsbCtrl, ...]]:
    """Return a device with a controller and a port, and the controllers of the domain: there may be one more.

    Raises:
        OperationFailed: There is no such controller, or it has no such port that is free.
        InvalidState: An emulated controller would have to be added, of which QEMU would not be told.
    """
    free = _free_ports(config)
    if device.controller is not None:
        ports = free.get(device.controller)
        if ports is None:
            raise failed(operation, f"Domain {operation.domid}:there is no USB controller {device.controller}")
        if device.port and device.port not in ports:
            raise failed(operation, f"Domain {operation.domid}:The controller port isn't available")
        if not ports:
            raise failed(operation, f"Domain {operation.domid}:No available port under specified controller")
        return device.replace(port=device.port or ports[0]), config.usbctrls
    if device.port:
        raise refused(operation, "USB controller must be specified if you specify port")
    for controller, ports in free.items():
        if ports:
            return device.replace(controller=controller, port=ports[0]), config.usbctrls
    if config.type is DomainType.HVM:
        message = "the guest has no USB controller with a free port: attach a UsbCtrl first"
        raise describe(InvalidState, message, operation)
    made = filled_device(UsbCtrl(), config.type, config.usbctrls, random)
    return device.replace(controller=made.devid, port=1), (*config.usbctrls, made)


def _free_ports(config: DomainConfig) -> dict[int, list[int]]:
    """Return the free ports of each controller, by its number."""
    taken = in_ports(config)
    ports = {one.controller or 0: 8 for one in taken}  # of a controller that libxl has made for them
    ports |= {one.devid or 0: one.ports or 8 for one in config.usbctrls}
    used = {(one.controller or 0, one.port) for one in taken}
    return {
        number: [port for port in range(1, most + 1) if (number, port) not in used]
        for number, most in sorted(ports.items())
    }


def without_controller(config: DomainConfig, controller: UsbCtrl) -> DomainConfig:
    """Return a configuration without a controller, and without the devices at its ports, which libxl removes first."""
    kept = [
        given
        for given, placed in zip(config.usbdevs, in_ports(config), strict=True)
        if placed.controller != controller.devid
    ]
    return config.replace(usbctrls=[one for one in config.usbctrls if one is not controller], usbdevs=kept)
