"""The parts that the small grammars inside strings share: ``"bridge=xenbr0, rate=1MB/s"`` and similar."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, TypeVar

from pyxen._printable import quoted
from pyxen.config import LibxlEnum
from pyxen.xlcfg.c_numbers import BLANKS, ULONG_MAX, atoi, unsigned

__all__ = [
    "Note",
    "SpecError",
    "atoi",
    "joined",
    "member",
    "number",
    "number_or_zero",
    "pair",
    "pairs",
    "sayable",
    "switch",
    "tokens",
    "unique_id",
    "unnoted",
    "unsigned",
    "words",
]

Note: TypeAlias = Callable[[str, str], None]
"""Called with a word that xl ignores, and the reason."""

E = TypeVar("E", bound=LibxlEnum)

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def unnoted(_value: str, _reason: str) -> None:
    """Forget what xl ignores."""


class SpecError(ValueError):
    """An item is wrong; the caller knows its place in the text."""


def words(spec: str) -> list[str]:
    """Split at commas as C's strtok does, which skips empty words."""
    return [word for word in spec.split(",") if word]


def tokens(spec: str) -> list[str]:
    """Split at commas, and remove the blanks before each word but not those after it, as most of xl's grammars do."""
    return [word.lstrip(" ") for word in words(spec)]


def pair(word: str, what: str) -> tuple[str, str]:
    """Split ``name=value`` and trim both.

    Raises:
        SpecError: There is no ``=``, or nothing behind it.
    """
    key, sign, value = word.partition("=")
    if not sign or not value:
        raise SpecError(f"{quoted(word)} is not a {what}; write name=value")
    return key.strip(BLANKS), value.strip(BLANKS)


def pairs(spec: str, what: str) -> Iterable[tuple[str, str]]:
    """Split ``name=value,name=value`` and trim all of them."""
    return [pair(word, what) for word in words(spec)]


def unique_id(text: str) -> uuid.UUID:
    """Read a uuid, which xl takes in one form only.

    Raises:
        SpecError: It has another form.
    """
    if not _UUID.fullmatch(text):
        raise SpecError(f"{quoted(text)} is not a uuid; write it like 2f6a1d5c-3f4b-4e0e-9d5a-0c1b2a394857")
    return uuid.UUID(text)


def number(text: str, note: Note = unnoted) -> int:
    """Read the number at the beginning of a text; what follows it is noted, because xl ignores it.

    Raises:
        SpecError: The text does not begin with a number.
    """
    found = unsigned(text)
    if found is None or found[0] == ULONG_MAX:
        raise SpecError(f"{quoted(text)} is not a number")
    if found[1].strip(BLANKS):
        note(text, f"xl reads {found[0]}, and ignores what follows the number")
    return found[0]


def number_or_zero(word: str, value: str, note: Note, base: int = 0) -> int:
    """Read a number, or 0 where there is none, as xl does in some places; what xl ignores is noted.

    Args:
        word: The setting, as it stands in the item.
        value: Its value.
        note: Called with what xl ignores.
        base: 0 for strtoul with base 0, 10 for atoi.
    """
    found = unsigned(value, base)
    if found is None:
        note(word, "xl reads 0, because there is no number")
        return 0
    if found[1]:
        note(word, f"xl reads {found[0]}, and ignores what follows the number")
    return found[0] if base == 0 else atoi(value)


def switch(word: str, value: str, note: Note, base: int = 0) -> bool:
    """Read a number as true or false, as `number_or_zero`."""
    return number_or_zero(word, value, note, base) != 0


def member(kind: type[E], text: str, what: str) -> E:
    """Return the member of an enumeration with a name of libxl's, in upper or lower case.

    Raises:
        SpecError: There is no such member.
    """
    lowered = text.lower()
    for one in kind:
        if one.value == lowered:
            return one
    names = ", ".join(one.value for one in kind)
    raise SpecError(f"{quoted(text)} is not a valid {what}; it can be {names}")


def joined(items: Iterable[tuple[str, Any]]) -> str:
    """Write ``name=value,name=value``, without values that are None or contain a comma or a line end."""
    return ",".join([f"{key}={value}" for key, value in items if value is not None and sayable(str(value))])


def sayable(value: str) -> bool:
    """Tell whether a value can stand behind ``name=``, where a comma and a line end are the end of it."""
    return "," not in value and "\n" not in value
