"""Scheduling parameters of a domain (xl.cfg ``cpu_weight``, ``cap`` …)."""

from __future__ import annotations

from dataclasses import dataclass

from pyxen.config.base import Coerced, Part, setting
from pyxen.config.checks import INT_MAX, integer, member
from pyxen.config.enum_names import SchedulerKindName
from pyxen.config.enums import SchedulerKind

__all__ = ["Scheduler"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Scheduler(Part):
    """Scheduling parameters. The scheduler of the domain's CPU pool determines which of them apply."""

    weight: int | None = setting(None, integer(0, INT_MAX), key="cpu_weight")
    """Share of the CPU relative to other domains, 1 to 65535 (credit, credit2). Default 256."""
    cap: int | None = setting(None, integer(0, INT_MAX), unit="% of a CPU")
    """Most CPU it may use, in per cent of one CPU; 0 means unlimited (credit, credit2). Default 0."""
    period: int | None = setting(None, integer(0, INT_MAX), unit="µs")
    """Length of a period, in microseconds (rtds). Default 10000."""
    budget: int | None = setting(None, integer(0, INT_MAX), key="", unit="µs")
    """CPU time in each period, in microseconds (rtds). Default 4000. xl.cfg cannot say it, ``xl sched-rtds -b`` can."""
    extratime: int | None = setting(None, integer(0, INT_MAX))
    """Whether it may use time beyond its budget, 0 or 1 (rtds). Default 1."""
    slice: int | None = setting(None, integer(0, INT_MAX))
    """Of the SEDF scheduler, which Xen no longer has: without effect."""
    latency: int | None = setting(None, integer(0, INT_MAX))
    """Of the SEDF scheduler, which Xen no longer has: without effect."""
    kind: Coerced[SchedulerKind | None, SchedulerKind | SchedulerKindName | None] = setting(
        None, member(SchedulerKind), key=""
    )
    """The scheduler these are for. Default: that of the domain's CPU pool."""
