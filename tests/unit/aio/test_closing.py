"""Closing an asyncio host while calls are in progress: each is delivered, or undone before the host is closed."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

import pyxen.aio
from pyxen import HostClosed, Operation, OperationCancelled, OperationFailed, Vif
from pyxen.aio import _calls as aio_calls
from pyxen.aio import _pending
from pyxen.aio.connection import Connecting
from pyxen.backends.base import DomainRef
from tests.unit.aio.fakehost import CONFIG, FakeBackend, run, turns, until
from tests.unit.remote.sockets import at_socket
from tests.waiting import SECONDS

MADE = DomainRef(7, uuid.UUID(int=7))

Connect = Callable[[], Connecting]


def held_up_until(condition: Callable[[], object]) -> None:
    """Hold the loop up until something is so: no task hears of it."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.001)


async def creating(host: pyxen.aio.Host, backend: FakeBackend) -> asyncio.Task[pyxen.aio.Domain]:
    """Return a task that waits for the end of a create."""
    task = asyncio.create_task(host.create(CONFIG))
    await until(lambda: backend.operations)
    await turns()
    return task


class Gate:
    """A lock that says that a thread other than the first waits for it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._first = threading.current_thread()
        self.tried = threading.Event()

    def __enter__(self) -> None:
        if threading.current_thread() is not self._first:
            self.tried.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.fixture
def stopping(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    """The backend, whose operations end as soon as they are stopped."""

    def stop(operation: Operation[object], reason: str) -> bool:
        stopped = stop_of(operation, reason)
        if stopped:
            operation.set_exception(OperationCancelled(f"{reason}", operation=operation.verb))
        return stopped

    stop_of = Operation.stop
    monkeypatch.setattr(Operation, "stop", stop)
    return backend


def test_cancelled_and_closed_in_one_turn(backend: FakeBackend, connecting: Connect) -> None:
    """The task has not run, neither for the success nor for the cancel, when the close begins."""

    async def main() -> None:
        host = await connecting()
        task = await creating(host, backend)
        backend.operations[0].set_result(MADE)
        task.cancel()
        await host.close()
        assert (backend.destroyed, backend.closes) == ([7], 1)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_device_is_detached_before_the_close(backend: FakeBackend, connecting: Connect) -> None:
    async def main() -> None:
        backend.at_once.add("detach")
        host = await connecting()
        domain = await host.domains["web1"]
        task = asyncio.create_task(domain.attach(Vif()))
        await until(lambda: backend.operations)
        await turns()
        backend.operations[0].set_result(Vif(mac="00:16:3e:01:02:03"))
        task.cancel()
        await host.close()
        assert [verb for verb, _ in backend.requests] == ["attach", "detach"]
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_cancelled_while_it_is_closed(backend: FakeBackend, connecting: Connect) -> None:
    async def main() -> None:
        host = await connecting()
        task = await creating(host, backend)
        closing = asyncio.create_task(host.close())
        await until(lambda: backend.stopped)
        assert backend.operations[0].stopped == "closed"
        backend.operations[0].set_result(MADE)
        task.cancel()
        await closing
        assert (backend.destroyed, backend.closes) == ([7], 1)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_success_of_which_its_task_has_not_heard_is_undone(backend: FakeBackend, connecting: Connect) -> None:
    async def main() -> None:
        host = await connecting()
        task = await creating(host, backend)
        backend.operations[0].set_result(MADE)
        closing = threading.Thread(target=lambda: asyncio.run(host.close()))
        closing.start()
        held_up_until(lambda: backend.closes)
        assert backend.destroyed == [7]
        with pytest.raises(OperationCancelled, match="the host was closed; what it had done was undone"):
            await task
        closing.join(30)

    run(main())


def test_many_hosts() -> None:
    async def main() -> None:
        with pyxen.connect("memory:///closing-many") as look:
            hosts = pyxen.aio.Hosts({"a": "memory:///closing-many"})
            host = await hosts["a"]
            task = asyncio.create_task(host.create(CONFIG))
            await asyncio.sleep(0)
            held_up_until(lambda: list(look.guests))
            task.cancel()
            await hosts.close()
            assert list(look.guests) == []
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


def test_over_a_link(tmp_path: Path) -> None:
    async def main(look: pyxen.Host, uri: str) -> None:
        xen = await pyxen.aio.connect(uri)
        tasks = [asyncio.create_task(xen.create(CONFIG.replace(name=name))) for name in ("one", "two")]
        await asyncio.sleep(0)
        held_up_until(lambda: len(list(look.guests)) == 2)
        tasks[0].cancel()
        await xen.close()
        there = {guest.uuid for guest in look.guests}
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert there == {end.uuid for end in ends if isinstance(end, pyxen.aio.Domain)}
        assert isinstance(ends[0], asyncio.CancelledError)
        assert isinstance(ends[1], OperationCancelled | pyxen.aio.Domain)  # it may have heard just in time

    host = "memory:///closing-link"
    with pyxen.connect(host) as look, at_socket(tmp_path / "socket", host) as served:
        run(main(look, served.uri))


def test_what_has_its_result_stays(backend: FakeBackend, connecting: Connect) -> None:
    async def main() -> None:
        backend.at_once.add("create")
        host = await connecting()
        domain = await host.create(CONFIG)
        await host.close()
        assert domain.domid == 7
        assert backend.destroyed == []

    run(main())


def test_a_success_without_a_result_to_undo_is_one(backend: FakeBackend, connecting: Connect) -> None:
    async def main() -> None:
        host = await connecting()
        task = asyncio.create_task((await host.domains["web1"]).pause())
        await until(lambda: backend.operations)
        closing = asyncio.create_task(host.close())
        await until(lambda: backend.stopped)
        backend.operations[0].set_result(None)
        await closing
        await task

    run(main())


def test_what_runs_is_stopped_first(stopping: FakeBackend, connecting: Connect) -> None:
    async def main() -> None:
        host = await connecting()
        tasks = [await creating(host, stopping), asyncio.create_task((await host.domains["web1"]).wait())]
        await until(lambda: len(stopping.operations) == 2)
        await host.close()
        for task in tasks:
            with pytest.raises(OperationCancelled, match="closed"):
                await task

    run(main())


def test_its_own_failure_is_raised(backend: FakeBackend, connecting: Connect) -> None:
    async def main() -> None:
        host = await connecting()
        task = await creating(host, backend)
        closing = asyncio.create_task(host.close())
        await until(lambda: backend.stopped)
        backend.operations[0].set_exception(OperationFailed("libxl says no"))
        await closing
        with pytest.raises(OperationFailed, match="libxl says no"):
            await task

    run(main())


def test_what_has_no_thread_yet_is_not_begun(backend: FakeBackend, connecting: Connect) -> None:
    async def main() -> None:
        host = await connecting()
        backend.may_begin.clear()
        backend.at_once.add("pause")
        domain = pyxen.aio.Domain(backend, host._calls, DomainRef(3, uuid.UUID(int=3)))
        first = [asyncio.create_task(domain.pause()) for _ in range(aio_calls._THREADS)]
        await turns()
        task = asyncio.create_task(host.create(CONFIG))
        await turns()
        closing = asyncio.create_task(host.close())
        await turns()
        backend.may_begin.set()
        await asyncio.gather(closing, *first)
        with pytest.raises(HostClosed, match="closed"):
            await task
        assert {verb for verb, _ in backend.requests} == {"pause"}

    run(main())


def test_where_no_thread_can_be_had_the_close_undoes_it(
    backend: FakeBackend, connecting: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of a program, where Python starts none."""
    threads: list[str] = []

    def refused(*_: object) -> None:
        raise OperationFailed("no thread")

    async def main() -> None:
        host = await connecting()
        task = await creating(host, backend)
        backend.operations[0].set_result(MADE)
        destroy = backend.destroy

        def noted(*arguments: object, **options: object) -> object:
            threads.append(threading.current_thread().name)
            return destroy(*arguments, **options)  # type: ignore[arg-type]

        backend.destroy = noted  # type: ignore[method-assign,assignment]  # for this test
        monkeypatch.setattr(aio_calls, "submitted", refused)
        monkeypatch.setattr(aio_calls, "start", refused)
        host._lifetime.close()
        assert (backend.destroyed, backend.closes) == ([7], 1)
        with pytest.raises(OperationCancelled):
            await task
        host._calls.release()

    run(main())
    assert threads == [threading.current_thread().name]


