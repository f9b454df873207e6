"""``<disk>``: disks and CD-ROM drives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pyxen.config import Disk, DiskBackend, DiskFormat, DomainConfig, DomainType
from pyxen.libvirtxml import rbd
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.schema_patterns import ABSOLUTE_PATH, DEVICE, DISK, LINE, fitting

__all__ = ["order", "read", "sayable", "write"]

_DRIVERS: Final = {
    "qemu": DiskBackend.QDISK,
    "file": DiskBackend.QDISK,
    "phy": DiskBackend.PHY,
    "tap": DiskBackend.TAP,
    "tap2": DiskBackend.TAP,
}
_DRIVER_NAMES: Final = {DiskBackend.QDISK: "qemu", DiskBackend.PHY: "phy", DiskBackend.TAP: "tap"}
_FORMATS: Final = {
    "raw": DiskFormat.RAW,
    "aio": DiskFormat.RAW,
    "qcow": DiskFormat.QCOW,
    "qcow2": DiskFormat.QCOW2,
    "qed": DiskFormat.QED,
    "vhd": DiskFormat.VHD,
    "vpc": DiskFormat.VHD,  # QEMU's name for it
}
_NEEDS_QEMU: Final = (DiskFormat.QCOW, DiskFormat.QCOW2, DiskFormat.QED)
"""Formats that only QEMU can serve. libvirt treats a disk without a driver as raw, so they need ``name='qemu'``."""

_DISCARD: Final = {"unmap": True, "ignore": False}
_NAME = re.compile(r"(?:ioemu:)?(?:fd|hd|sd|vd|xvd|ubd)([a-z]+)[0-9]*")
_SOURCES: Final = {"file": "file", "block": "dev"}


def read(devices: Node, found: XmlReadState) -> None:
    """Read the disks and CD-ROM drives."""
    names, disks = [], []
    for node in devices.children:
        if node.tag == "disk" and node.attributes.get("device", "disk") in ("disk", "cdrom"):
            node.taken = True
            bus = next((target.attributes.get("bus") for target in node.named("target")), None)
            disk = _read_disk(node, found)
            names.append((bus, disk.vdev))
            disks.append(disk)
    for place in _in_order(names):
        found.append("disks", disks[place])


def order(disks: Sequence[Disk], guest: DomainType) -> list[int]:
    """Return the places of disks in libvirt's order, whatever the order in a document: those of a bus by their names.

    A boot loader looks at the first.
    """
    return _in_order([(_bus(disk.vdev or "", guest), disk.vdev) for disk in disks])


def _in_order(names: Sequence[tuple[str | None, str | None]]) -> list[int]:
    """Return the places of disks, whose buses and names are given, in libvirt's order."""
    buses: dict[str | None, int] = {}
    for bus, _ in names:
        buses.setdefault(bus, len(buses))
    return sorted(range(len(names)), key=lambda place: (buses[names[place][0]], _letters(names[place][1])))


def _letters(vdev: str | None) -> tuple[int, str]:
    """Return what libvirt compares names by: a before z before aa, whatever the partition."""
    found = _NAME.fullmatch(vdev or "")
    return (len(found[1]), found[1]) if found else (0, "")


def _read_disk(node: Node, found: XmlReadState) -> Disk:
    cdrom = node.get("device") == "cdrom"
    backendtype, form, discard = _read_driver(node.child("driver"), node)
    target = node.child("target")
    vdev = None
    if target is not None:
        vdev = target.get("dev")
        target.get("bus")
    domain = node.child("backenddomain")
    readonly = node.child("readonly") is not None
    path = _read_source(node)
    return found.make(
        Disk,
        node,
        target=path,
        vdev=vdev,
        format=form,
        cdrom=cdrom,
        readonly=True if readonly and not cdrom else None,
        backendtype=backendtype,
        discard=discard,
        backend=domain.get("name") if domain is not None else None,
    )


def _read_driver(driver: Node | None, disk: Node) -> tuple[DiskBackend | None, DiskFormat, bool | None]:
    if driver is None:
        return None, DiskFormat.RAW, None
    name, form = driver.get("name"), driver.get("type") or "raw"
    if name is not None and name not in _DRIVERS:
        raise disk.wrong(f"its driver {name!r} is not valid; use one of {', '.join(_DRIVERS)}")
    if form not in _FORMATS:
        raise disk.wrong(f"its format {form!r} is not valid; use one of {', '.join(_FORMATS)}")
    if driver.attributes.get("cache") == "default":
        driver.get("cache")
    backend = _DRIVERS[name] if name is not None else None
    if backend is DiskBackend.TAP and _FORMATS[form] in _NEEDS_QEMU:
        backend = DiskBackend.QDISK
    discard = driver.attributes.get("discard")
    if discard in _DISCARD:
        driver.get("discard")
    return backend, _FORMATS[form], _DISCARD.get(discard or "")


def _read_source(disk: Node) -> str | None:
    kind = disk.attributes.get("type", "file")
    source = disk.child("source")
    if kind in _SOURCES:
        disk.get("type")
        return source.get(_SOURCES[kind]) if source is not None else None
    if kind == "network" and source is not None and source.attributes.get("protocol") == "rbd":
        disk.get("type")
        return rbd.read(source)
    if source is not None:
        source.taken = False
    return None


def sayable(disk: Disk) -> bool:
    """Whether libvirt's XML can express a disk: its vdev must be a name that libvirt supports."""
    return fitting(disk.vdev, DISK) is not None


def write(config: DomainConfig, devices: Node, *, is_xen: bool) -> None:
    """Write the disks and CD-ROM drives."""
    for place in order(config.disks, config.type):
        disk = config.disks[place]
        if sayable(disk):
            _write_disk(disk, config.type, devices, is_xen=is_xen)


def _write_disk(disk: Disk, guest: DomainType, devices: Node, *, is_xen: bool) -> None:
    node = devices.add("disk", type="file", device="cdrom" if disk.cdrom else "disk")
    name = _DRIVER_NAMES.get(disk.backendtype) if disk.backendtype else None
    form: str | None = disk.format.value
    if disk.format is DiskFormat.EMPTY:
        form = None
    elif not name and (disk.format is not DiskFormat.RAW):
        name = "qemu"
    if not is_xen:
        name = "qemu"
    discard = None if disk.discard is None else "unmap" if disk.discard else "ignore"
    if name or discard:
        node.add("driver", name=name, type=form if name else None, discard=discard)
    if disk.target:
        _write_source(disk, disk.target, node)
    bus = _bus(disk.vdev or "", guest)
    node.add("target", dev=disk.vdev, bus="virtio" if bus == "xen" and not is_xen else bus)
    if disk.cdrom or disk.readonly:
        node.add("readonly")
    if backend := fitting(disk.backend, LINE):
        node.add("backenddomain", name=backend)


def _write_source(disk: Disk, target: str, node: Node) -> None:
    if target.startswith("rbd:") and rbd.write(target, node):
        node.set(type="network")
    elif disk.backendtype is DiskBackend.PHY or target.startswith("/dev/"):
        if fitting(target, ABSOLUTE_PATH) or fitting(target, DEVICE):
            node.set(type="block").add("source", dev=target)
    elif fitting(target, ABSOLUTE_PATH):
        node.add("source", file=target)
    elif fitting(target, DEVICE):
        node.set(type="block").add("source", dev=target)


def _bus(vdev: str, guest: DomainType) -> str:
    if vdev.startswith("xvd") or guest is not DomainType.HVM:
        return "xen"
    return "scsi" if vdev.startswith("sd") else "ide"
