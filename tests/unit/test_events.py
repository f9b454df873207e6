"""Events, against a host and a xenstored in this process; `tests/xen` has the real ones."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

import pyxen
from pyxen import (
    ConnectFailed,
    DeviceAdded,
    DeviceEvent,
    DeviceRemoved,
    DiskEjected,
    Domain,
    DomainCreated,
    DomainDestroyed,
    DomainRenamed,
    DomainShutdown,
    Event,
    EventReader,
    EventsLost,
    HostClosed,
    InvalidArgument,
    MemoryTargetChanged,
    ShutdownReason,
)
from pyxen.backends.base import Backend, DomainRef
from pyxen.eventreader import event_filter
from pyxen.info import DomainState
from pyxen.xenlight.changes import Changes
from pyxen.xenlight.hints import Hints
from pyxen.xenlight.watcher import Watcher
from pyxen.xenlight.xenstore import Connection, Verb
from tests.unit.xenhost import XenHost

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XENSTORED_PATH", raising=False)


@pytest.fixture
def xen(tmp_path: Path) -> Iterator[XenHost]:
    xen = XenHost(tmp_path)
    yield xen
    xen.close()


@pytest.fixture
def watcher(xen: XenHost) -> Iterator[Watcher]:
    watcher = Watcher(xen.look, xen.connect)
    yield watcher
    watcher.close()


def read(watcher: Watcher, *kinds: type[Event], domain: Any = None, maxlen: int = 10_000) -> EventReader:
    return EventReader(cast("Backend", watcher), event_filter(kinds, domain), maxlen)


@pytest.fixture
def events(watcher: Watcher) -> Iterator[EventReader]:
    with read(watcher) as events:
        yield events


def told(events: EventReader, count: int) -> list[str]:
    """Return the next events, in short, and check that no more come."""
    found = [events.get(2) for _ in range(count)]
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
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def watchers_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pyxen-events"]


# What is told


def test_the_life_of_a_domain(xen: XenHost, events: EventReader) -> None:
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
        new = [events.get(2) for _ in expected]
        assert [short(event) for event in new] == expected
        found += new
    assert {event.uuid for event in found if event} == {uuid}
    times = [event.time for event in found if event]
    assert times == sorted(times)


def test_what_was_there_before_is_no_news(xen: XenHost, watcher: Watcher) -> None:
    xen.create(7, "web1")
    xen.shut_down(7, ShutdownReason.CRASH)
    with read(watcher) as events:
        assert told(events, 0) == []
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
        assert [short(event) for event in (first.get(2) for _ in range(19))] == [
            f"DomainCreated {domid} d{domid}" for domid in range(1, 20)
        ]


def test_nothing_is_told_of_a_domain_that_comes_to_nothing(xen: XenHost, events: EventReader) -> None:
    xen.make(7, "half")
    xen.create(8, "whole")
    del xen.domains[7]
    xen.server.remove("/local/domain/7")
    assert told(events, 2)[0] == "DomainCreated 8 whole"
    xen.destroy(8)
    assert told(events, 2)[-1] == "DomainDestroyed 8 whole"


def test_a_domain_is_created_when_it_is_introduced(xen: XenHost, events: EventReader) -> None:
    xen.make(7, "slow")
    xen.create(8, "fast")
    assert told(events, 2)[0] == "DomainCreated 8 fast"
    xen.attach(7, "vbd", 51712)
    xen.rename(7, "slower")
    xen.introduce(7)
    assert told(events, 2) == ["DomainCreated 7 slower", "DeviceAdded 7 slower vbd51712@0"]


def test_a_guest_that_is_over_at_once(xen: XenHost, events: EventReader) -> None:
    xen.make(7, "brief")
    xen.change(7, state=DomainState.SHUTDOWN, reason=ShutdownReason.POWEROFF)
    xen.introduce(7)
    assert told(events, 2) == ["DomainCreated 7 brief", "DomainShutdown 7 brief POWEROFF"]


def test_a_domain_that_is_dying_is_gone(xen: XenHost, events: EventReader) -> None:
    xen.create(7, "web1")
    told(events, 2)
    xen.change(7, state=DomainState.DYING, reason=ShutdownReason.CRASH)
    xen.release(7)
    assert told(events, 2) == ["DomainShutdown 7 web1 CRASH", "DomainDestroyed 7 web1"]
    xen.server.fire("@releaseDomain")
    del xen.domains[7]
    xen.server.fire("@releaseDomain")
    assert told(events, 0) == []


def test_a_domid_that_is_reused(xen: XenHost, events: EventReader) -> None:
    xen.create(7, "old")
    told(events, 2)
    old = xen.uuid(7)
    with xen.server._lock:  # both before anyone can look
        xen.destroy(7)
        xen.create(7, "new")
    found = [events.get(2) for _ in range(2)]
    assert [type(event) for event in found] == [DomainDestroyed, DomainCreated]
    assert [event.uuid for event in found if event] == [old, xen.uuid(7)]
    assert found[1] is not None
    assert found[1].name == "new"


def test_what_came_and_went_unseen_is_said_to_be_lost(xen: XenHost, events: EventReader) -> None:
    with xen.server._lock:
        for domid in (7, 8):
            xen.create(domid, "unseen")
            xen.destroy(domid)
        xen.create(9, "seen")
    lost = 0
    while isinstance(event := events.get(2), EventsLost):
        lost += event.count or 0
    assert lost == 4
    assert short(event) == "DomainCreated 9 seen"
    assert told(events, 1) == ["DeviceAdded 9 seen console0@0"]
    xen.destroy(9)
    assert told(events, 2)[-1] == "DomainDestroyed 9 seen"


def test_a_name_that_comes_late(xen: XenHost, events: EventReader) -> None:
    xen.make(7, None)
    xen.introduce(7)
    assert told(events, 1) == ["DomainCreated 7 None"]
    xen.rename(7, "late")
    xen.rename(7, "late")
    assert told(events, 1) == ["DomainRenamed 7 late None->late"]


def test_a_domain_that_is_suspended_twice(xen: XenHost, events: EventReader) -> None:
    xen.create(7, "web1")
    told(events, 2)
    for _ in range(2):
        xen.server.write("/local/domain/7/control/shutdown", "suspend")
        wait_until(lambda: events.get(0.05) is None)
        xen.shut_down(7, ShutdownReason.SUSPEND)
        assert told(events, 1) == ["DomainShutdown 7 web1 SUSPEND"]
        xen.change(7, state=DomainState.RUNNING, reason=None)


def test_a_soft_reset_is_no_second_domain(xen: XenHost, events: EventReader) -> None:
    xen.create(7, "web1")
    xen.shut_down(7, ShutdownReason.SOFT_RESET)
    assert told(events, 3)[-1] == "DomainShutdown 7 web1 SOFT_RESET"
    xen.release(7)
    assert told(events, 0) == []
    xen.change(7, state=DomainState.RUNNING, reason=None)
    xen.introduce(7)
    assert told(events, 0) == []
    xen.create(8, "web2")
    assert told(events, 2)[0] == "DomainCreated 8 web2"


def test_devices(xen: XenHost, events: EventReader) -> None:
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


@pytest.mark.parametrize("first", ["aio:/a.iso", "/a.iso"])
def test_media(xen: XenHost, events: EventReader, first: str) -> None:
    xen.create(7, "web1")
    xen.attach(7, "vbd", 5632, medium=first)
    told(events, 3)
    ejected = ["DiskEjected 7 web1 hdc"]
    xen.insert(7, 5632, "")  # xl cd-eject
    assert told(events, 1) == ejected
    xen.insert(7, 5632, "/b.iso")  # xl cd-insert, of newer Xen in two steps
    xen.insert(7, 5632, "aio:/b.iso")
    assert told(events, 0) == []
    xen.insert(7, 5632, "/c.iso")
    xen.insert(7, 5632, "aio:/c.iso")
    assert told(events, 1) == ejected
    xen.eject_in_guest(7, 5632)
    assert told(events, 1) == ejected
    xen.server.write("/local/domain/7/device/vbd/5632/eject", "")  # xl takes note of it
    xen.insert(7, 5632, "")
    xen.eject_in_guest(7, 5632)
    assert told(events, 0) == []


def test_a_guest_cannot_eject_what_is_none(xen: XenHost, events: EventReader) -> None:
    xen.create(7, "web1")
    told(events, 2)
    xen.eject_in_guest(7, 99)
    xen.server.write("/local/domain/7/device/vbd/x/eject", "eject")
    xen.server.write("/local/domain/7/memory/target", "none")
    assert told(events, 0) == []
    xen.set_target(7, 1)
    assert told(events, 1) == ["MemoryTargetChanged 7 web1 1"]


def test_fifty_domains_come_and_go(xen: XenHost, watcher: Watcher) -> None:
    names = [f"{domid} d{domid}" for domid in range(1, 51)]
    with read(watcher, DomainCreated, DomainDestroyed) as events:
        for domid in range(1, 51):
            xen.create(domid, f"d{domid}")
        assert told(events, 50) == [f"DomainCreated {name}" for name in names]
        for domid in range(1, 51):
            xen.destroy(domid)
        assert told(events, 50) == [f"DomainDestroyed {name}" for name in names]
    assert xen.server.count(Verb.UNWATCH) == 50 * 4


PARTS = ["", "libxl", "local", "domain", "7", "\N{SUPERSCRIPT TWO}", "device", "vbd", "eject", "name", "control", "x"]


@given(st.lists(st.text(max_size=30) | st.lists(st.sampled_from(PARTS), max_size=8).map("/".join)))
def test_any_path_may_be_told(paths: list[str]) -> None:
    hints = Hints.of((path, path) for path in paths)
    assert hints.settings | hints.records <= {7}
    assert not hints.look or any(path.startswith(("@", "/local/domain")) for path in paths)


class EventsTellAll(RuleBasedStateMachine):
    """Whatever happens, and however much of it between two looks: who follows the events knows how things stand."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.xen = XenHost(Path(self.folder.name))
        self.connection = self.xen.connect()
        self.changes = Changes(self.connection, self.xen.look)
        self.told: dict[tuple[int, UUID], dict[str, Any]] = {(0, self.xen.uuid(0)): self.new("Domain-0")}
        self.lost = 0
        self.unseen = 0
        self.fresh: set[int] = set()

    def teardown(self) -> None:
        self.connection.close()
        self.xen.close()
        self.folder.cleanup()

    @staticmethod
    def new(name: str | None) -> dict[str, Any]:
        return {"name": name, "target": "8192", "reason": None, "devices": set()}

    domids = st.integers(1, 3)

    @rule(domid=domids)
    def appear(self, domid: int) -> None:
        if domid not in self.xen.domains:
            self.xen.create(domid, "new")
            self.fresh.add(domid)

    @rule(domid=domids)
    def disappear(self, domid: int) -> None:
        if domid in self.xen.domains:
            self.xen.destroy(domid)
            self.unseen += domid in self.fresh
            self.fresh.discard(domid)

    @rule(domid=domids)
    def come_and_go(self, domid: int) -> None:
        """A domain so brief that nobody can look while it is there."""
        self.disappear(domid)
        self.appear(domid)
        self.disappear(domid)

    @rule(domid=domids, name=st.sampled_from(["new", "a", "b"]))
    def rename(self, domid: int, name: str) -> None:
        if domid in self.xen.domains:
            self.xen.rename(domid, name)

    @rule(domid=domids, kib=st.sampled_from([4096, 8192, 16384]))
    def set_target(self, domid: int, kib: int) -> None:
        if domid in self.xen.domains:
            self.xen.set_target(domid, kib)

    @rule(domid=domids, reason=st.sampled_from(ShutdownReason))
    def shut_down(self, domid: int, reason: ShutdownReason) -> None:
        if domid in self.xen.domains and self.xen.domains[domid].shutdown_reason is None:
            self.xen.shut_down(domid, reason)

    @rule(domid=domids, kind=st.sampled_from(["vbd", "vif"]), devid=st.integers(0, 1))
    def attach(self, domid: int, kind: str, devid: int) -> None:
        if domid in self.xen.domains:
            self.xen.attach(domid, kind, devid)

    @rule(domid=domids, kind=st.sampled_from(["vbd", "vif"]), devid=st.integers(0, 1))
    def detach(self, domid: int, kind: str, devid: int) -> None:
        self.xen.detach(domid, kind, devid)

    @rule()
    def restart_xenstored(self) -> None:
        self.xen.restart_xenstored()
        with pytest.raises(ConnectFailed):
            self.follow(self.changes.settle())
        self.follow(self.changes.resume())
        self.lost = self.unseen = 0  # nobody can know
        self.fresh.clear()

    @rule()
    def follow_some(self) -> None:
        """Take what has come so far, as the watcher does between two moments."""
        self.follow(self.changes.take())

    @rule()
    def look(self) -> None:
        self.follow(self.changes.settle())
        self.follow(self.changes.take())
        self.fresh.clear()
        domains = {(info.domid, info.uuid): info for info in self.xen.look()}
        assert self.told.keys() == domains.keys()
        for (domid, _), known in self.told.items():
            for what, node in (("name", "name"), ("target", "memory/target")):
                assert known[what] == self.xen.server.read(f"/local/domain/{domid}/{node}")
            devices = {
                tuple(path.split("/")[4:6]) for path in self.xen.server._nodes if path.startswith(f"/libxl/{domid}/")
            }
            assert known["devices"] == devices
        for key, info in domains.items():
            if info.shutdown_reason is not None:
                assert self.told[key]["reason"] == info.shutdown_reason
        assert self.lost == 2 * self.unseen

    def follow(self, events: Iterator[Event]) -> None:
        for event in events:
            key = cast("tuple[int, UUID]", (event.domid, event.uuid))
            match event:
                case EventsLost():
                    self.lost += event.count or 0
                case DomainCreated():
                    assert key not in self.told
                    target = self.xen.server.read(f"/local/domain/{event.domid}/memory/target")
                    self.told[key] = {**self.new(event.name), "target": target}
                    self.fresh.discard(event.domid)
                case DomainDestroyed():
                    del self.told[key]
                case DomainRenamed():
                    assert self.told[key]["name"] == event.old != event.new == event.name
                    self.told[key]["name"] = event.new
                case MemoryTargetChanged():
                    self.told[key]["target"] = str(event.target_kib)
                case DomainShutdown():
                    self.told[key]["reason"] = event.reason
                case DeviceAdded():
                    assert (event.kind, str(event.devid)) not in self.told[key]["devices"]
                    self.told[key]["devices"].add((event.kind, str(event.devid)))
                case DeviceRemoved():
                    self.told[key]["devices"].remove((event.kind, str(event.devid)))
                case _:
                    pytest.fail(f"unexpected: {event}")


