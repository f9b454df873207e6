"""The source text of a document in pieces, so that unchanged parts can be written exactly as they were."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lxml import etree

__all__ = ["Pieces", "Source"]

_TOKEN = re.compile(
    r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?]]>|</[^>]*>|<[^>\"']*(?:\"[^\"]*\"[^>\"']*|'[^']*'[^>\"']*)*>", re.DOTALL
)
_DECLARATION = re.compile(r"<\?xml\s")
_ENCODING = re.compile(r"\s+encoding\s*=\s*(?:'([^']*)'|\"([^\"]*)\")")
_ASIS: Final = ("utf-8", "utf8", "us-ascii", "ascii")


@dataclass(slots=True)
class Pieces:
    """The source text of one element, comment or instruction, and what lxml read from it.

    Attributes:
        start: Its start tag, or all of it if it has only one tag.
        text: The text after the start tag, up to the first child.
        end: Its end tag; "" if it has none.
        tail: The text after it, up to the next node.
        attributes: The attributes as lxml read them.
        read_text: `text` as lxml read it.
        read_tail: `tail` as lxml read it.
    """

    start: str
    attributes: dict[str, str]
    read_text: str | None
    read_tail: str | None
    text: str = ""
    end: str = ""
    tail: str = ""


class Source:
    """The source text of a document.

    Attributes:
        head: The text before the first element, comment or instruction.
        quote: The quote character that most attributes use.
        pieces: The text of each node; empty if the text does not match the nodes.
    """

    def __init__(self, text: str, root: etree._Element) -> None:
        self.head = ""
        self.quote = '"' if text.count('="') > text.count("='") else "'"
        self.pieces: dict[etree._Element, Pieces] = {}
        self.nodes = [*reversed(list(root.itersiblings(preceding=True))), *root.iter(), *root.itersiblings()]
        if not self._cut(text):
            self.pieces.clear()

    def _cut(self, text: str) -> bool:
        """Split the text into pieces; return whether every node has its piece."""
        coming = iter(self.nodes)
        open_elements: list[Pieces] = []
        last: Pieces | None = None
        is_inside = False
        at = 0

        def put(more: str) -> None:
            if last is None:
                self.head += more
            elif is_inside:
                last.text += more
            else:
                last.tail += more

        for token in _TOKEN.finditer(text):
            put(text[at : token.start()])
            at, raw = token.end(), token[0]
            if raw.startswith("<![") or (not at - len(raw) and _DECLARATION.match(raw)):
                put(raw if raw.startswith("<![") else _declaration(raw))
                continue
            if raw.startswith("</"):
                if not open_elements:
                    return False
                last, is_inside = open_elements.pop(), False
                last.end = raw
                continue
            node = next(coming, None)
            if node is None:
                return False
            last = self.pieces[node] = Pieces(raw, dict(node.items()), node.text, node.tail)
            is_inside = raw[1] not in "!?" and not raw.endswith("/>")
            if is_inside:
                open_elements.append(last)
        put(text[at:])
        return next(coming, None) is None and not open_elements


def _declaration(raw: str) -> str:
    """Return an XML declaration for a string, without the encoding that applied to bytes."""
    found = _ENCODING.search(raw)
    if found is None or (found[1] or found[2]).lower() in _ASIS:
        return raw
    return raw.replace(found[0], "")
