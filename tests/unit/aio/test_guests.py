"""Verbs for all guests at once, in both faces: whose failure is told, and what an interruption leaves."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import pyxen.aio
from pyxen import DomainConfig, InvalidState, Operation, OperationTimeout
from pyxen.backends.base import DomainRef
from pyxen.testing import FakeHost
from tests.backends.support import wait_until
from tests.unit.aio.fakehost import FakeBackend, OnHost, run, turns, undone, until


def config(name: str) -> DomainConfig:
    return DomainConfig(name, type="pvh", kernel="/boot/vmlinuz", memory=64, on_reboot="preserve")


def test_who_does_not_listen_is_told() -> None:
    with FakeHost() as fake:
        first, deaf, paused = (fake.create(config(name)) for name in ("web1", "web2", "web3"))
        fake.advance(60)
        fake.guest(deaf).answers = False
        paused.pause()
        failed = fake.guests.shutdown_all(timeout=60)
        assert {guest: type(error) for guest, error in failed.items()} == {
            deaf: OperationTimeout,
            paused: InvalidState,
        }
        assert first not in fake.domains


def test_awaited() -> None:
    with FakeHost(time="real") as fake:
        first, paused = (fake.create(config(name)) for name in ("web1", "web2"))
        paused.pause()

        async def main() -> tuple[dict[Any, pyxen.Error], dict[Any, pyxen.Error]]:
            async with fake.aio() as xen:
                return await xen.guests.reboot_all(wait=True, timeout=60), await xen.guests.shutdown_all(timeout=60)

        rebooted, shut = asyncio.run(main())
        assert [(guest.domid, type(error)) for guest, error in rebooted.items()] == [(paused.domid, InvalidState)]
        assert [guest.domid for guest in shut] == [paused.domid]  # the other one has ended
        assert first.info().shutdown_reason is pyxen.ShutdownReason.REBOOT


def test_a_check_of_what_can_be_created() -> None:
    with FakeHost() as fake:

        async def main() -> DomainConfig:
            async with fake.aio() as xen:
                return await xen.check_create(config("web1").replace(cpus="all"))

        assert asyncio.run(main()).cpus == pyxen.CpuSet("0-3")
        assert len(fake.list()) == 1


def test_an_interruption_stops_all_of_them() -> None:
    with FakeHost(time="real") as fake:
        guests = [fake.create(config(name)) for name in ("web1", "web2")]
        for guest in guests:
            fake.guest(guest).answers = False

        def tasks() -> list[Any]:
            return fake._machine.engine._tasks

        async def main() -> None:
            async with fake.aio() as xen:
                task = asyncio.ensure_future(xen.guests.shutdown_all())
                await asyncio.to_thread(wait_until, lambda: len(tasks()) == len(guests))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(wait_until, lambda: not tasks())

        asyncio.run(asyncio.wait_for(main(), 60))
        assert [guest.info().shutdown_reason for guest in guests] == [None, None]


def test_the_loop_goes_on_while_they_are_asked(backend: FakeBackend, on_host: OnHost) -> None:
    """Over a link, each of them waits for an answer."""

    async def main(host: pyxen.aio.Host) -> None:
        shutdown, go_on, asked = backend.shutdown, threading.Event(), list[int]()

        def slowly(domain: DomainRef, **options: Any) -> Operation[None]:
            asked.append(domain.domid)
            assert go_on.wait(30)
            return shutdown(domain, **options)

        backend.shutdown = slowly  # type: ignore[method-assign]  # for this test
        first, second = (asyncio.create_task(host.guests.shutdown_all()) for _ in range(2))
        await until(lambda: sorted(asked) == [3, 3, 4, 4])  # side by side
        first.cancel()
        await turns()
        assert not first.done()
        go_on.set()
        await until(lambda: len(backend.stopped) == 2)
        for operation in backend.operations:
            if operation in backend.stopped:
                undone(operation)
            else:
                operation.set_result(None)
        with pytest.raises(asyncio.CancelledError):
            await first
        await until(lambda: len(backend.operations) == 4)
        for operation in backend.operations:
            if not operation.done():
                operation.set_result(None)
        assert await second == {}

    on_host(main)


def test_an_interruption_waits_until_all_are_undone() -> None:
    """Also when the guest that is waited for is undone first."""
    with FakeHost(time="real") as fake:
        for name in ("web1", "web2"):
            fake.guest(fake.create(config(name))).answers = False
        stopped: list[Operation[Any]] = []

        async def main() -> None:
            async with fake.aio() as xen:
                backend: Any = xen._backend
                shutdown, begun, gate = backend.shutdown, [], threading.Lock()

                def begin(*arguments: Any, **options: Any) -> Operation[None]:
                    whole: Operation[None] = shutdown(*arguments, **options)
                    with gate:
                        begun.append(whole)
                        if len(begun) == 1:
                            return whole
                    slow: Operation[None] = Operation("shutdown")
                    slow.carried_by(stopped.append, threading.Thread())
                    return slow

                backend.shutdown = begin
                task = asyncio.ensure_future(xen.guests.shutdown_all())
                await until(lambda: len(begun) == 2)
                await turns()
                task.cancel()
                await until(lambda: stopped and begun[0].done())
                await turns()
                assert not task.done()
                undone(stopped[0])
                with pytest.raises(asyncio.CancelledError):
                    await task
                begun[1].cancel()

        run(main())
