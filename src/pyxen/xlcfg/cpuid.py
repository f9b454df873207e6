"""The grammars of ``cpuid``: ``"host,htt=0,family=15"``, or xend's list ``["1:ecx=xxx…", "0x7,0:ebx=…"]``.

xl warns of what it does not understand here, and continues without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from pyxen.config import CpuidLeaf, CpuidPolicy, MsrPolicy
from pyxen.config.cpuid_flags import Feature, features
from pyxen.xlcfg.item_grammar import Note, SpecError, unsigned, words

__all__ = ["read_cpuid", "read_xend_cpuid", "write_cpuid"]

_REGISTERS: Final = ("eax", "ebx", "ecx", "edx")
_LETTERS: Final = "xks"
_WIDTH: Final = 32
_MSR_WIDTH: Final = 64
_BASE_FAMILIES: Final = 16
_REGISTER = re.compile(r"e([abcd])x[^=]*=")
_FAMILY, _MODEL, _EXTENDED_MODEL, _EXTENDED_FAMILY = 8, 4, 16, 20
_SIGNATURE: Final = Feature("", "eax", 1, None, 0, 8)


class _Policy:
    """A policy while it is read: the characters of every register."""

    def __init__(self) -> None:
        self._leaves: dict[tuple[int, int | None], dict[str, list[str]]] = {}
        self._msrs: dict[int, list[str]] = {}

    def leaf(self, leaf: int, subleaf: int | None) -> dict[str, list[str]]:
        """Return the registers of a leaf, which may be new."""
        return self._leaves.setdefault((leaf, subleaf), {})

    def put(self, where: Feature, characters: str) -> None:
        """Put characters, the highest bit first."""
        if where.register == "msr":
            target = self._msrs.setdefault(where.leaf, ["x"] * _MSR_WIDTH)
        else:
            target = self.leaf(where.leaf, where.subleaf).setdefault(where.register, ["x"] * _WIDTH)
        end = len(target) - where.bit
        target[end - len(characters) : end] = characters

    def finish(self) -> CpuidPolicy:
        """Return the policy."""
        leaves = [
            CpuidLeaf(leaf, subleaf, **{name: "".join(bits) for name, bits in registers.items()})
            for (leaf, subleaf), registers in self._leaves.items()
        ]
        msrs = [MsrPolicy(index, "".join(bits)) for index, bits in self._msrs.items()]
        return CpuidPolicy(leaves, msrs)


def read_cpuid(text: str, note: Note) -> CpuidPolicy:
    """Read the string form of ``cpuid``."""
    policy = _Policy()
    first, *flags = words(text) or [""]
    if first != "host":
        if first:
            note(text, "xl ignores it, as it does not begin with 'host'")
        return CpuidPolicy()
    for flag in flags:
        name, sign, value = flag.partition("=")
        if not sign:
            note(flag, "xl ignores it, as it has no '='")
        elif name in ("family", "model"):
            _put_signature(policy, name, flag, value, note)
        elif name not in features():
            note(flag, "xl ignores it, as it knows no such feature")
        else:
            _put_feature(policy, features()[name], flag, value, note)
    return policy.finish()


def _put_feature(policy: _Policy, where: Feature, flag: str, value: str, note: Note) -> None:
    if where.register == "msr":
        if value not in ("0", "1", *_LETTERS):
            note(flag, "xl ignores it, as its value is not one of 0, 1, x, k and s")
            return
        policy.put(where, "k" if value == "s" else value)
        return
    characters = _characters(value, where.width)
    if characters is None:
        policy.leaf(where.leaf, where.subleaf)
        note(flag, "xl ignores it, as its value is not a number, nor x, k or s")
        return
    policy.put(where, characters)


def _put_signature(policy: _Policy, name: str, flag: str, value: str, note: Note) -> None:
    """Put the CPU's family or model, of which the higher part is in a field of its own."""
    characters = _characters(value, _SIGNATURE.width)
    if characters is None:
        policy.leaf(_SIGNATURE.leaf, _SIGNATURE.subleaf)
        note(flag, "xl ignores it, as its value is not a number, nor x, k or s")
        return
    if name == "model":
        policy.put(_SIGNATURE._replace(bit=_EXTENDED_MODEL), characters[:4])
        policy.put(_SIGNATURE._replace(bit=_MODEL), characters[4:])
        return
    family = (unsigned(value, 0) or (0, ""))[0]
    if family < _BASE_FAMILIES:
        policy.put(_SIGNATURE._replace(bit=_FAMILY), characters[4:])
        policy.put(_SIGNATURE._replace(bit=_EXTENDED_FAMILY), "0" * 8)
    else:
        extended = characters[0] + format((family - 15) % 128, "07b")
        policy.put(_SIGNATURE._replace(bit=_FAMILY), "1111")
        policy.put(_SIGNATURE._replace(bit=_EXTENDED_FAMILY), extended)


def _characters(value: str, width: int) -> str | None:
    found = unsigned(value, 0)
    if found is not None:
        return format(found[0] % (1 << width), f"0{width}b")
    return value[0] * width if value and value[0] in _LETTERS else None


def read_xend_cpuid(items: Iterable[str], noting: Callable[[int], Note]) -> CpuidPolicy:
    """Read the list form of ``cpuid``.

    Args:
        items: The items.
        noting: Returns what is called with what xl passes over in an item, by its place.

    Raises:
        ValidationError: A register has a character that means nothing.
    """
    policy = _Policy()
    for place, item in enumerate(items):
        try:
            _read_xend_item(policy, item)
        except SpecError as error:
            noting(place)(item, f"xl warns of it and ignores the rest: {error}")
    return policy.finish()


def _read_xend_item(policy: _Policy, item: str) -> None:
    found = unsigned(item, 0)
    if found is None:
        raise SpecError("it does not begin with the number of a leaf")
    leaf, rest = found
    subleaf: int | None = None
    if rest.startswith(","):
        found = unsigned(rest[1:], 0)
        if found is None:
            raise SpecError("no number of a subleaf follows the comma")
        subleaf, rest = found[0] % (1 << 32), found[1]
        subleaf = None if subleaf == (1 << 32) - 1 else subleaf
    if not rest.startswith(":"):
        raise SpecError("the colon is missing")
    registers = policy.leaf(leaf % (1 << 32), subleaf)
    rest = rest[1:]
    while rest:
        register = _REGISTER.match(rest)
        if not register:
            raise SpecError("a register is eax, ebx, ecx or edx")
        bits, _, rest = rest[register.end() :].partition(",")
        if len(bits) != _WIDTH:
            raise SpecError("a register has 32 characters")
        registers[f"e{register[1]}x"] = list(bits)
        rest = rest.lstrip(" \n")


def write_cpuid(policy: CpuidPolicy) -> str | list[str] | None:
    """Write ``cpuid``, by names where all bits have some; None where there is nothing to say."""
    if policy == CpuidPolicy():
        return None
    return policy.text or list(policy.xend or policy.replace(msrs=()).xend or ())
