"""Insertion and removal of elements in lxml documents with matching indentation, and serialisation."""

from __future__ import annotations

from typing import Final

from lxml import etree

from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.source import Pieces, Source
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
    for child in node.children:
        built = _build(child, inner)
        built.tail = inner
        element.append(built)
    if node.children:
        element.text = inner
        element[-1].tail = indent
    return element


def write_out(root: etree._Element, source: Source) -> str:
    """Serialise a document: unchanged parts exactly as in the source, and changed parts in the same style."""
    pieces = [source.head]
    for node in (*reversed(list(root.itersiblings(preceding=True))), root, *root.itersiblings()):
        _write(node, source, pieces)
    return "".join(pieces)


def _write(node: etree._Element, source: Source, pieces: list[str]) -> None:
    was = source.pieces.get(node)
    if not isinstance(node.tag, str):
        pieces.append(was.start if was else etree.tostring(node, encoding="unicode", with_tail=False))
    else:
        is_empty = not len(node) and not node.text and not (was and was.end)
        pieces.append(_start(node, was, source.quote, is_empty=is_empty))
        if not is_empty:
            pieces.append(was.text if was and was.read_text == node.text else _escaped(node.text or ""))
            for child in node:
                _write(child, source, pieces)
            pieces.append((was and was.end) or f"</{_prefixed(node.tag, node.nsmap)}>")
    pieces.append(was.tail if was and was.read_tail == node.tail else _escaped(node.tail or ""))


def _start(node: etree._Element, was: Pieces | None, quote: str, *, is_empty: bool) -> str:
    """Return the start tag of an element."""
    attributes = dict(node.items())
    if was is not None:
        if was.attributes == attributes:
            if is_empty == was.start.endswith("/>"):
                return was.start
            bare = was.start.removesuffix(">").removesuffix("/")
            return bare.rstrip() + ("/>" if is_empty else ">")
        quote = next((character for character in was.start if character in "'\""), quote)
    parent = node.getparent()
    names, outer = node.nsmap, {} if parent is None else parent.nsmap
    said = [
        (f"xmlns:{prefix}" if prefix else "xmlns", space)
        for prefix, space in names.items()
        if outer.get(prefix) != space
    ]
    said += [(_prefixed(name, names), value) for name, value in attributes.items()]
    words = "".join(f" {name}={quote}{_escaped(value, quote)}{quote}" for name, value in said)
    return f"<{_prefixed(str(node.tag), names)}{words}{'/>' if is_empty else '>'}"


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
