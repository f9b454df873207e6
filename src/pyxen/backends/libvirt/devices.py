"""Hotplug of devices through libvirt's XML, with devices identified by name."""

from __future__ import annotations

import copy
from typing import Final, TypeVar
from urllib.parse import urlsplit

from lxml import etree

from pyxen import libvirtxml
from pyxen._common.device_kinds import Kind, identify, kind_of, name_of
from pyxen._common.host_files import files_of, lacks_bridge, missing_bridge, missing_file
from pyxen._common.preconditions import check_disc_can_change
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.binding import VirDomain, number
from pyxen.config import Disk, DomainConfig, DomainType, Part, Pci, UsbDev, Vif
from pyxen.config.vdev import vdev_number
from pyxen.errors import DeviceExists, FileMissing, InvalidArgument, NotFound, UnsupportedFeature
from pyxen.libvirtxml.text import parse_tree
from pyxen.records.info import DomainInfo

__all__ = [
    "attach",
    "attach_where",
    "change_disc",
    "detach",
    "detach_where",
    "devices_of",
    "names_of",
    "why_not_attached",
]

D = TypeVar("D", bound=Part)

_LIVE: Final = number("VIR_DOMAIN_AFFECT_LIVE")
_CONFIG: Final = number("VIR_DOMAIN_AFFECT_CONFIG")
_SECURE: Final = number("VIR_DOMAIN_XML_SECURE")
_INACTIVE: Final = number("VIR_DOMAIN_XML_INACTIVE")

_GUESTS: Final = {"xen": DomainType.PV, "linux": DomainType.PV, "xenpvh": DomainType.PVH}

_KNOWN: Final = (Disk, Vif, Pci, UsbDev)

Name = tuple[str, object]
"""The name of a device: its field in a configuration, and what identifies it within that field."""


def devices_of(xml: str) -> dict[Name, etree._Element]:
    """Return the devices in a domain's XML by name; a vif has two names, its MAC address and its number."""
    found: dict[Name, etree._Element] = {}
    vifs = 0
    for element in parse_tree(xml).iterfind("devices/*"):
        if element.tag == "disk":
            target = element.find("target")
            if target is not None:
                found["disks", vdev_number(target.get("dev", "")) or target.get("dev", "")] = element
        elif element.tag == "interface" and element.get("type") != "hostdev":
            mac = element.find("mac")
            if mac is not None:
                found["vifs", mac.get("address", "").lower()] = element
            found["vifs", vifs] = element
            vifs += 1
        elif element.tag in ("hostdev", "interface"):
            name = _address_of(element)
            if name is not None:
                found[name] = element
    return found


def _address_of(element: etree._Element) -> Name | None:
    address = element.find("source/address")
    if address is None:
        return None
    if element.get("type") == "usb":
        return "usbdevs", (_number(address, "bus"), _number(address, "device"))
    return "pcis", tuple(_number(address, name) for name in ("domain", "bus", "slot", "function"))


def _number(element: etree._Element, name: str) -> int:
    return int(element.get(name, "0"), 0)


def names_of(device: Part) -> list[Name]:
    """Return the names of a device; each of them identifies it."""
    if isinstance(device, Disk) and device.vdev is not None:
        return [("disks", vdev_number(device.vdev) or device.vdev)]
    if isinstance(device, Vif):
        names: list[Name] = [("vifs", str(device.mac).lower())] if device.mac is not None else []
        return names + ([("vifs", device.devid)] if device.devid is not None else [])
    if isinstance(device, Pci) and device.address is not None:
        address = device.address
        return [("pcis", (address.domain, address.bus, address.device, address.function or 0))]
    if isinstance(device, UsbDev) and device.hostbus is not None:
        return [("usbdevs", (device.hostbus, device.hostaddr))]
    return []


def attach(
    domain: VirDomain,
    ref: DomainRef,
    domain_type: str,
    guest: DomainType,
    device: D,
    backend: str,
) -> D:
    """Attach a device, and return it with the settings that libvirt filled in."""
    kind = _kind(device, backend)
    xml = _xml_to_attach(domain_type, guest, device, backend)
    before = devices_of(domain.XMLDesc(_SECURE))
    _check_new(before, device, kind, ref.domid)
    domain.attachDeviceFlags(xml, _LIVE)
    return _as_attached(domain.XMLDesc(_SECURE), before, kind.field, device)


def _xml_to_attach(domain_type: str, guest: DomainType, device: Part, backend: str) -> str:
    kind = _kind(device, backend)
    whole = DomainConfig("domain", type=guest, kernel="/kernel").replace(**{kind.field: (device,)})
    whole.validate()
    element = parse_tree(libvirtxml.dumps(whole, domain_type=domain_type)).find(f"devices/{_tag(device)}")
    if element is None:
        raise UnsupportedFeature(f"libvirt's XML cannot express {device!r}", feature=kind.field, backend=backend)
    return _xml(element)


def _check_new(before: dict[Name, etree._Element], device: Part, kind: Kind, subject: str | int) -> None:
    domid = subject if isinstance(subject, int) else None
    if any(name in before for name in names_of(device)):
        message = f"the domain already has the {kind.noun} {name_of(device)}: detach it first, or choose another name"
        raise DeviceExists(message, operation="attach", domain=subject, domid=domid)