TestEventsTellAll = EventsTellAll.TestCase
TestEventsTellAll.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


# When xenstored goes


def test_after_xenstored_was_restarted(xen: XenHost, events: EventReader, caplog: pytest.LogCaptureFixture) -> None:
    for domid in (5, 6, 7):
        xen.create(domid, f"d{domid}")
    told(events, 6)
    xen.server.close()
    wait_until(lambda: "events are interrupted" in caplog.text)
    old = xen.server
    xen.server = type(old)(xen.folder)
    xen.server._nodes, xen.server.introduced = old._nodes, old.introduced
    del xen.domains[5]
    xen.server.remove("/local/domain/5")
    xen.server.remove("/libxl/5")
    wait_until(lambda: xen.server.clients() == 1)
    assert told(events, 3) == ["EventsLost None", "DeviceRemoved 5 d5 console0@0", "DomainDestroyed 5 d5"]
    xen.rename(6, "six")
    xen.create(8, "d8")
    xen.destroy(7)
    assert told(events, 5)[0] == "DomainRenamed 6 six d6->six"


def test_nobody_joins_while_xenstored_is_gone(xen: XenHost, watcher: Watcher, events: EventReader) -> None:
    xen.server.close()
    for _ in range(2):
        with pytest.raises(ConnectFailed):
            read(watcher)
    xen.restart_xenstored()
    with read(watcher) as late:
        assert told(events, 1) == ["EventsLost None"]
        xen.rename(0, "dom0")
        assert told(events, 1) == told(late, 1) == ["DomainRenamed 0 dom0 Domain-0->dom0"]


