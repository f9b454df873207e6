"""The xenstore of a host in memory, awaited."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import pyxen.aio
from pyxen import (
    ConnectFailed,
    HostClosed,
    NodeChange,
    NodeNotFound,
    NodePermissions,
    OperationFailed,
    OperationTimeout,
    XenstoreConflict,
    XenstoreTransaction,
    xenstorenodes,
)
from pyxen.aio import _calls
from pyxen.testing import FakeHost
from tests.unit.aio.fakehost import run, turns, until
from tests.unit.memory.configs import config
from tests.waiting import SECONDS

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


def test_a_transaction_of_a_task_that_is_cancelled() -> None:
    """It changes nothing, and the task goes on at once: the function may wait for what the task does then."""

    async def main(xen: pyxen.aio.Host, _: FakeHost) -> None:
        inside, go_on, ended, calls = threading.Event(), threading.Event(), threading.Event(), list[int]()

        def write(transaction: XenstoreTransaction) -> None:
            calls.append(1)
            inside.set()
            transaction.write(TOP, "1")
            assert go_on.wait(SECONDS)
            ended.set()

        task = asyncio.create_task(xen.xenstore.transaction(write))
        await until(inside.is_set)
        task.cancel()
        await until(task.done)
        assert not ended.is_set()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(ended.is_set)
        await until(lambda: not xen._calls._changes)
        assert not await xen.xenstore.exists(TOP)
        assert len(calls) == 1

    on_fake(main)


def test_a_transaction_that_is_cancelled_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xenstorenodes, "_LONGEST_PAUSE", 0.0)  # another try would come at once

    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        calls = list[int]()

        def meddle(transaction: XenstoreTransaction) -> None:
            transaction.write(TOP, "mine")
            fake.xenstore.write(TOP, "other")
            calls.append(1)
            if len(calls) == 3:
                loop.call_soon_threadsafe(task.cancel)
                assert cancelled.wait(30)

        loop, cancelled = asyncio.get_running_loop(), threading.Event()
        task = asyncio.create_task(xen.xenstore.transaction(meddle, tries=1000))
        await until(task.cancelling)
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await xen.xenstore.read(TOP) == "other"
        await turns()
        assert len(calls) == 3

    on_fake(main)


@pytest.mark.parametrize("patient", [True, False])
def test_a_commit_that_has_begun_ends_before_the_cancelled_task(
    patient: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A commit that hangs is left after a while."""
    monkeypatch.setattr(_calls, "_PATIENCE", SECONDS if patient else 0.05)

    async def main(xen: pyxen.aio.Host, _: FakeHost) -> None:
        task, inside, go_on = hanging_commit(xen, monkeypatch)
        await until(inside.is_set)
        task.cancel()
        await turns()
        assert not (patient and task.done())
        if patient:
            go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await xen.xenstore.exists(TOP) == patient
        assert ("may still be made" in caplog.text) != patient
        go_on.set()
        await until(lambda: not xen._calls._changes)
        assert await xen.xenstore.exists(TOP)

    on_fake(main)


def hanging_commit(
    xen: pyxen.aio.Host, monkeypatch: pytest.MonkeyPatch
) -> tuple[asyncio.Task[None], threading.Event, threading.Event]:
    """Begin a transaction whose commit waits; return its task, what is set in the commit, and what lets it go on."""
    inside, go_on = threading.Event(), threading.Event()
    store = xen._backend.xenstore()
    begin = store.begin

    def begun() -> Any:
        nodes = begin()
        commit = nodes.commit

        def slow() -> bool:
            inside.set()
            assert go_on.wait(SECONDS)
            return commit()

        monkeypatch.setattr(nodes, "commit", slow, raising=False)
        return nodes

    monkeypatch.setattr(store, "begin", begun)
    return asyncio.create_task(xen.xenstore.transaction(lambda nodes: nodes.write(TOP, "1"))), inside, go_on


def test_a_second_cancel_does_not_wait_for_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_calls, "_PATIENCE", SECONDS)

    async def main(xen: pyxen.aio.Host, _: FakeHost) -> None:
        task, inside, go_on = hanging_commit(xen, monkeypatch)
        await until(inside.is_set)
        task.cancel()
        await turns()
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await until(lambda: not xen._calls._changes)
        assert await xen.xenstore.exists(TOP)

    on_fake(main)


