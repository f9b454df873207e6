"""Virtual NUMA nodes (xl.cfg ``vnuma``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyxen.config.base import Coerced, Part, setting
from pyxen.config.checks import UINT32_MAX, integer, many, mebibytes
from pyxen.config.cpuset import CpuSet, cpu_set

__all__ = ["VNode"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class VNode(Part):
    """A NUMA node that the guest sees, as one item of xl.cfg's ``vnuma``."""

    vcpus: Coerced[CpuSet, CpuSet | str | Iterable[int]] = setting(CpuSet(""), cpu_set)
    """The vCPUs in it."""
    size: float | None = setting(None, mebibytes)
    """Its memory, in MiB; libxl demands it."""
    distances: Coerced[tuple[int, ...], Iterable[int]] = setting((), many(integer(0, UINT32_MAX)), key="vdistances")
    """Distances from it to every node, itself included, 10 being its own. xl treats missing ones as 0."""
    pnode: int | None = setting(None, integer(0, UINT32_MAX))
    """The host's node that its memory is taken from. Default: node 0; setting it also switches NUMA placement off."""

    def __str__(self) -> str:
        """Return it as xl.cfg has it."""
        distances = ",".join(map(str, self.distances))
        said = {"pnode": self.pnode, "size": self.size, "vcpus": self.vcpus or None, "vdistances": distances or None}
        words = [f'"{name}={value}"' for name, value in said.items() if value is not None]
        return f"[{', '.join(words)}]"
