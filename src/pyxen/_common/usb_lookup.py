"""How a USB device of a host is found, for all backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyxen._printable import quoted
from pyxen.config import UsbDev
from pyxen.errors import InvalidArgument, NotFound
from pyxen.operation import Operation, describe
from pyxen.records.host_devices import UsbDevice

__all__ = ["check_usb_key", "find_usb", "find_usb_or_none", "no_such_usb"]

_PAIR = 2


def check_usb_key(key: object, verb: str) -> None:
    """Check that a key is a port, or bus and address.

    Raises:
        InvalidArgument: It is something else.
    """
    if isinstance(key, str):
        return
    numbers = key if isinstance(key, tuple) else ()
    if len(numbers) != _PAIR or not all(isinstance(each, int) and not isinstance(each, bool) for each in numbers):
        message = "takes the port of a USB device, such as '1-2.3', or its bus and address, such as (1, 3)"
        raise InvalidArgument(message, operation=verb)


def find_usb(devices: Sequence[UsbDevice], key: str | tuple[int, int], verb: str) -> UsbDevice:
    """Return a device.

    Raises:
        NotFound: There is no such device.
    """
    found = find_usb_or_none(devices, key)
    if found is None:
        what = f"in port {quoted(key)}" if isinstance(key, str) else f"{key[1]} on bus {key[0]}"
        raise NotFound(f"the host has no USB device {what}: host.usb.list() shows those that it has", operation=verb)
    return found


def find_usb_or_none(devices: Sequence[UsbDevice], key: object) -> UsbDevice | None:
    """Return a device; None if there is no such device."""
    found = (one for one in devices if key == (one.port if isinstance(key, str) else (one.hostbus, one.hostaddr)))
    return next(found, None)


def no_such_usb(operation: Operation[Any], device: UsbDev, code: int | None = None) -> NotFound:
    """Return the exception for a device of a configuration that the host does not have."""
    message = f"the host has no USB device {device.hostaddr} on bus {device.hostbus}: lsusb says which it has"
    return describe(NotFound, message, operation, code)
