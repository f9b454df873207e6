"""Virtual TPMs (xl.cfg ``vtpm``)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from pyxen.config.base import Coerced, setting
from pyxen.config.checks import INT_MAX, integer, text, unique_id
from pyxen.config.device import Device

if TYPE_CHECKING:
    import uuid as uuids

__all__ = ["Vtpm"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Vtpm(Device):
    """A virtual TPM served by a vTPM domain, as one item of xl.cfg's ``vtpm``."""

    backend: str | None = setting(None, text)
    """Name of the vTPM domain. xl demands it."""
    _: KW_ONLY
    uuid: Coerced[uuids.UUID | None, uuids.UUID | str | None] = setting(None, unique_id)
    """Which TPM of the manager it is. Default: a random one, so a new TPM."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the device in the guest. Default: its place in the list, as in xl."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the vTPM domain, where it has no name here."""
