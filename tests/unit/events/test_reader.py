"""Readers: what they miss, what they leave out, and how they end."""

from __future__ import annotations

import threading
import time
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyxen
from pyxen import (
    DeviceAdded,
    DeviceEvent,
    Domain,
    DomainCreated,
    DomainDestroyed,
    DomainPaused,
    DomainRenamed,
    DomainShutdown,
    Event,
    EventReader,
    EventsLost,
    HostClosed,
    InvalidArgument,
    UnsupportedFeature,
)
from pyxen.backends.base import Backend, DomainRef
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from pyxen.operation import Calls
from pyxen.readers.events import event_filter
from tests.unit.events.support import NOW, Silent, created, read, short, told, wait_until
from tests.unit.xenhost import XenHost
from tests.waiting import join


def test_a_slow_reader_is_told_what_it_missed(xen: XenHost, watcher: Watcher) -> None:
    with read(watcher, maxlen=3) as slow, read(watcher) as quick:
        for number in range(8):
            xen.rename(0, f"n{number}")
            told(quick, 1)
        assert [short(slow.get(0)) for _ in range(2)] == [
            "DomainRenamed 0 n0 Domain-0->n0",
            "DomainRenamed 0 n1 n0->n1",
        ]
        xen.rename(0, "later")
        told(quick, 1)
        assert told(slow, 3) == ["DomainRenamed 0 n2 n1->n2", "EventsLost 5", "DomainRenamed 0 later n7->later"]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4))
def test_each_event_is_read_or_counted_in_its_place(steps: list[bool], maxlen: int) -> None:
    backend = Silent()
    hypervisor: EventReader[Event] = EventReader(cast("Backend", backend), event_filter((), None), maxlen)
    read_so_far = put = 0
    for puts in [*steps, *[False] * len(steps)]:
        if puts:
            backend.on_event(created(put))
            put += 1
            assert len(hypervisor._queue._items) <= maxlen + 1
            continue
        event = hypervisor.get(0)
        if isinstance(event, EventsLost):
            assert event.count
            read_so_far += event.count
        elif event is not None:
            assert event.domid == read_so_far
            read_so_far += 1
    assert read_so_far == put


def test_an_unknown_number_lost_stays_unknown() -> None:
    backend = Silent()
    hypervisor: EventReader[Event] = EventReader(cast("Backend", backend), event_filter((), None), 1)
    for event in (created(1), created(2), EventsLost(time=NOW, count=None), created(3)):
        backend.on_event(event)
    assert short(hypervisor.get(0)) == "DomainCreated 1 d"
    assert short(hypervisor.get(0)) == "EventsLost None"
    assert hypervisor.get(0) is None


@pytest.mark.parametrize("closes", ["hypervisor", "watcher"])
def test_close_from_another_thread(watcher: Watcher, closes: str) -> None:
    events = read(watcher)
    found: list[list[Event]] = []
    thread = threading.Thread(target=lambda: found.append(list(events)))
    thread.start()
    time.sleep(0.05)
    (events if closes == "hypervisor" else watcher).close()
    join(thread)
    assert found == [[]]
    with pytest.raises(HostClosed, match="closed"):
        events.get()


def test_a_closed_reader_forgets_what_it_has(xen: XenHost, watcher: Watcher) -> None:
    events = read(watcher)
    xen.rename(0, "dom0")
    wait_until(lambda: bool(events._queue._items))
    events.close()
    events.close()
    assert list(events) == []


@pytest.mark.parametrize(
    ("kinds", "domain", "wanted"),
    [
        ((), None, "created 1 other destroyed added lost"),
        ((DomainCreated,), None, "created other lost"),
        ((DomainCreated, DomainDestroyed), None, "created other destroyed lost"),
        ((DeviceEvent,), None, "added lost"),
        ((Event,), None, "created 1 other destroyed added lost"),
        ((), 1, "created 1 destroyed added lost"),
        ((), UUID(int=1), "created 1 destroyed added lost"),
        ((), str(UUID(int=1)), "created 1 destroyed added lost"),
        ((), "before", "created 1 lost"),
        ((), "after", "1 destroyed added lost"),
        ((DomainCreated,), "after", "lost"),
        ((), Domain(cast("Backend", None), Calls(), DomainRef(1, UUID(int=1))), "created 1 destroyed added lost"),
        ((), Domain(cast("Backend", None), Calls(), DomainRef(1, UUID(int=2))), "lost"),
    ],
)
def test_filters(kinds: tuple[type[Event], ...], domain: Any, wanted: str) -> None:
    backend = Silent()
    hypervisor: EventReader[Event] = EventReader(cast("Backend", backend), event_filter(kinds, domain), 100)
    one: dict[str, Any] = {"domid": 1, "uuid": UUID(int=1), "time": NOW}
    happened = {
        "created": created(1, "before"),
        "1": DomainRenamed(**one, name="after", old="before", new="after"),
        "other": created(2, "other"),
        "destroyed": DomainDestroyed(**one, name="after"),
        "added": DeviceAdded(**one, name="after", kind="vif", devid=0, backend=0),
        "lost": EventsLost(time=NOW, count=1),
    }
    for event in happened.values():
        backend.on_event(event)
    assert [name for name, event in happened.items() if event in hypervisor._queue._items] == wanted.split()


def test_a_class_may_be_given_with_the_type_of_its_handles() -> None:
    with pyxen.connect("memory:///") as host, host.events(DomainCreated[Domain]) as events:
        host.create(pyxen.DomainConfig("web1", type="pvh", kernel="/k", memory=16)).destroy()
        assert isinstance(events.get(30), DomainCreated)
        with pytest.raises(UnsupportedFeature):
            host.events(DomainPaused[Domain])


@pytest.mark.parametrize(
    "kind", ["DomainCreated", DomainShutdown(domid=1, uuid=UUID(int=1), name="", time=NOW, reason=0), int]
)
def test_what_is_no_kind(kind: Any) -> None:
    with pytest.raises(InvalidArgument, match="not a kind of event: give classes"):
        event_filter((kind,), None)


def test_no_room_at_all() -> None:
    with pytest.raises(InvalidArgument, match="maxlen=0"):
        EventReader(cast("Backend", Silent()), event_filter((), None), 0)


def test_events_are_values() -> None:
    event = created(1)
    assert event == created(1)
    assert len({event, created(1), created(2)}) == 2
    with pytest.raises(AttributeError):
        event.name = "x"  # type: ignore[misc]  # wrong on purpose
    assert pyxen.DomainCreated is DomainCreated
