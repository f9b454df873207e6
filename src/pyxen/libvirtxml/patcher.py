"""Changes to an existing document: see `pyxen.libvirtxml.patch`.

The codec writes two trees: the document's current configuration and the wanted one, where their settings differ. What
differs between the trees is carried over to the matching elements of the document, so that nothing else is touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Final

from lxml import etree

from pyxen.libvirtxml.characters import is_serial
from pyxen.libvirtxml.indentation import add_after, remove
from pyxen.libvirtxml.node import Node, number_in_c, undeferred
from pyxen.libvirtxml.source import Source
from pyxen.libvirtxml.text import to_node

__all__ = ["carry_over"]

_Key = tuple[str | None, ...]


def _inner(tag: str, name: str) -> Callable[[Node], _Key]:
    return lambda node: (next((child.attributes.get(name) for child in node.children if child.tag == tag), None),)


def _own(*names: str) -> Callable[[Node], _Key]:
    return lambda node: tuple(node.attributes.get(name) for name in names)


def _host_address(node: Node) -> _Key:
    return tuple(
        value if (number := number_in_c(value)) is None else str(number)
        for source in node.children
        if source.tag == "source"
        for address in source.children
        if address.tag == "address"
        for name in ("domain", "bus", "slot", "function", "device")
        if (value := address.attributes.get(name)) is not None
    )


_KEYS: Final[dict[str, Callable[[Node], _Key]]] = {
    "disk": _inner("target", "dev"),
    "interface": _inner("mac", "address"),
    "channel": _inner("target", "name"),
    "hostdev": _host_address,
    "graphics": _own("type"),
    "controller": _own("type", "index"),
    "input": _own("type", "bus"),
    "timer": _own("name"),
    "feature": _own("name"),
    "cell": _own("id"),
    "sibling": _own("id"),
    "vcpupin": _own("vcpu"),
}
"""Functions that return the identity of an element, by tag; elements with other tags are matched by order."""

_REPEATED: Final = frozenset(_KEYS) | {
    *("arg", "boot", "console", "ip", "listen", "param", "serial", "sound", "source", "tag", "video"),
}
"""Elements that may occur several times in their parent; all others occur at most once."""

_IS_READ: Final[dict[str, Callable[[Node], bool]]] = {
    "disk": lambda node: node.attributes.get("device", "disk") in ("disk", "cdrom"),
    "interface": lambda node: node.attributes.get("type") in ("bridge", "ethernet", "network"),
    "channel": lambda node: any(
        child.tag == "target" and child.attributes.get("type") == "xen" for child in node.children
    ),
    "console": is_serial,
}
"""Which elements the codec reads, for tags where it ignores some."""

_MAY_CHANGE: Final = ("interface",)
"""Elements that stay the same element even if their key changes."""

_STAND_INS: Final = {"serial": "console", "hostdev": "interface"}
"""Elements that can stand for another: a lone console is a serial port, and some interfaces are PCI devices."""


def carry_over(element: etree._Element, before: Node, after: Node, source: Source) -> bool:
    """Apply the difference from `before` to `after` to an element of a document; return whether there is one."""
    old, new = _by_tag(before), _by_tag(after)
    differing = [tag for tag in {**new, **old} if not _all_same(old.get(tag, []), new.get(tag, []))]
    if not differing and before.text == after.text and before.attributes == after.attributes:
        return False
    source.note(element)
    foreign = "type" in before.attributes and element.get("type") not in (None, before.attributes["type"])
    changed = _carry_attributes(element, before, after)
    if before.text != after.text:
        element.text = after.text
        changed = True
    if changed and (unit := after.attributes.get("unit")):
        element.set("unit", unit)
    for tag in differing:
        was, wanted = old.get(tag, []), new.get(tag, [])
        is_unknown = not was and element.find(tag) is not None  # to the codec, which read none
        if tag == "source" and (foreign or is_unknown):
            # The document has sources of another type, which do not fit beside a new one.
            _take_out(element, tag)
            _carry_group(element, tag, [], wanted, after, source)
            _set_attributes(element, after)
        elif is_unknown and tag not in _REPEATED:
            _replace(element, tag, wanted[0])
            _set_attributes(element, after)
        else:
            _carry_group(element, tag, was, wanted, after, source)
    return changed or bool(differing)


def _by_tag(node: Node) -> dict[str, list[Node]]:
    """Return the children of a node by their tags."""
    children: dict[str, list[Node]] = {}
    for child in node.children:
        children.setdefault(child.tag, []).append(child)
    return children


def _take_out(element: etree._Element, tag: str) -> None:
    for child in list(element.iterchildren(tag)):
        remove(child)


def _replace(element: etree._Element, tag: str, node: Node) -> None:
    """Replace the element with this tag, whose content the codec does not know, by the new one."""
    there, *others = element.iterchildren(tag)
    for other in others:
        remove(other)
    add_after(element, there, node)
    remove(there)


def _set_attributes(element: etree._Element, after: Node) -> None:
    for name, value in after.attributes.items():
        if not name.startswith("xmlns:"):
            element.set(name, value)


def _carry_attributes(element: etree._Element, before: Node, after: Node) -> bool:
    changed = False
    for name in {**before.attributes, **after.attributes}:
        value = after.attributes.get(name)
        if before.attributes.get(name) == value or name.startswith("xmlns:"):
            continue
        changed = True
        if value is not None:
            element.set(name, value)
        elif name in element.attrib:
            del element.attrib[name]
    return changed


def _carry_group(
    parent: etree._Element, tag: str, old: list[Node], new: list[Node], after: Node, source: Source
) -> None:
    """Carry over the changes to the children with one tag, `new` of which are those of `after`."""
    said = _said(parent, tag, old)
    pairs = _pairs(tag, old, new)
    kept = set(pairs.values())
    for index, element in said.items():
        if index not in kept:
            remove(element)
    placed: list[etree._Element] = []
    for index, node in enumerate(new):
        previous = pairs.get(index)
        if previous is not None and previous in said:
            element = said[previous]
            carry_over(element, old[previous], node, source)
        else:
            element = add_after(parent, placed[-1] if placed else _anchor(parent, after, node), node)
        placed.append(element)
    _put_in_order(placed)


def _said(parent: etree._Element, tag: str, old: list[Node]) -> dict[int, etree._Element]:
    """Return the elements of the document that correspond to the old nodes, by index of the node."""
    elements = _read_ones(parent, tag)
    key = _KEYS.get(tag)
    if key is None:
        found = dict(enumerate(elements[: len(old)]))
    else:
        matches = _matches([key(node) for node in old], [key(to_node(element)) for element in elements])
        found = {index: elements[place] for index, place in matches.items()}
        if tag in _MAY_CHANGE:
            taken = set(matches.values())
            rest = (element for place, element in enumerate(elements) if place not in taken)
            found |= dict(zip((index for index in range(len(old)) if index not in matches), rest, strict=False))
    if len(found) < len(old) and tag in _STAND_INS:
        others = _read_ones(parent, _STAND_INS[tag], stands_in=True)
        keys = [key(to_node(element)) for element in others] if key else list(range(len(others)))
        wanted = [key(node) for node in old] if key else list(range(len(old)))
        for index, place in _matches(wanted, keys).items():
            found.setdefault(index, others[place])
    return found


def _read_ones(parent: etree._Element, tag: str, *, stands_in: bool = False) -> list[etree._Element]:
    """Return the elements with a tag that the codec reads."""
    elements = list(parent.iterchildren(tag))
    is_read = None if stands_in and tag != "console" else _IS_READ.get(tag)
    return elements if is_read is None else [element for element in elements if is_read(to_node(element))]


def _pairs(tag: str, old: list[Node], new: list[Node]) -> dict[int, int]:
    """Return which old node becomes which new one: the old index by the new index."""
    key = _KEYS.get(tag)
    if key is None:
        return {index: index for index in range(min(len(old), len(new)))}
    pairs = _matches([key(node) for node in new], [key(node) for node in old])
    if tag in _MAY_CHANGE:
        taken = set(pairs.values())
        rest = (place for place in range(len(old)) if place not in taken)
        pairs |= dict(zip((index for index in range(len(new)) if index not in pairs), rest, strict=False))
    return pairs


def _matches(wanted: Sequence[Hashable], offered: Sequence[Hashable]) -> dict[int, int]:
    """Match equal keys, each at most once: the index in `offered` by the index in `wanted`."""
    places: dict[Hashable, deque[int]] = {}
    for place, key in enumerate(offered):
        places.setdefault(key, deque()).append(place)
    return {index: places[key].popleft() for index, key in enumerate(wanted) if places.get(key)}


def _all_same(some: Sequence[Node], others: Sequence[Node]) -> bool:
    return len(some) == len(others) and all(map(_same, some, others))


def _same(one: Node, other: Node) -> bool:
    return one is other or (
        one.tag == other.tag
        and one.text == other.text
        and one.attributes == other.attributes
        and _all_same(one.children, other.children)
    )


def _anchor(parent: etree._Element, after: Node, node: Node) -> etree._Element | None:
    """Return the element to insert a new one after: the last element that precedes it in libvirt's order."""
    earlier: set[str] = set()
    for one in undeferred(after.children):
        if one is node:
            break
        earlier.add(one.tag)
    last = None
    for child in parent.iterchildren(tag=etree.Element):
        if child.tag in earlier:
            last = child
    return last


def _put_in_order(elements: list[etree._Element]) -> None:
    parent = elements[0].getparent() if len(elements) > 1 else None
    if parent is None:
        return
    children = list(parent)
    place_of = {child: place for place, child in enumerate(children)}
    places = [place_of[element] for element in elements]
    if places == sorted(places):
        return
    tails = [child.tail for child in children]
    for place, element in zip(sorted(places), elements, strict=True):
        children[place] = element
    parent[:] = children
    for child, tail in zip(children, tails, strict=True):
        child.tail = tail  # the whitespace stays where it is
