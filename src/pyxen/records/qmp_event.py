"""An event that a domain's QEMU reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyxen.records.base import Record

__all__ = ["QmpEvent", "QmpEventsLost"]


@dataclass(frozen=True, slots=True)
class QmpEvent(Record):
    """An event of QEMU, see `Qmp.events`. All of it comes from QEMU, which a guest may have taken over."""

    name: str
    """Its name, e.g. ``RESET``; QEMU's manual lists them."""
    data: dict[str, Any] = field(hash=False)  # a dict has no hash
    """What QEMU says about it, as `json` makes it; empty if it says nothing."""
    time: datetime | None
    """When it happened, in UTC, by QEMU's clock; None if QEMU does not know."""


@dataclass(frozen=True, slots=True)
class QmpEventsLost(QmpEvent):
    """Events were lost on their way from another host. Readers count them; users do not get this."""

    count: int | None
    """How many; None if that is not known."""

    @classmethod
    def of(cls, count: int | None) -> QmpEventsLost:
        """Return one; its name is what an older pyxen shows."""
        return cls("EVENTS_LOST", {}, None, count)
