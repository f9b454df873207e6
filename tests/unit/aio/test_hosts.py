"""Hosts of the asyncio face: opened, closed, forgotten, and what happens when a loop ends before their work."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
import uuid
from collections.abc import Awaitable, Callable

import pytest

import pyxen.aio
from pyxen import (
    HostClosed,
    NotOnXen,
)
from pyxen.aio.connection import Connecting
from pyxen.backends.base import DomainRef
from tests.unit.aio.fakehost import CONFIG, FakeBackend, OnHost, run, turns, undone, until
from tests.waiting import SECONDS


def wait_for(condition: Callable[[], object]) -> None:
    """Wait, on a thread beside the loop, until something is so."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.001)


# Loops that end


def test_the_end_of_asyncio_run_waits_until_all_is_undone(
    backend: FakeBackend, connecting: Callable[[], Connecting]
) -> None:
    async def main() -> pyxen.aio.Host:
        host = await connecting()
        left_running.append(asyncio.create_task(host.create(CONFIG)))
        await until(lambda: backend.operations)
        threading.Thread(target=undo_slowly).start()
        return host

    def undo_slowly() -> None:
        wait_for(lambda: backend.stopped)
        time.sleep(0.05)
        undone(backend.operations[0])

    left_running: list[asyncio.Task[pyxen.aio.Domain]] = []
    host = run(main())
    assert left_running[0].cancelled()
    assert backend.operations[0].done()
    run(host.close())


def test_ctrl_c(backend: FakeBackend, connecting: Callable[[], Connecting]) -> None:
    async def main() -> None:
        async with connecting() as host:
            threading.Thread(target=press).start()
            waking = asyncio.create_task(wake())
            try:
                await host.create(CONFIG)
            finally:
                waking.cancel()

    async def wake() -> None:
        # Python itself sees a signal that comes right before the loop begins to wait when the loop wakes next.
        for _ in range(100 * int(SECONDS)):
            await asyncio.sleep(0.01)

    def press() -> None:
        wait_for(lambda: backend.operations)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        wait_for(lambda: backend.stopped)
        undone(backend.operations[0])

    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert backend.closes == 1


def test_a_coroutine_that_is_thrown_away(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        creating = host.create(CONFIG)
        creating.send(None)
        await until(lambda: backend.operations)
        creating.close()
        await until(lambda: backend.stopped)
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        await until(lambda: backend.destroyed == [7])

    on_host(main)


def test_the_loop_is_closed_before_the_end(backend: FakeBackend, connecting: Callable[[], Connecting]) -> None:
    loop = asyncio.new_event_loop()

    async def begin() -> tuple[pyxen.aio.Host, asyncio.Task[pyxen.aio.Domain]]:
        host = await connecting()
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.operations)
        await turns()
        return host, task

    host, task = loop.run_until_complete(begin())
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would complain, rightly
    backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
    run(until(lambda: backend.destroyed == [7]))
    del task
    gc.collect()
    run(host.close())
    assert backend.destroyed == [7]


def test_a_host_is_bound_to_no_loop(connecting: Callable[[], Connecting]) -> None:
    async def opened() -> pyxen.aio.Host:
        return await connecting()

    host = run(opened())
    assert len(run(host.list())) == 3
    run(host.close())


# Opening and closing


def test_a_host_that_does_not_open(backend: FakeBackend, connecting: Callable[[], Connecting]) -> None:
    async def main() -> None:
        with pytest.raises(NotOnXen, match="no Xen here"):
            await connecting()
        with pytest.raises(NotOnXen, match="no Xen here"):
            async with connecting():
                pytest.fail("it is not open")

    backend.refusal = NotOnXen("no Xen here")
    run(main())


def test_cancelled_while_it_opens(backend: FakeBackend, connecting: Callable[[], Connecting]) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(connecting())
        await until(lambda: backend.waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert backend.closes == 0
        backend.may_begin.set()
        await until(lambda: backend.closes)  # nobody gets what has been opened

    backend.may_begin.clear()
    run(main())
    assert backend.closes == 1


def test_closing(backend: FakeBackend, connecting: Callable[[], Connecting]) -> None:
    async def main() -> None:
        host = await connecting()
        domain = await host.domains["web1"]
        await asyncio.gather(host.close(), host.close())
        await host.close()
        assert backend.closes == 1
        assert repr(host) == "<Host fake:/// (closed)>"
        calls: list[Awaitable[object]] = [
            host.list(),
            host.create(CONFIG),
            domain.info(),
            domain.pause(),
            host.domains[3],
        ]
        for call in calls:
            with pytest.raises(HostClosed, match="open it again"):
                await call

    run(main())


def test_closing_from_two_loops(backend: FakeBackend, connecting: Callable[[], Connecting]) -> None:
    async def main() -> None:
        host = await connecting()
        close, closed = backend.close, threading.Event()

        def slowly() -> None:
            close()
            assert closed.wait(30)

        backend.close = slowly  # type: ignore[method-assign]  # for this test
        begun = [asyncio.create_task(asyncio.to_thread(run, host.close())) for _ in range(4)]
        await until(lambda: backend.closes)
        await turns()
        closed.set()
        await asyncio.gather(host.close(), *begun)
        assert backend.closes == 1

    run(main())


def test_closing_waits_for_what_is_being_undone(backend: FakeBackend, connecting: Callable[[], Connecting]) -> None:
    async def main() -> None:
        host = await connecting()
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.operations)
        task.cancel()
        await until(lambda: backend.stopped)
        task.cancel()
        await asyncio.wait([task])
        closing = asyncio.create_task(host.close())
        await turns()
        assert backend.closes == 0
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        await closing
        assert (backend.destroyed, backend.closes) == ([7], 1)

    run(main())


def test_closing_goes_on_when_it_is_cancelled(backend: FakeBackend, connecting: Callable[[], Connecting]) -> None:
    async def main() -> None:
        host = await connecting()
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.operations)
        task.cancel()
        await until(lambda: backend.stopped)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await host.close()
        assert backend.closes == 0
        undone(backend.operations[0])
        await host.close()
        assert backend.closes == 1
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_host_that_nobody_closes(backend: FakeBackend, connecting: Callable[[], Connecting]) -> None:
    async def main() -> None:
        await connecting()
        gc.collect()

    with pytest.warns(ResourceWarning, match="<Host fake:///> was never closed"):
        run(main())
    run(until(lambda: backend.closes == 1))  # on a thread of its own


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # what it warns of is what is tested
def test_the_child_of_a_fork(connecting: Callable[[], Connecting]) -> None:
    async def opened() -> pyxen.aio.Host:
        host = await connecting()
        await host.list()
        return host

    async def in_child(host: pyxen.aio.Host) -> None:
        for call in (host.list(), host.create(CONFIG)):
            with pytest.raises(HostClosed, match="before a fork"):
                await call
        await host.close()

    host = run(opened())
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        status = 1
        try:
            run(in_child(host))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert len(run(host.list())) == 3
    run(host.close())
