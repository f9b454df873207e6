"""A configuration as a text that is edited in place: what is not touched stays as it was, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping, Sequence

from pyxen.errors import ParseError
from pyxen.xlcfg.grammar import Assignment, Value, assignments
from pyxen.xlcfg.lexer import LIST_TOKEN
from pyxen.xlcfg.settings import Settings
from pyxen.xlcfg.syntax_errors import position
from pyxen.xlcfg.values import DEEPEST, TOO_DEEP, Settable, check_key, format_value

__all__ = ["Document", "parse"]


class Document(MutableMapping[str, Value]):
    """An xl configuration, as a mapping of its keys to their values.

    Values are read as xl reads them: strings (numbers too: ``512`` and ``"512"`` are one thing to xl) and lists; the
    last setting of a key counts, and what ``+=`` adds is in. Setting a key changes its value where it stands; items
    added to a list are put behind the others; a new key goes to the end. ``str(document)`` is the text::

        document = parse(text)
        document["memory"] = 1024
        document["disk"] += ["/srv/data.qcow2,qcow2,xvdb,rw"]
        del document["cpus"]
        text = str(document)
    """

    def __init__(self, text: str | bytes = "") -> None:
        """Read a configuration.

        Args:
            text: The configuration; empty for a new one. Bytes are UTF-8, and other bytes are kept as surrogates.

        Raises:
            ParseError: xl would refuse the text, or its lists are nested more than 100 levels deep.
        """
        self._read(text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text)

    def _read(self, text: str) -> None:
        found = assignments(text)
        for one in found:
            if _is_too_deep(one.value):
                line, column = position(text, one.value_start)
                raise ParseError(f"{one.key}: {TOO_DEEP}", line=line, column=column, path=one.key)
        self._text = text
        self._assignments = found
        self._settings = Settings(text, found)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<Document of {len(self)} keys>"

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """Every setting as it is written, in order, with its places in the text."""
        return tuple(self._assignments)

    def position(self, key: str) -> tuple[int, int]:
        """Return the line and the column, from 1, of the setting of `key` that counts.

        Raises:
            KeyError: It is not set.
        """
        return position(self._text, self._chain(key)[-1].start)

    def __getitem__(self, key: str) -> Value:
        value = self._settings.value(key)
        if value is None:
            raise KeyError(key)
        return _copy(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    def __setitem__(self, key: str, value: Settable) -> None:
        """Set a key.

        Raises:
            ConfigError: The key or the value cannot be written in an xl configuration.
        """
        wanted = format_value(value)
        plain = _plain(value)
        chain = self._settings.chain(key)
        if not chain:
            check_key(key)
            self._append(f"{key} = {wanted}\n")
        elif plain != self._settings.value(key):
            more = _items_behind(self._settings.value(key), plain)
            if more is None:
                self._replace(key, wanted)
            else:
                self._insert_items(chain[-1], more)

    def __delitem__(self, key: str) -> None:
        """Take every setting of a key out, with its line where nothing else stands on it."""
        self._chain(key)
        self._remove([found for found in self._assignments if found.key == key])

    def _chain(self, key: str) -> list[Assignment]:
        chain = self._settings.chain(key)
        if not chain:
            raise KeyError(key)
        return chain

    def _append(self, line: str) -> None:
        text = self._text
        if text and not text.endswith("\n"):
            text += "\n"
            try:
                assignments(text)
            except ParseError:
                # The last character was one that xl's scanner forgets, though only where a text ends with it.
                text = text[:-2] + "\n"
        self._read(text + line)

    def _replace(self, key: str, value: str) -> None:
        """Write the value where the setting that counts stands; the other settings of the key go."""
        found = [one for one in self._assignments if one.key == key]
        last = found[-1]
        head = self._text[last.start : last.value_start].replace("+=", "=")
        text = self._text[: last.start] + head + value + self._text[last.value_end :]
        self._read(text)
        self._remove([one for one in self._assignments if one.key == key][:-1])

    def _remove(self, unwanted: Iterable[Assignment]) -> None:
        text = self._text
        for one in reversed(list(unwanted)):
            start = _line_start(text, one.start)
            begins_line = start == 0 or text[start - 1] == "\n"
            ends_in_semicolon = one.end > one.value_end and text[one.end - 1] == ";"
            # What shares the line with another setting leaves it the comment and the line's end.
            end = one.end if begins_line or ends_in_semicolon else one.value_end
            text = text[:start] + text[end:]
        self._read(text)

    def _insert_items(self, last: Assignment, items: Sequence[Settable]) -> None:
        """Put items behind those of a list, separated as those are."""
        text = self._text
        offsets = last.items
        words = [format_value(item) for item in items]
        if not offsets:
            at = last.value_start + 1
            self._read(text[:at] + ", ".join(words) + text[at:])
            return
        behind = _item_end(text, offsets[-1])
        line = text[text.rfind("\n", 0, offsets[-1]) + 1 : offsets[-1]]
        own_line = not line.strip() and "\n" in text[last.value_start : last.value_end]
        separator = f",\n{line}" if own_line else ", "
        self._read(text[:behind] + "".join(separator + word for word in words) + text[behind:])


def parse(text: str | bytes) -> Document:
    """Read a configuration for editing.

    Args:
        text: The content of the file. Bytes are UTF-8, and other bytes are kept as surrogates.

    Returns:
        The document. As long as nothing is changed, ``str(document)`` is `text`; a file gets its bytes back with
        ``str(document).encode("utf-8", "surrogateescape")``.

    Raises:
        ParseError: xl would refuse the text, or its lists are nested more than 100 levels deep; with line and column.
    """
    return Document(text)


def _is_too_deep(value: Value) -> bool:
    """Tell whether lists are nested more than `DEEPEST` levels deep: to copy such a list takes a deep stack."""
    level: list[Value] = [value]
    for _ in range(DEEPEST if isinstance(value, list) else 0):
        level = [item for one in level if isinstance(one, list) for item in one]
    return any(isinstance(one, list) for one in level)


def _plain(value: Settable) -> Value:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(int(value))
    return [_plain(item) for item in value]


def _copy(value: Value) -> Value:
    return value if isinstance(value, str) else [_copy(item) for item in value]


def _items_behind(old: Value | None, new: Value) -> list[Value] | None:
    """Return what `new` has behind the items of `old`, where both are lists and it begins with them."""
    if isinstance(old, list) and isinstance(new, list) and new[: len(old)] == old:
        return new[len(old) :]
    return None


def _item_end(text: str, offset: int) -> int:
    depth = 0
    at = offset
    while match := LIST_TOKEN.match(text, at):
        word = match[match.lastindex or 0]
        at = match.end()
        depth += (word == "[") - (word == "]")
        if not depth:
            break
    return at


def _line_start(text: str, offset: int) -> int:
    """Return where the line begins, if only blanks stand before `offset`; else `offset`."""
    start = text.rfind("\n", 0, offset) + 1
    return offset if text[start:offset].strip(" \t") else start
