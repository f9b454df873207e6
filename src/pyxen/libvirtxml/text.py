"""Parsing and serialisation of XML, with limits on size and depth, and without entities or network access."""

from __future__ import annotations

import re
from typing import Final

from lxml import etree

from pyxen.errors import ParseError
from pyxen.libvirtxml.node import Node

__all__ = ["MAX_SIZE", "XEN_NAMESPACE", "decoded", "parse", "parse_tree", "serialise", "to_node"]

MAX_SIZE: Final = 4 * 1024 * 1024
"""The largest document that is read, in bytes: the limit of libvirt's own protocol."""

XEN_NAMESPACE: Final = "http://libvirt.org/schemas/domain/xen/1.0"
"""The namespace of ``<xen:commandline>``."""

_IN_TEXT: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_IN_ATTRIBUTE: Final = {**_IN_TEXT, "'": "&apos;", "\n": "&#10;", "\t": "&#9;"}
_SPECIAL_TEXT = re.compile(r"[&<>\r]")
_SPECIAL_ATTRIBUTE = re.compile(r"[&<>'\r\n\t]")


def parse_tree(text: str | bytes, source: str | None = None) -> etree._Element:
    """Parse a document with lxml.

    Args:
        text: The document; for a string, the encoding in its XML declaration is ignored.
        source: Name of the file, for errors.

    Returns:
        The root element.

    Raises:
        ParseError: The document is not well-formed, too large or too deep, or has a document type.
    """
    encoding = None
    if isinstance(text, str):
        try:
            text = text.encode()
        except UnicodeEncodeError:
            raise ParseError("the text contains half of a surrogate pair", source=source) from None
        encoding = "utf-8"
    if len(text) > MAX_SIZE:
        raise ParseError(f"the text is larger than {MAX_SIZE // 2**20} MiB", source=source)
    parser = etree.XMLParser(
        encoding=encoding, no_network=True, resolve_entities=False, load_dtd=False, huge_tree=False, remove_pis=False
    )
    try:
        root = etree.fromstring(text, parser)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        reason = str(error.msg or "syntax error").split(", line ", maxsplit=1)[0]
        raise ParseError(f"not XML: {reason}", line=line or None, column=column or None, source=source) from None
    if root.getroottree().docinfo.doctype:
        raise ParseError("a document type (<!DOCTYPE>) is not allowed: remove it", line=1, source=source)
    return root


def decoded(text: bytes, root: etree._Element) -> str:
    """Return the text of a document that was parsed from bytes."""
    try:
        return text.decode(root.getroottree().docinfo.encoding or "utf-8").removeprefix("\ufeff")
    except (LookupError, UnicodeDecodeError):  # an encoding that only lxml knows
        return etree.tostring(root.getroottree(), encoding="unicode")


def parse(text: str | bytes, source: str | None = None) -> Node:
    """Parse a document into nodes. Arguments and errors are those of `parse_tree`."""
    return to_node(parse_tree(text, source))


def to_node(element: etree._Element, without: etree._Element | None = None) -> Node:
    """Convert an lxml element to nodes, without comments and processing instructions, and without one child."""
    return _to_node(element, str(element.tag), without)


def _to_node(element: etree._Element, tag: str, without: etree._Element | None = None) -> Node:
    text = element.text or ""
    node = Node(tag, text, element.sourceline or 0, dict(element.items()))
    if len(element):
        children = node.children
        for child in element:
            inner = child.tag
            if isinstance(inner, str) and child is not without:
                children.append(_to_node(child, inner))
            tail = child.tail
            if tail and not tail.isspace():
                text += tail
        node.text = "" if text.isspace() else text
    return node


def serialise(root: Node) -> str:
    """Serialise a tree as libvirt does, indented by two and with attributes in single quotes."""
    lines: list[str] = []
    _write(root, "", lines)
    return "\n".join(lines) + "\n"


def _write(node: Node, indent: str, lines: list[str]) -> None:
    tag = node.tag
    attributes = "".join(
        f" {name}='{_SPECIAL_ATTRIBUTE.sub(lambda found: _IN_ATTRIBUTE[found[0]], value)}'"
        for name, value in node.attributes.items()
    )
    if tag[0] == "{":
        tag = f"xen:{tag.rpartition('}')[2]}"
    if node.children:
        lines.append(f"{indent}<{tag}{attributes}>")
        for child in node.children:
            _write(child, indent + "  ", lines)
        lines.append(f"{indent}</{tag}>")
    elif node.text:
        text = _SPECIAL_TEXT.sub(lambda found: _IN_TEXT[found[0]], node.text)
        lines.append(f"{indent}<{tag}{attributes}>{text}</{tag}>")
    else:
        lines.append(f"{indent}<{tag}{attributes}/>")
