"""What several tests of events need: readers, and events in few words."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from pyxen import (
    DeviceEvent,
    DiskEjected,
    DomainCreated,
    DomainRenamed,
    DomainShutdown,
    Event,
    EventReader,
    EventsLost,
    MemoryTargetChanged,
    ShutdownReason,
)
from pyxen.backends.base import Backend
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from pyxen.readers.events import event_filter
from tests.waiting import SECONDS, until

__all__ = [
    "NOW",
    "Silent",
    "created",
    "read",
    "rest",
    "short",
    "tell_all",
    "told",
    "wait_until",
    "watchers_threads",
]


NOW = datetime.now(UTC)


def read(watcher: Watcher, *kinds: type[Event], domain: Any = None, maxlen: int = 10_000) -> EventReader[Any]:
    backend = SimpleNamespace(subscribe=watcher.subscribe, completer=None)
    return EventReader(cast("Backend", backend), event_filter(kinds, domain), maxlen)


def tell_all(watcher: Watcher) -> None:
    """Wait until a watcher has told its readers of all that has happened: it does so before another one joins."""
    read(watcher).close()


def rest(watcher: Watcher, events: EventReader[Any]) -> list[str]:
    """Return the events of all that has happened, in short, once the watcher has noticed it."""
    tell_all(watcher)
    return [short(event) for event in iter(lambda: events.get(0), None)]


def told(events: EventReader[Any], count: int) -> list[str]:
    """Return the next events, in short, and check that no more come soon.

    What it does not wait for may not be noticed yet: see `rest`.
    """
    found = [events.get(SECONDS) for _ in range(count)]
    assert events.get(0.05) is None
    return [short(event) for event in found]


def short(event: Event | None) -> str:
    match event:
        case DomainShutdown():
            detail = cast("ShutdownReason", event.reason).name
        case DomainRenamed():
            detail = f"{event.old}->{event.new}"
        case MemoryTargetChanged():
            detail = str(event.target_kib)
        case DiskEjected():
            detail = event.vdev
        case DeviceEvent():
            detail = f"{event.kind}{event.devid}@{event.backend}"
        case EventsLost():
            return f"EventsLost {event.count}"
        case _:
            detail = ""
    assert event is not None, "nothing came"
    return f"{type(event).__name__} {event.domid} {event.name} {detail}".rstrip()


def wait_until(condition: Callable[[], bool]) -> None:
    until(condition, "what is waited for")


def watchers_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pyxen-events"]


class Silent:
    """A backend on which only happens what the test says."""

    completer = None

    on_event: Callable[[Event], None]

    def subscribe(self, on_event: Callable[[Event], None], _on_end: Callable[[], None]) -> Callable[[], None]:
        self.on_event = on_event
        return lambda: None


def created(domid: int, name: str = "d") -> DomainCreated:
    return DomainCreated(domid=domid, uuid=UUID(int=domid), name=name, time=NOW)
