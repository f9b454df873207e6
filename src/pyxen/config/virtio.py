"""Virtio devices served outside QEMU (xl.cfg ``virtio``)."""

from __future__ import annotations

from dataclasses import dataclass

from pyxen.config.base import Coerced, setting
from pyxen.config.checks import INT_MAX, UINT32_MAX, UINT64_MAX, flag, integer, member, text
from pyxen.config.device import Device
from pyxen.config.enum_names import VirtioTransportName
from pyxen.config.enums import VirtioTransport

__all__ = ["Virtio"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Virtio(Device):
    """A virtio device served outside QEMU, as one item of xl.cfg's ``virtio``; Arm guests, Xen 4.18."""

    type: str | None = setting(None, text, since="4.18")
    """Its device tree name, e.g. ``virtio,device22`` for I2C, or ``virtio,device``."""
    transport: Coerced[VirtioTransport | None, VirtioTransport | VirtioTransportName | None] = setting(
        None, member(VirtioTransport), since="4.18"
    )
    """How it is attached: ``mmio``."""
    grant_usage: bool | None = setting(None, flag, since="4.18")
    """Whether it uses grants. Default: when the backend is not dom0."""
    irq: int = setting(0, integer(0, UINT32_MAX), key="", since="4.18")
    """Its interrupt; libxl's own, seen in the configuration of a running domain."""
    base: int = setting(0, integer(0, UINT64_MAX), key="", since="4.18")
    """Address of its registers; libxl's own, seen in the configuration of a running domain."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="", since="4.18")
    """Number of the device in the guest. Default: its place in the list, as in xl."""
    backend: str | None = setting(None, text, since="4.18")
    """Name of the domain that serves it. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="", since="4.18")
    """Domid of the domain that serves it, where it has no name here."""
