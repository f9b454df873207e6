"""Calls of the asyncio face: whatever becomes of a task, its operation comes to an end, and nobody's domain is left."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
import uuid
from collections.abc import Coroutine
from typing import Any

import pytest

import pyxen.aio
from pyxen import (
    DomainNotFound,
    HostClosed,
    InvalidState,
    OperationFailed,
    OperationTimeout,
    Vif,
)
from pyxen.aio import _calls as aio_calls
from pyxen.backends.base import DomainRef
from pyxen.operation import Calls, completing
from tests.raising import handlers_that_raise
from tests.unit.aio.fakehost import CONFIG, FakeBackend, OnHost, run, turns, undone, until
from tests.waiting import SECONDS

# Calls that look


def test_what_only_looks_runs_on_a_thread(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        assert await host.info() == backend.info()
        assert await host.list() == backend.infos
        domain = await host.domains["web1"]
        assert await domain.info() == backend.infos[1]
        assert (domain.domid, domain.uuid) == (3, uuid.UUID(int=3))
        assert host.uri == "fake:///"
        assert (repr(host), repr(domain)) == ("<Host fake:///>", f"<Domain 3 'web1' {domain.uuid}>")

    backend.threads.clear()
    on_host(main)
    backend.threads.discard(threading.main_thread().name)  # the comparison's own call
    assert backend.threads
    assert all(name.startswith("pyxen-aio") for name in backend.threads)


def test_the_loop_goes_on_while_a_call_is_stuck(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        backend.may_begin.clear()
        looking, creating = asyncio.create_task(host.list()), asyncio.create_task(host.create(CONFIG))
        await turns()
        assert not looking.done()
        backend.may_begin.set()
        assert len(await looking) == 3
        await until(lambda: backend.operations)
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        assert (await creating).domid == 7

    on_host(main)


def test_a_cancelled_look_does_not_wait(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        backend.may_begin.clear()
        looking = [asyncio.create_task(host.list()) for _ in range(2 * aio_calls._THREADS)]
        await turns()
        for task in looking:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*looking, return_exceptions=True)
        )
        backend.may_begin.set()
        assert len(await host.list()) == 3

    on_host(main)


def test_lookups(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        web1 = await host.domains["web1"]
        for key in ("web1", 3, uuid.UUID(int=3), str(uuid.UUID(int=3))):
            assert await host.domains[key] == web1 == await host.domains.get(key)
        assert await host.domains.get("nobody") is None
        with pytest.raises(DomainNotFound, match="nobody"):
            await host.domains["nobody"]
        assert [domain.domid async for domain in host.domains] == [0, 3, 4]
        assert {web1, await host.domains[3]} == {web1}
        assert web1 != await host.domains[4]
        assert web1 != pyxen.Domain(backend, Calls(), DomainRef(3, uuid.UUID(int=3)))

    on_host(main)


def test_what_cannot_be_awaited_says_what_to_say_instead(on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        with pytest.raises(TypeError, match=r"await domains\.get\(key\)"):
            "web1" in host.domains  # noqa: B015 (it raises)
        with pytest.raises(TypeError, match="async for"):
            list(host.domains)

    on_host(main)


def test_operations_do_not_wait_for_what_only_looks(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        go_on, backend.at_once = threading.Event(), {"pause"}
        domain = await host.domains["web1"]
        backend.uptimes = lambda: [go_on.wait(SECONDS)][:0]  # type: ignore[method-assign,return-value,assignment]  # a test's
        looking = [asyncio.create_task(host.uptimes()) for _ in range(2 * aio_calls._THREADS)]
        await turns()
        try:
            async with asyncio.timeout(60):
                await domain.pause()
        finally:
            go_on.set()
        await asyncio.gather(*looking)

    on_host(main)


def test_calls_have_the_context_of_their_task(backend: FakeBackend, on_host: OnHost) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    seen: list[str] = []

    async def main(host: pyxen.aio.Host) -> None:
        name.set("mine")
        backend.called = lambda: seen.append(name.get("none"))  # type: ignore[method-assign]  # for this test
        backend.at_once.add("create")
        await host.list()
        await host.create(CONFIG)
        async with host.events():
            pass
        assert set(seen) == {"mine"}
        assert len(seen) >= 3
        del backend.called

    on_host(main)


# Calls that change something


def test_a_cancelled_change_ends_first(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        backend.may_begin.clear()
        task = asyncio.create_task(host.define(CONFIG))
        await until(lambda: backend.waiting)
        task.cancel()
        await turns()
        assert not task.done()
        backend.may_begin.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [verb for verb, _ in backend.requests] == ["define"]

    on_host(main)


def test_a_second_cancel_does_not_wait_for_a_change(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        backend.may_begin.clear()
        task = asyncio.create_task(host.undefine(uuid.UUID(int=9)))
        await until(lambda: backend.waiting)
        task.cancel()
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        backend.may_begin.set()

    on_host(main)


def test_a_change_that_is_cancelled_before_it_has_a_thread_is_not_made(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        backend.may_begin.clear()
        first = [asyncio.create_task(host.list()) for _ in range(aio_calls._THREADS)]
        await turns()
        task = asyncio.create_task(host.define(CONFIG))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        backend.may_begin.set()
        await asyncio.gather(*first)
        assert backend.requests == []

    on_host(main)


# Operations


def test_an_operation_is_awaited(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.operations)
        await turns(3)
        assert not task.done()
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        assert (await task).domid == 7

    on_host(main)


def test_failures_are_raised(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.operations)
        backend.operations[0].set_exception(OperationFailed("libxl says no", operation="create"))
        with pytest.raises(OperationFailed, match="libxl says no"):
            await task
        backend.refusal = InvalidState("is paused")
        with pytest.raises(InvalidState, match="is paused"):
            await host.create(CONFIG)
        with pytest.raises(InvalidState, match="is paused"):
            await host.list()

    on_host(main)


def test_many_at_once(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        tasks = [asyncio.create_task(host.create(CONFIG.replace(name=str(number)))) for number in range(300)]
        await until(lambda: len(backend.requests) == 300)
        for operation, (_, arguments) in zip(backend.operations, backend.requests, strict=True):
            operation.set_result(DomainRef(int(arguments["config"].name), uuid.UUID(int=1)))
        assert [domain.domid for domain in await asyncio.gather(*tasks)] == list(range(300))

    on_host(main)


def test_a_deadline_counts_from_the_call(backend: FakeBackend, on_host: OnHost) -> None:
    """Also while there is no thread to begin the operation."""

    async def main(host: pyxen.aio.Host) -> None:
        domain = await host.domains["web1"]
        backend.may_begin.clear()
        backend.at_once.add("pause")
        first = [asyncio.create_task(domain.pause()) for _ in range(aio_calls._THREADS)]
        await turns()
        tasks = [asyncio.create_task(domain.shutdown(timeout=seconds)) for seconds in (0.1, 600, 0, None)]
        begun = time.monotonic()
        await until(lambda: time.monotonic() > begun + 0.2)
        backend.may_begin.set()
        await asyncio.gather(*first)
        await until(lambda: len(backend.requests) == len(first) + len(tasks) and backend.stopped)
        await turns()
        late = [operation for operation in backend.operations if operation in backend.stopped]
        assert [operation.stopped for operation in late] == ["timeout"]
        late[0].set_exception(OperationTimeout("late"))
        with pytest.raises(OperationTimeout):
            await tasks[0]
        for operation in backend.operations:
            if not operation.done():
                operation.set_result(None)
        await asyncio.gather(*tasks[1:])

    on_host(main)


def test_a_loop_in_a_callback_does_not_wait_for_operations(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        raised: list[BaseException | None] = []

        def callback(_: object) -> None:
            for call in (host.create(CONFIG), host.guests.shutdown_all(), host.close()):
                try:
                    asyncio.run(call)
                except RuntimeError as error:
                    raised.append(error)

        operation = host.begin.create(CONFIG)
        operation.add_done_callback(callback)

        def complete() -> None:
            with completing(backend):
                backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))

        await asyncio.to_thread(complete)
        assert len(raised) == 3
        assert all("cannot wait here" in str(error) for error in raised)
        assert len(backend.operations) == 1
        assert len(await host.list()) == 3  # it is open

    on_host(main)


# Cancelling


def test_a_cancelled_operation_is_undone_first(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        task = asyncio.create_task((await host.domains["web1"]).shutdown())
        await until(lambda: backend.operations)
        task.cancel("no longer")
        await until(lambda: backend.stopped)
        await turns()
        assert not task.done()
        undone(backend.operations[0])
        with pytest.raises(asyncio.CancelledError, match="no longer"):
            await task
        assert len(backend.operations) == 1

    on_host(main)


def test_success_of_what_has_no_result_needs_no_undoing(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        task = asyncio.create_task((await host.domains["web1"]).pause())
        await until(lambda: backend.operations)
        task.cancel()
        await until(lambda: backend.stopped)
        backend.operations[0].set_result(None)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(backend.operations) == 1

    on_host(main)


def test_cancelled_before_it_has_a_thread_nothing_is_begun(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        backend.may_begin.clear()
        backend.at_once.add("pause")
        domain = pyxen.aio.Domain(backend, host._calls, DomainRef(3, uuid.UUID(int=3)))
        first = [asyncio.create_task(domain.pause()) for _ in range(aio_calls._THREADS)]
        await turns()
        task = asyncio.create_task(host.create(CONFIG))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        backend.may_begin.set()
        await asyncio.gather(*first)
        assert {verb for verb, _ in backend.requests} == {"pause"}

    on_host(main)


def test_cancelled_while_it_begins(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        backend.may_begin.clear()
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.waiting)
        task.cancel()
        await turns()
        assert not task.done()
        backend.may_begin.set()
        await until(lambda: backend.stopped == backend.operations != [])
        assert not task.done()
        undone(backend.operations[0])
        with pytest.raises(asyncio.CancelledError):
            await task

    on_host(main)


def test_cancelled_while_it_begins_in_vain(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        backend.may_begin.clear()
        backend.refusal = InvalidState("is paused")
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.waiting)
        task.cancel()
        await turns()
        backend.may_begin.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    on_host(main)


def test_a_second_cancel_does_not_wait(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.operations)
        task.cancel()
        await until(lambda: backend.stopped)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not backend.operations[0].done()
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        await until(lambda: backend.destroyed == [7])

    on_host(main)


@pytest.mark.parametrize("verb", ["create", "restore"])
def test_a_domain_that_nobody_gets_is_destroyed(backend: FakeBackend, on_host: OnHost, verb: str) -> None:
    """The cancel comes too late: the operation succeeds all the same."""

    async def main(host: pyxen.aio.Host) -> None:
        begun: Coroutine[Any, Any, object] = host.create(CONFIG) if verb == "create" else host.restore("/srv/web1.save")
        backend.at_once.clear()
        task = asyncio.create_task(begun)
        await until(lambda: backend.operations)
        task.cancel()
        await until(lambda: backend.stopped)
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        await until(lambda: backend.destroyed == [7])
        await turns()
        assert not task.done()
        backend.operations[1].set_result(None)
        with pytest.raises(asyncio.CancelledError):
            await task

    on_host(main)


def test_a_device_that_nobody_gets_is_detached(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        domain = await host.domains["web1"]
        vif = Vif(mac="00:16:3e:01:02:03")
        backend.at_once.add("detach")
        task = asyncio.create_task(domain.attach(Vif()))
        await until(lambda: backend.operations)
        task.cancel()
        await until(lambda: backend.stopped)
        backend.operations[0].set_result(vif)
        with pytest.raises(asyncio.CancelledError):
            await task
        verb, arguments = backend.requests[1]
        assert (verb, arguments["domain"].domid) == ("detach", 3)
        assert (arguments["device"], arguments["force"]) == (vif, True)

    on_host(main)


@pytest.mark.parametrize("turn", range(4))
def test_cancelled_between_the_end_and_its_delivery(backend: FakeBackend, on_host: OnHost, turn: int) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.operations)
        await turns()
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        for _ in range(turn):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
            assert backend.destroyed == [7]
        else:
            assert task.result().domid == 7
            assert backend.destroyed == []

    on_host(main)


def test_a_timeout_raises_when_all_is_undone(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        async def undo_slowly() -> None:
            await until(lambda: backend.stopped)
            await asyncio.sleep(0.05)
            undone(backend.operations[0])

        async def be_late() -> None:
            async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as tasks:
                tasks.create_task(host.create(CONFIG))
                await until(lambda: backend.operations)
                deadline.reschedule(0)

        undoing = asyncio.create_task(undo_slowly())
        with pytest.raises(TimeoutError):
            await be_late()
        assert backend.operations[0].done()
        await undoing

    on_host(main)


def test_a_sibling_that_fails_cancels(backend: FakeBackend, on_host: OnHost) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        async def fail() -> None:
            await until(lambda: len(backend.operations) == 2)
            for operation in backend.operations:
                asyncio.get_running_loop().call_later(0.02, undone, operation)
            raise ValueError

        async def siblings() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(host.create(CONFIG))
                group.create_task(host.create(CONFIG))
                group.create_task(fail())

        with pytest.raises(ExceptionGroup) as caught:
            await siblings()
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        assert sorted(map(id, backend.stopped)) == sorted(map(id, backend.operations))

    on_host(main)


def test_what_cannot_be_undone_is_logged(
    backend: FakeBackend, on_host: OnHost, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.operations)
        task.cancel()
        await until(lambda: backend.stopped)
        backend.refusal = OperationFailed("libxl says no", operation="destroy")
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        with pytest.raises(asyncio.CancelledError):
            await task

    on_host(main)
    records = [record for record in caplog.records if record.name == "pyxen.aio"]
    assert [record.levelno for record in records] == [logging.ERROR]
    assert "Domain 7" in records[0].getMessage()


def test_what_is_given_back_to_a_closed_host_is_no_loss(caplog: pytest.LogCaptureFixture) -> None:
    """It has ended with its host: nothing stays."""

    def give_back(_: object) -> None:
        raise HostClosed("it is closed")

    async def main() -> None:
        calls, come = aio_calls.Calls(), threading.Event()
        task = asyncio.create_task(calls.acquire(lambda: come.wait(SECONDS), give_back=give_back))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert calls.opening
        come.set()
        await until(lambda: not calls.opening)
        calls.release()

    run(main())
    assert [record for record in caplog.records if record.name == "pyxen.aio"] == []


def test_a_log_handler_that_raises_when_something_cannot_be_undone(
    backend: FakeBackend, on_host: OnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_calls: aio_calls.Calls, _call: object) -> None:
        raise OperationFailed("cannot start a thread")

    async def main(host: pyxen.aio.Host) -> None:
        task = asyncio.create_task(host.create(CONFIG))
        await until(lambda: backend.operations)
        task.cancel()
        await until(lambda: backend.stopped)
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(aio_calls.Calls, "undo", no_thread)
    with handlers_that_raise() as raised:
        on_host(main)
    assert {type(error) for error in raised} == {SystemExit}


@pytest.mark.parametrize("end", [KeyboardInterrupt, GeneratorExit, SystemExit, ArithmeticError])
def test_a_call_that_is_left_without_a_turn(backend: FakeBackend, on_host: OnHost, end: type[BaseException]) -> None:
    """Ctrl-C on a loop that does not turn it into a cancel, or the end of the loop."""

    async def main(host: pyxen.aio.Host) -> None:
        creating = host.create(CONFIG)
        creating.send(None)
        await until(lambda: backend.operations)
        with pytest.raises(end):
            creating.throw(end())
        await until(lambda: backend.stopped)
        backend.operations[0].set_result(DomainRef(7, uuid.UUID(int=7)))
        await until(lambda: backend.destroyed == [7])

    on_host(main)


@pytest.mark.parametrize("end", [KeyboardInterrupt, GeneratorExit, SystemExit, ArithmeticError])
def test_an_operation_that_is_left_without_a_turn(
    backend: FakeBackend, on_host: OnHost, end: type[BaseException]
) -> None:
    async def main(host: pyxen.aio.Host) -> None:
        operation = host.begin.create(CONFIG)
        waiting = operation.__await__()
        next(waiting)
        with pytest.raises(end):
            waiting.throw(end())
        assert operation.stopped == "cancelled"
        undone(backend.operations[0])

    on_host(main)
