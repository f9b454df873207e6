"""A CPU pool of a simulated host, and the parameters of its scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from pyxen.config import Scheduler, SchedulerKind

__all__ = ["BOOT_SCHEDULER", "Pool", "default_scheduler"]

BOOT_SCHEDULER: Final = SchedulerKind.CREDIT2
"""The scheduler that the host was started with."""

_DEFAULTS: Final[dict[SchedulerKind, dict[str, Any]]] = {
    SchedulerKind.CREDIT: {"tslice_ms": 30, "ratelimit_us": 1000, "vcpu_migr_delay_us": 0},
    SchedulerKind.CREDIT2: {"ratelimit_us": 1000},
}
"""Xen's parameters for a new pool."""

_OF_DOMAINS: Final[dict[SchedulerKind, dict[str, Any]]] = {
    SchedulerKind.CREDIT: {"weight": 256, "cap": 0},
    SchedulerKind.CREDIT2: {"weight": 256, "cap": 0},
    SchedulerKind.RTDS: {"period": 10_000, "budget": 4000, "extratime": 1},
}
"""Xen's parameters for a new domain."""


@dataclass(slots=True)
class Pool:
    """A CPU pool."""

    number: int
    name: str
    uuid: UUID | None
    scheduler: SchedulerKind
    cpus: set[int]
    parameters: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = dict(_DEFAULTS.get(self.scheduler, {}))


def default_scheduler(kind: SchedulerKind) -> Scheduler:
    """Return the parameters of a domain that has just come under a scheduler."""
    return Scheduler(**_OF_DOMAINS.get(kind, {}))
