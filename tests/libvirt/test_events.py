"""Events of domains, told by libvirt's test driver."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

import pyxen.aio
from pyxen import (
    DomainConfig,
    DomainCreated,
    DomainDestroyed,
    DomainShutdown,
    Event,
    Host,
    HostClosed,
    ShutdownReason,
)
from pyxen.backends.libvirt.backend import LibvirtBackend


def kinds(events: Sequence[Event | None]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_a_life(host: Host, web1: DomainConfig, tmp_path: Path) -> None:
    before = host.create(web1.replace(name="before"))
    with host.events() as events:
        domain = host.create(web1)
        domain.pause()
        domain.unpause()
        domain.save(tmp_path / "saved")
        again = host.restore(tmp_path / "saved")
        again.shutdown()
        before.destroy()
        found = [events.get(10) for _ in range(8)]
        assert kinds(found) == [
            *("DomainCreated", "DomainPaused", "DomainUnpaused", "DomainDestroyed"),
            *("DomainCreated", "DomainShutdown", "DomainDestroyed"),
            "DomainDestroyed",
        ]
        assert events.get(0) is None
    ids = [(event.domid, event.uuid, event.name) for event in found if event is not None]
    first, second = (domain.domid, domain.uuid, "web1"), (again.domid, again.uuid, "web1")
    assert ids == [first, first, first, first, second, second, second, (before.domid, before.uuid, "before")]
    assert isinstance(found[5], DomainShutdown)
    assert found[5].reason is ShutdownReason.POWEROFF


def test_what_is_kept_begins_and_ends_too(link: LibvirtBackend, host: Host, web1: DomainConfig) -> None:
    with host.events(DomainCreated, DomainDestroyed) as events:
        kept = link.define(web1, autostart=None)
        first = link.start(kept.uuid, paused=False, timeout=10).wait()
        link.destroy(first, timeout=10).wait()
        second = link.start(kept.uuid, paused=False, timeout=10).wait()
        found = [events.get(10) for _ in range(3)]
        assert kinds(found) == ["DomainCreated", "DomainDestroyed", "DomainCreated"]
        assert [event.domid for event in found if event] == [first.domid, first.domid, second.domid]


def test_readers_come_and_go(host: Host, web1: DomainConfig) -> None:
    first = host.events()
    domain = host.create(web1)
    assert kinds([first.get(10)]) == ["DomainCreated"]
    second = host.events()
    domain.destroy()
    assert kinds([first.get(10)]) == ["DomainDestroyed"]
    assert kinds([second.get(10)]) == ["DomainDestroyed"]
    first.close()
    host.create(web1)
    assert isinstance(second.get(10), DomainCreated)
    with pytest.raises(HostClosed):
        first.get(0)
    host.close()
    with pytest.raises(HostClosed):
        second.get(10)


def test_nothing_of_before(host: Host, web1: DomainConfig) -> None:
    with host.events():
        for _ in range(20):  # libvirt tells some of it only after the second one has begun
            domain = host.create(web1)
            host.create(web1.replace(name="web2"))
            host.domains["web2"].destroy()
            with host.events(domain=domain) as events:
                domain.destroy()
                event = events.get(10)
                assert isinstance(event, DomainDestroyed)
                assert event.domid == domain.domid


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_what_a_subscriber_raises_ends_nothing(
    link: LibvirtBackend,
    host: Host,
    web1: DomainConfig,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_value))

    def fail(event: Event) -> None:
        raise error(type(event).__name__)

    ended = threading.Event()
    link.subscribe(fail, ended.set)
    with host.events() as events:
        host.create(web1).destroy()
        assert kinds([events.get(10), events.get(10)]) == ["DomainCreated", "DomainDestroyed"]
    host.close()
    assert ended.wait(10)
    assert [str(each) for each in raised] == ["DomainCreated", "DomainDestroyed"]


def test_a_subscriber_may_ask_the_host(link: LibvirtBackend, host: Host, web1: DomainConfig) -> None:
    counts: list[int] = []
    told = threading.Event()

    def look(_: Event) -> None:
        counts.append(len(host.list()))
        told.set()

    link.subscribe(look, lambda: None)
    host.create(web1)
    assert told.wait(10)
    assert counts == [1]


def test_asyncio(uri: str, web1: DomainConfig) -> None:
    async def main() -> list[str]:
        async with pyxen.aio.connect(uri) as host, host.events() as events:
            domain = await host.create(web1)
            waiting = asyncio.create_task(domain.wait(timeout=10))
            await domain.shutdown()
            assert await waiting is None
            return [type(await anext(events)).__name__ for _ in range(3)]

    assert asyncio.run(main()) == ["DomainCreated", "DomainShutdown", "DomainDestroyed"]
