"""USB passthrough: controllers (xl.cfg ``usbctrl``) and host devices (``usbdev``)."""

from __future__ import annotations

from dataclasses import dataclass

from pyxen.config.base import Coerced, setting
from pyxen.config.checks import INT_MAX, integer, member, text
from pyxen.config.device import Device
from pyxen.config.enum_names import UsbCtrlTypeName
from pyxen.config.enums import UsbCtrlType

__all__ = ["UsbCtrl", "UsbDev"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class UsbCtrl(Device):
    """A USB controller, as one item of xl.cfg's ``usbctrl``."""

    type: Coerced[UsbCtrlType, UsbCtrlType | UsbCtrlTypeName] = setting(UsbCtrlType.AUTO, member(UsbCtrlType))
    """``pv``, ``qusb`` (PV, served by QEMU), ``devicemodel`` (emulated, HVM guests); ``auto``: libxl chooses."""
    version: int | None = setting(None, integer(1, 3))
    """USB version: 1 or 2 for PV, 1 to 3 for emulated controllers. Default 2."""
    ports: int | None = setting(None, integer(1, 31))
    """Number of ports, 1 to 31. Default 8 (fixed numbers for emulated controllers)."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the controller in the guest. Default: its place in the list, as in xl."""
    backend: str | None = setting(None, text, key="")
    """Name of the domain that serves the controller. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that serves the controller, where it has no name here."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class UsbDev(Device):
    """A USB device of the host, as one item of xl.cfg's ``usbdev``: ``UsbDev(hostbus=1, hostaddr=3)``."""

    hostbus: int | None = setting(None, integer(0, 255))
    """Its bus on the host, as ``lsusb`` prints it. Without bus and address libxl knows no device."""
    hostaddr: int | None = setting(None, integer(0, 255))
    """Its address on that bus."""
    controller: int | None = setting(None, integer(0, INT_MAX))
    """Number (``devid``) of the controller it is plugged into. Default: any with a free port."""
    port: int = setting(0, integer(0, 31))
    """Port of that controller, from 1. 0 (default): any."""
