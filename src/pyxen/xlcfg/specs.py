"""What the small grammars inside strings have in common: ``"bridge=xenbr0, rate=1MB/s"`` and the like.

Their numbers are read by C's functions, which stop at what they do not know: `atoi` makes 0 of ``yes``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeVar

from pyxen.config import LibxlEnum

__all__ = [
    "Note",
    "SpecError",
    "atoi",
    "joined",
    "member",
    "number",
    "pair",
    "pairs",
    "tokens",
    "unsigned",
    "words",
]

Note: TypeAlias = Callable[[str, str], None]
"""Called with something that xl passes over, and why."""

E = TypeVar("E", bound=LibxlEnum)

BLANKS: Final = " \t\n\v\f\r"
"""What C's isspace knows."""

_DECIMAL: Final = re.compile(r"[ \t\n\v\f\r]*([-+]?[0-9]+)")
_HEXADECIMAL: Final = re.compile(r"[ \t\n\v\f\r]*([-+]?)(?:0[xX](?=[0-9a-fA-F]))?([0-9a-fA-F]+)")
_OCTAL: Final = re.compile(r"[ \t\n\v\f\r]*([-+]?)(0[0-7]*)(?![xX][0-9a-fA-F])")
_ULONG: Final = 2**64
_INT: Final = 2**32


class SpecError(ValueError):
    """A spec is wrong; the caller knows where it stands."""


def words(spec: str) -> list[str]:
    """Split at commas as strtok does, which knows no empty words."""
    return [word for word in spec.split(",") if word]


def tokens(spec: str) -> list[str]:
    """Split at commas, and drop the blanks before each word but not those behind it: so do most of xl's grammars."""
    return [word.lstrip(" ") for word in words(spec)]


def pair(word: str, what: str) -> tuple[str, str]:
    """Split ``key=value`` and trim both.

    Raises:
        SpecError: There is no ``=``, or nothing behind it.
    """
    key, sign, value = word.partition("=")
    if not sign or not value:
        raise SpecError(f"{word!r} is no {what}; write key=value")
    return key.strip(BLANKS), value.strip(BLANKS)


def pairs(spec: str, what: str) -> Iterable[tuple[str, str]]:
    """Split ``key=value,key=value`` and trim all."""
    return [pair(word, what) for word in words(spec)]


def unsigned(text: str, base: int = 10) -> tuple[int, str] | None:
    """Read a number at the beginning of a text, as strtoul does; return it and the rest, or None.

    Args:
        text: The text.
        base: 10, 16, or 0 for what the prefix says.
    """
    if base == 0:
        octal = _OCTAL.match(text)
        stripped = text.lstrip(BLANKS).lstrip("+-").lower()
        base = 16 if re.match("0x[0-9a-f]", stripped) else 10
        if octal and base == 10:
            value = int(octal[2], 8)
            return (-value if octal[1] == "-" else value) % _ULONG, text[octal.end() :]
    if base == 10:
        decimal = _DECIMAL.match(text)
        return (_clamped(int(decimal[1])), text[decimal.end() :]) if decimal else None
    found = _HEXADECIMAL.match(text)
    if not found:
        return None
    value = int(found[2], 16)
    return _clamped(-value if found[1] == "-" else value), text[found.end() :]


def _clamped(value: int) -> int:
    return value % _ULONG if -_ULONG < value < 0 else min(abs(value), _ULONG - 1)


def number(text: str, base: int = 10) -> int:
    """Read the number at the beginning of a text.

    Raises:
        SpecError: There is none.
    """
    found = unsigned(text, base)
    if found is None or found[0] == _ULONG - 1:
        raise SpecError(f"{text!r} is no number")
    return found[0]


def atoi(text: str) -> int:
    """Read the number at the beginning of a text as C's atoi; 0 where there is none."""
    found = _DECIMAL.match(text)
    value = max(-(2**63), min(int(found[1]), 2**63 - 1)) if found else 0
    value %= _INT
    return value - _INT if value >= _INT // 2 else value


def member(kind: type[E], text: str, what: str) -> E:
    """Return the member of an enumeration that libxl knows by a name, in any case.

    Raises:
        SpecError: It knows none.
    """
    lowered = text.lower()
    for one in kind:
        if one.value == lowered:
            return one
    names = ", ".join(one.value for one in kind)
    raise SpecError(f"{text!r} is no {what}; it can be {names}")


def joined(items: Iterable[tuple[str, Any]]) -> str:
    """Write ``key=value,key=value``, leaving out what is None, or holds a comma or a line end."""
    return ",".join(f"{key}={value}" for key, value in items if value is not None and not set(str(value)) & set(",\n"))
