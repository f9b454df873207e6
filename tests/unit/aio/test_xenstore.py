"""The xenstore of a host in memory, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import pyxen.aio
from pyxen import (
    ConnectFailed,
    HostClosed,
    NodeChange,
    NodeNotFound,
    NodePermissions,
    OperationTimeout,
    XenstoreConflict,
    XenstoreTransaction,
)
from pyxen.testing import FakeHost
from tests.unit.aio.fakehost import run, until

TOP = "/tool/a"


def on_fake(main: Callable[[pyxen.aio.Host, FakeHost], Awaitable[None]]) -> None:
    """Run a coroutine function with the asyncio face of a host in memory."""

    async def within() -> None:
        with FakeHost() as fake:
            async with fake.aio() as xen:
                await main(xen, fake)

    run(within())


def test_every_call() -> None:
    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        store = xen.xenstore
        await store.write(f"{TOP}/b", "blue")
        await store.mkdir(f"{TOP}/c")
        assert await store.read(f"{TOP}/b") == "blue"
        assert await store.read_bytes(f"{TOP}/b") == b"blue"
        assert await store.read_many([f"{TOP}/b", f"{TOP}/d"]) == {f"{TOP}/b": "blue", f"{TOP}/d": None}
        assert await store.list(TOP) == ["b", "c"]
        await store.set_permissions(TOP, NodePermissions(0, "read"))
        assert await store.permissions(TOP) == NodePermissions(0, "read")
        assert await store.exists(TOP)
        await store.remove(TOP)
        assert not await store.exists(TOP)
        assert not fake.xenstore.exists(TOP)
        with pytest.raises(NodeNotFound):
            await store.read(TOP)

    on_fake(main)


def test_a_transaction() -> None:
    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        await xen.xenstore.write(TOP, "1")

        def add(transaction: XenstoreTransaction) -> int:
            count = int(transaction.read(TOP)) + 1
            transaction.write(TOP, str(count))
            return count

        async with asyncio.TaskGroup() as group:
            adding = [group.create_task(xen.xenstore.transaction(add)) for _ in range(10)]
        assert sorted(task.result() for task in adding) == list(range(2, 12))

        def meddle(transaction: XenstoreTransaction) -> None:
            transaction.write(TOP, "0")
            fake.xenstore.write(TOP, "other")

        with pytest.raises(XenstoreConflict):
            await xen.xenstore.transaction(meddle, tries=2)
        assert await xen.xenstore.read(TOP) == "other"

    on_fake(main)


def test_a_watch() -> None:
    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        async with xen.xenstore.watch(TOP) as watch:
            assert await watch.get(5) == NodeChange(TOP, TOP)
            assert await watch.get(0) is None
            fake.xenstore.write(f"{TOP}/b", "1")
            async for change in watch:
                assert change.path == f"{TOP}/b"
                break
            assert "open" in repr(watch)
        with pytest.raises(HostClosed):
            await watch.get()
        assert [change async for change in watch] == []

    on_fake(main)


def test_the_deadline_of_a_loop() -> None:
    async def main(xen: pyxen.aio.Host, _: FakeHost) -> None:
        watch = xen.xenstore.watch(TOP, timeout=0.05)
        assert (await anext(watch)).path == TOP
        with pytest.raises(OperationTimeout, match="deadline"):
            await anext(watch)
        await watch.close()

    on_fake(main)


def test_the_watches_of_a_host_that_is_closed_end() -> None:
    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        other = await fake.aio()
        watch = other.xenstore.watch(TOP)
        await watch.get(5)
        reading = asyncio.create_task(watch.get())
        await asyncio.sleep(0)
        await other.close()
        with pytest.raises(HostClosed):
            await reading
        with pytest.raises(HostClosed):
            await other.xenstore.read(TOP)
        assert not await xen.xenstore.exists(TOP)

    on_fake(main)


def test_a_task_that_is_cancelled_while_it_waits_for_a_change() -> None:
    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        async with xen.xenstore.watch(TOP) as watch:
            await watch.get(5)
            reading = asyncio.create_task(watch.get())
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            fake.xenstore.write(TOP, "1")
            assert await watch.get(5) == NodeChange(TOP, TOP)

    on_fake(main)


def test_a_host_that_vanishes() -> None:
    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        watch = xen.xenstore.watch(TOP)
        await watch.get(5)
        fake.vanish()
        with pytest.raises(ConnectFailed):
            await xen.xenstore.read(TOP)
        await until(lambda: "closed" in repr(watch))
        assert [change async for change in watch] == []

    on_fake(main)
