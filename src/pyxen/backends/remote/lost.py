"""What was lost of a subscription: how much, and the items that say so."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pyxen.events import EventsLost
from pyxen.records.qmp_event import QmpEventsLost
from pyxen.records.xenstore import NodeChange

__all__ = ["added", "events_lost", "lost_with", "nodes_lost", "qmp_events_lost"]


def added(lost: int | None, more: int | None) -> int | None:
    """Return the sum of two losses; None is a loss of an unknown number, which the sum is, too."""
    return None if lost is None or more is None else lost + more


def lost_with(item: Any) -> int | None:
    """Return how much is lost with an item, which may itself say that something was."""
    if isinstance(item, (EventsLost, QmpEventsLost)):
        return None if item.count is None else max(1, item.count)
    return 1


def events_lost(count: int | None) -> list[EventsLost]:
    """Return what says that events of a host were lost."""
    return [EventsLost(time=datetime.now(UTC), count=count)]


def qmp_events_lost(count: int | None) -> list[QmpEventsLost]:
    """Return what says that events of QEMU were lost."""
    return [QmpEventsLost.of(count)]


def nodes_lost(paths: Iterable[str]) -> list[NodeChange]:
    """Return what says that changes below any of these paths were lost: a mark for each, as each is read again."""
    return [NodeChange(path, path, lost=True) for path in dict.fromkeys(paths)]