def test_slow_transactions_hold_up_nothing_else() -> None:
    async def main(xen: pyxen.aio.Host, _: FakeHost) -> None:
        go_on = threading.Event()
        web = await xen.create(config())
        slow = [asyncio.create_task(xen.xenstore.transaction(lambda _: go_on.wait(SECONDS))) for _ in range(40)]
        await turns()
        try:
            async with asyncio.timeout(60):
                await xen.xenstore.write(TOP, "1")
                await web.pause()
                await xen.list()
                async with xen.xenstore.watch(TOP) as watch:
                    await watch.get()
        finally:
            go_on.set()
        await asyncio.gather(*slow)

    on_fake(main)


def test_some_functions_of_transactions_run_at_once() -> None:
    async def main(xen: pyxen.aio.Host, _: FakeHost) -> None:
        inside, most, gate = 0, 0, threading.Lock()
        everybody = threading.Barrier(_calls._STEPPING)

        def look(_: XenstoreTransaction) -> None:
            nonlocal inside, most
            with gate:
                inside += 1
                most = max(most, inside)
            everybody.wait(SECONDS)
            with gate:
                inside -= 1

        await asyncio.gather(*(xen.xenstore.transaction(look) for _ in range(5 * _calls._STEPPING)))
        assert most <= _calls._STEPPING
        await until(lambda: not any(thread.name == "pyxen-aio-change" for thread in threading.enumerate()))

    on_fake(main)


def test_no_thread_for_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is changed, and the next one has a thread again."""

    async def main(xen: pyxen.aio.Host, _: FakeHost) -> None:
        start = threading.Thread.start

        def refused(thread: threading.Thread) -> None:
            if thread.name == "pyxen-aio-change":
                raise RuntimeError("can't start new thread")
            start(thread)

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            for _try in range(2 * _calls._STEPPING):
                with pytest.raises(OperationFailed, match=r"cannot start a thread: .* raise its limits"):
                    await xen.xenstore.transaction(lambda nodes: nodes.write(TOP, "1"))
        assert not await xen.xenstore.exists(TOP)
        assert await xen.xenstore.transaction(lambda nodes: nodes.exists(TOP)) is False

    on_fake(main)


def test_a_host_is_closed_though_a_transaction_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for the task that closes the host."""

    async def main(_: pyxen.aio.Host, fake: FakeHost) -> None:
        inside, go_on = threading.Event(), threading.Event()

        def write(transaction: XenstoreTransaction) -> None:
            transaction.write(TOP, "1")
            inside.set()
            assert go_on.wait(SECONDS)

        async with fake.aio() as other:
            task = asyncio.create_task(other.xenstore.transaction(write))
            await until(inside.is_set)
            async with asyncio.timeout(60):
                await other.close()
        go_on.set()
        with pytest.raises(HostClosed):
            await task
        assert not fake.xenstore.exists(TOP)

    monkeypatch.setattr(_calls, "_PATIENCE", 0.05)
    on_fake(main)


def test_a_transaction_has_the_context_of_its_task() -> None:
    async def main(xen: pyxen.aio.Host, _: FakeHost) -> None:
        name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
        name.set("mine")
        assert await xen.xenstore.transaction(lambda _: name.get("none")) == "mine"

    on_fake(main)


def test_a_watch() -> None:
    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        async with xen.xenstore.watch(TOP) as watch:
            assert await watch.get(SECONDS) == NodeChange(TOP, TOP)
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
        watch = xen.xenstore.watch(TOP, timeout=0.3)
        time.sleep(0.4)  # noqa: ASYNC251 (on purpose: what comes before it reads does not count)
        assert (await anext(watch)).path == TOP
        with pytest.raises(OperationTimeout, match="deadline"):
            await anext(watch)
        await watch.close()

    on_fake(main)


def test_the_watches_of_a_host_that_is_closed_end() -> None:
    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        other = await fake.aio()
        watch = other.xenstore.watch(TOP)
        await watch.get(SECONDS)
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
            await watch.get(SECONDS)
            reading = asyncio.create_task(watch.get())
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            fake.xenstore.write(TOP, "1")
            assert await watch.get(SECONDS) == NodeChange(TOP, TOP)

    on_fake(main)


def test_a_host_that_vanishes() -> None:
    async def main(xen: pyxen.aio.Host, fake: FakeHost) -> None:
        watch = xen.xenstore.watch(TOP)
        await watch.get(SECONDS)
        fake.vanish()
        with pytest.raises(ConnectFailed):
            await xen.xenstore.read(TOP)
        await until(lambda: "closed" in repr(watch))
        assert [change async for change in watch] == []

    on_fake(main)
