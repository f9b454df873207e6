"""What happens on a real host is told, whoever did it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pyxen import (
    DeviceAdded,
    DeviceEvent,
    DeviceRemoved,
    Disk,
    DiskEjected,
    DomainCreated,
    DomainDestroyed,
    DomainEvent,
    DomainRenamed,
    DomainShutdown,
    Event,
    EventReader,
    Host,
    HostClosed,
    MemoryTargetChanged,
    ShutdownReason,
    connect,
)
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.xenstore.connection import Connection
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from tests.backends.support import SECONDS, until
from tests.xen.support import GUESTS, LONG, MakeConfig, MakeDomain, wait_until, xl

MANY = 20 if LONG else 7


@pytest.fixture
def events(host: Host) -> Iterator[EventReader[Any]]:
    """Everything that happens during a test."""
    with host.events() as events:
        yield events


@pytest.fixture
def xl_config(tmp_path: Path) -> Callable[[str], str]:
    """Write a configuration for xl, of a tiny PVH guest."""

    def write(name: str) -> str:
        path = tmp_path / f"{name}.cfg"
        path.write_text(f'name = "{name}"\ntype = "pvh"\nkernel = "{GUESTS}/tiny-pvh"\nmemory = 8\nshadow_memory = 1\n')
        return str(path)

    return write


def names(found: list[Event]) -> list[str]:
    return [type(event).__name__ for event in found]


def test_xl_beside_it(host: Host, events: EventReader[Any], xl_config: Callable[[str], str]) -> None:
    xl("create", "-p", xl_config("web1"))
    created = until(events, DomainCreated)[-1]
    assert created.name == "web1"
    assert (created.domid, created.uuid) == (host.domains["web1"].domid, host.domains["web1"].uuid)
    told = events.get(2)
    assert isinstance(told, DeviceAdded)
    assert (told.kind, told.devid, told.backend) == ("console", 0, 0)
    xl("unpause", "web1")
    xl("pause", "web1")  # of which Xen tells nobody
    xl("rename", "web1", "web2")
    renamed = until(events, DomainRenamed)
    assert names(renamed) == ["DomainRenamed"]
    assert (renamed[0].name, renamed[0].domid, renamed[0].uuid) == ("web2", created.domid, created.uuid)
    xl("mem-set", "web2", "7")
    target = until(events, MemoryTargetChanged)[-1]
    assert isinstance(target, MemoryTargetChanged)
    assert (target.name, target.target_kib) == ("web2", 7 * 1024)
    xl("destroy", "web2")
    gone = until(events, DomainDestroyed)
    assert names(gone) == ["DeviceRemoved", "DomainDestroyed"]
    assert (gone[-1].name, gone[-1].domid, gone[-1].uuid) == ("web2", created.domid, created.uuid)
    assert events.get(0.2) is None


@pytest.mark.parametrize("reason", [ShutdownReason.POWEROFF, ShutdownReason.REBOOT, ShutdownReason.CRASH])
def test_how_a_guest_ends(host: Host, tiny: MakeConfig, reason: ShutdownReason) -> None:
    with host.events(DomainCreated, DomainShutdown, DomainDestroyed) as events:
        domain = host.create(tiny("pv", cmdline=reason.name.lower()))
        found = until(events, DomainShutdown)
        domain.destroy()
        found += until(events, DomainDestroyed)
    assert names(found) == ["DomainCreated", "DomainShutdown", "DomainDestroyed"]
    assert isinstance(found[1], DomainShutdown)
    assert found[1].reason is reason
    assert {(event.domid, event.uuid, event.name) for event in found} == {(domain.domid, domain.uuid, "tiny")}


def test_xl_acts_on_the_end_of_a_guest(events: EventReader[Any], xl_config: Callable[[str], str]) -> None:
    path = Path(xl_config("brief"))
    path.write_text(path.read_text() + 'cmdline = "poweroff"\n')
    xl("create", str(path))  # its own monitor destroys the domain at once
    found = until(events, DomainDestroyed)
    assert names(found) == ["DomainCreated", "DeviceAdded", "DomainShutdown", "DeviceRemoved", "DomainDestroyed"]


def test_devices_attached_and_detached_by_xl(host: Host, running_linux: MakeDomain, tmp_path: Path) -> None:
    image = tmp_path / "data.img"
    image.write_bytes(bytes(1 << 20))
    domain = running_linux()
    with host.events(domain=domain) as events:
        xl("block-attach", str(domain.domid), f"format=raw,vdev=xvdb,access=rw,target={image}")
        xl("network-attach", str(domain.domid), "bridge=xenbr0")
        xl("network-detach", str(domain.domid), "0")
        xl("block-detach", str(domain.domid), "xvdb")
        found = [events.get(SECONDS) for _ in range(4)]
        assert events.get(0.2) is None
    domain.destroy()
    assert [
        (type(event), event.kind, event.devid, event.backend) for event in found if isinstance(event, DeviceEvent)
    ] == [
        (DeviceAdded, "vbd", 51728, 0),
        (DeviceAdded, "vif", 0, 0),
        (DeviceRemoved, "vif", 0, 0),
        (DeviceRemoved, "vbd", 51728, 0),
    ]


def test_disks_ejected(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.iso").write_bytes(bytes(1 << 20))
    config = tiny("hvm")
    drive = Disk(f"{tmp_path}/a.iso", vdev="hdc", cdrom=True, readonly=True)
    domain = host.create(config.replace(disks=[*config.disks, drive]), paused=True)
    with host.events(DiskEjected, domain=domain) as events:
        xl("cd-insert", str(domain.domid), "hdc", f"{tmp_path}/b.iso")  # takes the other out
        xl("cd-eject", str(domain.domid), "hdc")
        xl("cd-insert", str(domain.domid), "hdc", f"{tmp_path}/a.iso")
        # As a guest's driver does it.
        eject = f"/local/domain/{domain.domid}/device/vbd/5632/eject"
        subprocess.run(["xenstore-write", eject, "eject"], check=True, timeout=120)
        found = [events.get(SECONDS) for _ in range(3)]
        assert events.get(0.2) is None
    domain.destroy()
    assert [event.vdev for event in found if isinstance(event, DiskEjected)] == ["hdc"] * 3
    assert {event.devid for event in found if isinstance(event, DiskEjected)} == {5632}


def test_a_guest_that_is_asked_to_shut_down(willing: MakeDomain, events: EventReader[Any]) -> None:
    willing().shutdown(timeout=120)
    found = until(events, DomainDestroyed)
    shutdown = next(event for event in found if isinstance(event, DomainShutdown))
    assert shutdown.reason is ShutdownReason.POWEROFF


def test_many_at_once(host: Host, tiny: MakeConfig) -> None:
    with host.events(DomainCreated, DomainDestroyed) as events, ThreadPoolExecutor(MANY) as pool:
        configs = [tiny(name=f"d{number}", memory=2) for number in range(MANY)]
        domains = list(pool.map(lambda config: host.create(config, paused=True), configs))
        list(pool.map(lambda domain: domain.destroy(), domains))
        found = [events.get(SECONDS) for _ in range(2 * MANY)]
        assert events.get(0.5) is None
    per_domain: dict[Any, list[str]] = {}
    for event in found:
        assert event is not None
        per_domain.setdefault((event.domid, event.uuid, event.name), []).append(type(event).__name__)
    assert per_domain == {
        (domain.domid, domain.uuid, f"d{number}"): ["DomainCreated", "DomainDestroyed"]
        for number, domain in enumerate(domains)
    }


def test_many_one_after_the_other(host: Host, tiny: MakeConfig) -> None:
    domains = []
    with host.events(DomainCreated, DomainDestroyed) as events:
        for number in range(MANY):
            domains.append(host.create(tiny(name=f"d{number}", memory=2), paused=True))
            domains[-1].destroy()
        found = [events.get(SECONDS) for _ in range(2 * MANY)]
        assert events.get(0.5) is None
    assert [(type(event), event.domid, event.uuid) for event in found if event] == [
        (kind, domain.domid, domain.uuid) for domain in domains for kind in (DomainCreated, DomainDestroyed)
    ]


STOPPED = """
import sys, pyxen
with pyxen.connect() as host, host.events(pyxen.DomainCreated, pyxen.DomainDestroyed) as events:
    print("ready", flush=True)
    sys.stdin.readline()
    while (event := events.get(60)) is not None:
        print(type(event).__name__, event.name or event.count, flush=True)
        if event.name == "stays":
            break
    print(events.get(0.5))
