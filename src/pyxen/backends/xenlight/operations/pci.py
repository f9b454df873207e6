"""PCI devices of the host: who has them, and which of them guests can get."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pyxen._common.pci_preconditions import device_to_add, device_to_remove
from pyxen._common.scripts import at_once
from pyxen.backends.xenlight import sysfs
from pyxen.backends.xenlight.hypervisor import Hypervisor, refused
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, failure, raise_failure
from pyxen.backends.xenlight.operations.effects import check_written, not_written
from pyxen.backends.xenlight.sysfs import PCI_DEVICES, PCIBACK, PCIBACK_DRIVER
from pyxen.config import PciAddress
from pyxen.errors import Error, OperationFailed, UnsupportedFeature
from pyxen.features import Feature
from pyxen.operation import Operation
from pyxen.records.host_devices import PciDevice

__all__ = ["assignable_add", "assignable_remove", "devices", "forget_dead_holders", "holders", "note_holder"]

_BACKENDS: Final = "/local/domain/0/backend/pci"
_INFO: Final = "/libxl/pci"
_MOST: Final = 256
"""Devices of a domain that are looked at."""


class _Place(NamedTuple):
    """Where a device is that a domain has."""

    domid: int
    vdevfn: int | None


def devices(hypervisor: Hypervisor) -> list[PciDevice]:
    """Return the host's PCI devices, sorted by address; sysfs and xenstore are read, and libxl is not asked."""
    places = _places(hypervisor)
    found = sysfs.pci_devices()
    if not found:
        return []
    told = hypervisor.read_dom0s([f"{_node(one.address)}/{name}" for one in found for name in ("name", "domid")])
    noted = _there(hypervisor, told[1::2])
    return [
        _shown(device, name, domid, places.get(str(device.address)))
        for device, name, domid in zip(found, told[::2], noted, strict=True)
    ]


def _shown(device: PciDevice, name: str | None, domid: int | None, place: _Place | None) -> PciDevice:
    """Return a device with what xenstore says of it."""
    holder = domid if place is None else place.domid
    vdevfn = None if place is None else place.vdevfn
    return dataclasses.replace(
        device,
        assignable=device.driver == PCIBACK and holder is None,
        name=name or None,
        domid=holder,
        vslot=None if vdevfn is None else vdevfn >> 3 & 0x1F,
        vfunction=None if vdevfn is None else vdevfn & 7,
    )


def holders(hypervisor: Hypervisor, addresses: Sequence[PciAddress]) -> dict[PciAddress, int]:
    """Return the domids of the domains that have devices; xenstore is read. Devices that no domain has are left out."""
    if not addresses:
        return {}
    places = _places(hypervisor)
    noted = _there(hypervisor, hypervisor.read_dom0s([f"{_node(address)}/domid" for address in addresses]))
    found = {
        address: domid if (place := places.get(str(address))) is None else place.domid
        for address, domid in zip(addresses, noted, strict=True)
    }
    return {address: domid for address, domid in found.items() if domid is not None}


def forget_dead_holders(hypervisor: Hypervisor, addresses: Sequence[PciAddress]) -> None:
    """Remove the records that domains which are gone have devices: libxl would refuse these devices for ever."""
    if not addresses:
        return
    paths = [f"{_node(address)}/domid" for address in addresses]
    told = hypervisor.read_dom0s(paths)
    there = _there(hypervisor, told)
    dead = [path for path, text, domid in zip(paths, told, there, strict=True) if text is not None and domid is None]
    if dead:
        hypervisor.remove(*dead)


def _there(hypervisor: Hypervisor, told: Sequence[str | None]) -> list[int | None]:
    """Return domids that xenstore tells; None for a domain that is gone: a toolstack may leave what it had."""
    domids = [_number(text) for text in told]
    if all(domid is None for domid in domids):
        return domids
    there = {info.domid for info in hypervisor.glance()}
    return [domid if domid in there else None for domid in domids]


def note_holder(hypervisor: Hypervisor, address: PciAddress, domid: int) -> bool:
    """Note that a domain has a device, so that no other one gets it; tell whether xenstored has taken it."""
    return hypervisor.write(f"{_node(address)}/domid", str(domid))


def _node(address: PciAddress) -> str:
    """Return libxl's xenstore node for a device."""
    return f"{_INFO}/{address.domain:04x}-{address.bus:02x}-{address.device:02x}-{address.function}"


def _places(hypervisor: Hypervisor) -> dict[str, _Place]:
    """Return the domain and the place there of each device that a domain has, by its address."""
    domids = sorted(domid for domid in _there(hypervisor, hypervisor.directory(_BACKENDS)) if domid is not None)
    if not domids:
        return {}
    counts = hypervisor.read_dom0s([f"{_BACKENDS}/{domid}/0/num_devs" for domid in domids])
    wanted = [
        (domid, f"{_BACKENDS}/{domid}/0", number)
        for domid, count in zip(domids, counts, strict=True)
        for number in range(min(_number(count) or 0, _MOST))
    ]
    if not wanted:
        return {}
    told = hypervisor.read_dom0s(
        [f"{path}/{name}-{number}" for _, path, number in wanted for name in ("dev", "vdevfn")]
    )
    found: dict[str, _Place] = {}
    for (domid, _, _), address, vdevfn in zip(wanted, told[::2], told[1::2], strict=True):
        if address is not None:  # a stub domain has the devices of its guest, too: the guest is the older one
            found.setdefault(address, _Place(domid, _hex(vdevfn)))
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else None


