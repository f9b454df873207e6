"""Preconditions of the verbs for a host's PCI devices and their error messages, shared by all backends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pyxen._printable import quoted
from pyxen.config import Pci, PciAddress
from pyxen.errors import InvalidArgument, InvalidState, NotFound
from pyxen.operation import Operation, describe
from pyxen.records.host_devices import PciDevice

__all__ = [
    "check_distinct",
    "check_key",
    "check_name",
    "check_one_function",
    "device_to_add",
    "device_to_remove",
    "find_pci",
    "find_pci_or_none",
    "first_unassigned",
    "held",
    "is_symbolic",
    "meant_by",
    "not_assignable",
    "one_function",
    "with_address",
]

_NAME = re.compile(r"[!-~]{1,64}")
"""What libxl takes as a name: its characters are those of C's isgraph."""


def check_key(key: object, verb: str) -> None:
    """Check that a key can be the address or the name of a PCI device.

    Raises:
        InvalidArgument: It is neither.
    """
    if isinstance(key, PciAddress):
        if key.function is None:
            raise InvalidArgument(f"{key} stands for all functions of a device: name one of them", operation=verb)
        return
    if not isinstance(key, str):
        given = "None" if key is None else type(key).__name__
        raise InvalidArgument(f"takes the address or the name of a PCI device, not {given}", operation=verb)
    address = _address(key)
    if address is not None:
        check_key(address, verb)
    elif not _NAME.fullmatch(key):
        raise InvalidArgument(f"{quoted(key)} is neither the address nor the name of a PCI device", operation=verb)


