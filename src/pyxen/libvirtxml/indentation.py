"""Insertion and removal of elements in lxml documents with matching indentation, and serialisation."""

from __future__ import annotations

from typing import Final

from lxml import etree

from pyxen.libvirtxml.node import Node, undeferred
from pyxen.libvirtxml.source import Before, Source, Span
from pyxen.libvirtxml.text import XEN_NAMESPACE

__all__ = ["add_after", "remove", "write_out"]

_STEP: Final = "  "


def add_after(parent: etree._Element, before: etree._Element | None, node: Node) -> etree._Element:
    """Insert a new element after a sibling, or as the first child, with the indentation of its surroundings."""
    inner = _inner_indent(parent)
    element = _build(node, inner)
    while before is not None and _is_remark(following := before.getnext()) and "\n" not in (before.tail or ""):
        before = following  # a comment on the same line belongs to the element before it
    place = 0 if before is None else parent.index(before) + 1
    if len(parent) == 0:
        parent.text = inner
        element.tail = None if inner is None else inner[: -len(_STEP)]
    elif before is None:
        element.tail = inner
    else:
        element.tail, before.tail = before.tail, inner
    parent.insert(place, element)
    return element


def _is_remark(node: etree._Element | None) -> bool:
    return node is not None and not isinstance(node.tag, str)


def remove(element: etree._Element) -> None:
    """Remove an element and the whitespace before it."""
    parent = element.getparent()
    if parent is None:
        return
    previous = element.getprevious()
    if element.getnext() is None:
        if previous is not None:
            previous.tail = element.tail
        else:
            parent.text = None
    parent.remove(element)


def _inner_indent(parent: etree._Element) -> str | None:
    """Return the line break and indentation before each child of an element; None if they share a line."""
    if len(parent) and parent.text is not None and parent.text.isspace():
        return "\n" + parent.text.rpartition("\n")[2] if "\n" in parent.text else parent.text
    if len(parent):
        return None
    outer = parent.getparent()
    if outer is None:
        return "\n" + _STEP
    around = _inner_indent(outer)
    return None if around is None else around + _STEP


def _build(node: Node, indent: str | None) -> etree._Element:
    nsmap = {"xen": XEN_NAMESPACE} if node.tag.startswith("{") else None
    element = etree.Element(node.tag, dict(node.attributes), nsmap=nsmap)
    element.text = node.text or None
    inner = None if indent is None else indent + _STEP
    for child in undeferred(node.children):
        built = _build(child, inner)
        built.tail = inner
        element.append(built)
    if len(element):
        element.text = inner
        element[-1].tail = indent
    return element


def write_out(root: etree._Element, source: Source) -> str:
    """Serialise a document: unchanged parts exactly as in the source, and changed parts in the same style."""
    altered = source.altered()
    if not altered:
        return source.text
    spans = source.spans(altered)
    writer = _Writer(source, spans)
    if not spans:
        for node in (*reversed(list(root.itersiblings(preceding=True))), root, *root.itersiblings()):
            writer.write(node)
        return source.declaration + "".join(writer.pieces)
    at = 0
    for element in sorted((one for one in altered if one in spans), key=lambda one: spans[one]):
        start, _, _, end = spans[element]
        if start >= at:  # and not inside of one that is written already
            writer.pieces.append(source.text[at:start])
            writer.write(element)
            at = end
    return "".join(writer.pieces) + source.text[at:]


class _Writer:
    """The pieces of a changed document, while they are put together."""

    def __init__(self, source: Source, spans: dict[etree._Element, Span]) -> None:
        self.pieces: list[str] = []
        self._source = source
        self._spans = spans

    def write(self, node: etree._Element) -> None:
        """Write a node without the text behind it."""
        span, before = self._spans.get(node), self._source.changed.get(node)
        if span is not None and before is None:
            self.pieces.append(self._source.text[span[0] : span[3]])
        elif not isinstance(node.tag, str):
            self.pieces.append(etree.tostring(node, encoding="unicode", with_tail=False))
        elif span is None or before is None:
            self._write_new(node)
        else:
            self._write_changed(node, span, before)

    def _write_new(self, node: etree._Element) -> None:
        is_empty = not len(node) and not node.text
        self.pieces.append(_start_tag(node, self._source.quote, is_empty=is_empty))
        if not is_empty:
            self.pieces.append(_escaped(node.text or ""))
            for child in node:
                self.write(child)
                self.pieces.append(_escaped(child.tail or ""))
            self.pieces.append(_end_tag(node))

    def _write_changed(self, node: etree._Element, span: Span, before: Before) -> None:
        text, pieces = self._source.text, self.pieces
        start, inner, close, end = span
        is_empty = not len(node) and not node.text and close == end
        pieces.append(self._changed_tag(node, text[start:inner], before, is_empty=is_empty))
        if is_empty:
            return
        behind: dict[etree._Element, tuple[str | None, str]] = {}
        at = close
        for child, tail in reversed(before.tails):
            begin, _, _, child_end = self._spans[child]
            behind[child] = tail, text[child_end:at]
            at = begin
        pieces.append(text[inner:at] if node.text == before.text else _escaped(node.text or ""))
        for child in node:
            self.write(child)
            tail, raw = behind.get(child, (None, ""))
            pieces.append(raw if child.tail == tail else _escaped(child.tail or ""))
        pieces.append(text[close:end] or _end_tag(node))

    def _changed_tag(self, node: etree._Element, was: str, before: Before, *, is_empty: bool) -> str:
        if dict(node.items()) != before.attributes:
            quote = next((character for character in was if character in "'\""), self._source.quote)
            return _start_tag(node, quote, is_empty=is_empty)
        if is_empty == was.endswith("/>"):
            return was
        return was.removesuffix(">").removesuffix("/").rstrip() + ("/>" if is_empty else ">")


def _start_tag(node: etree._Element, quote: str, *, is_empty: bool) -> str:
    parent = node.getparent()
    names, outer = node.nsmap, {} if parent is None else parent.nsmap
    said = [
        (f"xmlns:{prefix}" if prefix else "xmlns", space)
        for prefix, space in names.items()
        if outer.get(prefix) != space
    ]
    said += [(_prefixed(name, names), value) for name, value in node.items()]
    words = "".join(f" {name}={quote}{_escaped(value, quote)}{quote}" for name, value in said)
    return f"<{_prefixed(str(node.tag), names)}{words}{'/>' if is_empty else '>'}"


def _end_tag(node: etree._Element) -> str:
    return f"</{_prefixed(str(node.tag), node.nsmap)}>"


def _prefixed(name: str, names: dict[str | None, str]) -> str:
    if not name.startswith("{"):
        return name
    space, _, local = name[1:].partition("}")
    if space == "http://www.w3.org/XML/1998/namespace":
        return f"xml:{local}"
    prefix = next((prefix for prefix, one in names.items() if one == space), None)
    return f"{prefix}:{local}" if prefix else local


def _escaped(text: str, quote: str = "") -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    if quote:
        text = text.replace("\n", "&#10;").replace("\t", "&#9;")
        text = text.replace(quote, "&quot;" if quote == '"' else "&apos;")
    return text
