"""The CPUID policy: what a guest sees of the CPU (xl.cfg ``cpuid``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from pyxen._printable import quoted
from pyxen.config.base import Coerced, Part, Refused, did_you_mean, setting
from pyxen.config.checks import UINT32_MAX, integer, many, part
from pyxen.config.cpuid_flags import Feature, feature_names, features

__all__ = ["CpuidLeaf", "CpuidPolicy", "MsrPolicy", "as_cpuid"]

_LAST: Final = UINT32_MAX - 1  # libxl ends its lists with the number after it
_REGISTERS: Final = ("eax", "ebx", "ecx", "edx")
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,21}|[1-9][0-9]{0,18}")
_XEND_LEAF: Final = re.compile(r"([0-9a-fA-FxX]+)(?:,([0-9a-fA-FxX]+))?:(.*)", re.DOTALL)
_XEND_REGISTER: Final = re.compile(r"(e[abcd]x)=([01xks]{32})(?:,[ \n]*|$)")


def _bits(width: int) -> Any:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) != width or value.strip("01xksXKS"):
            raise Refused(f"takes {width} of the characters 0, 1, x, k and s, highest bit first, not {quoted(value)}")
        return value

    return check


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class CpuidLeaf(Part):
    """Changes to one leaf, one character per bit.

    ``1`` and ``0`` set the bit, ``x`` is libxl's default, ``k`` the host's value, ``s`` the same, kept over migrations.
    """

    leaf: int = setting(0, integer(0, _LAST))
    """The leaf: the value that the guest passes in EAX."""
    subleaf: int | None = setting(None, integer(0, _LAST))
    """The subleaf: the value that it passes in ECX. None means any."""
    eax: str | None = setting(None, _bits(32))
    """32 characters for EAX, highest bit first. None: libxl's default."""
    ebx: str | None = setting(None, _bits(32))
    """The same for EBX."""
    ecx: str | None = setting(None, _bits(32))
    """The same for ECX."""
    edx: str | None = setting(None, _bits(32))
    """The same for EDX."""

    def __str__(self) -> str:
        """Return it as xl.cfg has it, by its registers."""
        place = f"{self.leaf:#x}" + ("" if self.subleaf is None else f",{self.subleaf:#x}")
        said = [f"{register}={bits}" for register in _REGISTERS if (bits := getattr(self, register)) is not None]
        return f"{place}:{','.join(said)}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class MsrPolicy(Part):
    """Changes to one model specific register; Xen supports this for feature registers."""

    index: int = setting(0, integer(0, _LAST))
    """Number of the register."""
    policy: str = setting("x" * 64, _bits(64))
    """64 characters, highest bit first, as in `CpuidLeaf`."""

    def __str__(self) -> str:
        """Return it as leaves are written, with its number in hexadecimal."""
        return f"{self.index:#x}:{self.policy}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class CpuidPolicy(Part):
    """Changes to the CPU features that the guest sees; x86."""

    leaves: Coerced[tuple[CpuidLeaf, ...], Iterable[CpuidLeaf]] = setting((), many(part(CpuidLeaf)))
    """Changes to CPUID leaves."""
    msrs: Coerced[tuple[MsrPolicy, ...], Iterable[MsrPolicy]] = setting((), many(part(MsrPolicy)))
    """Changes to feature registers."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read xl's newer notation, by names: ``"host,tm=0,sse3=k"``.

        Args:
            text: ``host``, and names with ``1``, ``0``, ``x``, ``k``, ``s``, or a number for such as ``stepping``.

        Returns:
            The changes; for the same bit, the last one wins.

        Raises:
            ValueError: A name or a value is unknown, or the first word is not ``host``.
        """
        first, *words = [word for word in text.split(",") if word] or [""]
        if first != "host":
            raise ValueError(f"{quoted(text)} does not begin with 'host'")
        registers: dict[tuple[int, int | None], dict[str, str]] = {}
        msrs: dict[int, str] = {}
        for word in words:
            name, equals, value = word.partition("=")
            feature = features().get(name)
            if not equals:
                raise ValueError(f"{quoted(word)} has no '='")
            if feature is None:
                raise ValueError(f"{quoted(name)} is not a name of CPUID{did_you_mean(name, features())}")
            if feature.register == "msr":
                if value not in ("0", "1", "x", "k", "s"):
                    raise ValueError(f"{quoted(word)}: the value can be 0, 1, x, k or s")
                bits = value.replace("s", "k")  # as libxl does it: Xen has no "s" for these
                msrs[feature.leaf] = _put(msrs.get(feature.leaf, "x" * 64), feature.bit, bits)
            else:
                leaf = registers.setdefault((feature.leaf, feature.subleaf), {})
                leaf[feature.register] = _change(leaf.get(feature.register, "x" * 32), feature, value)
        return cls(
            [CpuidLeaf(leaf, subleaf, **changed) for (leaf, subleaf), changed in registers.items()],
            [MsrPolicy(index, policy) for index, policy in msrs.items()],
        )

    @classmethod
    def parse_xend(cls, items: Iterable[str]) -> Self:
        """Read xl's older notation, by registers: ``["1:ecx=xxxxx…,edx=…", "4,0:eax=…"]``.

        Args:
            items: A leaf each, with a subleaf or not, and registers of 32 characters, highest bit first.

        Returns:
            The changes; for the same register, the last one wins.

        Raises:
            ValueError: An item does not have that form.
        """
        registers: dict[tuple[int, int | None], dict[str, str]] = {}
        for item in items:
            found = _XEND_LEAF.fullmatch(item)
            if not found:
                raise ValueError(f"{quoted(item)} does not begin with a leaf and a colon")
            subleaf = None if found[2] is None else _number(found[2])
            leaf = registers.setdefault((_number(found[1]), subleaf), {})
            rest = found[3]
            while rest:
                register = _XEND_REGISTER.match(rest)
                if not register:
                    raise ValueError(f"{quoted(rest)} is not a register and 32 of the characters 0, 1, x, k and s")
                leaf[register[1]] = register[2]
                rest = rest[register.end() :]
        return cls([CpuidLeaf(leaf, subleaf, **changed) for (leaf, subleaf), changed in registers.items()])

    def features(self) -> dict[str, str] | None:
        """Return the changes by the names of `parse`; None if one of them has no name."""
        found = {}
        for register, leaf, subleaf, bits in self._registers():
            for bit, value in enumerate(reversed(bits)):
                if value == "x":
                    continue
                name = feature_names().get((register, leaf, subleaf, bit))
                if name is None:
                    return None
                found[name] = value
        return found

    @property
    def text(self) -> str | None:
        """The changes in the notation of `parse`; None if it cannot express them."""
        named = self.features()
        if named is None:
            return None
        text = ",".join(["host", *(f"{name}={value}" for name, value in named.items())])
        return text if self.parse(text) == self else None

    @property
    def xend(self) -> tuple[str, ...] | None:
        """The changes in the notation of `parse_xend`; None if it cannot express them."""
        if self.msrs:
            return None
        items = [str(leaf) for leaf in self.leaves]
        return tuple(items) if self.parse_xend(items) == self else None

    def _registers(self) -> Iterator[tuple[str, int, int | None, str]]:
        for leaf in self.leaves:
            for register in _REGISTERS:
                bits = getattr(leaf, register)
                if bits is not None:
                    yield register, leaf.leaf, leaf.subleaf, bits
        for msr in self.msrs:
            yield "msr", msr.index, None, msr.policy


