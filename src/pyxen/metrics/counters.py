"""Counters that only grow while their domain lives, made of counters that begin again."""

from __future__ import annotations

from typing import Final, TypeAlias
from uuid import UUID

from pyxen.metrics.catalogue import Metric

__all__ = ["Counters", "DomainKey"]

DomainKey: TypeAlias = tuple[int, UUID]
"""Domid and uuid: Xen reuses domids, and a uuid stays when a virtual machine restarts."""


class Counters:
    """What was counted of each domain so far.

    A device that is detached and attached again counts from 0, and so does a QEMU that was restarted. What was counted
    before is added. Use it from one thread at a time.
    """

    def __init__(self) -> None:
        self._domains: dict[DomainKey, _Counted] = {}

    def keep(self, live: set[DomainKey]) -> None:
        """Forget all domains but these."""
        self._domains = {key: counted for key, counted in self._domains.items() if key in live}

    def value(self, domain: DomainKey, metric: Metric, device: str, raw: int) -> int:
        """Return what a counter has counted in the life of its domain.

        Args:
            domain: The domain.
            metric: The metric.
            device: Which disk, vif or vCPU it is about.
            raw: What the host says now.
        """
        counted = self._domains.setdefault(domain, _Counted())
        key: Final = (metric.name, device)
        before = counted.last.get(key, 0)
        if raw < before:
            counted.lost[key] = counted.lost.get(key, 0) + before
        counted.last[key] = raw
        return counted.lost.get(key, 0) + raw


class _Counted:
    """What was counted of a domain, by metric and device: the last value, and the sum of what was lost since."""

    __slots__ = ("last", "lost")

    def __init__(self) -> None:
        self.last: dict[tuple[str, str], int] = {}
        self.lost: dict[tuple[str, str], int] = {}
