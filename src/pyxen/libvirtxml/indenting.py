"""Documents of lxml's: putting elements in and taking them out as a careful hand would, and writing them out again."""

from __future__ import annotations

import re
from typing import Final

from lxml import etree

from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.text import XEN_NAMESPACE

__all__ = ["add_after", "remove", "write_out"]

_STEP: Final = "  "
_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*\?>\s*")
_ENCODING = re.compile(r"\s+encoding\s*=\s*(?:'[^']*'|\"[^\"]*\")")


def add_after(parent: etree._Element, before: etree._Element | None, node: Node) -> etree._Element:
    """Put a new element behind another of its parent's children, or first; indented as those around it are."""
    inner = _inner_indent(parent)
    element = _build(node, inner)
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


def remove(element: etree._Element) -> None:
    """Take an element out, and the blanks before it."""
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
    """Return what stands before each child of an element: a line end and blanks; None where there are no lines."""
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


def write_out(root: etree._Element, original: str) -> str:
    """Write a document out, with the quotes that it had before, and its declaration."""
    quote = '"' if original.count('="') > original.count("='") else "'"
    pieces: list[str] = []
    declaration = _DECLARATION.match(original)
    if declaration:
        pieces.append(_ENCODING.sub("", declaration[0]))
    elif original[:1].isspace():
        pieces.append(original[: len(original) - len(original.lstrip())])
    for sibling in reversed(list(root.itersiblings(preceding=True))):
        pieces += [etree.tostring(sibling, encoding="unicode", with_tail=False), "\n"]
    _write(root, {}, quote, pieces)
    for sibling in root.itersiblings():
        pieces += ["\n", etree.tostring(sibling, encoding="unicode", with_tail=False)]
    pieces.append(original[len(original.rstrip()) :])
    return "".join(pieces)


def _write(element: etree._Element, outer: dict[str | None, str], quote: str, pieces: list[str]) -> None:
    if not isinstance(element.tag, str):
        pieces.append(etree.tostring(element, encoding="unicode", with_tail=False))
        return
    names = {**outer, **element.nsmap}
    tag = _prefixed(element.tag, names)
    pieces.append(f"<{tag}")
    for prefix, space in element.nsmap.items():
        if outer.get(prefix) != space:
            pieces.append(f" xmlns{f':{prefix}' if prefix else ''}={quote}{_escaped(space, quote)}{quote}")
    for name, value in element.items():
        pieces.append(f" {_prefixed(str(name), names)}={quote}{_escaped(str(value), quote)}{quote}")
    if not len(element) and not element.text:
        pieces.append("/>")
        return
    pieces += [">", _escaped(element.text or "")]
    for child in element:
        _write(child, names, quote, pieces)
        pieces.append(_escaped(child.tail or ""))
    pieces.append(f"</{tag}>")


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
