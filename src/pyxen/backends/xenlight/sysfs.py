"""What dom0's kernel says in sysfs of the host's PCI and USB devices."""

from __future__ import annotations

import os
import re
from typing import Final

from pyxen._common.shield import logger
from pyxen._common.shortage import is_shortage, shortage
from pyxen._common.usb_lookup import find_usb_or_none
from pyxen.config import PciAddress, UsbDev
from pyxen.errors import OperationFailed
from pyxen.records.host_devices import PciDevice, UsbDevice

__all__ = [
    "PCIBACK",
    "PCIBACK_DRIVER",
    "PCI_DEVICES",
    "USB_DEVICES",
    "driver_of",
    "has_pciback",
    "is_unplugged",
    "pci_devices",
    "try_write",
    "usb_devices",
]

_LOG: Final = logger(__name__)

PCI_DEVICES: Final = "/sys/bus/pci/devices"
PCIBACK_DRIVER: Final = "/sys/bus/pci/drivers/pciback"
USB_DEVICES: Final = "/sys/bus/usb/devices"

PCIBACK: Final = "pciback"
"""The name of dom0's driver for devices that guests can have."""

_ADDRESS: Final = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
"""An address that libxl can express: a segment has 16 bits."""

_MOST: Final = 4096
"""Bytes that are read of a file; sysfs has no larger ones of this kind."""


def pci_devices() -> list[PciDevice]:
    """Return the host's PCI devices, sorted by address, without what only xenstore knows; none without PCI.

    Raises:
        OperationFailed: They cannot be read.
    """
    with shortage(OperationFailed, "cannot read the PCI devices"):
        return [_pci_device(name) for name in _names(PCI_DEVICES) if _ADDRESS.fullmatch(name)]


def _pci_device(name: str) -> PciDevice:
    folder = f"{PCI_DEVICES}/{name}"
    group = _link(f"{folder}/iommu_group")
    return PciDevice(
        address=PciAddress(name),
        class_code=_hex(f"{folder}/class", 0xFFFFFF),
        vendor_id=_hex(f"{folder}/vendor", 0xFFFF),
        device_id=_hex(f"{folder}/device", 0xFFFF),
        driver=driver_of(name),
        iommu_group=int(group) if group is not None and group.isdecimal() else None,
    )


def driver_of(name: str) -> str | None:
    """Return the driver of a PCI device; None if it has no driver."""
    return _link(f"{PCI_DEVICES}/{name}/driver")


def usb_devices() -> list[UsbDevice]:
    """Return the host's USB devices, sorted by bus and address, without what only xenstore knows.

    Raises:
        OperationFailed: They cannot be read.
    """
    with shortage(OperationFailed, "cannot read the USB devices"):
        return _usb_devices()


def _usb_devices() -> list[UsbDevice]:
    found = []
    for name in _names(USB_DEVICES):
        folder = f"{USB_DEVICES}/{name}"
        bus, address = (_number(f"{folder}/{file}") for file in ("busnum", "devnum"))
        if bus is None or address is None:
            continue  # an interface of a device, or a device that was just unplugged
        found.append(
            UsbDevice(
                hostbus=bus,
                hostaddr=address,
                port=name,
                vendor_id=_hex(f"{folder}/idVendor", 0xFFFF),
                product_id=_hex(f"{folder}/idProduct", 0xFFFF),
                class_code=_hex(f"{folder}/bDeviceClass", 0xFF),
                manufacturer=_text(f"{folder}/manufacturer"),
                product=_text(f"{folder}/product"),
                serial=_text(f"{folder}/serial"),
            )
        )
    return sorted(found, key=lambda device: (device.hostbus, device.hostaddr))


def is_unplugged(device: UsbDev) -> bool:
    """Tell whether the host lacks a USB device of a configuration."""
    return find_usb_or_none(usb_devices(), (device.hostbus, device.hostaddr)) is None


def has_pciback() -> bool:
    """Tell whether dom0's kernel has loaded pciback."""
    return os.path.isdir(PCIBACK_DRIVER)


def try_write(path: str, text: str) -> None:
    """Write to a file in sysfs; if the kernel refuses, log it."""
    try:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        _LOG.warning("cannot write %s to %s: %s", text, path, error)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:  # the kernel has no such bus
        return []


def _text(path: str) -> str | None:
    """Return the content of a file; None if there is none, e.g. because the device was just unplugged."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            data = os.read(descriptor, _MOST)
        finally:
            os.close(descriptor)
    except OSError as error:
        if is_shortage(error):
            raise
        return None
    return data.decode(errors="replace").removesuffix("\n")


def _link(path: str) -> str | None:
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def _hex(path: str, most: int) -> int | None:
    """Return a hexadecimal number in a file; None if the file has no such number, up to `most`."""
    text = _text(path)
    if text is None or not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text):
        return None
    value = int(text, 16)
    return value if value <= most else None


def _number(path: str) -> int | None:
    text = _text(path)
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else None
