"""Snapshots of a host's PCI and USB devices."""

from __future__ import annotations

from dataclasses import dataclass

from pyxen.config import PciAddress
from pyxen.records.base import Record

__all__ = ["PciDevice", "UsbDevice"]

_HUB = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class PciDevice(Record):
    """A snapshot of a PCI device of the host. ``Pci(device.address)`` gives it to a guest."""

    address: PciAddress
    """Its address."""
    class_code: int | None = None
    """Its class, in 24 bits: ``0x020000`` is an Ethernet controller. None if the host does not tell."""
    vendor_id: int | None = None
    """Its vendor, e.g. ``0x8086``. None if the host does not tell."""
    device_id: int | None = None
    """The vendor's number of the device. None if the host does not tell."""
    driver: str | None = None
    """The driver in dom0 that has it; None if it has no driver."""
    iommu_group: int | None = None
    """Its IOMMU group, as dom0's kernel or libvirt sees it; mostly None on Xen, which has the IOMMU for itself."""
    assignable: bool = False
    """Whether it can be given to a guest: its driver is pciback, and no domain has it."""
    name: str | None = None
    """The name given to it with `PciDevices.assignable_add`."""
    domid: int | None = None
    """Domid of the domain that has it; None if no domain has it."""
    vslot: int | None = None
    """Its slot in that domain, as in the first column of ``xl pci-list``; None if the toolstack did not record it."""
    vfunction: int | None = None
    """Its function in that slot; None if `vslot` is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbDevice(Record):
    """A snapshot of a USB device of the host. ``UsbDev(hostbus=…, hostaddr=…)`` gives it to a guest."""

    hostbus: int
    """Its bus, as ``lsusb`` prints it."""
    hostaddr: int
    """Its address on that bus, which changes each time it is plugged in."""
    port: str | None = None
    """The port into which it is plugged, as dom0's kernel names it: ``1-2.3`` is port 3 of the hub in port 2 of bus 1.
    ``usb1`` is the root hub of bus 1. None if the host does not tell."""
    vendor_id: int | None = None
    """Its vendor, e.g. ``0x0781``. None if the host does not tell."""
    product_id: int | None = None
    """The vendor's number of the product. None if the host does not tell."""
    class_code: int | None = None
    """Its class, in 8 bits; 0 means that its interfaces have their own. None if the host does not tell."""
    manufacturer: str | None = None
    """The manufacturer's name, as the device says it. Like `product` and `serial`, it can contain anything."""
    product: str | None = None
    """The product's name, as the device says it."""
    serial: str | None = None
    """The serial number, as the device says it."""
    domid: int | None = None
    """Domid of the domain that has it; None if no domain has it."""
    controller: int | None = None
    """Number (``devid``) of the controller in that domain."""
    controller_port: int | None = None
    """Port of that controller, from 1."""

    @property
    def is_hub(self) -> bool:
        """Whether it is a hub, which cannot be given to a guest."""
        return self.class_code == _HUB
