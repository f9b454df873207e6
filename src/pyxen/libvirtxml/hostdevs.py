"""``<hostdev>``: PCI and USB passthrough."""

from __future__ import annotations

from pyxen.config import DomainConfig, Pci, UsbDev
from pyxen.libvirtxml.node import Node, number_in_c
from pyxen.libvirtxml.read_state import XmlReadState

__all__ = ["pci_sayable", "read", "read_pci", "usb_sayable", "write"]


def read(devices: Node, found: XmlReadState) -> None:
    """Read the devices; kinds that Xen does not support stay unread, and are reported as losses."""
    for node in devices.children:
        if node.tag != "hostdev" or node.attributes.get("mode", "subsystem") != "subsystem":
            continue
        kind = node.attributes.get("type")
        source = next((child for child in node.children if child.tag == "source"), None)
        if source is None or not any(child.tag == "address" for child in source.children):
            continue
        if kind in ("pci", "usb"):
            node.taken = True
            node.get("type")
            node.get("mode")
            if kind == "pci":
                found.append("pcis", read_pci(node, found))
            else:
                found.append("usbdevs", _read_usb(node, found))


def read_pci(node: Node, found: XmlReadState) -> Pci:
    """Read a PCI device from a ``<hostdev>``, or from an ``<interface>`` for a passed-through network card."""
    source = node.child("source")
    address = source.child("address") if source is not None else None
    if source is None or address is None:
        raise node.wrong("it has no <source> with an <address>")
    address.get("type")
    domain, bus = _number(address, "domain", 0xFFFF) or 0, _number(address, "bus", 0xFF) or 0
    slot, function = _number(address, "slot", 0x1F) or 0, _number(address, "function", 7) or 0
    managed = node.switch("managed", default=False)
    filtering = source.switch("writeFiltering", default=True)
    driver = node.child("driver")
    if driver is not None and driver.attributes.get("name", "xen") == "xen":
        driver.get("name")
    return found.make(
        Pci,
        node,
        address=f"{domain:04x}:{bus:02x}:{slot:02x}.{function}",
        seize=managed,
        permissive=not filtering,
    )


def _read_usb(node: Node, found: XmlReadState) -> UsbDev:
    node.switch("managed")
    source = node.child("source")
    address = source.child("address") if source is not None else None
    bus = _number(address, "bus", 255) if address is not None else None
    device = _number(address, "device", 255) if address is not None else None
    return found.make(UsbDev, node, hostbus=bus, hostaddr=device)


def _number(address: Node, name: str, high: int) -> int | None:
    return address.number(name, 0, high, number_in_c)


def pci_sayable(pci: Pci) -> bool:
    """Whether libvirt's XML can express a PCI device: it needs the address of a single function."""
    return pci.address is not None and pci.address.function is not None


def usb_sayable(usbdev: UsbDev) -> bool:
    """Whether libvirt's XML can express a USB device: it needs a bus and an address."""
    return bool(usbdev.hostbus) and bool(usbdev.hostaddr)


def write(config: DomainConfig, devices: Node) -> None:
    """Write the devices."""
    for pci in config.pcis:
        address = pci.address
        if address is None or address.function is None:
            continue
        node = devices.add("hostdev", mode="subsystem", type="pci", managed="yes" if pci.seize else "no")
        source = node.add("source")
        if pci.permissive:
            source.set(writeFiltering="no")
        source.add(
            "address",
            domain=f"0x{address.domain:04x}",
            bus=f"0x{address.bus:02x}",
            slot=f"0x{address.device:02x}",
            function=f"0x{address.function:x}",
        )
    for usbdev in config.usbdevs:
        if usb_sayable(usbdev):
            node = devices.add("hostdev", mode="subsystem", type="usb", managed="no")
            node.add("source").add("address", bus=usbdev.hostbus, device=usbdev.hostaddr)
