"""Escaping of untrusted text, so that a guest, a file or a peer cannot send commands to a terminal."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["printable"]

_UNSAFE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline, marks that reorder text, and bytes that were not UTF-8."""


def printable(text: str) -> str:
    r"""Escape all characters that control a terminal: ESC becomes ``\x1b``. Tabs and newlines stay."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)
