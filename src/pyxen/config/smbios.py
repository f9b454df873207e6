"""Strings of the SMBIOS tables (xl.cfg ``smbios``)."""

from __future__ import annotations

from dataclasses import dataclass

from pyxen.config.base import Coerced, Part, setting
from pyxen.config.checks import member, text
from pyxen.config.enum_names import SmbiosTypeName
from pyxen.config.enums import SmbiosType

__all__ = ["Smbios"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Smbios(Part):
    """One string, as one item of xl.cfg's ``smbios``: ``Smbios("system_manufacturer", "ACME")``; HVM, Xen 4.18."""

    type: Coerced[SmbiosType, SmbiosType | SmbiosTypeName] = setting(SmbiosType.OEM, member(SmbiosType))
    """Which string. ``oem`` can be given up to 99 times, the others once."""
    value: str = setting("", text)
    """Its text; not empty."""

    def __str__(self) -> str:
        """Return it as xl.cfg has it."""
        return f"{self.type}={self.value}"
