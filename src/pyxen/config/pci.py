"""PCI passthrough (xl.cfg ``pci``) and reserved device memory (``rdm``)."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass

from pyxen._printable import quoted
from pyxen.config.base import Coerced, Part, setting
from pyxen.config.checks import UINT64_MAX, integer, member, text, value_of, yes_or_no
from pyxen.config.device import Device
from pyxen.config.enum_names import RdmReservePolicyName, RdmReserveStrategyName
from pyxen.config.enums import RdmReservePolicy, RdmReserveStrategy
from pyxen.errors import ValidationError

__all__ = ["Pci", "PciAddress", "Rdm", "RdmRegion"]

_ADDRESS = re.compile(r"(?:([0-9a-fA-F]{1,4}):)?([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})\.([0-7]|\*)")


@dataclass(frozen=True, slots=True, repr=False, order=True, init=False)
class PciAddress:
    """Where a PCI device sits: ``PciAddress("0000:03:00.0")``; function ``*`` stands for all functions.

    Attributes:
        domain: Segment, 0 to 0xffff.
        bus: 0 to 0xff.
        device: 0 to 0x1f.
        function: 0 to 7; None for all functions.
    """

    domain: int
    bus: int
    device: int
    function: int | None

    def __init__(self, address: str) -> None:
        found = _ADDRESS.fullmatch(address)
        if not found or int(found[3], 16) > 0x1F:
            raise ValueError(f"{quoted(address)} is not a PCI address; write it like '0000:03:00.0' or '03:00.*'")
        object.__setattr__(self, "domain", int(found[1] or "0", 16))
        object.__setattr__(self, "bus", int(found[2], 16))
        object.__setattr__(self, "device", int(found[3], 16))
        object.__setattr__(self, "function", None if found[4] == "*" else int(found[4]))

    def __str__(self) -> str:
        function = "*" if self.function is None else self.function
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}.{function}"

    def __repr__(self) -> str:
        return f"PciAddress({str(self)!r})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Pci(Device):
    """A PCI device passed through, as one item of xl.cfg's ``pci``: ``Pci("03:00.0", permissive=True)``."""

    address: Coerced[PciAddress | None, PciAddress | str | None] = setting(None, value_of(PciAddress), key="bdf")
    """Its address on the host. Either this or ``name``."""
    _: KW_ONLY
    name: str | None = setting(None, text)
    """Its name, as given to ``xl pci-assignable-add -n``. Either this or ``address``."""
    vslot: int | None = setting(None, integer(0, 0x1F))
    """Slot in an HVM guest, 0 to 0x1f. Default: a free one. xl.cfg reads it as hexadecimal."""
    permissive: bool = setting(False, yes_or_no)
    """Whether the guest may write all of the configuration space: needed by some devices, and unsafe."""
    msitranslate: bool = setting(False, yes_or_no)
    """Whether MSIs are translated to line interrupts; HVM guests."""
    seize: bool = setting(False, yes_or_no)
    """Whether libxl takes the device from its driver by itself, as ``xl pci-assignable-add`` would."""
    power_mgmt: bool = setting(False, yes_or_no)
    """Whether the guest may change the device's power state; HVM guests."""
    rdm_policy: Coerced[RdmReservePolicy | None, RdmReservePolicy | RdmReservePolicyName | None] = setting(
        None, member(RdmReservePolicy)
    )
    """What a conflict with the device's reserved memory means. Default: as `Rdm.policy`; HVM guests."""

    def __post_init__(self) -> None:
        super(Pci, self).__post_init__()
        if self.address is None and self.name is None:
            reason = "address: a PCI device needs its address, or its name"
            raise ValidationError(reason, path="address", problems=(reason,))


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Rdm(Part):
    """How the guest's memory map treats the host's reserved device memory (xl.cfg ``rdm``); HVM guests.

    xl has silently ignored ``rdm`` since Xen 4.15; with pyxen, libxl applies it.
    """

    strategy: Coerced[RdmReserveStrategy, RdmReserveStrategy | RdmReserveStrategyName] = setting(
        RdmReserveStrategy.IGNORE, member(RdmReserveStrategy)
    )
    """``host`` leaves all of the host's reserved regions free, so that devices can be attached later."""
    policy: Coerced[RdmReservePolicy | None, RdmReservePolicy | RdmReservePolicyName | None] = setting(
        None, member(RdmReservePolicy)
    )
    """What a conflict means. Default ``relaxed`` with strategy ``host``."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class RdmRegion(Part):
    """A region of reserved device memory; libxl's own, seen in the configuration of a running domain."""

    start: int = setting(0, integer(0, UINT64_MAX), key="")
    """First address."""
    size: int = setting(0, integer(0, UINT64_MAX), key="")
    """Length, in bytes."""
    policy: Coerced[RdmReservePolicy | None, RdmReservePolicy | RdmReservePolicyName | None] = setting(
        None, member(RdmReservePolicy), key=""
    )
    """What a conflict means."""
