"""Keys of CPUs: ``vcpus``, ``cpus``, ``vnuma``, ``cpuid``, and the modes of timers and of altp2m."""

from __future__ import annotations

import functools
from typing import Final

from pyxen.config import Altp2mMode, DomainType, LibxlEnum, TimerMode, TscMode
from pyxen.xlcfg.cpuid import read_cpuid, read_xend_cpuid
from pyxen.xlcfg.cpus import read_colors, read_cpus, read_hard_cpus, read_vnode
from pyxen.xlcfg.item_grammar import Note, SpecError
from pyxen.xlcfg.read_state import Reader, XlReadState
from pyxen.xlcfg.source import unnoting

__all__ = ["READERS", "read_limits"]


_UINT16_MAX: Final = 2**16 - 1


def _vcpus(draft: XlReadState, name: str) -> None:
    number = draft.source.integer(name)
    if number is not None:
        draft.fields[name] = max(number, 1)


def _maxvcpus(draft: XlReadState, name: str) -> None:
    number = draft.source.integer(name)
    if number:
        draft.fields[name] = number


def _vnuma(draft: XlReadState, name: str) -> None:
    value = draft.settings.value(name)
    if not isinstance(value, list):
        draft.source.note(name, "xl expects a list here, and ignores a single value")
        return

    def read(item: object, note: Note) -> object:
        if not isinstance(item, list):
            raise SpecError("a virtual node is a list of strings")
        return read_vnode([word for word in item if isinstance(word, str)], len(value), note)

    draft.fields["vnuma"] = draft.source.each(name, value, read)


def read_limits(draft: XlReadState) -> None:
    """Check the limits that come with virtual nodes, and read what depends on the number of vCPUs.

    Raises:
        ParseError: xl would refuse it.
    """
    nodes = draft.fields.get("vnuma", ())
    vcpus, maxvcpus = draft.fields.get("vcpus", 1), draft.fields.get("maxvcpus")
    if nodes:
        of_nodes = sum(len(node.vcpus) for node in nodes)
        if maxvcpus not in (None, of_nodes):
            raise draft.source.error("maxvcpus", f"it is {maxvcpus}, but the nodes of vnuma have {of_nodes} vCPUs")
        maxvcpus = maxvcpus or of_nodes
        size = sum(node.size or 0 for node in nodes)
        if draft.fields.get("maxmem", size) != size:
            raise draft.source.error(
                "maxmem", f"it is {draft.fields['maxmem']}, but the nodes of vnuma have {size} MiB"
            )
    maxvcpus = maxvcpus or vcpus
    if maxvcpus < vcpus:
        raise draft.source.error("maxvcpus", f"it is {maxvcpus}, less than vcpus, {vcpus}")
    for name in ("cpus", "cpus_soft"):
        if name in draft.settings:
            _affinity(draft, name, maxvcpus)


def _affinity(draft: XlReadState, name: str, maxvcpus: int) -> None:
    value = draft.settings.value(name)
    read = read_hard_cpus if name == "cpus" else read_cpus
    if isinstance(value, str):
        draft.fields[name] = draft.source.read(name, lambda: read(value))
        return
    items = draft.source.items(name)
    if len(items) > maxvcpus:
        draft.source.note(name, "the guest has fewer vCPUs", draft.source.written(name, maxvcpus), item=maxvcpus)
    draft.fields[name] = draft.source.each(name, items[:maxvcpus], unnoting(read))
    if not items:
        draft.fields["numa_placement"] = False


def _llc_colors(draft: XlReadState, name: str) -> None:
    items = draft.source.plain_items(name)
    draft.fields[name] = draft.source.read(name, lambda: read_colors(items))


def _cpuid(draft: XlReadState, name: str) -> None:
    value = draft.settings.value(name)
    if isinstance(value, str):
        draft.fields[name] = read_cpuid(value, draft.source.noting(name))
        return
    items = draft.source.items(name)
    noting = functools.partial(draft.source.noting, name)
    draft.fields[name] = draft.source.read(name, lambda: read_xend_cpuid(items, noting))


def _mode(draft: XlReadState, name: str, kind: type[LibxlEnum]) -> None:
    """Read a mode by its name or, as old files have it, by its number."""
    number = draft.settings.integer(name)
    modes = list(kind)
    if number is None:
        value = draft.source.string(name)
        if value is not None:
            draft.fields[name] = draft.member(name, kind, value)
    elif 0 <= number < len(modes):
        draft.fields[name] = modes[number]
    else:
        raise draft.source.error(name, f"{number} is not a value of {name}; it can be {', '.join(modes)}")


def _timer_mode(draft: XlReadState, name: str) -> None:
    if draft.guest is DomainType.PV and draft.source.string(name) is not None:
        raise draft.source.error(name, "PV guests have no timer mode")
    _mode(draft, name, TimerMode)


def _altp2m_count(draft: XlReadState, name: str) -> None:
    number = draft.settings.integer(name)
    if number is None:
        draft.source.integer(name)
    elif not 0 <= number <= _UINT16_MAX:
        raise draft.source.error(name, f"{number} is out of range; it can be 0 to {_UINT16_MAX}")
    else:
        draft.fields[name] = number


READERS: Final[dict[str, Reader]] = {
    "vcpus": _vcpus,
    "maxvcpus": _maxvcpus,
    "vnuma": _vnuma,
    "llc_colors": _llc_colors,
    "cpuid": _cpuid,
    "tsc_mode": lambda draft, name: _mode(draft, name, TscMode),
    "altp2m": lambda draft, name: _mode(draft, name, Altp2mMode),
    "timer_mode": _timer_mode,
    "altp2m_count": _altp2m_count,
}
"""Readers by key."""
