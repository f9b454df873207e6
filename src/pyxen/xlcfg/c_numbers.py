"""Numbers as C's library reads them: strtol and strtoul stop at what they do not know, atoi makes 0 of ``yes``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["BLANKS", "ULONG_MAX", "atoi", "decimal", "to_long", "unsigned"]

BLANKS: Final = " \t\n\v\f\r"
"""What C's isspace knows."""

ULONG_MAX: Final = 2**64 - 1
"""The largest number; strtoul's answer to larger ones."""

LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1

_DIGITS_OF_LONG: Final = len(str(LONG_MAX))

_LONG: Final = re.compile(r"[ \t\n\v\f\r]*([-+]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))")
_DECIMAL: Final = re.compile(r"[ \t\n\v\f\r]*([-+]?[0-9]+)")
_HEXADECIMAL: Final = re.compile(r"[ \t\n\v\f\r]*([-+]?)(?:0[xX](?=[0-9a-fA-F]))?([0-9a-fA-F]+)")
_OCTAL: Final = re.compile(r"[ \t\n\v\f\r]*([-+]?)(0[0-7]*)(?![xX][0-9a-fA-F])")
_INT: Final = 2**32
_ENOUGH: Final = 40


def decimal(digits: str) -> int:
    """Return a decimal number with its sign; of absurdly long ones the first digits, which are beyond any limit."""
    if len(digits) <= _ENOUGH:
        return int(digits)
    sign = digits[:1] if digits[:1] in ("+", "-") else ""
    return int(sign + (digits.removeprefix(sign).lstrip("0")[:_ENOUGH] or "0"))


def to_long(word: str) -> int | None:
    """Return the number that a whole word is to strtol with base 0 (``0x`` hexadecimal, ``0`` octal), or None."""
    if word.isdecimal() and word.isascii() and word[0] != "0" and len(word) < _DIGITS_OF_LONG:
        return int(word)
    match = _LONG.fullmatch(word)
    if match is None:
        return None
    sign, hexadecimal, octal, digits = match.groups()
    number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else decimal(digits)
    if sign == "-":
        number = -number
    return number if LONG_MIN <= number <= LONG_MAX else None


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
            return (-value if octal[1] == "-" else value) % (ULONG_MAX + 1), text[octal.end() :]
    if base == 10:
        found = _DECIMAL.match(text)
        return (_clamped(decimal(found[1])), text[found.end() :]) if found else None
    found = _HEXADECIMAL.match(text)
    if not found:
        return None
    value = int(found[2], 16)
    return _clamped(-value if found[1] == "-" else value), text[found.end() :]


def _clamped(value: int) -> int:
    return value % (ULONG_MAX + 1) if -(ULONG_MAX + 1) < value < 0 else min(abs(value), ULONG_MAX)


def atoi(text: str) -> int:
    """Read the number at the beginning of a text as C's atoi; 0 where there is none."""
    found = _DECIMAL.match(text)
    value = max(LONG_MIN, min(decimal(found[1]), LONG_MAX)) if found else 0
    value %= _INT
    return value - _INT if value >= _INT // 2 else value
