"""Texts given for images: they are written into files of the guest, or handed to programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyxen._printable import quoted
from pyxen.errors import InvalidArgument

__all__ = ["text_of", "texts_of"]


def text_of(value: object, name: str) -> str:
    """Return a text. The messages do not show it: it may be a password.

    Args:
        value: The text.
        name: The name of the argument.

    Raises:
        InvalidArgument: It is something else, or no file and no program can have it.
    """
    if not isinstance(value, str):
        given = "None" if value is None else type(value).__name__
        raise InvalidArgument(f"{name} takes a text, not {given}", operation="image")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"{name} has a character that is not in UTF-8", operation="image") from None
    if "\0" in value:
        raise InvalidArgument(f"{name} has a zero byte, where programs would take it for its end", operation="image")
    return value


def texts_of(values: object, name: str) -> tuple[str, ...]:
    """Return several texts.

    Raises:
        InvalidArgument: They are one text, of which the letters would be taken, or something else.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        given = "None" if values is None else quoted(values)
        raise InvalidArgument(f"{name} takes a list of texts, not {given}", operation="image")
    return tuple(text_of(each, name) for each in values)
