"""What a fleet refuses: odd values, use before it is open and after; and what functions do at their workers."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from typing import Any
from uuid import uuid4

import pytest

from pyxen import DomainConfig
from pyxen.aio import Domain, Host
from pyxen.distributed import Fleet, HostPlugin
from pyxen.errors import (
    ConnectFailed,
    Error,
    HostClosed,
    InvalidArgument,
    InvalidState,
    NotEnoughMemory,
    OperationCancelled,
    OperationFailed,
)
from tests.unit.distributed.cluster import GUEST, cluster, names_of, run

# Odd values, and a fleet that is not open.


@pytest.mark.parametrize("seconds", [math.nan, -1, -math.inf, "60", True])
def test_odd_waits_are_refused(seconds: Any) -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            with pytest.raises(InvalidArgument, match="wait="):
                await fleet.create(GUEST, wait=seconds)
            with pytest.raises(InvalidArgument, match="timeout="):
                await fleet.create(GUEST, timeout=seconds)
            with pytest.raises(InvalidArgument, match="wait="):
                await fleet.run(names_of, memory=1, wait=seconds)
            with pytest.raises(InvalidArgument, match="timeout="):
                await fleet.find(uuid4(), timeout=seconds)
            with pytest.raises(InvalidArgument, match="timeout="):
                await fleet.each(names_of, timeout=seconds)

    run(main())


def test_infinite_waits_have_no_limit() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            guest = await fleet.create(GUEST, wait=math.inf, timeout=math.inf)
            assert await fleet.run(names_of, memory=1, wait=math.inf) == ["Domain-0", "guest"]
            assert await fleet.find(guest.uuid, timeout=math.inf) == guest
            assert (await fleet.each(names_of, timeout=math.inf))["h1"].ok

    run(main())


def not_awaited(host: object) -> str:
    return repr(host)


def test_odd_values_are_refused() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            unfit: Any
            for unfit in (None, "web1", {"name": "web1"}):
                with pytest.raises(InvalidArgument, match="takes a DomainConfig"):
                    await fleet.create(unfit)
                with pytest.raises(InvalidArgument, match="takes a UUID"):
                    await fleet.find(unfit)
            for unfit in ({"memory": -1}, {"memory": 1, "vcpus": 0}, {"memory": math.inf}, {"memory": True}):
                with pytest.raises(InvalidArgument):
                    await fleet.run(names_of, **unfit)
            with pytest.raises(NotEnoughMemory):
                await fleet.run(names_of, memory=10**15, wait=0)
            unfit = not_awaited
            with pytest.raises(InvalidArgument, match="no coroutine function"):
                await fleet.run(unfit, memory=1)
            guest = await fleet.create(GUEST)
            with pytest.raises(InvalidArgument, match="no coroutine function"):
                await guest.call(unfit)
            with pytest.raises(InvalidArgument, match="cannot be sent"):
                await fleet.run(names_of, threading.Lock(), memory=1)
            with pytest.raises(Error):
                await fleet.create(DomainConfig("no-kernel", type="pvh", memory=128))
            assert hosts.names() == {"h1": ["guest"]}

    run(main())


@pytest.mark.parametrize("unfit", [0, -1, math.nan, "4", None])
def test_odd_plugins_are_refused(unfit: Any) -> None:
    with pytest.raises(InvalidArgument):
        HostPlugin("memory:///", vcpus_per_cpu=unfit)
    with pytest.raises(InvalidArgument):
        HostPlugin(unfit if not isinstance(unfit, str) else b"memory:///")  # type: ignore[arg-type]  # on purpose


def test_a_fleet_that_is_not_open() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts:
            fleet = Fleet(hosts.client)
            with pytest.raises(InvalidState, match="async context manager"):
                await fleet.create(GUEST)
            async with fleet:
                guest = await fleet.create(GUEST)
            for call in (fleet.create(GUEST), fleet.find(guest.uuid), fleet.each(names_of), guest.call(Domain.info)):
                with pytest.raises(HostClosed):
                    await call
            with pytest.raises(InvalidState, match="opened before"):
                await fleet.__aenter__()
            with pytest.raises(InvalidArgument, match="takes a Client"):
                Fleet(None)  # type: ignore[arg-type]  # on purpose
            async with Fleet(hosts.client) as other:
                await hosts.client.close()
                with pytest.raises(HostClosed):
                    await other.create(GUEST)

    run(main())


def test_a_fleet_belongs_to_one_loop() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:

            async def elsewhere() -> None:
                with pytest.raises(InvalidState, match="belongs to another event loop"):
                    await fleet.create(GUEST)

            await asyncio.to_thread(asyncio.run, elsewhere())

    run(main())


def test_a_scheduler_that_ends() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            guest = await fleet.create(GUEST)
            waiting = asyncio.create_task(guest.call(Domain.wait))
            await asyncio.sleep(0.2)
            await hosts.scheduler.close()
            async with asyncio.timeout(60):
                with pytest.raises(Error):
                    await waiting
                with pytest.raises(Error):
                    await fleet.create(GUEST.replace(name="b"), wait=1)

    run(main())


# What functions do at their workers.


async def exits(_: Host) -> None:
    sys.exit(3)


async def cancels(_: Host) -> None:
    raise asyncio.CancelledError


async def fails(_: Host) -> None:
    raise ZeroDivisionError("a fault of its own")


class Unfit(Exception):
    """An error that cannot be pickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


async def fails_oddly(_: Host) -> None:
    raise Unfit(1, 2)


async def returns_a_handle(host: Host) -> Domain:
    return await host.create(GUEST)


def test_what_functions_raise_comes_back() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            with pytest.raises(ZeroDivisionError, match="a fault of its own") as caught:
                await fleet.run(fails, memory=1)
            assert "At the worker h1:" in caught.value.__notes__[0]
            assert "in fails" in caught.value.__notes__[0]
            with pytest.raises(OperationFailed, match="Unfit: 1 and 2"):
                await fleet.run(fails_oddly, memory=1)
            with pytest.raises(OperationFailed, match=r"raised SystemExit\(3\)"):
                await fleet.run(exits, memory=1)
            with pytest.raises(OperationCancelled):
                await fleet.run(cancels, memory=1)
            with pytest.raises(InvalidArgument, match="cannot be pickled"):
                await fleet.run(returns_a_handle, memory=200)
            assert await fleet.run(names_of, memory=1) == ["Domain-0", "guest"]

    run(main())


def test_a_host_is_not_left_by_functions_that_say_it_is_lost() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            guest = await fleet.create(GUEST)
            waiting = asyncio.create_task(guest.call(Domain.wait))
            with pytest.raises(ConnectFailed, match="elsewhere"):
                await fleet.run(says_it_is_lost, memory=1, wait=60)
            assert not waiting.done()
            waiting.cancel()

    run(main())


async def says_it_is_lost(_: Host) -> None:
    raise ConnectFailed("elsewhere")
