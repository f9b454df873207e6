"""How values are written in an xl configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from pyxen._printable import quoted
from pyxen.errors import ConfigError

__all__ = ["DEEPEST", "TOO_DEEP", "Settable", "check_key", "format_value", "quote"]

Settable: TypeAlias = "str | int | Sequence[Settable]"
"""What a key can be set to: a string, a number, True or False (1 and 0), or a list of such."""

DEEPEST: Final = 100
"""How deep lists can be nested, in levels; xl itself needs two."""

TOO_DEEP: Final = f"lists are nested more than {DEEPEST} levels deep, and no key of xl takes such a list"
"""The message about others."""

_KEY: Final = re.compile(r"[a-z][._0-9a-z]*")
_SPECIAL: Final = re.compile(r'[\\"\n\r\a\b\f\v]')
_ESCAPES: Final = {
    "\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\a": r"\a", "\b": r"\b", "\f": r"\f", "\v": r"\v",
}  # fmt: skip


def quote(text: str) -> str:
    """Return a string in quotes, with escapes where they are needed.

    Raises:
        ConfigError: It holds a NUL character, which no xl configuration can.
    """
    if "\0" in text:
        raise ConfigError(f"{quoted(text)} contains a NUL character, which an xl configuration cannot hold")
    return '"' + _SPECIAL.sub(lambda match: _ESCAPES[match[0]], text) + '"'


def format_value(value: Settable, depth: int = 0) -> str:
    """Return a value as it is written behind the ``=``.

    Args:
        value: The value.
        depth: How many lists it is in.

    Raises:
        ConfigError: It is of another kind, contains a NUL character, or is nested too deeply.
    """
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int):
        # A sign is legal in quotes only; xl reads numbers out of strings all the same.
        return str(int(value)) if value >= 0 else quote(str(value))
    if isinstance(value, (list, tuple)):
        if depth == DEEPEST:
            raise ConfigError(TOO_DEEP)
        return f"[{', '.join(format_value(item, depth + 1) for item in value)}]"
    kind = type(value).__name__
    raise ConfigError(
        f"a key cannot have a value of type {kind}; it can have a string, a whole number or a list of these"
    )


def check_key(key: str) -> None:
    """Check that a key can be written.

    Raises:
        ConfigError: It cannot.
    """
    if not _KEY.fullmatch(key):
        raise ConfigError(
            f"{quoted(key)} cannot be a key; a key has lower case letters, digits, dots and underscores, a letter first"
        )
