"""The source text of a document, and what was changed in it: all the rest is written exactly as it was."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from lxml import etree

__all__ = ["Before", "Source", "Span"]

_TOKEN = re.compile(
    r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?]]>|</[^>]*>|<[^>\"']*(?:\"[^\"]*\"[^>\"']*|'[^']*'[^>\"']*)*>", re.DOTALL
)
_DECLARATION = re.compile(r"\ufeff?<\?xml\s.*?\?>", re.DOTALL)
_ENCODING = re.compile(r"\s+encoding\s*=\s*(?:'([^']*)'|\"([^\"]*)\")")
_ASIS: Final = ("utf-8", "utf8", "us-ascii", "ascii")

Span: TypeAlias = tuple[int, int, int, int]
"""The place of an element: where its start tag begins and ends, and where its end tag begins and ends.

Where there is one tag only, and for a comment or an instruction, the last three are the same.
"""


class Before(NamedTuple):
    """An element before it was changed, as lxml read it.

    Attributes:
        attributes: Its attributes.
        text: The text before its first child.
        tails: Its children, each with the text behind it.
    """

    attributes: dict[str, str]
    text: str | None
    tails: list[tuple[etree._Element, str | None]]


class Source:
    """The source text of a document.

    Attributes:
        declaration: The XML declaration that it begins with; "" if it has none.
        text: The text, with this declaration.
        changed: The elements that were changed, or in which one was, as they were before. All others are as they were.
    """

    def __init__(self, text: str, root: etree._Element) -> None:
        found = _DECLARATION.match(text)
        self.declaration = "" if found is None else _declaration(found[0])
        self.text = text if found is None else self.declaration + text[found.end() :]
        self.changed: dict[etree._Element, Before] = {}
        self._nodes = [*reversed(list(root.itersiblings(preceding=True))), *root.iter(), *root.itersiblings()]

    @property
    def quote(self) -> str:
        """The quote character that most attributes use."""
        return '"' if self.text.count('="') > self.text.count("='") else "'"

    def note(self, element: etree._Element) -> None:
        """Keep an element as it is, since its attributes, its text or its children are about to be changed."""
        if element not in self.changed:
            self.changed[element] = _state(element)

    def is_as_it_was(self, element: etree._Element) -> bool:
        """Tell whether an element is one of the document's and was not changed, nor anything in it."""
        return element not in self.changed and element in self._nodes

    def altered(self) -> list[etree._Element]:
        """Return the elements that are not as they were; those in which only a child is altered are not among them."""
        return [element for element, before in self.changed.items() if _state(element) != before]

    def spans(self, wanted: Iterable[etree._Element]) -> dict[etree._Element, Span]:
        """Return the places of all nodes as far as the last wanted one; none if the text does not match the nodes."""
        text = self.text
        left = set(wanted)
        found: dict[etree._Element, Span] = {}
        coming = iter(self._nodes)
        opened: list[tuple[etree._Element, int, int]] = []
        for token in _TOKEN.finditer(text, len(self.declaration)):
            begin, end = token.span()
            mark = text[begin + 1]
            if mark == "!" and text[begin + 2] == "[":
                continue  # <![CDATA[…]]> is text
            node: etree._Element | None
            if mark == "/":
                if not opened:
                    return {}
                node, start, inner = opened.pop()
                found[node] = (start, inner, begin, end)
            else:
                node = next(coming, None)
                if node is None:
                    return {}
                if mark not in "!?" and text[end - 2] != "/":
                    opened.append((node, begin, end))
                    continue
                found[node] = (begin, end, end, end)
            left.discard(node)
            if not left:
                return found
        return {} if opened or next(coming, None) is not None else found


def _state(element: etree._Element) -> Before:
    return Before(dict(element.items()), element.text, [(child, child.tail) for child in element])


def _declaration(raw: str) -> str:
    """Return an XML declaration for a string, without the encoding that applied to bytes."""
    found = _ENCODING.search(raw)
    if found is None or (found[1] or found[2]).lower() in _ASIS:
        return raw
    return raw.replace(found[0], "")
