"""Snapshots of the memory of a domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyxen.records.base import Record

__all__ = ["DomainMemory"]

_SLACK_KIB: Final = 1024
"""How far a guest that has reached its target may be from it: libxl lets a domain exceed its target by as much."""


@dataclass(frozen=True, slots=True)
class DomainMemory(Record):
    """A snapshot of a domain's memory: what it has, and what it should have."""

    current_kib: int
    """Memory that it has now, in KiB."""
    target_kib: int | None
    """Memory that it should use, as `Domain.set_memory` says, in KiB. None for a dom0 that has never been given one."""
    maximum_kib: int | None
    """The most that `Domain.set_memory` can give it, as `DomainConfig.maxmem`, in KiB. None as for `target_kib`."""
    limit_kib: int
    """Memory that Xen allows it now, in KiB: the target and some slack; a very large number without a limit."""
    videoram_kib: int
    """The part of the memory that is the graphics card's, in KiB."""
    claimed_kib: int
    """Memory that is reserved for it and that it does not have yet, in KiB, as ``xl claims``."""
    shared_kib: int
    """Memory that it shares with other domains (``xl sharing``), in KiB."""
    paged_kib: int
    """Memory that is paged out, in KiB."""

    @property
    def is_at_target(self) -> bool:
        """Whether it has what it should have, to within 1 MiB; True without a target."""
        if self.target_kib is None:
            return True
        return abs(self.current_kib + self.claimed_kib - self.target_kib) <= _SLACK_KIB
