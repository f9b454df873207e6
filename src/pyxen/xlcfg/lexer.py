"""The words of an xl configuration, as libxlutil's scanner cuts them.

Keys and numbers know lower case only, a comment needs the line end after it, blanks are space and tab: what the scanner
does not know is an error here too, with the reason that people look for.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["END", "LIST_TOKEN", "REST", "SETTING", "unquote"]

_SKIP = r"(?:[ \t\n;]++|\#[^\n]*+\n)*+"
_SKIP_IN_LIST = r"(?:[ \t\n]++|\#[^\n]*+\n)*+"
# The scanner forgets a character that it does not know when the text ends right behind it.
_STRAY = r"[^a-z0-9 \t,\[\]=;\n\x80-\ud7ff\ue000-\U0010ffff]?+"
_END = rf"[ \t]*+(?:\#[^\n]*+\n|[\n;]|{_STRAY}\Z)"
_PLAIN = r"""'[^'\\\n\0]*+'|"[^"\\\n\0]*+\""""
_ESCAPED = (
    r"""'[^'\\\n\0]*+(?:\\[^\n\0][^'\\\n\0]*+)*+'"""
    r"""|"[^"\\\n\0]*+(?:\\[^\n\0][^"\\\n\0]*+)*+\""""
)
_NUMBER = r"[0-9][0-9a-fx]*+"

SETTING: Final = re.compile(
    rf"{_SKIP}([a-z][._0-9a-z]*+)[ \t]*+(\+?=)[ \t]*+(?:(?:({_PLAIN})|({_NUMBER})|({_ESCAPED})){_END}|(\[))"
)
"""A setting and what stands before it: key, operator, plain string, number, string with escapes, bracket of a list.

Anything but a list is matched to the end of the setting, a list up to its bracket. Quantifiers are possessive: nothing
here is read twice, whatever the text.
"""

REST: Final = re.compile(rf"{_SKIP}{_STRAY}\Z")
"""What can stand after the last setting."""

END: Final = re.compile(_END)
"""The end of a setting."""

LIST_TOKEN: Final = re.compile(rf"{_SKIP_IN_LIST}(?:({_PLAIN})|({_NUMBER})|({_ESCAPED})|([\[\],]))")
"""A word inside brackets, and what stands before it: plain string, number, string with escapes, punctuation."""

_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
_SWALLOWED_DIGITS = re.compile(r"[ \t\v\f\r]*[-+]?[0-9]+")
_SWALLOWED_LEAST, _SWALLOWED_MOST = 2, 3


def unquote(word: str) -> str | int:
    r"""Return what a quoted string stands for, as libxlutil reads its escapes.

    Its numeric escapes are broken, and this keeps to that: ``\x41`` is always an error, and ``\101`` disappears,
    with the digits after it that C's strtoul takes in.

    Args:
        word: The string with its quotes.

    Returns:
        The value; where an escape is an error, its place in `word`.
    """
    pieces = []
    at = 1
    end = len(word) - 1
    while (found := word.find("\\", at)) >= 0:
        pieces.append(word[at:found])
        letter = word[found + 1]
        at = found + 2
        if letter in _ESCAPES:
            pieces.append(_ESCAPES[letter])
            continue
        swallowed = _SWALLOWED_DIGITS.match(word, at, min(at + _SWALLOWED_MOST, end)) if "0" <= letter <= "7" else None
        if swallowed is None or swallowed.end() - at < _SWALLOWED_LEAST:
            return found
        at = swallowed.end()
    pieces.append(word[at:end])
    return "".join(pieces)
