"""The kinds of devices that can come to a running domain and go from it, and what names one of them."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import Device, Disk, DiskSpecification, DomainConfig, DomainType, Part, Pci, PciAddress, Vif
from pyxen.config.checks import hide_keys
from pyxen.config.device_table import KINDS, Kind
from pyxen.config.vdev import vdev_number
from pyxen.config.vif import Mac
from pyxen.errors import InvalidArgument, UnsupportedFeature

__all__ = [
    "Kind",
    "already_there",
    "check",
    "check_is_device",
    "drive",
    "kind_of",
    "meant",
    "name_of",
    "needs_qemu",
    "not_there",
    "same",
]


_HOT: Final[dict[type[Part], Kind]] = {kind.part: kind for kind in KINDS if kind.hot}
"""Those that can come to a running domain, by their classes."""


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
        backend: What the error calls the way to the host.

    Raises:
        UnsupportedFeature: Such devices come and go with their domain.
    """
    if type(device) not in _HOT:
        what = type(device).__name__
        message = f"a {what} comes and goes with its domain: put it into the configuration, and create the domain anew"
        raise UnsupportedFeature(message, feature=what, backend=backend)
    return _HOT[type(device)]


def check(device: Part, guest: DomainType, backend: str) -> Kind:
    """Check that a device can come to a running domain, and return its kind.

    Args:
        device: The device.
        guest: The type of the domain.
        backend: What errors call the way to the host.

    Raises:
        UnsupportedFeature: It cannot.
        ValidationError: Its settings do not go together.
    """
    kind = kind_of(device, backend)
    domain = DomainConfig("domain", type=guest, kernel="/")
    domain.replace(**{kind.field: (device,)}).validate()  # the rules are the model's
    if isinstance(device, Disk) and device.specification is DiskSpecification.VIRTIO:
        message = "a virtio disk comes and goes with its domain: create the domain anew, or use specification='xen'"
        raise UnsupportedFeature(message, feature="specification", backend=backend)
    if isinstance(device, Pci) and guest is DomainType.PVH and platform.machine() == "x86_64":
        message = "a PVH guest cannot be given PCI devices: make it a PV or HVM guest"
        raise UnsupportedFeature(message, feature="Pci", backend=backend)
    return kind


def _from_text(text: str) -> Part:
    """Return the device that a text names: a disk by its vdev, a vif by its MAC address, a PCI device by its address.

    Raises:
        ValueError: The text does not name a device.
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


def meant(device: Part | str, backend: str) -> tuple[Kind, Part]:
    """Return which device is meant, by itself or by its name, and its kind.

    Raises:
        UnsupportedFeature: Such devices come and go with their domain.
        ValueError: Too little is said to know it from the others.
    """
    if isinstance(device, str):
        device = _from_text(device)
    kind = kind_of(device, backend)
    if not _is_named(device):
        ways = " or ".join(" and ".join(fields) for fields in kind.names)
        raise ValueError(f"which {kind.noun}? Say its {ways}")
    return kind, device


def same(device: Part, other: Part) -> bool:
    """Tell whether all names that a device has are those of another one."""
    return _is_named(device) and all(_equal(names, _values(other, fields)) for fields, names in _names(device))


def already_there(kind: Kind, device: Part, present: Iterable[Part]) -> str | None:
    """Return why a device cannot come where others have its name; None where none has any of its names."""
    for other in present:
        if any(_equal(names, _values(other, fields)) for fields, names in _names(device)):
            return f"the domain has the {kind.noun} {name_of(other)} already: detach it first, or choose another"
    return None


def not_there(kind: Kind, device: Part, present: Sequence[Part]) -> str:
    """Return what to say of a device that a domain does not have."""
    have = f"it has {', '.join(map(name_of, present))}" if present else "it has none"
    return f"the domain has no {kind.noun} {name_of(device)}; {have}"


def needs_qemu(device: Part, backend: str) -> UnsupportedFeature:
    """Return the exception for a device that QEMU would serve, where the domain has no QEMU."""
    what = kind_of(device).noun if not isinstance(device, Disk) else f"{device.backendtype} disk"
    message = (
        f"QEMU would serve this {what}, and the domain was made without: create it anew with the device in its "
        f"configuration{', or attach it with backendtype=phy' if isinstance(device, Disk) else ''}"
    )
    return UnsupportedFeature(message, feature=what, backend=backend)


def drive(vdev: str, disks: Iterable[Disk]) -> Disk:
    """Return the CD-ROM drive of that vdev.

    Raises:
        LookupError: None of the disks is it.
    """
    drives = [disk for disk in disks if disk.cdrom]
    for one in drives:
        if same(Disk(vdev=vdev), one):
            return one
    have = f"its drives are {', '.join(map(name_of, drives))}" if drives else "it has none"
    raise LookupError(f"the domain has no CD-ROM drive {vdev}; {have}")


def name_of(device: Part) -> str:
    """Return what tells a device from the others of its kind, for messages; empty where nothing is said."""
    for fields, values in _names(device):
        if fields in (("vdev",), ("mac",), ("address",), ("uuid",)):
            return str(getattr(device, fields[0]))
        return " ".join(f"{field}={value}" for field, value in zip(fields, values, strict=True))
    return ""


def _is_named(device: Part) -> bool:
    """Tell whether enough is said of a device to know it from the others."""
    return any(True for _ in _names(device))


def _names(device: Part) -> Iterator[tuple[tuple[str, ...], tuple[Any, ...]]]:
    for fields in kind_of(device).names:
        values = _values(device, fields)
        if None not in values:
            yield fields, values


def _values(device: Part, fields: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(_value(field, getattr(device, field)) for field in fields)


def _value(field: str, value: Any) -> Any:
    if field == "vdev" and value is not None:
        return vdev_number(value)  # d0p0 is xvda
    return None if field == "port" and value == 0 else value  # any port


def _equal(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return all(
        _equal_addresses(a, b) if isinstance(a, PciAddress) else a == b for a, b in zip(some, others, strict=True)
    )


def _equal_addresses(one: PciAddress, other: Any) -> bool:
    """Compare addresses; one with all functions is that of each of them."""
    if not isinstance(other, PciAddress):
        return False
    functions = {one.function, other.function}
    same_device = (one.domain, one.bus, one.device) == (other.domain, other.bus, other.device)
    return same_device and (len(functions) == 1 or None in functions)
