"""The grammars of ``cpus`` and ``cpus_soft`` (``"0-3,^1"``), of ``vnuma`` and of ``llc_colors``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import CpuSet, VNode
from pyxen.units import kib_to_mib
from pyxen.xlcfg.c_numbers import decimal
from pyxen.xlcfg.item_grammar import Note, SpecError, number, pair, words

__all__ = ["read_colors", "read_cpus", "read_hard_cpus", "read_vnode", "write_colors", "write_vnode"]

_MOST_COLORS: Final = 65_536
_LARGEST_COLOR: Final = 2**32 - 2
_SPACED_NUMBER = re.compile(r"[ \t\n\v\f\r]+\+?(?=[0-9])|\+(?=[0-9])")
_COLORS = re.compile(r"[ \t\n\v\f\r]*\+?([0-9]+)(?:-[ \t\n\v\f\r]*\+?([0-9]+))?")


def read_cpus(text: str) -> CpuSet:
    """Read a set of CPUs.

    Raises:
        SpecError: xl would refuse it.
    """
    try:
        cpus = CpuSet(_SPACED_NUMBER.sub("", text))
    except ValueError as error:
        raise SpecError(str(error)) from None
    return cpus


def read_hard_cpus(text: str) -> CpuSet:
    """Read a set of CPUs that vCPUs are confined to, so not an empty one.

    Raises:
        SpecError: xl would refuse it.
    """
    cpus = read_cpus(text)
    if not cpus:
        raise SpecError("the set of CPUs is empty")
    return cpus


def read_vnode(items: Iterable[str], nodes: int, note: Note) -> VNode:
    """Read one item of ``vnuma``, itself a list: ``["pnode=0", "size=1024", "vcpus=0-1", "vdistances=10,20"]``.

    Args:
        items: The strings of the list.
        nodes: How many virtual nodes there are.
        note: Called with what xl passes over.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    said: dict[str, Any] = {}
    vcpus: list[str] = []
    for item in items:
        name, value = pair(item, "setting of a virtual node")
        if name == "pnode":
            said["pnode"] = number(value, note)
        elif name == "size":
            said["size"] = kib_to_mib(number(value, note) << 10)
        elif name == "vcpus":
            vcpus.append(_vcpus(value).text)
        elif name == "vdistances":
            distances = [number(word, note) for word in words(value)]
            if len(distances) > nodes:
                raise SpecError(f"there are {len(distances)} distances for {nodes} nodes")
            said["distances"] = distances
        else:
            note(item, "xl ignores it without a warning")
    if vcpus:
        said["vcpus"] = CpuSet(",".join(vcpus))
    return VNode(**said)


def _vcpus(text: str) -> CpuSet:
    try:
        vcpus = CpuSet(text)
    except ValueError as error:
        raise SpecError(str(error)) from None
    if vcpus.is_symbolic or "^" in text:
        raise SpecError(f"{quoted(text)} is not a list of vCPUs; write it like 0-3,7")
    return vcpus


def write_vnode(node: VNode) -> list[str]:
    """Write one item of ``vnuma``."""
    items = []
    if node.pnode is not None:
        items.append(f"pnode={node.pnode}")
    if node.size is not None:
        items.append(f"size={math.ceil(node.size)}")  # xl counts in whole MiB; the difference is told as a loss
    if node.vcpus:
        items.append(f"vcpus={node.vcpus}")
    if node.distances:
        items.append(f"vdistances={','.join(map(str, node.distances))}")
    return items


def read_colors(items: Iterable[str]) -> list[int]:
    """Read ``llc_colors``: numbers and ranges.

    Raises:
        SpecError: xl would refuse it, or it names more colours than any cache has.
    """
    colors: list[int] = []
    for item in items:
        found = _COLORS.match(item)
        if not found:
            raise SpecError(f"{quoted(item)} is not a colour or a range of colours; write it like 3 or 0-7")
        first = decimal(found[1])
        last = decimal(found[2]) if found[2] else first
        if last < first:
            raise SpecError(f"the range {quoted(item)} runs backwards")
        if last - first + len(colors) >= _MOST_COLORS or last > _LARGEST_COLOR:
            raise SpecError(f"{quoted(item)} names more colours than any cache has")
        colors.extend(range(first, last + 1))
    return colors


def write_colors(colors: Sequence[int]) -> list[str]:
    """Write ``llc_colors``, in ranges where numbers follow each other."""
    runs: list[list[int]] = []
    for color in colors:
        if runs and color == runs[-1][1] + 1:
            runs[-1][1] = color
        else:
            runs.append([color, color])
    return [str(first) if first == last else f"{first}-{last}" for first, last in runs]