def test_no_xenstored_at_all(tmp_path: Path) -> None:
    watcher = Watcher(list, lambda: Connection(sockets=[str(tmp_path / "none")], devices=()))
    with pytest.raises(ConnectFailed):
        read(watcher)
    wait_until(lambda: not watchers_threads())
    watcher.close()


def test_xenstored_refuses_watches(xen: XenHost, watcher: Watcher) -> None:
    xen.server.most_watches = 2
    with pytest.raises(ConnectFailed, match="does not let itself be watched: E2BIG"):
        read(watcher)


# The watcher


def test_one_thread_and_one_connection_for_all(xen: XenHost, watcher: Watcher) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        readers = [read(watcher) for _ in range(5)]
        assert len(watchers_threads()) == 1
        assert xen.server.clients() == 1
        xen.rename(0, f"dom{time.monotonic()}")
        assert len({told(reader, 1)[0] for reader in readers}) == 1
        for reader in readers:
            reader.close()
        wait_until(lambda: xen.server.clients() == 0 and not watchers_threads())
        assert len(os.listdir("/proc/self/fd")) == before


def test_whoever_lets_go_of_a_reader_has_closed_it(xen: XenHost, watcher: Watcher) -> None:
    for _ in read_after_rename(xen, watcher):
        break
    gc.collect()
    wait_until(lambda: xen.server.clients() == 0 and not watchers_threads())


