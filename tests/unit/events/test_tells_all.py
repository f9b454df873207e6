"""Whatever happens, the events tell it all, or say that they do not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pyxen import (
    ConnectFailed,
    DeviceAdded,
    DeviceRemoved,
    DomainCreated,
    DomainDestroyed,
    DomainRenamed,
    DomainShutdown,
    Event,
    EventsLost,
    MemoryTargetChanged,
    ShutdownReason,
)
from pyxen.backends.xenlight.xenstore.event_diff import EventDiff
from tests.unit.xenhost import XenHost


class EventsTellAll(RuleBasedStateMachine):
    """Whatever happens, and however much of it between two looks: who follows the events knows how things stand."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.xen = XenHost(Path(self.folder.name))
        self.connection = self.xen.connect()
        self.changes = EventDiff(self.connection, self.xen.look)
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
