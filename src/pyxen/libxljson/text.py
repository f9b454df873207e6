"""Parsing and writing of JSON text, with limits, and with `ParseError` for every malformed text."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from pyxen.errors import ParseError

__all__ = ["MAX_SIZE", "parse", "write"]

MAX_SIZE: Final = 64 * 1024 * 1024
"""The largest text that is read, in characters (or bytes)."""


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
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ParseError(f"not JSON: {error.msg}", line=error.lineno, column=error.colno, source=source) from None
    except RecursionError:
        raise ParseError("not a configuration: nested too deeply", source=source) from None
    except ValueError as error:  # a number with thousands of digits, or a hook below
        raise ParseError(f"not a configuration: {error}", source=source) from None


def write(document: Any) -> str:
    """Write JSON as xl prints it, indented by four and in the given order."""
    return json.dumps(document, indent=4, ensure_ascii=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # None
        raise ValueError(f"the key {twice[:60]!r} occurs twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid in JSON")
