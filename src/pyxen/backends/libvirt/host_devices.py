"""The PCI and USB devices of a host, which libvirt calls node devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from lxml import etree

from pyxen._common.pci_preconditions import device_to_add, device_to_remove
from pyxen.backends.libvirt.binding import Connection, NodeDevice, VirError, number
from pyxen.backends.libvirt.error_map import is_code, is_gone, unsupported
from pyxen.config import PciAddress
from pyxen.errors import OperationFailed
from pyxen.features import Feature, lacking
from pyxen.libvirtxml.text import parse_tree
from pyxen.records.host_devices import PciDevice, UsbDevice

__all__ = ["assignable_add", "assignable_remove", "pci_devices", "usb_devices"]

_PCI: Final = number("VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV")
_USB: Final = number("VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV")
_ACTIVE: Final = number("VIR_CONNECT_LIST_DOMAINS_ACTIVE")

_PCIBACK: Final = "pciback"
_REMEDY: Final = "its daemon has no driver for node devices: install libvirt-daemon-driver-nodedev"


class _Place(NamedTuple):
    """Where a device is that a domain has; which slot, libvirt's Xen driver does not say."""

    domid: int
    slot: int | None
    function: int | None


def pci_devices(connection: Connection, backend: str) -> list[PciDevice]:
    """Return the host's PCI devices, sorted by address. Only libvirt's own domains are seen to have some."""
    places = {_address(source): place for source, place in _given(connection, "pci")}
    devices = [_pci_device(root, places) for _, root in _listed(connection, _PCI, backend)]
    return sorted(devices, key=lambda device: device.address)


def _pci_device(root: etree._Element, places: dict[PciAddress, _Place]) -> PciDevice:
    address = _node_address(root)
    place = places.get(address)
    driver = root.findtext("driver/name")
    return PciDevice(
        address=address,
        class_code=_int(root.findtext("capability/class")),
        vendor_id=_id(root, "vendor"),
        device_id=_id(root, "product"),
        driver=driver,
        iommu_group=_group(root),
        assignable=driver == _PCIBACK and place is None,
        domid=None if place is None else place.domid,
        vslot=None if place is None else place.slot,
        vfunction=None if place is None else place.function,
    )


def usb_devices(connection: Connection, backend: str) -> list[UsbDevice]:
    """Return the host's USB devices, sorted by bus and address, hubs included."""
    places = {
        (_int(source.get("bus")), _int(source.get("device"))): place for source, place in _given(connection, "usb")
    }
    found = []
    for _, root in _listed(connection, _USB, backend):
        bus, device = (_int(root.findtext(f"capability/{name}")) for name in ("bus", "device"))
        if bus is None or device is None:
            continue
        place = places.get((bus, device))
        path = root.findtext("path")
        found.append(
            UsbDevice(
                hostbus=bus,
                hostaddr=device,
                port=None if path is None else path.rpartition("/")[2],
                vendor_id=_id(root, "vendor"),
                product_id=_id(root, "product"),
                manufacturer=root.findtext("capability/vendor") or None,
                product=root.findtext("capability/product") or None,
                domid=None if place is None else place.domid,
            )
        )
    return sorted(found, key=lambda device: (device.hostbus, device.hostaddr))


def assignable_add(
    connection: Connection, address: PciAddress | str, name: str | None, backend: str, *, rebind: bool
) -> None:
    """Make a PCI device assignable; libvirt detaches it from its driver."""
    if name is not None:
        raise lacking(Feature.ASSIGNABLE, backend, "libvirt has no names for PCI devices: leave out name")
    if not rebind:
        raise lacking(Feature.ASSIGNABLE, backend, "libvirt always remembers the driver: leave out rebind")
    device = device_to_add(pci_devices(connection, backend), address, name)
    if not device.assignable:
        _found(connection, device, backend).detachFlags("xen", 0)


def assignable_remove(connection: Connection, key: PciAddress | str, backend: str, *, rebind: bool) -> None:
    """Give a PCI device back to its driver."""
    if not rebind:
        raise lacking(Feature.ASSIGNABLE, backend, "libvirt always gives a device back: leave out rebind")
    device = device_to_remove(pci_devices(connection, backend), key)
    _found(connection, device, backend).reAttach()
    now = next((one for one in pci_devices(connection, backend) if one.address == device.address), None)
    if now is not None and now.assignable:
        message = "pciback keeps the device: xl pci-assignable-remove -r gives it back to its driver"
        raise OperationFailed(message, operation="assignable_remove")


def _found(connection: Connection, device: PciDevice, backend: str) -> NodeDevice:
    listed = _listed(connection, _PCI, backend)
    return next(node for node, root in listed if _node_address(root) == device.address)


def _listed(connection: Connection, kind: int, backend: str) -> Iterator[tuple[NodeDevice, etree._Element]]:
    """Yield the devices of a kind, each with its XML; those that are unplugged meanwhile are left out."""
    try:
        nodes = connection.listAllDevices(kind)
    except VirError as error:
        if unsupported(error):
            raise lacking(Feature.HOST_DEVICES, backend, _REMEDY) from None
        raise
    for node in nodes:
        try:
            text = node.XMLDesc(0)
        except VirError as error:
            if not is_code(error, "NO_NODE_DEVICE"):
                raise
        else:
            yield node, parse_tree(text)


def _given(connection: Connection, kind: str) -> Iterator[tuple[etree._Element, _Place]]:
    """Yield the source addresses of the devices that domains have, and where there."""
    for domain in connection.listAllDomains(_ACTIVE):
        try:
            root, domid = parse_tree(domain.XMLDesc(0)), domain.ID()
        except VirError as error:
            if not is_gone(error):
                raise
            continue
        for device in root.findall(f"devices/hostdev[@type='{kind}']"):
            source, target = device.find("source/address"), device.find("address[@type='pci']")
            if source is not None and domid >= 0:
                slot, function = (None if target is None else _int(target.get(name)) for name in ("slot", "function"))
                yield source, _Place(domid, slot, function)


def _address(element: etree._Element) -> PciAddress:
    parts = [_int(element.get(name)) or 0 for name in ("domain", "bus", "slot", "function")]
    return PciAddress("{:04x}:{:02x}:{:02x}.{}".format(*parts))


def _node_address(root: etree._Element) -> PciAddress:
    parts = [_int(root.findtext(f"capability/{name}")) or 0 for name in ("domain", "bus", "slot", "function")]
    return PciAddress("{:04x}:{:02x}:{:02x}.{}".format(*parts))


def _group(root: etree._Element) -> int | None:
    group = root.find("capability/iommuGroup")
    return None if group is None else _int(group.get("number"))


def _id(root: etree._Element, name: str) -> int | None:
    element = root.find(f"capability/{name}")
    return None if element is None else _int(element.get("id"))


def _int(text: Any) -> int | None:
    """Return a number that libvirt writes in decimal, or in hexadecimal after ``0x``."""
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None