def test_a_close_does_not_wait_for_ever(
    backend: FakeBackend, connecting: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        host = await connecting()
        task = await creating(host, backend)
        await host.close()
        assert backend.closes == 1
        backend.operations[0].set_exception(OperationCancelled("at last"))
        with pytest.raises(OperationCancelled, match="at last"):
            await task

    monkeypatch.setattr(aio_calls, "_TO_UNDO", 0.1)
    run(main())
    assert [record.levelno for record in caplog.records if record.name == "pyxen.aio"] == [logging.ERROR]
    assert "1 calls were stopped" in caplog.text


def test_a_call_that_begins_while_the_host_is_closed(
    backend: FakeBackend, connecting: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another thread: it is refused, or the close sees it."""

    async def main() -> None:
        host = await connecting()
        closer = threading.Thread(target=lambda: asyncio.run(host.close()))
        gate = host._calls._gate = Gate()  # type: ignore[assignment]  # for this test

        def slow(*arguments: object) -> object:
            closer.start()
            assert gate.tried.wait(30)
            return call(*arguments)  # type: ignore[arg-type]

        call = _pending.Call
        monkeypatch.setattr(aio_calls, "Call", slow)
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.stopped or task.done())
        for operation in backend.operations[:1]:
            operation.set_result(MADE)
        with pytest.raises((OperationCancelled, HostClosed)):
            await task
        await asyncio.to_thread(closer.join, 30)
        begun = [verb for verb, _ in backend.requests if verb == "create"]
        assert (backend.destroyed, backend.closes) == ([7] * len(begun), 1)

    run(main())


def test_a_call_does_not_keep_its_task(backend: FakeBackend, connecting: Connect) -> None:
    """What nobody can resume is collected, and its success is undone."""

    async def main() -> None:
        host = await connecting()
        coroutine = host.create(CONFIG)
        coroutine.send(None)
        await until(lambda: backend.operations)
        backend.operations[0].set_result(MADE)
        del coroutine
        gc.collect()
        await until(lambda: backend.destroyed == [7])
        await host.close()

    run(main())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # what it warns of is what is tested
def test_the_child_of_a_fork_undoes_nothing(backend: FakeBackend, connecting: Connect) -> None:
    async def main() -> None:
        host = await connecting()
        coroutine = host.create(CONFIG)
        coroutine.send(None)
        await until(lambda: backend.operations)
        backend.operations[0].set_result(MADE)
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            try:
                coroutine.close()
                host._lifetime.close()
                for thread in threading.enumerate():
                    if thread is not threading.current_thread():
                        thread.join(10)
            finally:
                os._exit(len(backend.destroyed))
        assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 (it is bounded by its alarm)
        coroutine.close()
        await until(lambda: backend.destroyed == [7])
        await host.close()

    run(main())


def test_calls_that_have_ended_need_no_collector() -> None:
    """A program that freezes it, or turns it off, would grow."""

    async def use() -> None:
        async with pyxen.aio.connect("memory:///") as host:
            web = await host.create(CONFIG.replace(vifs=[]))
            for _ in range(10):
                await web.pause()
                await web.unpause()
                await host.list()
                await web.destroy()
                web = await host.create(CONFIG.replace(vifs=[]))
            await until(lambda: not host._calls._going)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(use())
    finally:
        gc.enable()


def test_a_result_that_is_taken_as_the_host_is_closed_does_not_hold_up_the_close(
    backend: FakeBackend, connecting: Connect
) -> None:
    """The closing has seen its call, which its task then takes."""

    async def main() -> None:
        host = await connecting()
        calls = host._calls
        task = await creating(host, backend)
        (call,) = calls._going.values()
        call.take()
        calls._going.clear()
        calls._abandon(call, "closed")
        assert not calls._going
        backend.operations[0].set_result(MADE)
        task.cancel()
        await host.close()

    run(main())


def test_a_close_that_was_interrupted_before_it_had_begun_is_begun_by_the_next(
    connecting: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        host = await connecting()
        with monkeypatch.context() as patches:

            def interrupted(*_: object) -> None:
                raise KeyboardInterrupt

            patches.setattr(aio_calls, "start", interrupted)
            with pytest.raises(KeyboardInterrupt):
                await host.close()
        await host.close()
        await host._calls.closed()

    run(main())


@pytest.mark.parametrize("verb", ["clone", "pool"])
def test_a_function_for_guests_cannot_close_the_host(tmp_path: Path, verb: str) -> None:
    errors: list[str] = []

    async def main() -> None:
        async with pyxen.aio.connect("memory:///") as host:

            def change(config: pyxen.DomainConfig) -> pyxen.DomainConfig:
                if not errors:
                    with pytest.raises(RuntimeError) as caught:
                        asyncio.run(host.close())
                    errors.append(str(caught.value))
                return config

            config = CONFIG.replace(vifs=[])
            if verb == "pool":
                async with await host.pool(config, size=1, change=change):
                    pass
            else:
                web = await host.create(config)
                await web.save(tmp_path / "saved")
                assert len(await host.clone(tmp_path / "saved", 1, change=change)) == 1
            assert await host.list()

    run(main())
    (error,) = errors
    assert "in a function that a clone or a pool calls: the host stays open" in error


@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")
def test_a_host_that_is_dropped_is_collected() -> None:
    """Threads that wait for another call keep none."""

    async def main() -> weakref.ref[pyxen.aio.Host]:
        host = await pyxen.aio.connect("memory:///")
        await host.create(CONFIG.replace(vifs=[]))
        await host.list()
        return weakref.ref(host)

    dropped, end = asyncio.run(main()), time.monotonic() + SECONDS
    while dropped() is not None:  # a thread that has just made a call may not wait for another yet
        assert time.monotonic() < end
        gc.collect()
