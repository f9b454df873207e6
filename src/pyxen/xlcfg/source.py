"""A configuration as `load` asks it: typed questions, errors with their place, and notes of what xl passes over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

from pyxen.config.checks import hide_keys
from pyxen.errors import ConfigError, ParseError
from pyxen.losses import Loss
from pyxen.xlcfg.grammar import Value
from pyxen.xlcfg.item_grammar import Note, SpecError
from pyxen.xlcfg.passwords import has_password, may_be_password
from pyxen.xlcfg.settings import Settings
from pyxen.xlcfg.syntax_errors import Places

__all__ = ["Passed", "Source", "shortened", "unnoting"]

T = TypeVar("T")
R = TypeVar("R")

_LONGEST: Final = 80

_NESTED: Final = "xl ends reading a list at a list inside it"

Code: TypeAlias = Literal["unknown-key", "other-guest", "outdated-key", "nested-list", "ignored-value"]
"""Why xl passes over something; `lint` reports it by this name."""


@dataclass(frozen=True, slots=True)
class Passed:
    """Something that xl passes over.

    Attributes:
        key: The key.
        item: The item of its list, from 0; None for the whole value.
        line: Line of the value or the item, from 1.
        column: Column, from 1.
        value: What is passed over, as it stands in the text.
        reason: Why.
        code: The same as a name.
    """

    key: str
    item: int | None
    line: int
    column: int
    value: str
    reason: str
    code: Code

    @property
    def loss(self) -> Loss:
        """The same for the callers of `load`."""
        path = shortened(self.key) if self.item is None else f"{self.key}[{self.item}]"
        return Loss(f"{path} (line {self.line}, column {self.column})", self.value, self.reason)


class Source:
    """The settings of a text, and what was found out about them.

    Attributes:
        settings: The settings.
        passed: What xl passes over, in the order in which it was read.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.passed: list[Passed] = []
        self._position = Places(settings.text)
        self._items: dict[str, list[int]] = {}

    @property
    def losses(self) -> list[Loss]:
        """What xl passes over, each with its place in the text."""
        return [one.loss for one in self.passed]

    def place(self, key: str, item: int | None = None) -> tuple[int, int]:
        """Return line and column of a key's value, or of one item of its list; of the text's end if it is not set."""
        return self._position(self.offset(key, item))

    def offset(self, key: str, item: int | None = None) -> int:
        """Return where a key's value begins, or one item of its list; the text's end if it is not set."""
        chain = self.settings.chain(key)
        if not chain:
            return len(self.settings.text)
        if item is None:
            return chain[-1].value_start
        if key not in self._items:
            parts = [part.items if isinstance(part.value, list) else (part.value_start,) for part in chain]
            self._items[key] = [offset for offsets in parts for offset in offsets]
        offsets = self._items[key]
        return offsets[item] if item < len(offsets) else chain[-1].value_start

    def offset_of(self, line: int, column: int) -> int:
        """Return the offset of a line and column."""
        return self._position.offset(line, column)

    def error(self, key: str, message: str, item: int | None = None) -> ParseError:
        """Return the error for a key, or one item of its list."""
        line, column = self.place(key, item)
        path = key if item is None else f"{key}[{item}]"
        return ParseError(hide_keys(f"{path}: {message}"), line=line, column=column, path=path)

    def note(
        self,
        key: str,
        reason: str,
        value: str | None = None,
        *,
        item: int | None = None,
        code: Code = "ignored-value",
    ) -> None:
        """Note that xl passes over a key, or over `value` in it."""
        line, column = self.place(key, item)
        value = self.written(key) if value is None else value
        secret = has_password(key) or (key.startswith("vfb") and has_password(value))
        if code == "unknown-key":
            secret = secret or may_be_password(key)
        value = "***" if secret else hide_keys(value)
        self.passed.append(Passed(key, item, line, column, shortened(value), reason, code))

    def noting(self, key: str, item: int | None = None) -> Note:
        """Return a function that notes what is passed over in a key's value, or in an item of its list."""
        return lambda value, reason: self.note(key, reason, value, item=item)

    def written(self, key: str, first: int = 0) -> str:
        """Return the value of a key as it stands in the text, or of a list the items from `first` on."""
        if not self.settings.chain(key):
            return ""
        last = self.settings.chain(key)[-1]
        start = last.items[first] if first and first < len(last.items) else last.value_start
        return self.settings.text[start : last.value_end]

    def string(self, key: str) -> str | None:
        """Return a single value; a list is noted, as xl warns of it and goes on."""
        value = self.settings.value(key)
        if isinstance(value, list):
            self.note(key, "xl expects a single value here, not a list, and ignores it")
            return None
        return value

    def integer(self, key: str) -> int | None:
        """Return a number; another value is noted, since xl warns of it and goes on."""
        number = self.settings.integer(key)
        if number is None and self.string(key) is not None:
            added = self.settings.added(key)
            self.note(key, "xl ignores numbers with +=" if added else "xl reads no number there, and ignores it")
        return number

    def boolean(self, key: str) -> bool | None:
        """Return a number as true or false; another value is noted."""
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
                value = self.written(key, len(items))
                self.note(key, _NESTED, value, item=len(items), code="nested-list")
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

    def each(self, key: str, items: Sequence[T], read: Callable[[T, Note], R]) -> list[R]:
        """Read every item by a function; its errors and what it notes get the item's place.

        Raises:
            ParseError: One is wrong.
        """
        found = []
        for index, item in enumerate(items):
            try:
                found.append(read(item, self.noting(key, index)))
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


def unnoting(read: Callable[[T], R]) -> Callable[[T, Note], R]:
    """Return a reader that has nothing to note, as `Source.each` wants it."""
    return lambda item, _note: read(item)


def shortened(text: str) -> str:
    """Return the first line of a text, cut if it is long, for a message."""
    line, newline, _ = text.partition("\n")
    return line if len(line) <= _LONGEST and not newline else f"{line[: _LONGEST - 1]}…"