def attach_where(domain: VirDomain, domain_type: str, device: Part, backend: str, flags: int) -> None:
    """Attach a device to a running domain, to its definition, or to both."""
    guest = _GUESTS.get(domain.OSType(), DomainType.HVM)
    xml = _xml_to_attach(domain_type, guest, device, backend)
    for where in _wheres(flags):
        _check_new(devices_of(domain.XMLDesc(where)), device, _kind(device, backend), domain.name())
    domain.attachDeviceFlags(xml, flags)


def detach_where(domain: VirDomain, device: Part | str, backend: str, flags: int) -> None:
    """Detach a device from a running domain, from its definition, or from both."""
    try:
        _, part = identify(device, backend)
    except ValueError as error:
        raise InvalidArgument(str(error), operation="detach", domain=domain.name()) from None
    _kind(part, backend)
    name = domain.name()
    texts = list(map(domain.XMLDesc, _wheres(flags)))  # no comprehension: an error would keep its cell with the domain
    found = [_present(text, name, None, "detach", part) for text in texts]
    domain.detachDeviceFlags(_xml(found[0]), flags)


def _wheres(flags: int) -> list[int]:
    """Return the flags with which libvirt shows each XML that a change is about."""
    return [_SECURE] * bool(flags & _LIVE) + [_SECURE | _INACTIVE] * bool(flags & _CONFIG)


def why_not_attached(uri: str, ref: DomainRef, device: Part) -> Exception | None:
    """Return the exception for a file or bridge that a device needs and this machine lacks; None if unknown."""
    if urlsplit(uri).netloc:
        return None
    path = missing_file(files_of(device))
    if path is not None:
        message = f"no such file on the host: {path}"
        missing = FileMissing(message, operation="attach", domain=ref.domid, domid=ref.domid)
        missing.filename = path
        return missing
    if isinstance(device, Vif) and lacks_bridge(device):
        return NotFound(missing_bridge(device.bridge), operation="attach", domain=ref.domid, domid=ref.domid)
    return None


def _tag(device: Part) -> str:
    return {Disk: "disk", Vif: "interface"}.get(type(device), "hostdev")


def _as_attached(xml: str, before: dict[Name, etree._Element], field: str, device: D) -> D:
    """Return a newly attached device with the settings that libvirt gave it."""
    config = libvirtxml.loads(xml, on_loss="ignore")
    wanted = set(names_of(device))
    for other in reversed(getattr(config, field)):
        names = set(names_of(other))
        if isinstance(other, type(device)) and (names & wanted or (not wanted and names.isdisjoint(before))):
            return other
    return device


def detach(domain: VirDomain, ref: DomainRef, device: Part | str, backend: str) -> None:
    """Detach a device, given as a device or by name."""
    try:
        _, part = identify(device, backend)
    except ValueError as error:
        raise InvalidArgument(str(error), operation="detach", domain=ref.domid, domid=ref.domid) from None
    _kind(part, backend)
    domain.detachDeviceFlags(_xml(_there(domain, ref, "detach", part)), _LIVE)


def change_disc(domain: VirDomain, info: DomainInfo, verb: str, vdev: str, target: str | None, backend: str) -> None:
    """Change the disc in a CD-ROM drive; None ejects it."""
    check_disc_can_change(verb, info.type, vdev, backend)
    ref = DomainRef(info.domid, info.uuid)
    element = copy.deepcopy(_there(domain, ref, verb, Disk(vdev=vdev)))
    if element.get("device") != "cdrom":
        message = f"{vdev} is a disk, not a CD-ROM drive"
        raise NotFound(message, operation=verb, domain=ref.domid, domid=ref.domid)
    for child in ("source", "backingStore"):
        for found in element.findall(child):
            element.remove(found)
    if target is not None:
        is_block = target.startswith("/dev/")
        element.set("type", "block" if is_block else "file")
        etree.SubElement(element, "source", {"dev" if is_block else "file": target})
    domain.updateDeviceFlags(_xml(element), _LIVE)


def _there(domain: VirDomain, ref: DomainRef, verb: str, device: Part) -> etree._Element:
    return _present(domain.XMLDesc(_SECURE), ref.domid, ref.domid, verb, device)


def _present(xml: str, subject: str | int, domid: int | None, verb: str, device: Part) -> etree._Element:
    if isinstance(device, Pci) and device.address is not None and device.address.function is None:
        message = f"{device.address} stands for all functions, and libvirt takes one at a time: name each of them"
        raise InvalidArgument(message, operation=verb, domain=subject, domid=domid)
    present = devices_of(xml)
    for name in names_of(device):
        if name in present:
            return present[name]
    kind = kind_of(device)
    have = [
        _said(element)
        for (field, name), element in present.items()
        if field == kind.field and not isinstance(name, str)
    ]
    message = f"the domain has no {kind.noun} {name_of(device)}; it has {', '.join(have) or 'none'}"
    raise NotFound(message, operation=verb, domain=subject, domid=domid)


def _said(element: etree._Element) -> str:
    """Return a device's name for messages."""
    target, mac, address = element.find("target"), element.find("mac"), element.find("source/address")
    if element.tag == "disk" and target is not None:
        return target.get("dev", "")
    if mac is not None:
        return mac.get("address", "")
    return " ".join(map(str, address.attrib.values())) if address is not None else str(element.tag)


def _kind(device: Part, backend: str) -> Kind:
    if not isinstance(device, _KNOWN):
        what = type(device).__name__
        message = f"libvirt cannot hot-plug a {what}, only disks, vifs, PCI and USB devices"
        raise UnsupportedFeature(message, feature=what, backend=backend)
    return kind_of(device, backend)


def _xml(element: etree._Element) -> str:
    return etree.tostring(element, encoding="unicode", with_tail=False)
