"""XML trees that keep track of which parts have been read.

A reader takes attributes and children from a `Node`. Whatever remains is unknown to pyxen, and counts as a loss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from pyxen.errors import ParseError

__all__ = ["Deferred", "Node", "number_in_c", "undeferred", "without_unsayable"]

# XML 1.0 cannot represent these, not even as character references.
_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DECIMAL = re.compile(r"[ \t\n]*([-+]?[0-9]+)[ \t\n]*")
_IN_C = re.compile(r"[ \t\n]*([-+]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)[ \t\n]*")
_SWITCH: Final = {"on": True, "off": False, "yes": True, "no": False}
_LONGEST_NUMBER: Final = 40


def _decimal_number(text: str) -> int | None:
    """Return a decimal number; None if the text is none."""
    found = _DECIMAL.fullmatch(text) if len(text) < _LONGEST_NUMBER else None
    return None if found is None else int(found[1])


def number_in_c(text: str) -> int | None:
    """Return a number as C writes it: hexadecimal after ``0x``, octal after ``0``; None if the text is none.

    libvirt reads the addresses of passed-through devices so, and all other numbers that pyxen reads as decimal ones.
    """
    found = _IN_C.fullmatch(text) if len(text) < _LONGEST_NUMBER else None
    if found is None:
        return None
    digits = found[2]
    number = int(digits, 16 if digits[1:2] in ("x", "X") else 8 if digits[0] == "0" else 10)
    return -number if found[1] == "-" else number


class Node:
    """An element: a tag, attributes, children, and the text before the first child.

    Attributes:
        tag: Its name; ``{namespace}name`` for elements outside libvirt's own vocabulary.
        attributes: Its attributes, without those that were read.
        children: Its child elements.
        text: Its text; "" if it has none.
        line: Its line in the source; 0 in a tree that is being written.
        taken: Whether a reader has taken it.
    """

    __slots__ = ("attributes", "children", "line", "tag", "taken", "text")

    def __init__(self, tag: str, text: str = "", line: int = 0, attributes: dict[str, str] | None = None) -> None:
        self.tag = tag
        self.text = text
        self.line = line
        self.attributes = {} if attributes is None else attributes
        self.children: list[Node] = []
        self.taken = False

    def named(self, tag: str) -> list[Node]:
        """Return the children with this tag, taken or not."""
        return [child for child in self.children if child.tag == tag]

    # -- Writing ------------------------------------------------------------------------------------------------------

    def add(self, tag: str, text: str | int | None = None, /, **attributes: str | int | None) -> Node:
        """Append a child. Attributes that are None and characters that XML cannot represent are left out."""
        child = Node(tag, "" if text is None else without_unsayable(text), 0, _sayable(attributes))
        self.children.append(child)
        return child

    def set(self, **attributes: str | int | None) -> Node:
        """Set the attributes that are not None, and return the node."""
        self.attributes.update(_sayable(attributes))
        return self

    def inner(self, tag: str) -> Node:
        """Return the child with this tag, and add it if it is missing."""
        for child in self.children:
            if child.tag == tag:
                return child
        return self.add(tag)

    # -- Reading ------------------------------------------------------------------------------------------------------

    def child(self, tag: str) -> Node | None:
        """Take the first child with this tag; None if there is none."""
        for child in self.children:
            if child.tag == tag:
                child.taken = True
                return child
        return None

    def all(self, tag: str) -> Iterator[Node]:
        """Take every child with this tag."""
        for child in self.children:
            if child.tag == tag:
                child.taken = True
                yield child

    def merged(self, tag: str) -> Node | None:
        """Take every child with this tag as one element; None if there is none.

        libvirt looks for the inner elements and attributes of some elements in all of them, so the first gets what the
        others have. An attribute that both have stays in the other one, unread.
        """
        first = self.child(tag)
        if first is None:
            return None
        for other in self.all(tag):
            if other is first:
                continue
            first.children += other.children
            other.children = []
            missing = [name for name in other.attributes if name not in first.attributes]
            first.attributes.update((name, other.attributes.pop(name)) for name in missing)
        return first

    def get(self, name: str) -> str | None:
        """Take an attribute; None if it is missing."""
        return self.attributes.pop(name, None)

    def word(self) -> str | None:
        """Take the text; None if it is empty."""
        text, self.text = self.text, ""
        return text or None

    def number(self, name: str, low: int, high: int, read: Callable[[str], int | None] = _decimal_number) -> int | None:
        """Take an attribute that is a number from `low` to `high`; None if it is missing.

        Args:
            name: The attribute.
            low: The least number.
            high: The largest number.
            read: How libvirt reads it: most numbers are decimal, and those of `number_in_c` as C writes them.

        Raises:
            ParseError: The value is not a number in this range.
        """
        text = self.attributes.pop(name, None)
        return None if text is None else self.as_number(text, low, high, name, read)

    def as_number(
        self, text: str, low: int, high: int, what: str = "", read: Callable[[str], int | None] = _decimal_number
    ) -> int:
        """Parse a number of this element. The other arguments are those of `number`.

        Raises:
            ParseError: The text is not a number from `low` to `high`.
        """
        number = read(text)
        if number is None:
            kind = "whole" if read is number_in_c else "decimal"
            raise self.wrong(f"{what or 'its text'} is {_shown(text)}, not a {kind} number")
        if not low <= number <= high:
            raise self.wrong(f"{what or 'its text'} is {number}; it can be {low} to {high}")
        return number

    def switch(self, name: str, default: bool | None = None) -> bool | None:
        """Take an attribute that is ``yes`` or ``no``, ``on`` or ``off``.

        Raises:
            ParseError: The value is something else.
        """
        text = self.attributes.pop(name, None)
        if text is None:
            return default
        if text not in _SWITCH:
            raise self.wrong(f"{name} is {_shown(text)}; it can be yes, no, on or off")
        return _SWITCH[text]

    def drop(self) -> None:
        """Mark everything in this element as read."""
        self.taken = True
        self.text = ""
        self.attributes.clear()
        self.children.clear()

    def wrong(self, reason: str) -> ParseError:
        """Return the error to raise about this element."""
        return ParseError(f"<{self.tag}>: {reason}", line=self.line or None)


class Deferred(Node):
    """Stands in two trees for elements that are the same in both, and are not written unless somebody asks for them."""

    __slots__ = ("_write",)

    def __init__(self, write: Callable[[Node], None]) -> None:
        """Take the function that writes the elements into a parent."""
        super().__init__("")
        self._write = write

    def written(self) -> list[Node]:
        """Return the elements."""
        parent = Node("")
        self._write(parent)
        return parent.children


def undeferred(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yield nodes, and in the place of those that are deferred what these stand for."""
    for node in nodes:
        if isinstance(node, Deferred):
            yield from node.written()
        else:
            yield node


def _sayable(attributes: Mapping[str, str | int | None]) -> dict[str, str]:
    return {name: without_unsayable(value) for name, value in attributes.items() if value is not None}


def without_unsayable(value: str | int) -> str:
    """Return a value as text, without the characters that XML cannot represent."""
    text = str(value)
    return text if text.isascii() and text.isprintable() else _UNSAYABLE.sub("", text)


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 40 else repr(text[:37]) + "…"
