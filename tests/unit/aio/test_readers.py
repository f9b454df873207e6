"""Readers that are closed, cancelled or left while they begin: what they then get is given back."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest

import pyxen.aio
from pyxen import HostClosed, OperationTimeout
from pyxen.testing import FakeHost
from tests.forks import told_by_a_child
from tests.unit.aio.fakehost import run, turns, until
from tests.unit.memory.configs import config
from tests.waiting import SECONDS

_BOUND: Final = SECONDS

Reader = Any
"""One of the four readers; they have no type in common."""


class Beginning:
    """The beginning of a reader, which takes as long as a test wants.

    Attributes:
        go_on: While it is cleared, the backend has what the reader wants, and does not return it yet.
        given: What the backend gave, as functions that tell whether it is still held.
    """

    def __init__(self, kind: str, host: pyxen.aio.Host, fake: FakeHost, web: pyxen.aio.Domain) -> None:
        self.go_on = threading.Event()
        self.given: list[Callable[[], bool]] = []
        self._kind = kind
        self._host = host
        self._web = web
        self._guest = fake.guest(web.domid)
        backend: Any = host._backend
        owner, name = {
            "events": (backend, "subscribe"),
            "qmp": (backend, "qmp_events"),
            "xenstore": (backend.xenstore(), "watch"),
            "console": (backend, "console"),
        }[kind]
        self._begin = getattr(owner, name)
        self._backend = backend
        setattr(owner, name, self._slowly)

    def reader(self) -> Reader:
        """Return a new reader, which has not begun."""
        make: dict[str, Callable[[], Reader]] = {
            "events": self._host.events,
            "qmp": self._web.qmp.events,
            "xenstore": lambda: self._host.xenstore.watch("/tool/a"),
            "console": self._web.console_stream,
        }
        return make[self._kind]()

    def held(self) -> int:
        """Return how many readers the backend serves now."""
        return sum(is_held() for is_held in self.given)

    def _slowly(self, *arguments: Any, **options: Any) -> Any:
        result = self._begin(*arguments, **options)
        self.given.append(self._watcher(result))
        assert self.go_on.wait(_BOUND)
        return result

    def _watcher(self, result: Any) -> Callable[[], bool]:
        if self._kind == "qmp":
            listening = result.result(_BOUND)
            return lambda: not listening.done()
        if self._kind == "console":
            identity = os.fstat(result).st_ino
            return lambda: _inode(result) == identity
        one = self._backend._subscribers[-1] if self._kind == "events" else self._backend._store._own[-1]
        return lambda: bool(one.listens)


def _inode(fd: int) -> int | None:
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return None


def beginning(main: Callable[[Beginning], Awaitable[None]], kind: str) -> None:
    """Run a coroutine function with the beginning of a reader."""

    async def within() -> None:
        with FakeHost() as fake:
            async with fake.aio() as host:
                begun = Beginning(kind, host, fake, await host.create(config(type="hvm", serial=["pty"])))
                try:
                    async with asyncio.timeout(_BOUND):
                        await main(begun)
                finally:
                    begun.go_on.set()

    run(within())


async def _all(reader: AsyncIterator[object]) -> int:
    return len([item async for item in reader])


each_kind = pytest.mark.parametrize("kind", ["events", "qmp", "xenstore", "console"])


@each_kind
def test_closed_while_it_begins(kind: str) -> None:
    async def main(beginning: Beginning) -> None:
        reader = beginning.reader()
        reading = [asyncio.create_task(_all(reader)) for _ in range(2)]
        await until(lambda: beginning.given)
        closing = [asyncio.create_task(reader.close()) for _ in range(2)]
        await turns()
        beginning.go_on.set()
        await asyncio.gather(*closing)
        assert beginning.held() == 0
        assert await asyncio.gather(*reading) == [0, 0]
        await reader.close()
        with pytest.raises(HostClosed):
            await reader.get()
        assert len(beginning.given) == 1
        async with beginning.reader():  # whatever the other one had is free again
            assert beginning.held() == 1
        assert beginning.held() == 0

    beginning(main, kind)


@each_kind
def test_closed_before_it_begins(kind: str) -> None:
    async def main(beginning: Beginning) -> None:
        beginning.go_on.set()
        reader = beginning.reader()
        await reader.close()
        assert await _all(reader) == 0
        assert beginning.given == []

    beginning(main, kind)


@each_kind
def test_a_close_that_is_cancelled_while_it_begins(kind: str) -> None:
    async def main(beginning: Beginning) -> None:
        reader = beginning.reader()
        reading = asyncio.create_task(_all(reader))
        await until(lambda: beginning.given)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await reader.close()
        beginning.go_on.set()
        assert await reading == 0
        assert beginning.held() == 0

    beginning(main, kind)


@each_kind
def test_cancelled_while_it_begins(kind: str) -> None:
    """One of two tasks is cancelled, and the other begins anew."""

    async def main(beginning: Beginning) -> None:
        reader = beginning.reader()
        first = asyncio.create_task(anext(reader))
        await until(lambda: beginning.given)
        second = asyncio.create_task(_all(reader))
        await turns()
        first.cancel()
        await turns()
        assert first.done() is (kind != "qmp")  # what only opens is not waited for
        beginning.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        await until(lambda: len(beginning.given) == 2 and beginning.held() == 1)
        assert not beginning.given[0]()
        await reader.close()
        await second
        assert beginning.held() == 0

    beginning(main, kind)


@each_kind
def test_when_a_cancelled_beginning_ends_all_is_given_back(kind: str) -> None:
    async def main(beginning: Beginning) -> None:
        reading = asyncio.create_task(anext(beginning.reader()))
        await until(lambda: beginning.given)
        reading.cancel()
        await turns()
        beginning.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await until(lambda: beginning.held() == 0)

    beginning(main, kind)


@each_kind
def test_cancelled_as_it_has_begun(kind: str) -> None:
    """The cancel comes between the call's end on its thread and the task's next turn."""

    async def main(beginning: Beginning) -> None:
        reader = beginning.reader()
        entering = asyncio.create_task(reader.__aenter__())
        await until(lambda: beginning.given)
        beginning.go_on.set()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await until(lambda: beginning.held() == 0)

    beginning(main, kind)


@each_kind
def test_the_loop_is_closed_while_it_begins(kind: str) -> None:
    async def main(beginning: Beginning) -> None:
        loop = asyncio.new_event_loop()
        reader = beginning.reader()

        async def begin() -> asyncio.Task[Any]:
            reading: asyncio.Task[Any] = asyncio.ensure_future(anext(reader))
            await until(lambda: beginning.given)
            return reading

        reading = await asyncio.to_thread(loop.run_until_complete, begin())
        loop.close()
        reading._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would complain, rightly
        beginning.go_on.set()
        await until(lambda: beginning.held() == 0)
        left = weakref.ref(reading)
        del reading
        await until(lambda: gc.collect() is not None and left() is None)  # a thread may still be giving back
        async with reader:  # the next loop begins anew
            assert beginning.held() == 1
        assert beginning.held() == 0

    beginning(main, kind)


@each_kind
def test_tasks_of_two_loops(kind: str) -> None:
    async def main(beginning: Beginning) -> None:
        reader = beginning.reader()
        here = asyncio.create_task(_all(reader))
        await until(lambda: beginning.given)
        there = asyncio.create_task(asyncio.to_thread(run, _all(reader)))
        await turns()
        beginning.go_on.set()
        await until(lambda: beginning.held() == 1)
        await turns()
        closing = asyncio.create_task(asyncio.to_thread(run, reader.close()))
        assert (await here) + (await there) <= 2  # a watch and a console say something at once
        await closing
        assert beginning.held() == 0
        assert len(beginning.given) == 1

    beginning(main, kind)


@each_kind
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_the_child_of_a_fork(kind: str, begun: bool) -> None:
    async def main(beginning: Beginning) -> None:
        reader = beginning.reader()
        reading = asyncio.create_task(_all(reader))
        await until(lambda: beginning.given)
        if begun:
            beginning.go_on.set()
            await turns()
        calls = [lambda: run(reader.get(0)), lambda: run(_next(reader)), lambda: run(reader.close())]
        closed = ["StopAsyncIteration", "HostClosed"]  # a console says so
        first, second, third = await asyncio.to_thread(told_by_a_child, calls)
        assert (first, third) == ("HostClosed", "None")
        assert second in closed
        beginning.go_on.set()
        await until(lambda: beginning.held() == 1)
        await turns()
        assert not reading.done()  # the parent's goes on
        await reader.close()
        await reading
        assert beginning.held() == 0

    beginning(main, kind)


async def _next(reader: AsyncIterator[object]) -> object:
    return await anext(reader)


@each_kind
def test_a_time_that_is_up_in_the_clean_up_of_a_cancelled_task(kind: str) -> None:
    """It is no cancel: Python 3.11 takes what `asyncio.timeout` does there for one."""

    async def main(beginning: Beginning) -> None:
        beginning.go_on.set()
        async with beginning.reader() as reader:
            if kind == "xenstore":
                assert await reader.get(_BOUND) is not None  # a watch says something at once
            while await reader.get(0.05) is not None:
                pass

            async def work() -> list[object]:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    return [await reader.get(0.01), await reader.get(0)]
                return []

            task = asyncio.create_task(work())
            await turns()
            task.cancel()
            assert await task == [None, None]

    beginning(main, kind)


@pytest.mark.parametrize("kind", ["qmp", "xenstore"])
def test_the_deadline_of_a_loop_in_the_clean_up_of_a_cancelled_task(kind: str) -> None:
    async def main(xen: pyxen.aio.Host, web: pyxen.aio.Domain) -> None:
        reader: Reader = web.qmp.events(timeout=0.05) if kind == "qmp" else xen.xenstore.watch("/tool/a", timeout=0.05)

        async def work() -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await _all(reader)

        task = asyncio.create_task(work())
        await turns()
        task.cancel()
        with pytest.raises(OperationTimeout):
            await task
        await reader.close()

    async def within() -> None:
        with FakeHost() as fake:
            async with fake.aio() as host:
                await main(host, await host.create(config(type="hvm")))

    run(within())
