"""Snapshots of CPU pools, of their schedulers, and of vCPUs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias
from uuid import UUID

from pyxen.config import CpuSet, SchedulerKind
from pyxen.records.base import Record

__all__ = ["CpupoolInfo", "CpupoolKey", "CpupoolRef", "PoolScheduler", "VcpuInfo", "VcpuState", "VcpuStateName"]


class VcpuState(StrEnum):
    """State of a vCPU."""

    RUNNING = "running"
    """On a CPU."""
    BLOCKED = "blocked"
    """Idle: it waits for an event."""
    READY = "ready"
    """Neither running nor blocked: it waits for a CPU, or its domain is paused."""
    OFFLINE = "offline"
    """The guest has not brought it online."""


VcpuStateName: TypeAlias = Literal["running", "blocked", "ready", "offline"]
"""The names of the states, for type checkers."""


@dataclass(frozen=True, slots=True)
class VcpuInfo(Record):
    """A snapshot of a vCPU, as a line of ``xl vcpu-list``."""

    number: int
    """Its number, from 0."""
    cpu: int | None
    """The CPU on which it runs, or ran last; None while it is offline."""
    online: bool
    """Whether the guest has brought it online."""
    state: VcpuState
    """Its state."""
    cpu_time_ns: int
    """CPU time that it has used, in nanoseconds."""
    cpus: CpuSet
    """CPUs of the host on which it may run (hard affinity). Of these, Xen uses the ones in the domain's CPU pool."""
    cpus_soft: CpuSet
    """CPUs of the host that it prefers (soft affinity)."""


@dataclass(frozen=True, slots=True)
class CpupoolInfo(Record):
    """A snapshot of a CPU pool, as a line of ``xl cpupool-list``."""

    number: int
    """Its number; 0 is the pool of dom0. Xen reuses the numbers of destroyed pools."""
    name: str | None
    """Its name, ``Pool-0`` for the first pool unless it was renamed. None for a pool without a name."""
    uuid: UUID | None
    """Its uuid, which tells it from a later pool with the same number. None for pools that Xen made, such as pool 0."""
    scheduler: SchedulerKind
    """Its scheduler."""
    cpus: CpuSet
    """Its CPUs; a pool can be without."""
    domains: tuple[int, ...]
    """Domids of its domains, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolScheduler(Record):
    """Parameters of the scheduler of a CPU pool. A scheduler has only some of them; the others are None."""

    kind: SchedulerKind | None = None
    """The scheduler. `Cpupool.set_scheduler` cannot change it: None, or the scheduler that the pool has."""
    tslice_ms: int | None = None
    """Longest time for which a vCPU runs before another one gets the CPU, in milliseconds, 1 to 1000 (credit)."""
    ratelimit_us: int | None = None
    """Time for which a vCPU runs before another one may preempt it, in microseconds: 100 to 500000, or 0 for no limit
    (credit, credit2). With credit, it is at most ``tslice_ms``."""
    vcpu_migr_delay_us: int | None = None
    """Time for which a vCPU that has run is not moved to another CPU, in microseconds, 0 to 100000 (credit)."""


@dataclass(frozen=True, slots=True)
class CpupoolRef:
    """A CPU pool's number and uuid: numbers are reused, so the uuid tells whether it is still the same pool."""

    number: int
    uuid: UUID | None


CpupoolKey = str | int | CpupoolRef
"""A CPU pool by its name, by its number, or as it was found earlier."""
