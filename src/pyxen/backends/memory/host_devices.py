"""The PCI and USB devices of a simulated host, and who has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pyxen._common.pci_preconditions import (
    check_distinct,
    check_one_function,
    device_to_add,
    device_to_remove,
    held,
    not_assignable,
)
from pyxen._common.scripts import at_once
from pyxen._common.usb_lookup import find_usb_or_none, no_such_usb
from pyxen.backends.memory.engine import failed
from pyxen.backends.memory.machine import Machine
from pyxen.config import Pci, PciAddress, UsbDev
from pyxen.operation import Operation
from pyxen.records.host_devices import PciDevice, UsbDevice

__all__ = [
    "assignable_add",
    "assignable_remove",
    "by_address",
    "check_pcis",
    "check_usbdevs",
    "pci_devices",
    "usb_devices",
]

_PCIBACK: Final = "pciback"
_HUB: Final = 9
"""The class of USB hubs, which domains cannot get."""


def pci_devices(machine: Machine) -> list[PciDevice]:
    """Return the PCI devices, sorted by address."""
    holders = {address: (domid, pci) for domid, pci in _given(machine) for address in _addresses(machine, pci)}
    return [_shown(device, holders.get(address)) for address, device in sorted(machine.devices.pci.items())]


def _shown(device: PciDevice, holder: tuple[int, Pci] | None) -> PciDevice:
    if holder is None:
        return dataclasses.replace(device, assignable=device.driver == _PCIBACK)
    domid, pci = holder
    function = None if pci.vslot is None else device.address.function
    return dataclasses.replace(device, domid=domid, vslot=pci.vslot, vfunction=function)


def _given(machine: Machine) -> Iterator[tuple[int, Pci]]:
    """Yield the devices that domains have."""
    for domid, guest in sorted(machine.domains.items()):
        for pci in guest.config.pcis:
            yield domid, pci


def _addresses(machine: Machine, pci: Pci) -> list[PciAddress]:
    """Return the addresses of a guest's device: all functions of one whose function is ``*``."""
    if pci.address is None:
        return [address for address, device in machine.devices.pci.items() if device.name == pci.name]
    if pci.address.function is not None:
        return [pci.address]
    place = (pci.address.domain, pci.address.bus, pci.address.device)
    return [one for one in machine.devices.pci if (one.domain, one.bus, one.device) == place]


def by_address(machine: Machine, pcis: Iterable[Pci]) -> tuple[Pci, ...]:
    """Return the devices of a new domain by their addresses, as xenstore and libxl have them."""
    return tuple(pci.replace(address=address, name=None) for pci in pcis for address in _addresses(machine, pci))


def usb_devices(machine: Machine) -> list[UsbDevice]:
    """Return the USB devices, sorted by bus and address."""
    holders: dict[tuple[int | None, int | None], dict[str, Any]] = {
        (usb.hostbus, usb.hostaddr): {"domid": domid, "controller": usb.controller, "controller_port": usb.port}
        for domid, guest in machine.domains.items()
        for usb in guest.config.usbdevs
    }
    found = sorted(machine.devices.usb, key=lambda device: (device.hostbus, device.hostaddr))
    return [dataclasses.replace(one, **holders.get((one.hostbus, one.hostaddr), {})) for one in found]


@at_once
def assignable_add(
    machine: Machine, _: Operation[None], address: PciAddress | str, name: str | None, rebind: bool
) -> None:
    """Make a device assignable."""
    device = device_to_add(pci_devices(machine), address, name)
    _take(machine, device, name, rebind=rebind)


def _take(machine: Machine, device: PciDevice, name: str | None, *, rebind: bool) -> None:
    devices = machine.devices
    if device.driver != _PCIBACK:
        devices.drivers.pop(device.address, None)
        if rebind and device.driver is not None:
            devices.drivers[device.address] = device.driver
    devices.pci[device.address] = dataclasses.replace(devices.pci[device.address], driver=_PCIBACK, name=name)


@at_once
def assignable_remove(machine: Machine, _: Operation[None], key: PciAddress | str, rebind: bool) -> None:
    """Make a device not assignable any more."""
    device = device_to_remove(pci_devices(machine), key)
    devices = machine.devices
    driver = devices.drivers.pop(device.address, None) if rebind else None
    devices.pci[device.address] = dataclasses.replace(devices.pci[device.address], driver=driver, name=None)


def check_pcis(machine: Machine, operation: Operation[Any], pcis: Iterable[Pci]) -> None:
    """Refuse PCI devices that are not assignable. A device with ``seize`` is made assignable, as by libxl."""
    pcis = tuple(pcis)
    if not pcis:  # most domains have none, and who has the others is asked of all domains
        return
    devices = pci_devices(machine)
    check_one_function(operation, devices, pcis)
    check_distinct(operation, [address for pci in pcis for address in _addresses(machine, pci)])
    present = {device.address: device for device in devices}
    for pci in pcis:
        addresses = _addresses(machine, pci)
        for address in addresses:
            device = present.get(address)
            if device is not None and pci.seize and device.domid is None and not device.assignable:
                _take(machine, device, None, rebind=True)
            elif device is not None and device.domid is not None:
                raise held(operation, address, device.domid)
            elif device is None or not device.assignable:
                raise not_assignable(operation, pci)
        if not addresses:
            raise not_assignable(operation, pci)


def check_usbdevs(machine: Machine, operation: Operation[Any], usbdevs: Iterable[UsbDev]) -> None:
    """Refuse USB devices that the host does not have, hubs, and what another domain has."""
    usbdevs = tuple(usbdevs)
    present = usb_devices(machine) if usbdevs else []
    for usb in usbdevs:
        device = find_usb_or_none(present, (usb.hostbus, usb.hostaddr))
        if device is None:
            raise no_such_usb(operation, usb)
        if device.class_code == _HUB:
            raise failed(operation, f"Domain {operation.domid}:USB device is not assignable")
        if device.domid is not None:
            raise failed(operation, f"Domain {operation.domid}:USB device already attached to a domain")