def read_after_rename(xen: XenHost, watcher: Watcher) -> EventReader:
    reader = read(watcher)
    xen.rename(0, "dom0")
    return reader


def test_threads_come_and_go(xen: XenHost, watcher: Watcher) -> None:
    failures: list[BaseException] = []

    def live() -> None:
        try:
            for _ in range(20):
                with read(watcher) as events:
                    assert events.get(0) is None
        except BaseException as error:  # noqa: BLE001 (of a thread, for the test)
            failures.append(error)

    threads = [threading.Thread(target=live) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    wait_until(lambda: xen.server.clients() == 0 and not watchers_threads())


def test_an_exception_in_a_callback_reaches_the_user_and_stops_nothing(
    xen: XenHost, watcher: Watcher, events: EventReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def fail(_: Event) -> None:
        raise ZeroDivisionError

    leave = watcher.subscribe(fail, lambda: None)
    for name in ("dom0", "dom-0"):
        xen.rename(0, name)
        assert len(told(events, 1)) == 1
    assert [report.exc_type for report in reported] == [ZeroDivisionError] * 2
    leave()
    xen.rename(0, "dom0")
    assert len(told(events, 1)) == 1
    assert len(reported) == 2


def test_a_callback_may_subscribe_and_close(xen: XenHost, watcher: Watcher) -> None:
    inner: list[EventReader] = []
    ended = threading.Event()

    def react(_: Event) -> None:
        if inner:
            watcher.close()
        else:
            inner.append(read(watcher))

    watcher.subscribe(react, ended.set)
    xen.rename(0, "a")
    wait_until(lambda: bool(inner))
    xen.rename(0, "b")
    assert ended.wait(10)
    assert [short(event) for event in inner[0]] == ["DomainRenamed 0 b a->b"]


def test_the_end(xen: XenHost, watcher: Watcher, events: EventReader) -> None:
    before = len(os.listdir("/proc/self/fd"))
    xen.rename(0, "dom0")
    wait_until(lambda: bool(events._queue._events))
    watcher.close()
    watcher.close()
    assert [short(event) for event in events] == ["DomainRenamed 0 dom0 Domain-0->dom0"]
    for timeout in (None, 0, 1):
        with pytest.raises(HostClosed):
            events.get(timeout)
    with pytest.raises(HostClosed):
        read(watcher)
    assert watchers_threads() == []
    wait_until(lambda: len(os.listdir("/proc/self/fd")) == before - 3)  # both ends of the connection, and the eventfd


def test_the_child_of_a_fork_has_no_events(watcher: Watcher, events: EventReader) -> None:
    pid = os.fork()
    if pid == 0:
        refused = 0
        for attempt in (lambda: events.get(0), lambda: read(watcher)):
            try:
                attempt()
            except HostClosed:
                refused += 1
        events.close()
        watcher.close()
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert events.get(0) is None


# Readers


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
    backend = _Silent()
    reader = EventReader(cast("Backend", backend), event_filter((), None), maxlen)
    read_so_far = put = 0
    for puts in [*steps, *[False] * len(steps)]:
        if puts:
            backend.on_event(_created(put))
            put += 1
            assert len(reader._queue._events) <= maxlen + 1
            continue
        event = reader.get(0)
        if isinstance(event, EventsLost):
            assert event.count
            read_so_far += event.count
        elif event is not None:
            assert event.domid == read_so_far
            read_so_far += 1
    assert read_so_far == put


class _Silent:
    """A backend on which only happens what the test says."""

    on_event: Callable[[Event], None]

    def subscribe(self, on_event: Callable[[Event], None], _on_end: Callable[[], None]) -> Callable[[], None]:
        self.on_event = on_event
        return lambda: None


def _created(domid: int, name: str = "d") -> DomainCreated:
    return DomainCreated(domid=domid, uuid=UUID(int=domid), name=name, time=NOW)


def test_an_unknown_number_lost_stays_unknown() -> None:
    backend = _Silent()
    reader = EventReader(cast("Backend", backend), event_filter((), None), 1)
    for event in (_created(1), _created(2), EventsLost(time=NOW, count=None), _created(3)):
        backend.on_event(event)
    assert short(reader.get(0)) == "DomainCreated 1 d"
    assert short(reader.get(0)) == "EventsLost None"
    assert reader.get(0) is None


@pytest.mark.parametrize("closes", ["reader", "watcher"])
def test_close_from_another_thread(watcher: Watcher, closes: str) -> None:
    events = read(watcher)
    found: list[list[Event]] = []
    thread = threading.Thread(target=lambda: found.append(list(events)))
    thread.start()
    time.sleep(0.05)
    (events if closes == "reader" else watcher).close()
    thread.join(10)
    assert found == [[]]
    with pytest.raises(HostClosed, match="closed"):
        events.get()


def test_a_closed_reader_forgets_what_it_has(xen: XenHost, watcher: Watcher) -> None:
    events = read(watcher)
    xen.rename(0, "dom0")
    wait_until(lambda: bool(events._queue._events))
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
        ((), Domain(cast("Backend", None), DomainRef(1, UUID(int=1))), "created 1 destroyed added lost"),
        ((), Domain(cast("Backend", None), DomainRef(1, UUID(int=2))), "lost"),
    ],
)
def test_filters(kinds: tuple[type[Event], ...], domain: Any, wanted: str) -> None:
    backend = _Silent()
    reader = EventReader(cast("Backend", backend), event_filter(kinds, domain), 100)
    one: dict[str, Any] = {"domid": 1, "uuid": UUID(int=1), "time": NOW}
    happened = {
        "created": _created(1, "before"),
        "1": DomainRenamed(**one, name="after", old="before", new="after"),
        "other": _created(2, "other"),
        "destroyed": DomainDestroyed(**one, name="after"),
        "added": DeviceAdded(**one, name="after", kind="vif", devid=0, backend=0),
        "lost": EventsLost(time=NOW, count=1),
    }
    for event in happened.values():
        backend.on_event(event)
    assert [name for name, event in happened.items() if event in reader._queue._events] == wanted.split()


@pytest.mark.parametrize(
    "kind", ["DomainCreated", DomainShutdown(domid=1, uuid=UUID(int=1), name="", time=NOW, reason=0), int]
)
def test_what_is_no_kind(kind: Any) -> None:
    with pytest.raises(InvalidArgument, match="no kind of event: give classes"):
        event_filter((kind,), None)


def test_no_room_at_all() -> None:
    with pytest.raises(InvalidArgument, match="maxlen is 0"):
        EventReader(cast("Backend", _Silent()), event_filter((), None), 0)


def test_events_are_values() -> None:
    event = _created(1)
    assert event == _created(1)
    assert len({event, _created(1), _created(2)}) == 2
    with pytest.raises(AttributeError):
        event.name = "x"  # type: ignore[misc]
    assert pyxen.DomainCreated is DomainCreated
