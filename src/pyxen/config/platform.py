"""Settings of one architecture or one guest type, and pieces of the host given to a guest."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pyxen.config.base import Coerced, Part, setting
from pyxen.config.checks import UINT32_MAX, UINT64_MAX, filename, flag, integer, member, text
from pyxen.config.enum_names import ArmSciTypeName, GicVersionName, SveTypeName, VuartTypeName
from pyxen.config.enums import ArmSciType, GicVersion, SveType, VuartType

__all__ = ["Arm", "IomemRange", "IoportRange", "PvShim"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Arm(Part):
    """What only Arm guests have."""

    gic_version: Coerced[GicVersion, GicVersion | GicVersionName] = setting(GicVersion.DEFAULT, member(GicVersion))
    """Version of the emulated interrupt controller. Default: the host's."""
    vuart: Coerced[VuartType | None, VuartType | VuartTypeName | None] = setting(None, member(VuartType))
    """An emulated serial port. Default: none."""
    sve: Coerced[SveType, SveType | SveTypeName] = setting(SveType.DISABLED, member(SveType), since="4.18")
    """Vector length of SVE. Default: no SVE. Xen 4.18."""
    nr_spis: int | None = setting(None, integer(0, 5088), since="4.19")
    """Number of shared interrupts: 0 to 960, and with extended ones (Xen 4.21) 4033 to 5088. Default: as many as the
    devices need, and before 4.21 never fewer. Xen 4.19."""
    sci: Coerced[ArmSciType, ArmSciType | ArmSciTypeName] = setting(
        ArmSciType.NONE, member(ArmSciType), key="arm_sci", since="4.21"
    )
    """Access to the system control firmware. Default: none. Xen 4.21."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class PvShim(Part):
    """A PV guest inside a PVH domain, by means of Xen as a shim (xl.cfg ``pvshim*``); PVH guests."""

    enable: bool | None = setting(None, flag, guests=("pvh",), key="pvshim")
    """Whether to use the shim. Default: no."""
    path: Coerced[str | None, str | os.PathLike[str] | None] = setting(
        None, filename, guests=("pvh",), key="pvshim_path"
    )
    """The shim. Default: that which libxl was built with."""
    cmdline: str | None = setting(None, text, guests=("pvh",), key="pvshim_cmdline")
    """Command line of the shim. Default: ``pv-shim console=xen,pv``."""
    extra: str | None = setting(None, text, guests=("pvh",), key="pvshim_extra")
    """Further arguments, put behind ``cmdline``."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class IoportRange(Part):
    """I/O ports of the host given to a guest, in xl.cfg ``"FIRST-LAST"`` in hexadecimal; x86."""

    first: int = setting(0, integer(0, UINT32_MAX))
    """The first port."""
    number: int = setting(1, integer(0, UINT32_MAX))
    """How many ports. Default 1."""

    def __str__(self) -> str:
        """Return it as xl.cfg has it."""
        return f"{self.first:x}-{self.first + self.number - 1:x}" if self.number > 1 else f"{self.first:x}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class IomemRange(Part):
    """Pages of the host's device memory given to a guest, in xl.cfg ``"START,NUMBER[@GFN]"`` in hexadecimal."""

    start: int = setting(0, integer(0, UINT64_MAX))
    """The first page of the host."""
    number: int = setting(1, integer(0, UINT64_MAX))
    """How many pages. Default 1."""
    gfn: int | None = setting(None, integer(0, UINT64_MAX - 1))
    """Where the guest sees them, as a page number. Default: at ``start``."""

    def __str__(self) -> str:
        """Return it as xl.cfg has it, with the prefix of hexadecimal numbers."""
        return f"{self.start:#x},{self.number:#x}" + ("" if self.gfn is None else f"@{self.gfn:#x}")
