"""Untrusted text in messages: escaped, so that it cannot send commands to a terminal, and cut where it is long."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["LONGEST", "printable", "quoted", "shown_number"]

LONGEST: Final = 60
"""The longest text that a message quotes whole, in characters."""

_UNSAFE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline, marks that reorder text, and bytes that were not UTF-8."""


def printable(text: str) -> str:
    r"""Escape all characters that control a terminal: ESC becomes ``\x1b``. Tabs and newlines stay."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def quoted(text: object) -> str:
    """Return a text in quotes for a message; of a long one, the beginning. Anything but text is shown by its type."""
    if not isinstance(text, str):
        return type(text).__name__
    return repr(str(text) if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def shown_number(value: object) -> str:
    """Return what was given for a number, for a message. Python does not show an int of more than 4,300 digits."""
    try:
        text = repr(value)
    except ValueError:
        return "a huge number"
    return printable(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
