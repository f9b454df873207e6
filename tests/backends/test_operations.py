"""Operations: begun, waited for, stopped; from threads and tasks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

import pyxen
from pyxen import DomainConfig, DomainExists, DomainNotFound, Host, Operation, OperationCancelled, OperationTimeout
from tests.backends.differences import differs
from tests.backends.support import SECONDS, Make, wait_until


def test_begun_and_waited_for(host: Host, config: Make) -> None:
    creating = host.begin.create(config("web1"), paused=True)
    domain = creating.result(SECONDS)
    assert creating.done()
    assert creating.verb == "create"
    assert domain in host.domains
    assert not creating.cancel()


def test_a_callback(host: Host, config: Make) -> None:
    called = threading.Event()
    host.begin.create(config("web1"), paused=True).add_done_callback(lambda _: called.set())
    assert called.wait(SECONDS)


def test_cancelled(make: Make) -> None:
    waiting = make("web1", paused=True).begin.wait()
    assert waiting.cancel()
    with pytest.raises(OperationCancelled):
        waiting.result(SECONDS)
    assert not waiting.cancel()


def test_cancelled_in_the_middle_of_a_shutdown(host: Host, make: Make) -> None:
    if differs(host, "deaf"):
        return
    domain = make("web1", cmdline="ignore")
    stopping = domain.begin.shutdown()
    stopping.cancel()
    with pytest.raises(OperationCancelled, match="cancelled"):
        stopping.result(SECONDS)
    assert domain in host.domains


def test_a_create_that_is_late_leaves_nothing(host: Host, config: Make) -> None:
    for timeout in (0, 0.001):
        with contextlib.suppress(OperationTimeout):  # a host may be that quick
            host.create(config("web1"), timeout=timeout).destroy()
        if not differs(host, "late"):
            assert host.domains.get("web1") is None
        wait_until(lambda: _is_free(host, config("web1")))


def _is_free(host: Host, config: DomainConfig) -> bool:
    try:
        host.create(config).destroy()
    except DomainExists:
        return False
    return True


def test_close_stops_what_runs(uri: str, host: Host, make: Make) -> None:
    make("web1", paused=True)
    other = pyxen.connect(uri)
    waiting = other.domains["web1"].begin.wait()
    other.close()
    with pytest.raises(OperationCancelled, match="closed"):
        waiting.result(SECONDS)
    assert "web1" in host.domains


@pytest.mark.parametrize("verb", ["create", "apply"])
def test_ctrl_c_while_it_is_begun(host: Host, config: Make, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """It comes when the operation can be stopped already, and before anything carries it out: nobody waits for ever."""
    carried_by = Operation.carried_by
    caught: list[BaseException] = []

    def interrupted(operation: Operation[Any], *arguments: Any) -> None:
        carried_by(operation, *arguments)
        if threading.current_thread() is caller:
            raise KeyboardInterrupt

    def begin() -> None:
        try:
            getattr(host, verb)(config("web1"))
        except BaseException as error:  # noqa: BLE001 (it is looked at below)
            caught.append(error)

    caller = threading.Thread(target=begin, daemon=True)
    monkeypatch.setattr(Operation, "carried_by", interrupted)
    caller.start()
    caller.join(SECONDS)
    assert [type(error) for error in caught] == [KeyboardInterrupt]
    wait_until(lambda: host.domains.get("web1") is None)


def test_many_at_once(host: Host, config: Make) -> None:
    creating = [host.begin.create(config(f"web{number}"), paused=True) for number in range(6)]
    domains = [operation.result(SECONDS) for operation in creating]
    assert len({domain.domid for domain in domains}) == 6
    for operation in [domain.begin.destroy() for domain in domains]:
        operation.result(SECONDS)
    assert all(host.domains.get(domain.uuid) is None for domain in domains)


# For asyncio


def test_tasks(uri: str, config: Make) -> None:
    async def main() -> None:
        async with pyxen.aio.connect(uri) as xen:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(xen.create(config(f"web{n}"), paused=True)) for n in range(3)]
            domains = [task.result() for task in tasks]
            assert {(await domain.info()).name for domain in domains} == {"web0", "web1", "web2"}
            assert await xen.domains["web1"] == domains[1]
            for domain in domains:
                await domain.destroy()
            with pytest.raises(DomainNotFound):
                await domains[0].info()

    asyncio.run(main())


def test_a_task_that_is_cancelled(uri: str, host: Host, make: Make) -> None:
    make("web1", paused=True)

    async def main() -> None:
        async with pyxen.aio.connect(uri) as xen:
            domain = await xen.domains["web1"]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await domain.wait()
            assert (await domain.info()).name == "web1"

    asyncio.run(main())
    assert "web1" in host.domains


def test_events_of_tasks(uri: str, config: Make) -> None:
    async def main() -> None:
        async with pyxen.aio.connect(uri) as xen:
            if not xen.supports("events"):
                return
            async with xen.events(pyxen.DomainCreated, pyxen.DomainDestroyed) as events:
                domain = await xen.create(config("web1"), paused=True)
                await domain.destroy()
                found = [await anext(events) for _ in range(2)]
            assert [type(event) for event in found] == [pyxen.DomainCreated, pyxen.DomainDestroyed]

    asyncio.run(main())
