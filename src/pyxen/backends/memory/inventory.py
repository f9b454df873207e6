"""The hardware of a simulated host: its PCI and USB devices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pyxen.config import PciAddress
from pyxen.records.host_devices import PciDevice, UsbDevice

__all__ = ["Inventory"]


def _pci(address: str, class_code: int, vendor_id: int, device_id: int, driver: str | None) -> PciDevice:
    return PciDevice(
        address=PciAddress(address), class_code=class_code, vendor_id=vendor_id, device_id=device_id, driver=driver
    )


def _first_pci() -> Iterable[PciDevice]:
    return (
        _pci("00:00.0", 0x060000, 0x8086, 0x29C0, None),
        _pci("00:02.0", 0x030000, 0x8086, 0x5912, "i915"),
        _pci("00:14.0", 0x0C0330, 0x8086, 0xA12F, "xhci_hcd"),
        _pci("00:17.0", 0x010601, 0x8086, 0xA102, "ahci"),
        _pci("03:00.0", 0x020000, 0x8086, 0x1521, "igb"),
        _pci("03:00.1", 0x020000, 0x8086, 0x1521, "igb"),
    )


def _first_usb() -> list[UsbDevice]:
    hub = UsbDevice(hostbus=1, hostaddr=1, port="usb1", vendor_id=0x1D6B, product_id=2, class_code=9)
    keyboard = UsbDevice(hostbus=1, hostaddr=2, port="1-1", vendor_id=0x046D, product_id=0xC31C, class_code=0)
    stick = UsbDevice(
        hostbus=1,
        hostaddr=3,
        port="1-2",
        vendor_id=0x0781,
        product_id=0x5591,
        class_code=0,
        manufacturer="SanDisk",
        product="Ultra",
        serial="4C530001",
    )
    return [hub, keyboard, stick]


@dataclass(slots=True)
class Inventory:
    """The devices of a host, without what guests change.

    Attributes:
        pci: The PCI devices, by address.
        drivers: The drivers that devices which are assignable had before, by address.
        usb: The USB devices.
    """

    pci: dict[PciAddress, PciDevice] = field(default_factory=lambda: {one.address: one for one in _first_pci()})
    drivers: dict[PciAddress, str] = field(default_factory=dict)
    usb: list[UsbDevice] = field(default_factory=_first_usb)
