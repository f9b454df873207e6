"""Explanations of syntax errors: the reason that the author needs, with its line and column."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate, count
from operator import add
from typing import Final

from pyxen.errors import ParseError
from pyxen.xlcfg.passwords import has_password

__all__ = ["Places", "explain", "explain_setting", "position", "skip"]

_QUOTED: Final = re.compile(r"#[^\n]*|'[^'\n]*'|\"[^\"\n]*\"")
"""Comments and strings: what they contain tells nothing about the language of the file."""

_PYTHON: Final = re.compile(
    r"^[ \t]*(?:import[ \t]+\w|from[ \t]+[\w.]+[ \t]+import\b|print\b)"
    r"|^[ \t]*(?:def|class|if|for|while|try|else)\b[^\n=]*:[ \t]*$"
    r"|\bos\.\w+[.(]|['\"][ \t]*%[ \t]*[(\w]|=[ \t]*(?:True|False|None)\b|=[ \t]*[(\w.]+\("
    r"|=[^=\n]{1,200}[ \t]if[ \t][^\n]{1,200}[ \t]else[ \t]",
    re.MULTILINE,
)
_YAML: Final = re.compile(
    r"---|[ \t]*(?:- (?=[\w'\"{\[])|(?:- )?(?!(?:else|try|finally):)[A-Za-z_][\w-]*:(?:[ \t\n]|\Z))"
)
_ORACLE_VM: Final = re.compile(r"^OVM_\w+[ \t]*=", re.MULTILINE)
_UTF16: Final = re.compile("[\udcfe\udcff]{0,2}(?:(?:[\t\n\r -~]\0){4}|(?:\0[\t\n\r -~]){4})")
_CONTROLS: Final = re.compile(r"[\x01-\x08\x0e-\x1f\x7f]")
_SOME: Final = 0.05
"""Share of control characters above which a file is binary."""


_HEAD: Final = 4096
"""Number of characters that are looked at to tell whether a file is text."""

_LONGEST_KEY: Final = 60

_SKIP = re.compile(r"(?:[ \t\n;]++|\#[^\n]*+\n)*+")
_SKIP_IN_LIST = re.compile(r"(?:[ \t\n]++|\#[^\n]*+\n)*+")
_KEY = re.compile(r"[a-z][._0-9a-z]*+[ \t]*+")
_OPERATOR = re.compile(r"\+?=[ \t]*+")
_VALUE = re.compile(r"""[0-9][0-9a-fx]*+|'(?:[^'\\\n\0]|\\[^\n\0])*+'|"(?:[^"\\\n\0]|\\[^\n\0])*+\"""")


def skip(text: str, offset: int, *, in_list: bool) -> int:
    """Return the offset after the blanks, line ends and comments at `offset` (and semicolons outside lists)."""
    match = (_SKIP_IN_LIST if in_list else _SKIP).match(text, offset)
    return match.end() if match else offset


def explain_setting(text: str, offset: int) -> ParseError:
    """Return the error for the text at `offset`, where a setting was expected."""
    offset = skip(text, offset, in_list=False)
    for part, expected in (
        (_KEY, "a key"),
        (_OPERATOR, "'=' or '+='"),
        (_VALUE, "a value (a number, a string in quotes, or a list in brackets)"),
    ):
        match = part.match(text, offset)
        if match is None:
            return explain(text, offset, expected)
        offset = match.end()
    return explain(text, offset, "the end of the line or ';'")


def explain(text: str, offset: int, expected: str) -> ParseError:
    """Return the error for the text at `offset`, where `expected` was expected.

    Args:
        text: The whole configuration.
        offset: Where reading stopped.
        expected: What could have followed, in words.
    """
    while offset < len(text) and text[offset] in " \t":
        offset += 1
    line, column = position(text, offset)
    return ParseError(_reason(text, offset, expected) + _foreign(text, offset), line=line, column=column)


