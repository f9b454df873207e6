"""Events for tasks: none is lost between two reads, and whoever waits is woken."""

from __future__ import annotations

import asyncio
import gc
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

import pyxen.aio
from pyxen import DomainCreated, DomainDestroyed, Event, EventsLost, HostClosed, InvalidArgument
from pyxen.aio._calls import Calls
from tests.unit.aio.fakehost import FakeBackend, OnHost, run, turns, until


def created(domid: int) -> DomainCreated:
    return DomainCreated(domid=domid, uuid=UUID(int=domid), name=f"web{domid}", time=datetime.now(UTC))


def destroyed(domid: int) -> DomainDestroyed:
    return DomainDestroyed(domid=domid, uuid=UUID(int=domid), name=f"web{domid}", time=datetime.now(UTC))


async def read_all(events: pyxen.aio.EventReader[Any]) -> list[Event]:
    return [event async for event in events]


def test_events_are_read_in_their_order(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        async with host.events() as events:
            backend.tell(*happened[:2])
            assert [await anext(events), await anext(events)] == happened[:2]
            reading = asyncio.create_task(read_all(events))
            await turns()
            backend.tell(happened[2])
            await turns()
            backend.tell(*happened[3:])
            await turns()
            assert not reading.done()
            await host.close()
            assert await reading == happened[2:]

    happened = [created(1), destroyed(1), *map(created, range(2, 50))]
    on_host(main)


def test_it_reads_from_the_first_event_that_is_asked_for(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        events = host.events()
        backend.tell(created(1))
        reading = asyncio.create_task(anext(events))
        await until(lambda: backend.subscribers)
        backend.tell(created(2))
        event = await reading
        assert event.domid == 2
        await events.close()
        assert backend.subscribers == []

    on_host(main)


def test_only_what_is_wanted(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        web = await host.domains["web1"]
        async with host.events(DomainDestroyed, domain=web) as of_web, host.events(domain="web4") as of_name:
            backend.tell(created(3), created(4), destroyed(4), destroyed(3))
            await host.close()
            assert [(type(event), event.domid) for event in await read_all(of_web)] == [(DomainDestroyed, 3)]
            assert [event.domid for event in await read_all(of_name)] == [4, 4]

    on_host(main)


def test_a_slow_reader_is_told(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        async with host.events(maxlen=2) as events:
            backend.tell(*map(created, range(5)))
            assert [(await anext(events)).domid for _ in range(2)] == [0, 1]
            lost = await anext(events)
            assert isinstance(lost, EventsLost)
            assert lost.count == 3

    on_host(main)


def test_get(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        async with host.events() as events:
            assert await events.get(timeout=0) is None
            assert await events.get(timeout=0.01) is None
            backend.tell(created(1), created(2))
            first, second = await events.get(timeout=0), await events.get()
            assert first is not None
            assert second is not None
            assert (first.domid, second.domid) == (1, 2)
            waiting = asyncio.create_task(events.get())
            await turns()
        with pytest.raises(HostClosed, match="was closed"):
            await waiting
        with pytest.raises(HostClosed, match="was closed"):
            await events.get()

    on_host(main)


def test_a_cancelled_read_loses_nothing(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        async with host.events() as events:
            for number in range(20):
                reading = asyncio.create_task(anext(events))
                await turns(1)
                backend.tell(created(number))
                reading.cancel()
                got = (await asyncio.gather(reading, return_exceptions=True))[0]
                event = await anext(events) if isinstance(got, asyncio.CancelledError) else got
                assert isinstance(event, DomainCreated)
                assert event.domid == number

    on_host(main)


def test_many_tasks_read_each_event_once(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        async with host.events() as events:
            readers = [asyncio.create_task(read_all(events)) for _ in range(5)]
            await turns()
            backend.tell(*map(created, range(100)))
            await turns()
            await host.close()
            found = [event.domid for some in await asyncio.gather(*readers) for event in some]
            assert sorted(domid for domid in found if domid is not None) == list(range(100))

    on_host(main)


def test_cancelled_while_it_subscribes(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        backend.may_begin.clear()
        reading = asyncio.create_task(anext(host.events()))
        await turns()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        backend.may_begin.set()
        await until(lambda: not any(thread.name == "pyxen-aio-open" for thread in threading.enumerate()))
        await until(lambda: backend.subscribers == [])

    on_host(main)


def test_letting_go_of_a_reader_closes_it(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        async for event in host.events():
            assert event.domid == 1
            break
        gc.collect()
        await until(lambda: not backend.subscribers)  # a thread does it

    async def soon(host: pyxen.aio.Host) -> None:
        reading = asyncio.create_task(main(host))
        await until(lambda: backend.subscribers)
        backend.tell(created(1))
        await reading

    on_host(soon)


def test_a_loop_that_is_closed_while_someone_reads(backend: FakeBackend) -> None:
    async def begin() -> asyncio.Task[Event]:
        reading = asyncio.ensure_future(anext(events))
        await until(lambda: events._stop is not None)  # it has begun, here and there
        await turns()
        return reading

    host = pyxen.aio.Host(backend, Calls())
    events = host.events()
    loop = asyncio.new_event_loop()
    reading = loop.run_until_complete(begin())
    loop.close()
    reading._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would complain, rightly
    backend.tell(created(1))
    run(host.close())
    assert [event.domid for event in run(read_all(events))] == [1]


def test_a_closed_host_has_no_events(on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        await host.close()
        with pytest.raises(HostClosed, match="open it again"):
            await anext(host.events())
        with pytest.raises(InvalidArgument, match="maxlen=0"):
            host.events(maxlen=0)
        with pytest.raises(InvalidArgument, match="not a kind of event"):
            host.events(int)  # type: ignore[type-var]  # wrong on purpose

    on_host(main)
