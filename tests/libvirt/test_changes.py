"""What events are made of that no driver for tests tells of: words of libvirt's drivers for Xen and QEMU."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import libvirt
import pytest

from pyxen import (
    DeviceAdded,
    DeviceRemoved,
    DiskEjected,
    DomainDestroyed,
    DomainShutdown,
    Event,
    EventsLost,
    MemoryTargetChanged,
    ShutdownReason,
)
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.event_diff import EventDiff, LibvirtEvent

WEB1 = UUID(int=1)
NOW = datetime.now(UTC)
STARTED, STOPPED = libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STOPPED
OFF, CRASHED = libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED

XML = """<domain type='kvm' id='3'><name>web1</name><devices>
  <disk type='file' device='disk'><target dev='vdb' bus='virtio'/><alias name='virtio-disk1'/></disk>
  <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><alias name='ide0-1-0'/></disk>
  <interface type='bridge'><mac address='00:16:3e:00:00:01'/><alias name='net0'/></interface>
</devices></domain>"""


class Domains:
    """What there is on the host, and what is made of what libvirt tells."""

    def __init__(self) -> None:
        self.there: set[DomainRef] = {DomainRef(3, WEB1)}
        self.xml: str | None = XML
        self.changes = EventDiff(lambda ref: ref in self.there, lambda _: self.xml)
        self.changes.begin([(DomainRef(3, WEB1), "web1")])

    def told(self, kind: str, *values: Any, domid: int = 3) -> list[Event]:
        return list(self.changes.events(LibvirtEvent(kind, WEB1, domid, "web1", values, NOW)))


@pytest.fixture
def domains() -> Domains:
    return Domains()


def test_a_domain_that_is_kept_after_its_end(domains: Domains) -> None:
    assert domains.told("lifecycle", STOPPED, CRASHED) == [
        DomainShutdown(domid=3, uuid=WEB1, name="web1", time=NOW, reason=ShutdownReason.CRASH)
    ]
    domains.there.clear()
    destroyed = libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED
    assert domains.told("lifecycle", STOPPED, destroyed, domid=-1) == [
        DomainDestroyed(domid=3, uuid=WEB1, name="web1", time=NOW)
    ]
    assert domains.told("lifecycle", STOPPED, destroyed, domid=-1) == []


def test_a_domain_that_is_started_anew_before_its_end_is_told(domains: Domains) -> None:
    domains.there = {DomainRef(4, WEB1)}
    kinds = [(type(event).__name__, event.domid) for event in domains.told("lifecycle", STARTED, 0, domid=4)]
    assert kinds == [("DomainDestroyed", 3), ("DomainCreated", 4)]
    assert domains.told("lifecycle", STOPPED, OFF, domid=3) == []


def test_a_shutdown_is_told_once(domains: Domains) -> None:
    domains.there.clear()
    first = domains.told("lifecycle", libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, 0)
    assert [type(event) for event in first] == [DomainShutdown]
    assert [type(event) for event in domains.told("lifecycle", STOPPED, OFF)] == [DomainDestroyed]


def test_suspended_and_woken_up(domains: Domains) -> None:
    (event,) = domains.told("lifecycle", libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED, 0)
    assert isinstance(event, DomainShutdown)
    assert event.reason is ShutdownReason.SUSPEND
    assert domains.told("lifecycle", STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_WAKEUP) == []


def test_a_reboot_and_a_balloon(domains: Domains) -> None:
    (event,) = domains.told("reboot")
    assert isinstance(event, DomainShutdown)
    assert event.reason is ShutdownReason.REBOOT
    assert domains.told("balloon", 32768) == [
        MemoryTargetChanged(domid=3, uuid=WEB1, name="web1", time=NOW, target_kib=32768)
    ]


def test_devices(domains: Domains) -> None:
    (added,) = domains.told("added", "virtio-disk1")
    assert isinstance(added, DeviceAdded)
    assert (added.kind, added.devid) == ("vbd", 51728)
    assert domains.told("added", "unheard-of") == []
    domains.xml = None
    (removed,) = domains.told("removed", "virtio-disk1")
    assert isinstance(removed, DeviceRemoved)
    assert (removed.kind, removed.devid) == ("vbd", 51728)
    (removed,) = domains.told("removed", "net0")
    assert isinstance(removed, DeviceRemoved)
    assert (removed.kind, removed.devid) == ("vif", 0)


def test_a_drawer(domains: Domains) -> None:
    (event,) = domains.told("tray", "ide0-1-0", libvirt.VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN)
    assert isinstance(event, DiskEjected)
    assert (event.vdev, event.devid) == ("hdc", 5632)
    assert domains.told("tray", "ide0-1-0", libvirt.VIR_DOMAIN_EVENT_TRAY_CHANGE_CLOSE) == []


def test_after_a_gap(domains: Domains) -> None:
    (event,) = domains.changes.lost([(DomainRef(5, WEB1), "web1")])
    assert isinstance(event, EventsLost)
    assert domains.told("lifecycle", STOPPED, OFF, domid=3) == []
    assert domains.told("reboot")[0].domid == 5


def test_domains_that_are_not_known(domains: Domains) -> None:
    domains.changes.begin([])
    assert domains.told("balloon", 1) == []
    assert domains.told("lifecycle", STOPPED, OFF) == []
