"""A configuration as `load` asks it: typed questions, errors with their place, and notes of what xl passes over."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from pyxen.config.checks import hide_keys
from pyxen.errors import ConfigError, ParseError
from pyxen.losses import Loss
from pyxen.xlcfg.grammar import Value, item_offsets
from pyxen.xlcfg.item_grammar import Note, SpecError
from pyxen.xlcfg.settings import Settings
from pyxen.xlcfg.syntax_errors import Places

__all__ = ["Source"]

T = TypeVar("T")

_SECRETS = ("vncpasswd", "spicepasswd")

_REPR: Final = reprlib.Repr()
"""Shows values: lists may be nested more deeply than `repr` can follow."""
_REPR.maxlevel, _REPR.maxlist, _REPR.maxstring, _REPR.maxother = 20, 80, 200, 200


class Source:
    """The settings of a text, and what was found out about them.

    Attributes:
        settings: The settings.
        losses: What xl passes over, each with its place in the text.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._position = Places(settings.text)
        self.losses: list[Loss] = []

    def place(self, key: str, item: int | None = None) -> tuple[int, int]:
        """Return line and column of a key's value, or of one item of its list; of the text's end if it is not set."""
        text = self.settings.text
        chain = self.settings.chain(key)
        if not chain:
            return self._position(len(text))
        if item is None:
            return self._position(chain[-1].value_start)
        for assignment in chain:
            offsets = item_offsets(text, assignment)
            if item < len(offsets):
                return self._position(offsets[item])
            item -= len(offsets)
        return self._position(chain[-1].value_start)

    def error(self, key: str, message: str, item: int | None = None) -> ParseError:
        """Return the error for a key, or one item of its list."""
        line, column = self.place(key, item)
        path = key if item is None else f"{key}[{item}]"
        return ParseError(hide_keys(f"{path}: {message}"), line=line, column=column, path=path)

    def note(self, key: str, reason: str, value: str | None = None) -> None:
        """Note that xl passes over a key, or over `value` in it."""
        line, column = self.place(key)
        if value is None:
            value = "***" if key in _SECRETS else _shown(self.settings.value(key))
        self.losses.append(Loss(f"{key} (line {line}, column {column})", hide_keys(value), reason))

    def noting(self, key: str) -> Note:
        """Return a function that notes what is passed over in a key's value."""
        return lambda value, reason: self.note(key, reason, value)

    def string(self, key: str) -> str | None:
        """Return a single value; a list is noted, as xl warns of it and goes on."""
        value = self.settings.value(key)
        if isinstance(value, list):
            self.note(key, "xl expects a single value here, not a list, and ignores it")
            return None
        return value

    def integer(self, key: str) -> int | None:
        """Return a number; what is none is noted, as xl warns of it and goes on."""
        number = self.settings.integer(key)
        if number is None and self.string(key) is not None:
            added = self.settings.added(key)
            self.note(key, "xl ignores numbers with +=" if added else "xl reads no number there, and ignores it")
        return number

    def boolean(self, key: str) -> bool | None:
        """Return a number as true or false; what is none is noted."""
        number = self.integer(key)
        return None if number is None else number != 0

    def values(self, key: str) -> list[Value]:
        """Return the items of a list; empty if the key is not set, or (noted) no list."""
        value = self.settings.value(key)
        if isinstance(value, str):
            self.note(key, "xl expects a list here, and ignores a single value")
            return []
        return value or []

    def items(self, key: str) -> list[str]:
        """Return the plain items of a list, up to the first that is a list: there xl ends reading it (noted)."""
        values = self.values(key)
        items: list[str] = []
        for value in values:
            if not isinstance(value, str):
                self.note(key, "xl ends reading a list at a list inside it", _shown(values[len(items) :]))
                break
            items.append(value)
        return items

    def plain_items(self, key: str) -> list[str]:
        """Return the items of a list whose items must all be plain.

        Raises:
            ParseError: One is a list.
        """
        items = self.items(key)
        if len(items) < len(self.values(key)):
            raise self.error(key, "a list cannot be here", len(items))
        return items

    def each(self, key: str, items: Iterable[T], read: Callable[[T], object]) -> list[object]:
        """Read every item by a function; its errors get the item's place.

        Raises:
            ParseError: One is wrong.
        """
        found = []
        for index, item in enumerate(items):
            try:
                found.append(read(item))
            except (SpecError, ConfigError) as error:
                raise self.error(key, str(error), index) from None
        return found

    def read(self, key: str, read: Callable[[], T]) -> T:
        """Call a function; its errors get the place of a key.

        Raises:
            ParseError: The value is wrong.
        """
        try:
            return read()
        except (SpecError, ConfigError) as error:
            raise self.error(key, str(error)) from None


def _shown(value: Value | None) -> str:
    text = _REPR.repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
