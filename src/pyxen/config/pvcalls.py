"""Sockets opened by another domain (xl.cfg ``pvcalls``)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from pyxen.config.base import setting
from pyxen.config.checks import INT_MAX, integer, text
from pyxen.config.device import Device

__all__ = ["Pvcalls"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Pvcalls(Device):
    """Sockets that another domain opens for the guest, as one item of xl.cfg's ``pvcalls``."""

    backend: str | None = setting(None, text)
    """Name of the domain that opens them. Default: dom0, or ``backend_domid``."""
    _: KW_ONLY
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the device in the guest. Default: its place in the list, as in xl."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that opens them, where it has no name here."""
