"""XML as this codec sees it: small trees that know what of them has been read.

A reader takes attributes and children out of a `Node`; what nobody took is what pyxen does not know, and a loss.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pyxen.errors import ParseError

__all__ = ["Node"]

# XML 1.0 has no way to say these, not even as references.
_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBER = re.compile(r"[ \t\n]*([-+]?)(0[xX][0-9a-fA-F]+|[0-9]+)[ \t\n]*")
_SWITCH: Final = {"on": True, "off": False, "yes": True, "no": False}
_LONGEST_NUMBER: Final = 40


class Node:
    """An element: a tag, attributes, children, and the text before the first child.

    Attributes:
        tag: Its name; ``{namespace}name`` outside libvirt's own vocabulary.
        attributes: Its attributes; those that were read are gone.
        children: The elements in it.
        text: The text in it, without that between its children; "" for none.
        line: The line it stands on in the text that was read; 0 in a tree that is being written.
        taken: Whether a reader has asked for it.
    """

    __slots__ = ("attributes", "children", "line", "tag", "taken", "text")

    def __init__(self, tag: str, text: str = "", line: int = 0) -> None:
        self.tag = tag
        self.text = text
        self.line = line
        self.attributes: dict[str, str] = {}
        self.children: list[Node] = []
        self.taken = False

    def named(self, tag: str) -> list[Node]:
        """Return the children of a tag, taken or not."""
        return [child for child in self.children if child.tag == tag]

    def without(self, tag: str) -> Node:
        """Return the same element without the children of a tag; it shares the others."""
        node = Node(self.tag, self.text, self.line)
        node.attributes = self.attributes
        node.children = [child for child in self.children if child.tag != tag]
        return node

    # -- Writing ------------------------------------------------------------------------------------------------------

    def add(self, tag: str, text: str | int | None = None, /, **attributes: str | int | None) -> Node:
        """Add a child at the end; attributes that are None are left out, and characters that XML cannot say."""
        child = Node(tag, "" if text is None else _sayable(text))
        self.children.append(child)
        return child.set(**attributes)

    def set(self, **attributes: str | int | None) -> Node:
        """Set attributes, those that are not None; return the node."""
        for name, value in attributes.items():
            if value is not None:
                self.attributes[name] = _sayable(value)
        return self

    def inner(self, tag: str) -> Node:
        """Return the child with this tag, added where there is none yet."""
        for child in self.children:
            if child.tag == tag:
                return child
        return self.add(tag)

    # -- Reading ------------------------------------------------------------------------------------------------------

    def child(self, tag: str) -> Node | None:
        """Take the first child with this tag; None where there is none."""
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

    def get(self, name: str) -> str | None:
        """Take an attribute; None where there is none."""
        return self.attributes.pop(name, None)

    def word(self) -> str | None:
        """Take the text; None where there is none."""
        text, self.text = self.text, ""
        return text or None

    def number(self, name: str, low: int, high: int) -> int | None:
        """Take an attribute that is a number from `low` to `high`; None where there is none.

        Raises:
            ParseError: It is no such number.
        """
        text = self.attributes.pop(name, None)
        return None if text is None else self.as_number(text, low, high, name)

    def as_number(self, text: str, low: int, high: int, what: str = "") -> int:
        """Return the number that a text of this element is: decimal, or hexadecimal with ``0x``.

        Raises:
            ParseError: It is none, or not from `low` to `high`.
        """
        found = _NUMBER.fullmatch(text) if len(text) < _LONGEST_NUMBER else None
        if found is None:
            raise self.wrong(f"{what or 'its text'} is {_shown(text)}, not a whole number")
        number = int(found[2], 16) if found[2][:2] in ("0x", "0X") else int(found[2])
        number = -number if found[1] == "-" else number
        if not low <= number <= high:
            raise self.wrong(f"{what or 'its text'} is {number}; it can be {low} to {high}")
        return number

    def switch(self, name: str, default: bool | None = None) -> bool | None:
        """Take an attribute that is ``yes`` or ``no``, ``on`` or ``off``.

        Raises:
            ParseError: It is something else.
        """
        text = self.attributes.pop(name, None)
        if text is None:
            return default
        if text not in _SWITCH:
            raise self.wrong(f"{name} is {_shown(text)}; it can be yes, no, on or off")
        return _SWITCH[text]

    def drop(self) -> None:
        """Count everything in this element as read."""
        self.taken = True
        self.text = ""
        self.attributes.clear()
        self.children.clear()

    def wrong(self, reason: str) -> ParseError:
        """Return the error to raise about this element."""
        return ParseError(f"<{self.tag}>: {reason}", line=self.line or None)


def _sayable(value: str | int) -> str:
    text = str(value)
    return text if text.isalnum() else _UNSAYABLE.sub("", text)


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 40 else repr(text[:37]) + "…"
