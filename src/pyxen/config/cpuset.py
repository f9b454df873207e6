"""Sets of CPUs, as xl writes them: ``"0-3,^1"``, ``"all"``, ``"nodes:0,^nodes:1"``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, NamedTuple

from pyxen._printable import quoted, shown_number
from pyxen.config.base import Refused, join_path

__all__ = ["CpuSet", "affinity", "cpu_set"]

_RUN = re.compile("1+")
_TERM = re.compile(r"(\^?)(nodes?:)?(all|(\d+)(?:-(\d+))?)")
_LARGEST: Final = 2**15 - 1  # Xen's own limit of CPUs is 16384


@dataclass(frozen=True, slots=True, repr=False, init=False)
class CpuSet:
    """A set of CPUs (or of vCPUs, or of NUMA nodes), immutable and compared by value.

    ``CpuSet("0-3,^1")`` takes xl's notation: terms apply from left to right, and ``^`` removes. ``CpuSet([0, 2, 3])``
    is the same set. The meaning of ``"all"`` and ``"nodes:0"`` depends on the host: such a set has no members until it
    is resolved.

    Attributes:
        text: The set in xl's notation, in its shortest form.
        is_symbolic: Whether it needs `resolve` first.
    """

    text: str
    is_symbolic: bool
    # Not its members: ten characters can mean thirty thousand of them, and a configuration has a set for each vCPU.
    _runs: tuple[range, ...] = field(compare=False)

    def __init__(self, cpus: str | Iterable[int]) -> None:
        terms = _parse(cpus) if isinstance(cpus, str) else ()
        symbolic = any(term.nodes or term.everything for term in terms)
        if symbolic:
            runs: tuple[range, ...] = ()
            text = ",".join(map(str, terms))
        else:
            runs = _evaluate(terms, (), {}) if isinstance(cpus, str) else _runs_of(_members(cpus))
            text = ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "is_symbolic", symbolic)
        object.__setattr__(self, "_runs", runs)

    @property
    def cpus(self) -> tuple[int, ...]:
        """Its members, ascending; empty while `is_symbolic`."""
        return tuple(self)

    def resolve(self, cpus: Iterable[int], nodes: Mapping[int, Iterable[int]] | None = None) -> CpuSet:
        """Return the set for one host.

        Args:
            cpus: The host's CPUs, for ``all``.
            nodes: The CPUs of each NUMA node by its number, for ``nodes:N``.

        Returns:
            A set that is not symbolic.

        Raises:
            ValueError: It names a node that is not in ``nodes``.
        """
        if not self.is_symbolic:
            return self
        everything = tuple(cpus)
        by_node = {node: tuple(members) for node, members in (nodes or {}).items()}
        return CpuSet(chain.from_iterable(_evaluate(_parse(self.text), everything, by_node)))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"CpuSet({self.text!r})"

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._runs)

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def __contains__(self, cpu: object) -> bool:
        return any(cpu in run for run in self._runs)

    def __bool__(self) -> bool:
        return bool(self.text)


def cpu_set(value: Any) -> CpuSet:
    """Pass a `CpuSet`, its notation, or the numbers of CPUs."""
    if isinstance(value, CpuSet):
        return value
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, (str, Iterable)):
        raise Refused(f"takes a set of CPUs such as '0-3,^1', not {type(value).__name__}")
    try:
        return CpuSet(value)
    except (TypeError, ValueError) as error:
        raise Refused(str(error)) from None


def affinity(value: Any) -> CpuSet | tuple[CpuSet, ...] | None:
    """Pass one set for all vCPUs, or a list with one per vCPU. In a list, a plain number is a set of one CPU."""
    if isinstance(value, (str, CpuSet)) or not isinstance(value, Iterable):
        return cpu_set(value)
    kept = []
    for index, item in enumerate(value):
        try:
            kept.append(cpu_set((item,) if isinstance(item, int) else item))
        except Refused as refused:
            raise Refused(refused.reason, join_path(f"[{index}]", refused.path)) from None
    return tuple(kept) or None


class _Term(NamedTuple):
    out: bool
    nodes: bool
    everything: bool
    first: int = 0
    last: int = 0

    def __str__(self) -> str:
        if self.everything:
            return "all"
        numbers = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{'^' if self.out else ''}{'nodes:' if self.nodes else ''}{numbers}"


def _parse(text: str) -> tuple[_Term, ...]:
    terms = []
    for piece in text.split(","):
        if not piece:
            continue
        found = _TERM.fullmatch(piece)
        if not found:
            forms = "write 'N', 'N-M', '^N', 'all' or 'nodes:N', joined by commas"
            raise ValueError(f"{quoted(piece)} is not a range of CPUs: {forms}")
        out, nodes, what, first, last = found.groups()
        if what == "all":
            if out:
                raise ValueError("'^' cannot be combined with 'all'")
            terms.append(_Term(out=False, nodes=False, everything=True))
            continue
        low, high = _number(first), _number(last or first)
        if high < low:
            raise ValueError(f"the range {quoted(what)} runs backwards")
        terms.append(_Term(bool(out), bool(nodes), everything=False, first=low, last=high))
    return tuple(terms)


def _number(digits: str) -> int:
    if len(digits) > 9 or int(digits) > _LARGEST:
        raise ValueError(f"CPU {digits[:12]} is out of range; the largest is {_LARGEST}")
    return int(digits)


def _members(cpus: Iterable[Any]) -> tuple[int, ...]:
    members = list(cpus)
    for cpu in members:  # first: what is no number cannot be sorted
        if not isinstance(cpu, int) or isinstance(cpu, bool) or not 0 <= cpu <= _LARGEST:
            raise ValueError(f"{shown_number(cpu)} is not the number of a CPU; it can be 0 to {_LARGEST}")
    return tuple(sorted(set(members)))


def _runs_of(members: Iterable[int]) -> tuple[range, ...]:
    runs: list[range] = []
    for cpu in members:
        if runs and cpu == runs[-1].stop:
            runs[-1] = range(runs[-1].start, cpu + 1)
        else:
            runs.append(range(cpu, cpu + 1))
    return tuple(runs)


def _evaluate(
    terms: Iterable[_Term], everything: Iterable[int], nodes: Mapping[int, tuple[int, ...]]
) -> tuple[range, ...]:
    # A set is the bits of one number, so that a long text of wide ranges is not a loop over each of their CPUs.
    members, all_bits = 0, _bits(everything)
    bits_of = {node: _bits(cpus) for node, cpus in nodes.items()}
    for term in terms:
        if term.everything:
            members |= all_bits
            continue
        named = 0
        if not term.nodes:
            named = (1 << term.last + 1) - (1 << term.first)
        else:
            for number in range(term.first, term.last + 1):
                if number not in bits_of:
                    raise ValueError(f"this host has no NUMA node {number}")
                named |= bits_of[number]
        members = members & ~named if term.out else members | named
    return tuple(range(*run.span()) for run in _RUN.finditer(f"{members:b}"[::-1]))


def _bits(cpus: Iterable[int]) -> int:
    bits = 0
    for cpu in cpus:
        bits |= 1 << cpu
    return bits
