"""The lock for tasks: one has it at a time, in their order, whatever becomes of those that wait."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future

import pytest

from pyxen.aio import _lock
from pyxen.aio._lock import TaskLock
from tests.unit.aio.fakehost import run, turns, until
from tests.waiting import SECONDS


def test_tasks_get_it_in_their_order() -> None:
    async def main() -> None:
        lock, got = TaskLock(), list[int]()

        async def use(number: int) -> None:
            async with lock:
                got.append(number)
                await turns(3)
                assert got[-1] == number

        await asyncio.gather(*map(use, range(5)))
        assert got == list(range(5))

    run(main())


@pytest.mark.parametrize("turn", range(4))
def test_a_task_that_is_cancelled_as_it_gets_it(turn: int) -> None:
    async def main() -> None:
        lock = TaskLock()

        async def use() -> None:
            async with lock:
                await asyncio.Event().wait()

        async with lock:
            first, second = asyncio.create_task(use()), asyncio.create_task(use())
            await turns(3)
        for _ in range(turn):
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        await turns(3)
        second.cancel()
        await asyncio.wait([second])
        assert first.cancelled()
        assert second.cancelled()
        async with asyncio.timeout(SECONDS), lock:
            pass

    run(main())


def test_a_task_that_gives_it_back_while_another_thread_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of the first loop is held up in the middle of giving it to the task of the second."""
    giving = threading.Event()

    class Turn(Future[None]):
        def set_running_or_notify_cancel(self) -> bool:
            is_running = super().set_running_or_notify_cancel()
            giving.set()
            time.sleep(0.05)  # there is nothing to wait for: the other thread waits for this one, or does not
            return is_running

    monkeypatch.setattr(_lock, "Future", Turn)
    lock, holds, let_go = TaskLock(), threading.Event(), threading.Event()

    async def hold() -> None:
        async with lock:
            holds.set()
            await until(let_go.is_set)

    async def main() -> None:
        holder = asyncio.create_task(asyncio.to_thread(run, hold()))
        await until(holds.is_set)

        async def use() -> None:
            async with lock:
                pass

        giving.clear()
        waiting = asyncio.create_task(use())
        await turns()
        let_go.set()
        await until(giving.is_set)
        waiting.cancel()
        await asyncio.wait([waiting])
        await holder
        async with asyncio.timeout(SECONDS), lock:
            pass

    run(main())


def test_many_loops_use_it() -> None:
    lock, inside = TaskLock(), list[int]()

    async def use(number: int) -> None:
        for _ in range(50):
            async with lock:
                inside.append(number)
                await asyncio.sleep(0)
                assert inside == [number]
                inside.clear()

    async def main() -> None:
        async def on_a_loop(number: int) -> None:
            await asyncio.gather(use(number), use(number + 1))

        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            for number in range(0, 8, 2):
                group.create_task(asyncio.to_thread(asyncio.run, on_a_loop(number)))
            group.create_task(use(8))

    run(main())
