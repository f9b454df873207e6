"""Parsing and writing of JSON text, with limits, and with `ParseError` for every malformed text."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn

from pyxen.errors import ParseError

__all__ = ["MAX_SIZE", "parse", "write"]

MAX_SIZE: Final = 64 * 1024 * 1024
"""The largest text that is read, in characters (or bytes)."""

_MAX_DEPTH: Final = 100
"""How deep values may be nested; libxl's own are less than 10 deep. Since Python 3.14 its parser takes 10,000."""

_STRING_OR_OTHER = re.compile(r'"(?:[^"\\]|\\.)*+"|-?[0-9]++(?![.eE])|-?[A-Za-z]++', re.DOTALL)
"""A string, a whole number, or a word."""


class _InvalidValue(ValueError):
    """A hook's complaint.

    Attributes:
        word: The word that it is about, as the text has it; None where it is not one word.
    """

    def __init__(self, reason: str, word: str | None = None) -> None:
        super().__init__(reason)
        self.word = word


def parse(text: str | bytes, source: str | None = None) -> Any:
    """Read JSON.

    Args:
        text: The text; bytes are UTF-8.
        source: Name of the file, for errors.

    Returns:
        The result of `json.loads`.

    Raises:
        ParseError: The text is not JSON, has a key twice, is too large, or is nested too deeply.
    """
    if len(text) > MAX_SIZE:
        raise ParseError(f"the text is larger than {MAX_SIZE // 2**20} MiB", source=source)
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise ParseError(
                f"the text is not UTF-8: byte {error.start} is {text[error.start]:#04x}", source=source
            ) from None
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ParseError(f"not JSON: {error.msg}", line=error.lineno, column=error.colno, source=source) from None
    except RecursionError:
        raise ParseError("not a configuration: nested too deeply", source=source) from None
    except _InvalidValue as error:
        invalid = error.word
        line, column = _place(text, lambda word: word == invalid) if invalid else (None, None)
        raise ParseError(f"not a configuration: {error}", line=line, column=column, source=source) from None
    except ValueError:  # Python's own limit of digits
        most = sys.get_int_max_str_digits()
        line, column = _place(text, lambda word: len(word.lstrip("-")) > most)
        reason = f"not a configuration: a number has more than {most} digits; libxl's have at most 20"
        raise ParseError(reason, line=line, column=column, source=source) from None
    if _is_too_deep(document):
        raise ParseError("not a configuration: nested too deeply", source=source)
    return document


def _is_too_deep(document: Any) -> bool:
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(_MAX_DEPTH + 1):
        inner = (value for each in level for value in (each.values() if isinstance(each, dict) else each))
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def write(document: Any) -> str:
    """Write JSON as xl prints it, indented by four and in the given order."""
    return json.dumps(document, indent=4, ensure_ascii=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # None
        raise _InvalidValue(f"the key {twice[:60]!r} occurs twice")
    return found


def _constant(name: str) -> NoReturn:
    raise _InvalidValue(f"{name} is not valid in JSON", name)


def _place(text: str, is_meant: Callable[[str], bool]) -> tuple[int | None, int | None]:
    """Return the line and the column of the first number or word that is meant; strings are passed over."""
    for found in _STRING_OR_OTHER.finditer(text):
        if found[0][0] != '"' and is_meant(found[0]):
            return text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
    return None, None