"""


def test_what_nobody_could_see_is_lost_and_not_forgotten(xl_config: Callable[[str], str]) -> None:
    program = [sys.executable, "-c", STOPPED]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        for name in ("brief", "stays"):
            xl("create", "-p", xl_config(name))
        xl("destroy", "brief")
        process.send_signal(signal.SIGCONT)
        told, _ = process.communicate("go on\n", timeout=SECONDS)
    xl("destroy", "stays")
    assert process.returncode == 0
    assert told.splitlines() == ["EventsLost 2", "DomainCreated stays", "None"]


def test_the_connection_breaks(host: Host, tiny: MakeConfig, xl_config: Callable[[str], str]) -> None:
    connections: list[Connection] = []

    def open_another() -> Connection:
        connections.append(Connection())
        return connections[-1]

    domain = host.create(tiny(name="before"), paused=True)
    hypervisor = Hypervisor()
    watcher = Watcher(hypervisor.glance, open_another)
    found: list[Event] = []
    watcher.subscribe(found.append, lambda: None)
    connections[0]._channel._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # dom0's is a socket
    xl("rename", str(domain.domid), "after")
    xl("create", "-p", xl_config("between"))
    wait_until(lambda: "DomainCreated" in names(found) and "DomainRenamed" in names(found))
    domain.destroy()
    xl("destroy", "between")
    wait_until(lambda: names(found).count("DomainDestroyed") == 2)
    watcher.close()
    hypervisor.close()
    assert names(found)[0] == "EventsLost"
    assert [event.name for event in found if isinstance(event, DomainDestroyed)] == ["after", "between"]


def test_through_the_kernel_where_xenstored_has_no_socket(host: Host, tiny: MakeConfig) -> None:
    hypervisor = Hypervisor()
    watcher = Watcher(hypervisor.glance, lambda: Connection(sockets=()))
    found: list[Event] = []
    watcher.subscribe(found.append, lambda: None)
    domain = host.create(tiny())
    wait_until(lambda: "DeviceAdded" in names(found))
    xl("rename", str(domain.domid), "other")
    wait_until(lambda: "DomainRenamed" in names(found))
    domain.destroy()
    wait_until(lambda: "DomainDestroyed" in names(found))
    watcher.close()
    hypervisor.close()
    expected = ["DomainCreated", "DeviceAdded", "DomainRenamed", "DeviceRemoved", "DomainDestroyed"]
    assert names(found) == expected


def test_nothing_is_left(tiny: MakeConfig) -> None:
    with connect() as host:
        threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with host.events() as first, host.events() as second:
                assert first.get(0) is second.get(0) is None
            wait_until(lambda: threading.active_count() == threads)
            assert len(os.listdir("/proc/self/fd")) == files
        for event in host_with_domain(host, tiny):
            assert isinstance(event, DomainEvent)
            break
        wait_until(lambda: threading.active_count() == threads)
        host.domains["tiny"].destroy()
        hypervisor = host.events()
        waiting = threading.Thread(target=lambda: list(hypervisor))
        waiting.start()
        time.sleep(0.1)
    waiting.join(10)
    assert not waiting.is_alive()
    with pytest.raises(HostClosed):
        hypervisor.get()
    with pytest.raises(HostClosed):
        host.events()
    assert threading.active_count() <= threads - 1  # the event loop has ended too


def host_with_domain(host: Host, tiny: MakeConfig) -> EventReader[Any]:
    events = host.events()
    host.create(tiny(), paused=True)
    return events
