"""Hosts in memory between which domains migrate: whatever happens, a domain runs in exactly one place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import pyxen
from pyxen import (
    DomainExists,
    DomainRenamed,
    DomainState,
    Event,
    InvalidArgument,
    InvalidState,
    MigrationFailed,
    MigrationInDoubt,
    NotEnoughMemory,
    OperationCancelled,
    OperationTimeout,
    ShutdownReason,
    UnsupportedFeature,
)
from pyxen.testing import FakeHost
from tests.unit.memory.configs import config

SECONDS = 60


@pytest.fixture
def source() -> Iterator[FakeHost]:
    """Where a domain begins."""
    with FakeHost(seed=1) as host:
        yield host


@pytest.fixture
def destination() -> Iterator[FakeHost]:
    """Where it goes."""
    with FakeHost(seed=2) as host:
        yield host


def told(events: pyxen.EventReader[Event]) -> list[tuple[str, str | None]]:
    """Return the events so far: what happened, and the name of the domain."""
    found = []
    while (event := events.get(timeout=0)) is not None:
        found.append((type(event).__name__.removeprefix("Domain"), event.name))
    return found


def stays(source: FakeHost, destination: FakeHost, domain: pyxen.Domain) -> None:
    """Check that a domain goes on where it was, and that nothing is left at the destination."""
    info = domain.info()
    assert (info.name, info.is_running) == ("web1", True)
    assert [guest.name for guest in source.guests] == ["web1"]
    assert not [name for name in names(destination) if name.startswith("web1--")]


def names(host: pyxen.Host) -> list[str]:
    """Return the names of the guests of a host."""
    return [domain.name or "" for domain in host.guests]


def test_there_and_back(source: FakeHost, destination: FakeHost) -> None:
    domain = source.create(config(vcpus=2))
    source.guest(domain).boot()
    before = domain.info()
    with source.events() as here, destination.events() as there:
        domain.migrate(destination.uri)
        assert told(here) == [
            ("Shutdown", "web1"),
            ("Renamed", "web1--migratedaway"),
            ("DeviceRemoved", "web1--migratedaway"),
            ("Destroyed", "web1--migratedaway"),
        ]
        assert told(there) == [
            ("Created", "web1--incoming"),
            ("DeviceAdded", "web1--incoming"),
            ("Renamed", "web1"),
        ]
    assert names(source) == []
    moved = destination.domains["web1"]
    after = moved.info()
    assert (after.uuid, after.state, after.vcpus) == (before.uuid, DomainState.BLOCKED, 2)
    assert (after.memory_kib, after.maxmem_kib) == (before.memory_kib, before.maxmem_kib)
    moved.migrate(source.uri, paused=True)
    assert source.domains["web1"].info().state is DomainState.PAUSED
    assert names(destination) == []


def test_to_the_host_itself(source: FakeHost) -> None:
    domain = source.create(config())
    domain.migrate(source.uri)
    assert names(source) == ["web1"]
    assert source.domains["web1"].domid != domain.domid


def test_hosts_of_a_name() -> None:
    with pyxen.connect("memory:///fleet-a") as one, pyxen.connect("memory:///fleet-b") as other:
        one.create(config()).migrate("memory:///fleet-b", timeout=SECONDS)
        assert (names(one), names(other)) == ([], ["web1"])


@pytest.mark.parametrize("where", ["root@host2", "memory:///", "memory:///a/b", "", ["ssh", "host2"]])
def test_what_is_no_host(source: FakeHost, destination: FakeHost, where: str | list[str]) -> None:
    domain = source.create(config())
    with pytest.raises(InvalidArgument, match="give memory:///NAME"):
        domain.migrate(where)
    stays(source, destination, domain)


def test_a_host_that_is_not_there(source: FakeHost, destination: FakeHost) -> None:
    domain = source.create(config())
    with pytest.raises(MigrationFailed, match="no host memory:///nowhere; the domain goes on here"):
        domain.migrate("memory:///nowhere")
    destination.vanish()
    with pytest.raises(MigrationFailed, match="the destination is gone; the domain goes on here"):
        domain.migrate(destination.uri)
    assert names(source) == ["web1"]


def test_a_domain_that_cannot_answer(source: FakeHost, destination: FakeHost) -> None:
    domain = source.create(config(), paused=True)
    with pytest.raises(InvalidState, match="unpause it first"):
        domain.migrate(destination.uri)
    domain.unpause()
    source.guest(domain).answers = False
    with pytest.raises(pyxen.GuestTimeout):
        domain.migrate(destination.uri)
    stays(source, destination, domain)


def test_a_name_that_is_taken_there(source: FakeHost, destination: FakeHost) -> None:
    domain = source.create(config())
    destination.create(config())
    with pytest.raises(MigrationFailed, match=r"refuses: .*has the name web1 already") as caught:
        domain.migrate(destination.uri)
    assert isinstance(caught.value.__cause__, DomainExists)
    stays(source, destination, domain)


def test_a_name_that_is_taken_in_the_meantime(source: FakeHost, destination: FakeHost) -> None:
    domain = source.create(config())
    rival = destination.create(config("rival"), paused=True)

    def take(event: Event) -> None:
        if isinstance(event, pyxen.DomainShutdown):
            destination.xenstore.write(f"{rival.xenstore_path}/name", "web1")

    unsubscribe = source._backend.subscribe(take, lambda: None)
    with pytest.raises(MigrationFailed, match="already has the name 'web1'"):
        domain.migrate(destination.uri)
    unsubscribe()
    stays(source, destination, domain)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: FakeHost(memory=600), NotEnoughMemory),
        (lambda: FakeHost(xen="4.17.0"), UnsupportedFeature),
        (lambda: FakeHost(cpus=1), pyxen.ValidationError),
    ],
)
def test_a_host_that_it_does_not_fit(source: FakeHost, make: Callable[[], FakeHost], error: type[pyxen.Error]) -> None:
    disk = pyxen.Disk("/d", vdev="xvda", grant_usage=True)
    domain = source.create(config(memory=256, cpus="3", disks=[disk]))
    with make() as host, pytest.raises(MigrationFailed, match="refuses") as caught:
        domain.migrate(host.uri)
    assert isinstance(caught.value.__cause__, error)
    assert domain.info().is_running


def test_files_and_bridges_that_are_missing_there(source: FakeHost, destination: FakeHost) -> None:
    domain = source.create(config(disks=[pyxen.Disk("/srv/web1.img", vdev="xvda")]))
    destination.missing.add("/srv/web1.img")
    with pytest.raises(MigrationFailed, match=r"no such file on the host: /srv/web1\.img"):
        domain.migrate(destination.uri)
    stays(source, destination, domain)


def test_a_refusal_that_a_test_asks_for(source: FakeHost, destination: FakeHost) -> None:
    domain = source.create(config())
    destination.fail("receive_migration", pyxen.OperationFailed("no shared storage"))
    with pytest.raises(MigrationFailed, match="no shared storage"):
        domain.migrate(destination.uri)
    stays(source, destination, domain)
    domain.migrate(destination.uri)


def test_a_destination_that_goes_away_in_the_middle(source: FakeHost, destination: FakeHost) -> None:
    domain = source.create(config())
    source._machine.at(source._machine.now() + 1, destination.vanish)
    with pytest.raises(MigrationFailed, match="the destination is gone; the domain goes on here"):
        domain.migrate(destination.uri)
    assert (domain.info().name, domain.info().is_running) == ("web1", True)


def test_a_destination_that_goes_away_when_it_may_start_the_domain(
    source: FakeHost, destination: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    domain = source.create(config())

    def vanish(event: Event) -> None:
        if isinstance(event, DomainRenamed) and event.new == "web1--migratedaway":
            destination.vanish()

    unsubscribe = source._backend.subscribe(vanish, lambda: None)
    with pytest.raises(MigrationInDoubt, match="stays suspended here, as web1--migratedaway") as caught:
        domain.migrate(destination.uri)
    unsubscribe()
    assert str(caught.value) in caplog.text
    info = domain.info()
    assert (info.name, info.shutdown_reason) == ("web1--migratedaway", ShutdownReason.SUSPEND)
    domain.rename("web1")
    domain.resume()
    assert domain.info().is_running


def test_stopped_in_the_middle(destination: FakeHost) -> None:
    with FakeHost(time="real") as source:
        source._machine.timing = source._machine.timing.__class__(
            create=0, boot=0, answer=0, stop=0, save=SECONDS, mercy=0, patience=SECONDS
        )
        domain = source.create(config())
        source.guest(domain).boot()
        with pytest.raises(OperationTimeout):
            domain.migrate(destination.uri, timeout=0.01)
        stays(source, destination, domain)
        operation = domain.begin.migrate(destination.uri)
        assert operation.cancel()
        with pytest.raises(OperationCancelled):
            operation.result(SECONDS)
        stays(source, destination, domain)


def test_destroyed_in_the_middle(source: FakeHost, destination: FakeHost) -> None:
    domain = source.create(config())
    machine = source._machine
    machine.at(machine.now() + 1, lambda: machine.remove(machine.domains[domain.domid]))
    with pytest.raises(pyxen.DomainNotFound, match="destroyed meanwhile"):
        domain.migrate(destination.uri)
    assert (names(source), names(destination)) == ([], [])


def test_two_hosts_that_send_each_other_domains() -> None:
    with FakeHost(time="real", seed=1) as one, FakeHost(time="real", seed=2) as other:
        for number in range(4):
            one.create(config(f"one{number}"))
            other.create(config(f"other{number}"))
        ready = threading.Barrier(8)

        def move(domain: pyxen.Domain, where: FakeHost) -> None:
            ready.wait(SECONDS)
            domain.migrate(where.uri, timeout=SECONDS)

        with ThreadPoolExecutor(8) as pool:
            here, there = list(one.guests), list(other.guests)
            moves = [pool.submit(move, domain, other) for domain in here]
            moves += [pool.submit(move, domain, one) for domain in there]
            for done in moves:
                done.result(SECONDS)
        assert sorted(names(one)) == [f"other{number}" for number in range(4)]
        assert sorted(names(other)) == [f"one{number}" for number in range(4)]