def _hex(text: str | None) -> int | None:
    return int(text, 16) if text is not None and re.fullmatch(r"[0-9a-fA-F]{1,8}", text) else None


@at_once
def assignable_add(
    context: Context, operation: Operation[None], address: PciAddress | str, name: str | None, rebind: bool
) -> None:
    """Make a device assignable, as ``xl pci-assignable-add``. An add that fails leaves the device as it was."""
    hypervisor = context.hypervisor
    device = device_to_add(devices(hypervisor), address, name)
    _check_host(hypervisor)
    text = ffi.NULL if name is None else ffi.new("char[]", name.encode())  # must live as long as the call
    pci = _pci(device.address)
    pci.name = text
    node = _node(device.address)
    before = _children(hypervisor, node)
    try:
        raise_failure(operation, lib.libxl_device_pci_assignable_add(context.pointer, pci, rebind))
        try:  # libxl does not look whether xenstored has taken what it writes
            check_written(context, operation, {f"{node}/name": name})
            if rebind and not device.assignable and device.driver is not None:
                _check_driver(context, operation, f"{node}/driver_path", device.driver)
        except Error:
            if not device.assignable:
                lib.libxl_device_pci_assignable_remove(context.pointer, pci, rebind)
            raise
    except Exception:
        if not device.assignable:
            _take_back(hypervisor, device, before)
        raise


def _children(hypervisor: Hypervisor, node: str) -> dict[str, str]:
    """Return the values below a node, by their names."""
    names = hypervisor.directory(node)
    values = hypervisor.read_all([f"{node}/{name}" for name in names]) if names else []
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _check_driver(context: Context, operation: Operation[Any], path: str, driver: str) -> None:
    """Check that xenstore has the driver that the device gets back."""
    if context.hypervisor.read(path) is None:
        raise not_written(operation, path, f"{PCI_DEVICES.removesuffix('devices')}drivers/{driver}", None)


def _check_host(hypervisor: Hypervisor) -> None:
    """Check that the host can give devices to guests: libxl would take the device from its driver, and fail then."""
    info = ffi.new("xc_physinfo_t *")
    with hypervisor.handle() as xc:
        if lib.xc_physinfo(xc, info) != 0:
            raise refused("assignable_add", "Xen does not report its capabilities")
    problem = None
    if not sysfs.has_pciback():
        problem = "dom0's kernel has not loaded the driver for such devices: modprobe xen-pciback"
    elif not info.capabilities & lib.XEN_SYSCTL_PHYSCAP_directio:
        problem = "Xen has no IOMMU to protect the host from the device: turn it on (VT-d, AMD-Vi) in the firmware"
    if problem is not None:
        message = f"assignable_add: {problem}"
        raise UnsupportedFeature(message, feature=Feature.ASSIGNABLE, backend=BACKEND)


def _take_back(hypervisor: Hypervisor, device: PciDevice, before: Mapping[str, str]) -> None:
    """Give a device back to its driver, after a failed add; libxl's own function fails where its add has failed.

    `before` is what xenstore had of it: an earlier add may have left the driver that it gets back.
    """
    name = str(device.address)
    if sysfs.driver_of(name) == PCIBACK:
        sysfs.try_write(f"{PCIBACK_DRIVER}/unbind", name)
        sysfs.try_write(f"{PCIBACK_DRIVER}/remove_slot", name)
    if device.driver is not None and sysfs.driver_of(name) is None:
        sysfs.try_write(f"{PCI_DEVICES.removesuffix('devices')}drivers/{device.driver}/bind", name)
    node = _node(device.address)
    hypervisor.remove(node)
    for child, value in before.items():
        hypervisor.write(f"{node}/{child}", value)
    if not hypervisor.directory(_INFO):
        hypervisor.remove(_INFO)


@at_once
def assignable_remove(context: Context, operation: Operation[None], key: PciAddress | str, rebind: bool) -> None:
    """Make a device not assignable any more, as ``xl pci-assignable-remove``."""
    device = device_to_remove(devices(context.hypervisor), key)
    pci, name = _pci(device.address), str(device.address)
    code = lib.libxl_device_pci_assignable_remove(context.pointer, pci, rebind)
    driver = sysfs.driver_of(name)
    if code != 0:
        error = failure(operation, code)
        error.message += f"; the device has {'no driver' if driver is None else f'the driver {driver}'} now"
        raise error
    if driver == PCIBACK:  # libxl does not look whether the kernel has taken it away
        message = (
            f"dom0's kernel leaves the device to pciback, so no driver of dom0 can use it: see dmesg, and write {name} "
            f"to {PCIBACK_DRIVER}/unbind"
        )
        raise describe(OperationFailed, message, operation)
    check_written(context, operation, {f"{_node(device.address)}/name": None})


def _pci(address: PciAddress) -> Any:
    pci: CData = ffi.new("libxl_device_pci *")
    lib.libxl_device_pci_init(pci)
    pci.domain, pci.bus, pci.dev, pci.func = address.domain, address.bus, address.device, address.function
    return pci