def _foreign(text: str, offset: int) -> str:
    """Return what else the file could be, as a suffix for the error; "" if it looks like an xl configuration."""
    head = text.lstrip()
    start = text[:_HEAD]
    if _UTF16.match(start):
        return "; this looks like UTF-16: save the file as UTF-8"
    controls = len(_CONTROLS.findall(start))
    if controls and ("\0" in start or controls > _SOME * len(start)):
        return "; this looks like a binary file"
    if head.startswith("<"):
        return "; this looks like XML, which pyxen convert reads"
    if head.startswith(("{", "[{")):
        return "; this looks like JSON, which pyxen convert reads"
    if _ORACLE_VM.search(text):
        return "; this looks like a file of Oracle VM: leave out the keys that begin with OVM_"
    if _YAML.match(text[text.rfind("\n", 0, offset) + 1 :]):
        return "; this looks like YAML: write key = value"
    if _PYTHON.search(_QUOTED.sub(_emptied, text)):
        return "; this looks like Python, which only xend (until Xen 4.4) could read: write plain values"
    return ""


def _emptied(found: re.Match[str]) -> str:
    """Return nothing for a comment, and empty quotes for a string."""
    return "" if found[0].startswith("#") else "''"


class Places:
    """The lines and columns of one text, for many lookups."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts: list[int] | None = None

    def __call__(self, offset: int) -> tuple[int, int]:
        """Return the line and the column of an offset, both from 1."""
        starts = self._lines()
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a line and a column."""
        return self._lines()[line - 1] + column - 1

    def _lines(self) -> list[int]:
        if self._starts is None:
            ends = accumulate(map(len, self._text.split("\n")))
            self._starts = [0, *map(add, ends, count(1))]  # a line end is one character
        return self._starts


def position(text: str, offset: int) -> tuple[int, int]:
    """Return the line and the column of an offset in a text, both from 1."""
    before = text.rfind("\n", 0, offset)
    return text.count("\n", 0, offset) + 1, offset - before


def _reason(text: str, offset: int, expected: str) -> str:
    if offset >= len(text):
        return f"the text ends here; {expected} is missing"
    char = text[offset]
    rest = text[offset : offset + 40].split("\n", maxsplit=1)[0]
    word = re.match(r"[\w.+-]*", rest)
    shown = word[0] if word and word[0] else char
    if char == "#":
        return "a comment on the last line needs a line end after it"
    if char == "\\" and text.startswith("\n", offset + 1):
        return "a backslash does not continue a line; lists can go over several lines without it"
    if char == "\r":
        return "a carriage return: the lines end as Windows ends them (CRLF); convert the file with dos2unix"
    if char == "\0" or ("\0" in rest and char in "'\""):
        return "a NUL character"
    if char in "'\"" and text.startswith(char, offset - 1) and offset > 0:
        return "text after a string; triple quotes and strings side by side are Python's"
    if char in "'\"" and char not in rest[1:]:
        return f"the string that begins here has no closing {char} on this line"
    if char == "\n":
        return f"the line ends here; {expected} is missing"
    if word and word[0] and has_password(text[text.rfind("\n", 0, offset) + 1 : offset]):
        return f"a word that may be a password is unexpected here: expected {expected}"
    return _reason_of_word(text, offset, shown) or f"{shown!r} is unexpected here: expected {expected}"


def _reason_of_word(text: str, offset: int, shown: str) -> str | None:
    if shown in ("True", "False", "None", "true", "false", "yes", "no", "on", "off"):
        return f"{shown} is not a value; write 1 or 0"
    if re.match(r"[-+.][0-9]", shown):
        return f"{shown} needs quotes: numbers without quotes are digits, or 0x and digits in lower case"
    if re.match(r"[A-F]", shown) and re.search(r"0x[0-9a-f]*\Z", text[max(0, offset - 20) : offset]):
        return "hexadecimal digits are in lower case here, as in 0xff"
    before = re.search(r"(?:^|[\n;])[ \t]*([a-z][._0-9a-z]*)\Z", text[max(0, offset - _LONGEST_KEY) : offset])
    if shown.startswith("-") and before:
        name = before[1] + shown
        return f"{name} is not a key: keys have no hyphens; did you mean {name.replace('-', '_')}?"
    if re.match(r"[A-Z_]", shown) and not text[:offset].rpartition("\n")[2].strip(" \t;"):
        return f"{shown} is not a key: keys are in lower case and begin with a letter"
    if shown == "\ufeff":
        return "a byte order mark; save the file as UTF-8 without one"
    return None
