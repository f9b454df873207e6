"""What the CPUID instruction tells a guest (xl.cfg ``cpuid``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyxen.config.base import Coerced, Part, Refused, setting
from pyxen.config.checks import UINT32_MAX, integer, many, part

__all__ = ["CpuidLeaf", "CpuidPolicy", "MsrPolicy"]


def _bits(width: int) -> Any:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) != width or value.strip("01xksXKS"):
            raise Refused(f"takes {width} of the characters 0, 1, x, k and s, highest bit first, not {value!r}")
        return value

    return check


@dataclass(frozen=True, slots=True, repr=False)
class CpuidLeaf(Part):
    """What becomes of one leaf, a character for each bit.

    ``1`` and ``0`` set it, ``x`` is libxl's default, ``k`` the host's value, ``s`` the same and kept over a migration.
    """

    leaf: int = setting(0, integer(0, UINT32_MAX))
    """The leaf: what the guest puts into EAX."""
    subleaf: int | None = setting(None, integer(0, UINT32_MAX))
    """The subleaf: what it puts into ECX. None: any."""
    eax: str | None = setting(None, _bits(32))
    """32 characters for EAX, highest bit first. None: libxl's default."""
    ebx: str | None = setting(None, _bits(32))
    """The same for EBX."""
    ecx: str | None = setting(None, _bits(32))
    """The same for ECX."""
    edx: str | None = setting(None, _bits(32))
    """The same for EDX."""


@dataclass(frozen=True, slots=True, repr=False)
class MsrPolicy(Part):
    """What becomes of one model specific register; Xen has it for the feature registers."""

    index: int = setting(0, integer(0, UINT32_MAX))
    """Number of the register."""
    policy: str = setting("x" * 64, _bits(64))
    """64 characters, highest bit first, as in `CpuidLeaf`."""


@dataclass(frozen=True, slots=True, repr=False)
class CpuidPolicy(Part):
    """Changes to what the guest learns of the CPU; x86."""

    leaves: Coerced[tuple[CpuidLeaf, ...], Iterable[CpuidLeaf]] = setting((), many(part(CpuidLeaf)))
    """Changes to CPUID leaves."""
    msrs: Coerced[tuple[MsrPolicy, ...], Iterable[MsrPolicy]] = setting((), many(part(MsrPolicy)))
    """Changes to feature registers."""
