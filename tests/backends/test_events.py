"""What happens is told."""

from __future__ import annotations

import threading

import pytest

import pyxen
from pyxen import (
    DeviceAdded,
    DeviceEvent,
    DeviceRemoved,
    Disk,
    DomainCreated,
    DomainDefined,
    DomainDestroyed,
    DomainPaused,
    DomainRenamed,
    DomainShutdown,
    DomainUndefined,
    DomainUnpaused,
    EventsLost,
    Feature,
    Host,
    HostClosed,
    InvalidArgument,
    MemoryTargetChanged,
    ShutdownReason,
)
from tests.backends.differences import differs
from tests.backends.hosts import Guests
from tests.backends.support import SECONDS, Make, supporting, until


def test_the_life_of_a_domain(host: Host, make: Make, guests: Guests) -> None:
    with supporting(host, Feature.EVENTS), host.events(DomainCreated, DomainShutdown, DomainDestroyed) as events:
        domain = make("web1", cmdline="poweroff", on_poweroff="preserve")
        found = until(events, DomainShutdown if guests.ends else DomainCreated)
        domain.destroy()
        found += until(events, DomainDestroyed)
        names = [type(event).__name__ for event in found]
        assert [names[0], names[-1]] == ["DomainCreated", "DomainDestroyed"]
        assert {(event.domid, event.uuid, event.name) for event in found} == {(domain.domid, domain.uuid, "web1")}
        if guests.ends:
            assert isinstance(found[1], DomainShutdown)
            assert found[1].reason is ShutdownReason.POWEROFF


def test_devices_come_after_their_domain_and_go_before_it(host: Host, make: Make, image: str) -> None:
    if differs(host, "devices"):
        return
    with supporting(host, Feature.EVENTS, Feature.ATTACH), host.events() as events:
        domain = make("web1", disks=[Disk(image, vdev="xvda")], paused=True)
        domain.destroy()
        found = until(events, DomainDestroyed)
        disk = [event for event in found if isinstance(event, DeviceEvent) and event.kind == "vbd"]
        assert isinstance(found[0], DomainCreated)
        assert [(type(event), event.devid, event.backend) for event in disk] == [
            (DeviceAdded, 51712, 0),
            (DeviceRemoved, 51712, 0),
        ]


def test_devices_that_are_attached(host: Host, make: Make, image: str) -> None:
    if differs(host, "devices"):
        return
    domain = make("web1")
    with supporting(host, Feature.EVENTS, Feature.ATTACH), host.events(DeviceEvent, domain=domain) as events:
        domain.attach(Disk(image, vdev="xvdb"))
        added = events.get(SECONDS)
        domain.detach("xvdb", force=True)
        removed = events.get(SECONDS)
        assert isinstance(added, DeviceAdded)
        assert isinstance(removed, DeviceRemoved)
        assert (added.kind, added.devid) == (removed.kind, removed.devid) == ("vbd", 51728)


def test_other_names(host: Host, make: Make) -> None:
    with supporting(host, Feature.EVENTS, Feature.RENAME), host.events(DomainRenamed) as events:
        make("web1").rename("web2")
        event = events.get(SECONDS)
        assert isinstance(event, DomainRenamed)
        assert (event.old, event.new, event.name) == ("web1", "web2", "web2")


def test_memory_targets(host: Host, make: Make) -> None:
    if differs(host, "devices"):
        return
    with supporting(host, Feature.EVENTS, Feature.MEMORY), host.events(MemoryTargetChanged) as events:
        make("web1", memory=8).set_memory(7)
        event = events.get(SECONDS)
        assert isinstance(event, MemoryTargetChanged)
        assert event.target_kib == 7 * 1024


def test_pauses(host: Host, make: Make) -> None:
    kinds = (DomainPaused, DomainUnpaused)
    domain = make("web1")
    with supporting(host, Feature.EVENTS, Feature.PAUSE_EVENTS), host.events(*kinds, domain=domain) as events:
        domain.pause()
        domain.unpause()
        found = [events.get(SECONDS) for _ in kinds]
        assert [type(event) for event in found] == list(kinds)
        assert [event.domain for event in found if event] == [domain, domain]


def test_definitions(host: Host, config: Make) -> None:
    kinds = (DomainDefined, DomainUndefined)
    with supporting(host, Feature.EVENTS, Feature.DEFINE), host.events(*kinds) as events:
        kept = host.define(config("web1"))
        host.define(config("web1", vcpus=2))
        host.undefine("web1")
        found = [events.get(SECONDS) for _ in range(3)]
        assert [type(event) for event in found] == [DomainDefined, DomainDefined, DomainUndefined]
        assert [event.is_new for event in found if isinstance(event, DomainDefined)] == [True, False]
        assert {(event.domid, event.uuid, event.name, event.domain) for event in found if event} == {
            (None, kept.uuid, "web1", None)
        }


def test_a_slow_reader(host: Host, make: Make) -> None:
    kinds = (DomainCreated, DomainDestroyed)
    with supporting(host, Feature.EVENTS), host.events(*kinds, maxlen=2) as slow, host.events(*kinds) as quick:
        for number in range(2):
            make(f"web{number}", paused=True).destroy()
        everything = [quick.get(SECONDS) for _ in range(4)]
        found = [slow.get(0) for _ in range(3)]
        assert found[:2] == everything[:2]
        assert isinstance(found[2], EventsLost)
        assert found[2].count == 2
        assert slow.get(0) is None
        with pytest.raises(InvalidArgument, match="maxlen"):
            host.events(maxlen=0)


def test_readers_end_with_the_host(uri: str) -> None:
    other = pyxen.connect(uri)
    if not other.supports(Feature.EVENTS):
        other.close()
        return
    reader = other.events()
    waiting = threading.Thread(target=lambda: list(reader))
    waiting.start()
    other.close()
    waiting.join(SECONDS)
    assert not waiting.is_alive()
    with pytest.raises(HostClosed):
        reader.get()
    with pytest.raises(HostClosed):
        other.events()
