"""What the small grammars inside strings have in common: ``"bridge=xenbr0, rate=1MB/s"`` and the like."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from pyxen.config import LibxlEnum
from pyxen.xlcfg.c_numbers import BLANKS, ULONG_MAX, atoi, unsigned

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


def number(text: str, base: int = 10) -> int:
    """Read the number at the beginning of a text.

    Raises:
        SpecError: There is none.
    """
    found = unsigned(text, base)
    if found is None or found[0] == ULONG_MAX:
        raise SpecError(f"{text!r} is no number")
    return found[0]


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
