"""What is told of domains and their devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxen import DomainCreated, DomainDestroyed, DomainShutdown, EventReader, EventsLost, ShutdownReason
from pyxen.backends.xenlight.xenstore.connection import Verb
from pyxen.backends.xenlight.xenstore.watch_hints import WatchHints
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from pyxen.records.info import DomainState
from tests.unit.events.support import read, rest, short, tell_all, told, wait_until
from tests.unit.xenhost import XenHost
from tests.waiting import SECONDS


def test_the_life_of_a_domain(xen: XenHost, events: EventReader[Any]) -> None:
    xen.create(7, "web1")
    assert told(events, 2) == ["DomainCreated 7 web1", "DeviceAdded 7 web1 console0@0"]
    uuid = xen.uuid(7)
    found = []
    steps: list[tuple[Callable[[], None], list[str]]] = [
        (lambda: xen.rename(7, "web2"), ["DomainRenamed 7 web2 web1->web2"]),
        (lambda: xen.set_target(7, 4096), ["MemoryTargetChanged 7 web2 4096"]),
        (lambda: xen.shut_down(7, ShutdownReason.REBOOT), ["DomainShutdown 7 web2 REBOOT"]),
        (lambda: xen.destroy(7), ["DeviceRemoved 7 web2 console0@0", "DomainDestroyed 7 web2"]),
    ]
    for happens, expected in steps:
        happens()
        new = [events.get(SECONDS) for _ in expected]
        assert [short(event) for event in new] == expected
        found += new
    assert {event.uuid for event in found if event} == {uuid}
    times = [event.time for event in found if event]
    assert times == sorted(times)


def test_what_was_there_before_is_no_news(xen: XenHost, watcher: Watcher) -> None:
    xen.create(7, "web1")
    xen.shut_down(7, ShutdownReason.CRASH)
    with read(watcher) as events:
        assert rest(watcher, events) == []
        xen.attach(7, "vif", 0)
        assert told(events, 1) == ["DeviceAdded 7 web1 vif0@0"]
        xen.destroy(7)
        assert told(events, 3) == [
            "DeviceRemoved 7 web1 console0@0",
            "DeviceRemoved 7 web1 vif0@0",
            "DomainDestroyed 7 web1",
        ]


def test_what_happened_before_a_second_reader_came_is_not_told_to_it(xen: XenHost, watcher: Watcher) -> None:
    with read(watcher, DomainCreated) as first:
        for domid in range(1, 20):
            xen.create(domid, f"d{domid}")
            with read(watcher, DomainCreated) as second:
                assert second.get(0) is None
        assert [short(event) for event in (first.get(SECONDS) for _ in range(19))] == [
            f"DomainCreated {domid} d{domid}" for domid in range(1, 20)
        ]


def test_nothing_is_told_of_a_domain_that_comes_to_nothing(xen: XenHost, events: EventReader[Any]) -> None:
    xen.make(7, "half")
    xen.create(8, "whole")
    del xen.domains[7]
    xen.server.remove("/local/domain/7")
    assert told(events, 2)[0] == "DomainCreated 8 whole"
    xen.destroy(8)
    assert told(events, 2)[-1] == "DomainDestroyed 8 whole"


def test_a_domain_is_created_when_it_is_introduced(xen: XenHost, events: EventReader[Any]) -> None:
    xen.make(7, "slow")
    xen.create(8, "fast")
    assert told(events, 2)[0] == "DomainCreated 8 fast"
    xen.attach(7, "vbd", 51712)
    xen.rename(7, "slower")
    xen.introduce(7)
    assert told(events, 2) == ["DomainCreated 7 slower", "DeviceAdded 7 slower vbd51712@0"]


def test_a_guest_that_is_over_at_once(xen: XenHost, events: EventReader[Any]) -> None:
    xen.make(7, "brief")
    xen.change(7, state=DomainState.SHUTDOWN, reason=ShutdownReason.POWEROFF)
    xen.introduce(7)
    assert told(events, 2) == ["DomainCreated 7 brief", "DomainShutdown 7 brief POWEROFF"]


def test_a_domain_that_is_dying_is_gone(xen: XenHost, watcher: Watcher, events: EventReader[Any]) -> None:
    xen.create(7, "web1")
    told(events, 2)
    xen.change(7, state=DomainState.DYING, reason=ShutdownReason.CRASH)
    xen.release(7)
    assert told(events, 2) == ["DomainShutdown 7 web1 CRASH", "DomainDestroyed 7 web1"]
    xen.server.fire("@releaseDomain")
    del xen.domains[7]
    xen.server.fire("@releaseDomain")
    assert rest(watcher, events) == []


def test_a_domid_that_is_reused(xen: XenHost, events: EventReader[Any]) -> None:
    xen.create(7, "old")
    told(events, 2)
    old = xen.uuid(7)
    with xen.server.at_once():
        xen.destroy(7)
        xen.create(7, "new")
    found = [events.get(SECONDS) for _ in range(2)]
    assert [type(event) for event in found] == [DomainDestroyed, DomainCreated]
    assert [event.uuid for event in found if event] == [old, xen.uuid(7)]
    assert found[1] is not None
    assert found[1].name == "new"


def test_what_came_and_went_unseen_is_said_to_be_lost(xen: XenHost, events: EventReader[Any]) -> None:
    with xen.server.at_once():
        for domid in (7, 8):
            xen.create(domid, "unseen")
            xen.destroy(domid)
        xen.create(9, "seen")
    lost = 0
    while isinstance(event := events.get(SECONDS), EventsLost):
        lost += event.count or 0
    assert lost == 4
    assert short(event) == "DomainCreated 9 seen"
    assert told(events, 1) == ["DeviceAdded 9 seen console0@0"]
    xen.destroy(9)
    assert told(events, 2)[-1] == "DomainDestroyed 9 seen"


def test_a_name_that_comes_late(xen: XenHost, events: EventReader[Any]) -> None:
    xen.make(7, None)
    xen.introduce(7)
    assert told(events, 1) == ["DomainCreated 7 None"]
    xen.rename(7, "late")
    xen.rename(7, "late")
    assert told(events, 1) == ["DomainRenamed 7 late None->late"]


def test_a_domain_that_is_suspended_twice(xen: XenHost, watcher: Watcher, events: EventReader[Any]) -> None:
    xen.create(7, "web1")
    told(events, 2)
    for _ in range(2):
        xen.server.write("/local/domain/7/control/shutdown", "suspend")
        tell_all(watcher)
        assert events.get(0) is None
        xen.shut_down(7, ShutdownReason.SUSPEND)
        assert told(events, 1) == ["DomainShutdown 7 web1 SUSPEND"]
        xen.change(7, state=DomainState.RUNNING, reason=None)


def test_a_soft_reset_is_no_second_domain(xen: XenHost, watcher: Watcher, events: EventReader[Any]) -> None:
    xen.create(7, "web1")
    xen.shut_down(7, ShutdownReason.SOFT_RESET)
    assert told(events, 3)[-1] == "DomainShutdown 7 web1 SOFT_RESET"
    xen.release(7)
    assert rest(watcher, events) == []
    xen.change(7, state=DomainState.RUNNING, reason=None)
    xen.introduce(7)
    assert rest(watcher, events) == []
    xen.create(8, "web2")
    assert told(events, 2)[0] == "DomainCreated 8 web2"


def test_a_preserved_domain_is_another_one(xen: XenHost, watcher: Watcher, events: EventReader[Any]) -> None:
    xen.create(7, "web1")
    xen.shut_down(7, ShutdownReason.CRASH)
    assert told(events, 3)[-1] == "DomainShutdown 7 web1 CRASH"
    old, new = xen.uuid(7), UUID(int=99)
    xen.set_uuid(7, new)
    xen.rename(7, "kept")
    xen.create(8, "web1")
    tell_all(watcher)
    found = list(iter(lambda: events.get(0), None))
    kinds = (DomainCreated, DomainShutdown, DomainDestroyed)
    assert [(type(event), event.uuid) for event in found if isinstance(event, kinds) and event.domid == 7] == [
        (DomainDestroyed, old),
        (DomainCreated, new),
        (DomainShutdown, new),
    ]
    assert not any(isinstance(event, EventsLost) for event in found)
    xen.server.fire("@introduceDomain")  # of one that came and went before anyone looked
    assert told(events, 1) == ["EventsLost 2"]


def test_devices(xen: XenHost, events: EventReader[Any]) -> None:
    xen.create(7, "web1")
    told(events, 2)
    xen.attach(7, "vbd", 51728, backend=3)
    assert told(events, 1) == ["DeviceAdded 7 web1 vbd51728@3"]
    xen.attach(7, "vusb", 1, backend=None)
    assert told(events, 1) == ["DeviceAdded 7 web1 vusb1@None"]
    xen.detach(7, "vbd", 51728)
    assert told(events, 1) == ["DeviceRemoved 7 web1 vbd51728@3"]
    xen.server.remove("/libxl/7")
    assert sorted(told(events, 2)) == ["DeviceRemoved 7 web1 console0@0", "DeviceRemoved 7 web1 vusb1@None"]


def test_a_device_that_goes_while_it_is_looked_at(xen: XenHost, events: EventReader[Any]) -> None:
    def go(verb: Verb, path: str) -> None:
        if verb == Verb.READ and path == "/libxl/7/device/vif/0/backend":
            xen.detach(7, "vif", 0)

    xen.create(7, "web1")
    xen.attach(7, "vif", 0)
    told(events, 3)
    xen.server.before_answer = go
    xen.server.write("/libxl/7/device/vif/0/type", "vif")
    assert told(events, 1) == ["DeviceRemoved 7 web1 vif0@0"]


@pytest.mark.parametrize("first", ["aio:/a.iso", "/a.iso"])
def test_media(xen: XenHost, watcher: Watcher, events: EventReader[Any], first: str) -> None:
    xen.create(7, "web1")
    xen.attach(7, "vbd", 5632, medium=first)
    told(events, 3)
    ejected = ["DiskEjected 7 web1 hdc"]
    xen.insert(7, 5632, "")  # xl cd-eject
    assert told(events, 1) == ejected
    xen.insert(7, 5632, "/b.iso")  # xl cd-insert, of newer Xen in two steps
    xen.insert(7, 5632, "aio:/b.iso")
    assert rest(watcher, events) == []
    xen.insert(7, 5632, "/c.iso")
    xen.insert(7, 5632, "aio:/c.iso")
    assert told(events, 1) == ejected
    xen.eject_in_guest(7, 5632)
    assert told(events, 1) == ejected
    xen.server.write("/local/domain/7/device/vbd/5632/eject", "")  # xl takes note of it
    xen.insert(7, 5632, "")
    xen.eject_in_guest(7, 5632)
    assert rest(watcher, events) == []


def test_a_guest_cannot_eject_what_is_none(xen: XenHost, watcher: Watcher, events: EventReader[Any]) -> None:
    xen.create(7, "web1")
    told(events, 2)
    xen.eject_in_guest(7, 99)
    xen.server.write("/local/domain/7/device/vbd/x/eject", "eject")
    xen.server.write("/local/domain/7/memory/target", "none")
    assert rest(watcher, events) == []
    xen.set_target(7, 1)
    assert told(events, 1) == ["MemoryTargetChanged 7 web1 1"]


def test_a_target_includes_the_graphics_card(xen: XenHost, events: EventReader[Any]) -> None:
    xen.create(7, "hvm1")
    told(events, 2)
    xen.server.write("/local/domain/7/memory/videoram", "8192")
    xen.set_target(7, 40960)
    assert told(events, 1) == ["MemoryTargetChanged 7 hvm1 49152"]


def test_fifty_domains_come_and_go(xen: XenHost, watcher: Watcher) -> None:
    names = [f"{domid} d{domid}" for domid in range(1, 51)]
    with read(watcher, DomainCreated, DomainDestroyed) as events:
        for domid in range(1, 51):
            xen.create(domid, f"d{domid}")
        assert told(events, 50) == [f"DomainCreated {name}" for name in names]
        for domid in range(1, 51):
            xen.destroy(domid)
        assert told(events, 50) == [f"DomainDestroyed {name}" for name in names]
    wait_until(lambda: xen.server.count(Verb.UNWATCH) == 50 * 4)


PARTS = ["", "libxl", "local", "domain", "7", "\N{SUPERSCRIPT TWO}", "device", "vbd", "eject", "name", "control", "x"]


@given(st.lists(st.text(max_size=30) | st.lists(st.sampled_from(PARTS), max_size=8).map("/".join)))
def test_any_path_may_be_told(paths: list[str]) -> None:
    watch_hints = WatchHints.of((path, path) for path in paths)
    assert watch_hints.settings | watch_hints.records <= {7}
    assert not watch_hints.look or any(path.startswith(("@", "/local/domain")) for path in paths)