def _put(bits: str, lowest: int, value: str) -> str:
    """Return `bits`, highest first, with `value` from bit `lowest` upwards."""
    end = len(bits) - lowest
    return bits[: end - len(value)] + value + bits[end:]


def _number(text: str) -> int:
    """Read a number as strtoul does with base 0."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a number")
    return int(text, 8) if text[0] == "0" and text.isdigit() else int(text, 0)


def _change(bits: str, feature: Feature, value: str) -> str:
    """Return the register `bits` with one feature changed."""
    if value in ("x", "k", "s"):
        number, said = 0, value * feature.width
    else:
        number = _number(value)
        said = f"{number & (2**feature.width - 1):0{feature.width}b}"
    # The processor's family and model are each split into two fields of leaf 1.
    if feature.name == "model":
        return _put(_put(bits, 16, said[:4]), feature.bit, said[4:])
    if feature.name == "family":
        if number < 16:
            return _put(_put(bits, 20, "0" * 8), feature.bit, said[4:])
        extended = said[0] + f"{(number - 15) & 0x7F:07b}"
        return _put(_put(bits, 20, extended), feature.bit, "1111")
    return _put(bits, feature.bit, said)


def as_cpuid(value: Any) -> CpuidPolicy:
    """Pass a `CpuidPolicy`, or one of xl's notations: a string, or a list of strings."""
    try:
        if isinstance(value, str):
            return CpuidPolicy.parse(value)
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return CpuidPolicy.parse_xend(value)
    except ValueError as error:
        raise Refused(str(error)) from None
    kept: CpuidPolicy = part(CpuidPolicy)(value)
    return kept