def check_name(name: object, verb: str) -> None:
    """Check the name that a PCI device is to get.

    Raises:
        InvalidArgument: It is not valid, or an address, which would be taken for another device.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        given = quoted(name) if isinstance(name, str) else type(name).__name__
        raise InvalidArgument(f"name takes 1 to 64 visible ASCII characters, not {given}", operation=verb)
    if _address(name) is not None:
        raise InvalidArgument(f"{quoted(name)} would be taken for an address: choose another name", operation=verb)


def find_pci(devices: Sequence[PciDevice], key: PciAddress | str, verb: str) -> PciDevice:
    """Return a device.

    Raises:
        NotFound: There is no such device.
    """
    found = find_pci_or_none(devices, key)
    if found is None:
        address = key if isinstance(key, PciAddress) else _address(key)
        what = f"named {quoted(str(key))}" if address is None else str(address)
        raise NotFound(f"the host has no PCI device {what}: host.pci.list() shows those that it has", operation=verb)
    return found


def find_pci_or_none(devices: Sequence[PciDevice], key: PciAddress | str) -> PciDevice | None:
    """Return a device; None if there is no such device."""
    address = key if isinstance(key, PciAddress) else _address(key)
    if address is None:
        return next((device for device in devices if device.name == key), None)
    return next((device for device in devices if device.address == address), None)


def device_to_add(
    devices: Sequence[PciDevice], address: PciAddress | str, name: str | None, verb: str = "assignable_add"
) -> PciDevice:
    """Return the device that is to become assignable.

    Raises:
        NotFound: There is no such device.
        InvalidState: A domain has it.
        InvalidArgument: The address is not valid, or another device has the name.
    """
    if isinstance(address, str) and _address(address) is None:
        message = f"{quoted(address)} is not a PCI address; write it like '0000:03:00.0' or '03:00.0'"
        raise InvalidArgument(message, operation=verb)
    device = find_pci(devices, address, verb)
    _check_free(device, verb)
    other = None if name is None else find_pci_or_none(devices, name)
    if other is not None and other.address != device.address:
        message = f"the PCI device {other.address} already has the name {quoted(str(name))}: choose another name"
        raise InvalidArgument(message, operation=verb)
    return device


def device_to_remove(devices: Sequence[PciDevice], key: PciAddress | str, verb: str = "assignable_remove") -> PciDevice:
    """Return the device that is not to be assignable any more.

    Raises:
        NotFound: There is no such device.
        InvalidState: It is not assignable, or a domain has it.
    """
    device = find_pci(devices, key, verb)
    _check_free(device, verb)
    if not device.assignable:
        has = "no driver has it" if device.driver is None else f"dom0's driver {device.driver} has it"
        raise InvalidState(f"the PCI device {device.address} is not assignable: {has}", operation=verb)
    return device


def first_unassigned(devices: Sequence[PciDevice], pcis: Sequence[Pci]) -> Pci | None:
    """Return the first device of a configuration that is missing on the host, or that nobody has made assignable.

    None if there is no such device. A device that another domain has, or that libxl is to seize, does not count.
    """
    for pci in pcis:
        functions = meant_by(devices, pci)
        if not functions or (not pci.seize and any(not one.assignable and one.domid is None for one in functions)):
            return pci
    return None


def is_symbolic(pci: Pci) -> bool:
    """Tell whether a device is given by its name, or without the number of its function."""
    return pci.address is None or pci.address.function is None


def meant_by(devices: Sequence[PciDevice], pci: Pci) -> list[PciDevice]:
    """Return the functions that a device of a configuration stands for: several of one whose function is ``*``."""
    return [device for device in devices if _is_meant(pci, device)]


def with_address(operation: Operation[Any], devices: Sequence[PciDevice], pci: Pci) -> Pci:
    """Return a device by its address, also if it was given by its name.

    Raises:
        NotFound: The host has no device with that name.
    """
    if pci.address is not None:
        return pci
    found = meant_by(devices, pci)
    if not found:
        message = f"the host has no PCI device named {quoted(str(pci.name))}: host.pci.list() shows their names"
        raise describe(NotFound, message, operation)
    return pci.replace(address=found[0].address, name=None)


def one_function(operation: Operation[Any], devices: Sequence[PciDevice], pci: Pci) -> Pci:
    """Return the one function that a domain is to get, by its address.

    Raises:
        NotFound: The host has no such device.
        InvalidArgument: It stands for several functions.
    """
    pci = with_address(operation, devices, pci)
    if pci.address is None or pci.address.function is not None:
        return pci
    check_one_function(operation, devices, [pci])
    found = meant_by(devices, pci)
    if not found:
        raise not_assignable(operation, pci)
    return pci.replace(address=found[0].address)


def check_one_function(operation: Operation[Any], devices: Sequence[PciDevice], pcis: Iterable[Pci]) -> None:
    """Check that no device stands for several functions: libxl would give the domain one of them, and say nothing.

    Raises:
        InvalidArgument: One does.
    """
    for pci in pcis:
        found = [] if pci.address is None else meant_by(devices, pci)
        if len(found) > 1:
            functions = ", ".join(str(device.address) for device in found)
            message = f"{pci.address} stands for {len(found)} functions, of which libxl gives a domain only one"
            raise describe(InvalidArgument, f"{message}: name each of them ({functions})", operation)


def check_distinct(operation: Operation[Any], addresses: Iterable[PciAddress]) -> None:
    """Check that a domain gets no device twice, by its name or without its function, and by its address.

    Raises:
        InvalidArgument: It would get one twice.
    """
    seen: set[PciAddress] = set()
    for address in addresses:
        if address in seen:
            message = f"pcis has {address} twice, by its address, its name or all its functions: leave one of them out"
            raise describe(InvalidArgument, message, operation)
        seen.add(address)


def _is_meant(pci: Pci, device: PciDevice) -> bool:
    if pci.address is None:
        return pci.name is not None and pci.name == device.name
    here, wanted = device.address, pci.address
    same = (here.domain, here.bus, here.device) == (wanted.domain, wanted.bus, wanted.device)
    return same and wanted.function in {None, here.function}


def held(operation: Operation[Any], address: PciAddress, domid: int | None) -> NotFound:
    """Return the exception for a device that a domain cannot get because another domain has it, or is getting it.

    `domid` is that of the other domain; None for one that is being made, or to which it is being attached.
    """
    other = "a domain that is getting it now" if domid is None else f"domain {domid}: detach it there first"
    return describe(NotFound, f"{address} is not assignable, as it is already assigned to {other}", operation)


def not_assignable(operation: Operation[Any], pci: Pci, code: int | None = None) -> NotFound:
    """Return the exception for a device that a domain cannot get, because it is not assignable."""
    if pci.address is None:
        remedy = f"xl pci-assignable-add -n {pci.name} ADDRESS"
    else:
        remedy = f"xl pci-assignable-add {pci.address}, or say seize=True"
    message = f"{pci.address or pci.name} is not assignable: host.pci.assignable_add does it, as {remedy}"
    return describe(NotFound, message, operation, code)


def _check_free(device: PciDevice, verb: str) -> None:
    if device.domid is not None:
        message = f"domain {device.domid} has the PCI device {device.address}: detach it first, with Domain.detach"
        raise InvalidState(message, operation=verb)


def _address(text: str) -> PciAddress | None:
    try:
        return PciAddress(text)
    except ValueError:
        return None
