"""Hot-pluggable device kinds, and the names by which a device is found among others of its kind."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import (
    Device,
    Disk,
    DiskFormat,
    DiskSpecification,
    DomainConfig,
    DomainType,
    Part,
    Pci,
    PciAddress,
    Vif,
)
from pyxen.config.checks import hide_keys
from pyxen.config.device_table import KINDS, Kind
from pyxen.config.vdev import vdev_number
from pyxen.config.vif import Mac
from pyxen.errors import InvalidArgument, UnsupportedFeature

__all__ = [
    "Kind",
    "already_there",
    "check_hotplug",
    "check_is_device",
    "find_drive",
    "identify",
    "kind_of",
    "matches",
    "name_of",
    "needs_qemu",
    "not_there",
]


_HOT: Final[dict[type[Part], Kind]] = {kind.part: kind for kind in KINDS if kind.hot}
"""The kinds that can be attached to a running domain, by class."""

_ALL: Final[dict[type[Part], Kind]] = {kind.part: kind for kind in KINDS}
"""All kinds, by class."""


def check_is_device(device: object, verb: str) -> None:
    """Check that an argument is a device, and not the text of one.

    Args:
        device: The argument.
        verb: The verb that takes it.

    Raises:
        InvalidArgument: It is something else.
    """
    if isinstance(device, str):
        message = (
            f"takes a device, not the string {hide_keys(quoted(device))}: "
            "Disk.from_xl, Vif.from_xl, Pci.from_xl and so on make a device of xl's text"
        )
        raise InvalidArgument(message, operation=verb)
    if not isinstance(device, Device):
        given = "None" if device is None else type(device).__name__
        message = f"takes a device such as a Disk or a Vif, not {given}"
        raise InvalidArgument(message, operation=verb)


def kind_of(device: Part, backend: str | None = None) -> Kind:
    """Return the kind of a device.

    Args:
        device: The device.
        backend: The backend's name, for the error.

    Raises:
        UnsupportedFeature: Devices of this kind cannot be hot-plugged.
    """
    if type(device) not in _HOT:
        what = type(device).__name__
        message = f"a {what} cannot be hot-plugged: put it into the configuration, and create the domain again"
        raise UnsupportedFeature(message, feature=what, backend=backend)
    return _HOT[type(device)]


def check_hotplug(device: Part, guest: DomainType, backend: str) -> Kind:
    """Check that a device can be attached to a running domain, and return its kind.

    Args:
        device: The device.
        guest: The type of the domain.
        backend: The backend's name, for errors.

    Raises:
        UnsupportedFeature: The device cannot be hot-plugged.
        ValidationError: The device's settings conflict.
    """
    kind = kind_of(device, backend)
    domain = DomainConfig("domain", type=guest, kernel="/")
    domain.replace(**{kind.field: (device,)}).validate()  # the model has the rules
    if isinstance(device, Disk) and device.specification is DiskSpecification.VIRTIO:
        message = (
            "a virtio disk cannot be hot-plugged: put it into the configuration and create the domain again, "
            "or use specification='xen'"
        )
        raise UnsupportedFeature(message, feature="specification", backend=backend)
    if isinstance(device, Pci) and guest is DomainType.PVH and platform.machine() == "x86_64":
        message = "a PVH guest cannot be given PCI devices: make it a PV or HVM guest"
        raise UnsupportedFeature(message, feature="Pci", backend=backend)
    return kind


def _from_text(text: str) -> Part:
    """Return the device named by a string: a disk's vdev, a vif's MAC address or a PCI device's address.

    Raises:
        ValueError: The string is not a device name.
    """
    if vdev_number(text) is not None:
        return Disk(vdev=text)
    try:
        return Vif(mac=Mac(text))
    except ValueError:
        pass
    try:
        return Pci(PciAddress(text))
    except ValueError:
        message = (
            f"{hide_keys(quoted(text))} does not name a device: give a vdev, a MAC or PCI address, "
            "or a device such as Vif(devid=0) or Disk.from_xl(...)"
        )
        raise ValueError(message) from None


def identify(device: Part | str, backend: str) -> tuple[Kind, Part]:
    """Return the kind and the device for a caller's argument, which is a device or a device's name.

    Raises:
        UnsupportedFeature: Devices of this kind cannot be hot-plugged.
        ValueError: The argument does not identify one device.
    """
    if isinstance(device, str):
        device = _from_text(device)
    if not isinstance(device, Device):
        message = f"takes a device or its name, such as 'xvda', not {type(device).__name__}"
        raise ValueError(message)  # noqa: TRY004 (callers make an InvalidArgument of it)
    kind = kind_of(device, backend)
    if not _is_named(device):
        ways = " or ".join(" and ".join(fields) for fields in kind.names)
        raise ValueError(f"this does not identify one {kind.noun}: set its {ways}")
    return kind, device


def matches(device: Part, other: Part) -> bool:
    """Tell whether another device has all the names that this one has."""
    return _is_named(device) and all(_equal(names, _values(other, fields)) for fields, names in _names(device))


def already_there(kind: Kind, device: Part, present: Iterable[Part]) -> str | None:
    """Return the message for a device whose name is taken by one that is present; None if its names are free."""
    for other in present:
        if any(_equal(names, _values(other, fields)) for fields, names in _names(device)):
            return f"the domain already has the {kind.noun} {name_of(other)}: detach it first, or choose another name"
    return None


def not_there(kind: Kind, device: Part, present: Sequence[Part]) -> str:
    """Return the message for a device that the domain does not have."""
    have = f"it has {', '.join(map(name_of, present))}" if present else "it has none"
    return f"the domain has no {kind.noun} {name_of(device)}; {have}"


def needs_qemu(device: Part, backend: str) -> UnsupportedFeature:
    """Return the exception for a device that needs QEMU, in a domain that runs without QEMU."""
    what, instead = kind_of(device).noun, ""
    if isinstance(device, Disk):
        raw = device.format is DiskFormat.RAW
        what = f"{device.backendtype} disk" if raw else f"{device.format} disk"
        instead = ", or attach it with backendtype=phy" if raw else ", or attach a raw image or a block device"
    message = (
        f"this {what} needs QEMU, and the domain runs without it: create the domain again with the device in its "
        f"configuration{instead}"
    )
    return UnsupportedFeature(message, feature=what, backend=backend)


def find_drive(vdev: str, disks: Iterable[Disk]) -> Disk:
    """Return the CD-ROM drive with this vdev.

    Raises:
        LookupError: The domain has no such drive.
    """
    drives = [disk for disk in disks if disk.cdrom]
    for one in drives:
        if matches(Disk(vdev=vdev), one):
            return one
    have = f"its drives are {', '.join(map(name_of, drives))}" if drives else "it has none"
    raise LookupError(f"the domain has no CD-ROM drive {vdev}; {have}")


def name_of(device: Part) -> str:
    """Return the name of a device for messages; empty if it has no name."""
    for fields, values in _names(device):
        if fields in (("vdev",), ("mac",), ("address",), ("uuid",)):
            return str(getattr(device, fields[0]))
        return " ".join(f"{field}={value}" for field, value in zip(fields, values, strict=True))
    return ""


def _is_named(device: Part) -> bool:
    """Tell whether a device has at least one name that identifies it."""
    return any(True for _ in _names(device))


def _names(device: Part) -> Iterator[tuple[tuple[str, ...], tuple[Any, ...]]]:
    for fields in _ALL[type(device)].names:
        values = _values(device, fields)
        if None not in values:
            yield fields, values


def _values(device: Part, fields: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(_value(field, getattr(device, field)) for field in fields)


def _value(field: str, value: Any) -> Any:
    if field == "vdev" and value is not None:
        return vdev_number(value)  # d0p0 is xvda
    return None if field == "port" and value == 0 else value  # port 0 means any port


def _equal(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return all(
        _equal_addresses(a, b) if isinstance(a, PciAddress) else a == b for a, b in zip(some, others, strict=True)
    )


def _equal_addresses(one: PciAddress, other: Any) -> bool:
    """Compare PCI addresses; an address without a function matches every function of the device."""
    if not isinstance(other, PciAddress):
        return False
    functions = {one.function, other.function}
    same_device = (one.domain, one.bus, one.device) == (other.domain, other.bus, other.device)
    return same_device and (len(functions) == 1 or None in functions)
