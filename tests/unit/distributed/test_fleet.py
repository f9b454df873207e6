"""Guests land where there is room, are found again by uuid, and are made elsewhere when a host dies."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest
from distributed import Client

from pyxen.aio import Domain, Host
from pyxen.distributed import Fleet, HostPlugin, members
from pyxen.errors import (
    ConnectFailed,
    DomainExists,
    DomainNotFound,
    InvalidState,
    NotEnoughMemory,
    OperationTimeout,
)
from tests.unit.distributed.cluster import GUEST, cluster, names_of, run

BIG = GUEST.replace(memory=1024)
"""Three of it fit on a host, beside dom0."""


async def one_guest(host: Host, name: str) -> str:
    guest = await host.create(GUEST.replace(name=name))
    await guest.destroy()
    return name


async def for_ever(host: Host, name: str) -> None:
    guest = await host.create(GUEST.replace(name=name))
    try:
        await asyncio.Event().wait()
    finally:
        await guest.destroy()


def test_guests_land_where_there_is_room() -> None:
    async def main() -> None:
        async with cluster("h1", "h2") as hosts, Fleet(hosts.client) as fleet:
            assert sorted(fleet.hosts) == ["h1", "h2"]
            guests = await asyncio.gather(*(fleet.create(GUEST.replace(name=f"g{n}")) for n in range(6)))
            assert sorted(guest.host for guest in guests) == ["h1"] * 3 + ["h2"] * 3
            assert (await guests[0].call(Domain.info)).name == "g0"
            assert "Calls" not in repr(guests[0])

    run(main())


def test_a_worker_that_goes_while_it_is_asked_is_no_host_that_does_not_answer() -> None:
    async def main() -> None:
        async with cluster("h1", "h2") as hosts, Fleet(hosts.client) as fleet:
            await hosts.kill("h2")
            with pytest.raises(DomainNotFound, match="on none of 1 hosts"):
                await fleet.find(uuid4(), timeout=6)

    run(main())


def test_a_guest_is_found_again_by_its_uuid_also_by_another_manager() -> None:
    async def main() -> None:
        async with cluster("h1", "h2") as hosts, Fleet(hosts.client) as fleet:
            guest = await fleet.create(GUEST)
            async with Client(hosts.scheduler.address, asynchronous=True) as client, Fleet(client) as other:
                found = await other.find(guest.uuid)
                assert found == guest
                await found.call(Domain.destroy)
            with pytest.raises(DomainNotFound, match="on none of 2 hosts"):
                await fleet.find(guest.uuid)
            with pytest.raises(DomainNotFound, match=r"Fleet\.find looks for it"):
                await guest.call(Domain.info)

    run(main())


def test_a_guest_on_two_hosts_is_told() -> None:
    async def main() -> None:
        async with cluster("h1", "h2") as hosts, Fleet(hosts.client) as fleet:
            uuid = uuid4()
            for host in hosts.hosts.values():
                host.create(GUEST.replace(uuid=uuid))
            with pytest.raises(InvalidState, match="on several hosts: h1, h2: destroy all but one"):
                await fleet.find(uuid)

    run(main())


def test_a_uuid_that_a_host_has_is_refused() -> None:
    async def main() -> None:
        async with cluster("h1", "h2") as hosts, Fleet(hosts.client) as fleet:
            config = GUEST.replace(uuid=uuid4())
            first, second = await asyncio.gather(fleet.create(config), fleet.create(config), return_exceptions=True)
            assert isinstance(second, DomainExists), (first, second)
            with pytest.raises(DomainExists, match="has a domain with this uuid"):
                await fleet.create(config.replace(name="other"))
            other = hosts.hosts["h2" if hosts.names()["h1"] else "h1"]
            await hosts.kill("h2" if other is hosts.hosts["h2"] else "h1")
            with pytest.raises(DomainExists):  # by the host itself
                await fleet.create(config, ask=False)
            assert sum(map(len, hosts.names().values())) == 1

    run(main())


@pytest.mark.parametrize("wait", [0, 0.3])
def test_full_hosts_refuse_within_the_wait(wait: float) -> None:
    async def main() -> None:
        async with cluster("h1", "h2") as hosts, Fleet(hosts.client) as fleet:
            for number in range(6):
                await fleet.create(BIG.replace(name=f"g{number}"))
            begun = asyncio.get_running_loop().time()
            with pytest.raises(NotEnoughMemory, match="no host has 1032 MiB and 1 vCPUs free, of 2 hosts"):
                await fleet.create(BIG.replace(name="g7"), wait=wait)
            assert asyncio.get_running_loop().time() - begun < wait + 30
            assert {name: len(guests) for name, guests in hosts.names().items()} == {"h1": 3, "h2": 3}

    run(main())


def test_a_create_that_waits_gets_the_room_of_a_guest_that_ends() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            guests = [await fleet.create(BIG.replace(name=f"g{number}")) for number in range(3)]
            waiting = asyncio.create_task(fleet.create(BIG.replace(name="last")))
            await asyncio.sleep(0.1)
            await guests[0].call(Domain.destroy)
            assert (await waiting).host == "h1"

    run(main())


def test_a_host_that_has_less_than_it_seems_is_asked_again() -> None:
    async def main() -> None:
        async with cluster("h1", "h2") as hosts, Fleet(hosts.client) as fleet:
            for number in range(3):  # by another program
                hosts.hosts["h1"].create(BIG.replace(name=f"other{number}"))
            made = await asyncio.gather(*(fleet.create(BIG.replace(name=f"g{n}")) for n in range(3)))
            assert [guest.host for guest in made] == ["h2"] * 3
            assert len([call for call in hosts.hosts["h1"].calls if call.verb == "create"]) <= 5
            hosts.hosts["h1"].domains["other0"].destroy()
            assert (await fleet.create(BIG.replace(name="g4"))).host == "h1"

    run(main())


def test_a_host_that_refuses_always_does_not_hold_a_create_for_ever() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            hosts.hosts["h1"].fail("create", NotEnoughMemory("fragmented"), times=None)
            with pytest.raises(NotEnoughMemory):
                await fleet.create(GUEST, wait=2.5)
            assert len([call for call in hosts.hosts["h1"].calls if call.verb == "create"]) <= 4

    run(main())


def test_a_host_that_dies_while_it_creates() -> None:
    async def main() -> None:
        async with cluster() as hosts:
            await hosts.add("h1", create=60, memory=8192)
            await hosts.add("h2")
            async with Fleet(hosts.client) as fleet:
                config = GUEST.replace(uuid=uuid4())
                creating = asyncio.create_task(fleet.create(config))
                await hosts.until(lambda: any(call.verb == "create" for call in hosts.hosts["h1"].calls))
                await hosts.kill("h1")
                guest = await creating
                assert (guest.host, guest.uuid) == ("h2", config.uuid)
                assert hosts.hosts["h2"].domains["guest"].uuid == config.uuid
                assert await fleet.find(guest.uuid) == guest
                assert fleet.hosts == ("h2",)

    run(main())


def test_a_worker_that_ends_in_order_undoes_what_it_makes() -> None:
    async def main() -> None:
        async with cluster() as hosts:
            await hosts.add("h1", create=60, memory=8192)
            await hosts.add("h2")
            async with Fleet(hosts.client) as fleet:
                creating = asyncio.create_task(fleet.create(GUEST))
                await hosts.until(lambda: any(call.verb == "create" for call in hosts.hosts["h1"].calls))
                await hosts.workers["h1"].close()
                assert (await creating).host == "h2"
                assert hosts.names() == {"h1": [], "h2": ["guest"]}

    run(main())


def test_a_create_that_must_not_be_made_elsewhere() -> None:
    async def main() -> None:
        async with cluster() as hosts:
            await hosts.add("h1", create=60, memory=8192)
            await hosts.add("h2")
            async with Fleet(hosts.client) as fleet:
                creating = asyncio.create_task(fleet.create(GUEST, elsewhere=False))
                await hosts.until(lambda: any(call.verb == "create" for call in hosts.hosts["h1"].calls))
                await hosts.kill("h1")
                with pytest.raises(InvalidState, match="is gone, and its host may be"):
                    await creating
                assert hosts.names() == {"h2": []}

    run(main())


def test_what_kills_every_host_is_tried_on_three() -> None:
    async def main() -> None:
        names = ("h1", "h2", "h3", "h4")
        async with cluster() as hosts:
            for name in names:
                await hosts.add(name, create=60)
            async with Fleet(hosts.client) as fleet:
                creating = asyncio.create_task(fleet.create(GUEST))
                for _ in range(3):
                    used: list[str] = []
                    deadline = time.monotonic() + 60
                    while not used:
                        assert time.monotonic() < deadline
                        await asyncio.sleep(0.01)
                        used = [
                            name
                            for name, host in hosts.hosts.items()
                            if host._machine.lost is None and any(call.verb == "create" for call in host.calls)
                        ]
                    await hosts.kill(used[0])
                with pytest.raises(InvalidState, match="is gone"):
                    await creating
                assert len(fleet.hosts) <= 2

    run(main())


def test_a_call_to_a_guest_whose_host_is_gone() -> None:
    async def main() -> None:
        async with cluster("h1", "h2") as hosts, Fleet(hosts.client) as fleet:
            guest = await fleet.create(GUEST)
            waiting = asyncio.create_task(guest.call(Domain.wait))
            await asyncio.sleep(0.2)
            await hosts.kill(guest.host)
            async with asyncio.timeout(60):
                with pytest.raises(InvalidState, match="is gone"):
                    await waiting
                with pytest.raises(InvalidState, match="is gone"):
                    await guest.call(Domain.info)
            with pytest.raises(DomainNotFound):
                await fleet.find(guest.uuid)

    run(main())


def test_a_call_that_dask_cancels_is_no_cancel_of_the_caller() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            guest = await fleet.create(GUEST)
            waiting = asyncio.create_task(guest.call(Domain.wait))
            await hosts.until(lambda: any("call_domain" in str(key) for key in hosts.scheduler.tasks))
            (state,) = [state for key, state in hosts.client.futures.items() if "call_domain" in str(key)]
            state.cancel()  # as when the scheduler has lost the key
            with pytest.raises(InvalidState, match="is gone"):
                await waiting

    run(main())


def test_a_cancelled_create_leaves_nothing() -> None:
    async def main() -> None:
        async with cluster() as hosts:
            host = await hosts.add("h1", create=60)
            async with Fleet(hosts.client) as fleet:
                creating = asyncio.create_task(fleet.create(GUEST))
                await hosts.until(lambda: any(call.verb == "create" for call in host.calls))
                creating.cancel()
                await asyncio.wait({creating})
                assert creating.cancelled()
                assert hosts.names() == {"h1": []}
                assert fleet._rooms._rooms[hosts.workers["h1"].address].held_memory == 0

    run(main())


@pytest.mark.parametrize("turns", [0, 1, 5, 20, 100])
def test_a_create_that_is_cancelled_at_any_time_leaves_nothing(turns: int) -> None:
    async def main() -> None:
        async with cluster() as hosts:
            host = await hosts.add("h1", create=0)
            async with Fleet(hosts.client) as fleet:
                creating = asyncio.create_task(fleet.create(GUEST))
                for _ in range(turns):
                    await asyncio.sleep(0)
                creating.cancel()
                await asyncio.wait({creating})
                await hosts.until(lambda: len(host.list()) == (1 if creating.cancelled() else 2))
                await asyncio.sleep(0.1)  # nothing comes later, either
                assert len(host.list()) == (1 if creating.cancelled() else 2)

    run(main())


def test_a_cancel_that_comes_when_the_guest_is_made() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            creating = asyncio.create_task(fleet.create(GUEST))
            async with asyncio.timeout(60):
                while not hosts.names()["h1"]:  # noqa: ASYNC110 (the host knows nothing of this loop)
                    await asyncio.sleep(0)
            creating.cancel()
            await asyncio.wait({creating})
            assert hosts.names() == {"h1": [] if creating.cancelled() else ["guest"]}

    run(main())


def test_a_cancelled_call_is_stopped_at_its_host() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            running = asyncio.create_task(fleet.run(for_ever, "job", memory=200))
            await hosts.until(lambda: hosts.names() == {"h1": ["job"]})
            running.cancel()
            await asyncio.wait({running})
            assert hosts.names() == {"h1": []}

    run(main())


def test_a_run_that_is_called_again_when_its_host_dies() -> None:
    async def main() -> None:
        async with cluster() as hosts:
            await hosts.add("h1", create=60, memory=8192)
            await hosts.add("h2")
            async with Fleet(hosts.client) as fleet:
                running = asyncio.create_task(fleet.run(one_guest, "job", memory=200))
                await hosts.until(lambda: any(call.verb == "create" for call in hosts.hosts["h1"].calls))
                await hosts.kill("h1")
                assert await running == "job"
                assert hosts.names() == {"h2": []}

    run(main())


def test_runs_hold_their_room() -> None:
    async def main() -> None:
        async with cluster() as hosts:
            host = await hosts.add("h1", cpus=1)  # so 4 vCPUs
            async with Fleet(hosts.client) as fleet:
                most = 0

                async def look() -> None:
                    nonlocal most
                    while True:
                        most = max(most, len(host.list()) - 1)
                        await asyncio.sleep(0.001)

                looking = asyncio.create_task(look())
                jobs = [fleet.run(one_guest, f"job{number}", memory=200, vcpus=2) for number in range(12)]
                assert await asyncio.gather(*jobs) == [f"job{number}" for number in range(12)]
                looking.cancel()
                assert 1 <= most <= 2

    run(main())


def test_two_managers_at_once() -> None:
    async def main() -> None:
        async with (
            cluster("h1", "h2") as hosts,
            Client(hosts.scheduler.address, asynchronous=True) as client,
            Fleet(hosts.client) as one,
            Fleet(client) as two,
        ):
            wanted = [(one, two)[n % 2].create(BIG.replace(name=f"g{n}"), wait=60) for n in range(6)]
            made = await asyncio.gather(*wanted)
            assert sorted(guest.host for guest in made) == ["h1"] * 3 + ["h2"] * 3
            assert {name: len(guests) for name, guests in hosts.names().items()} == {"h1": 3, "h2": 3}

    run(main())


def test_each_host_answers_in_its_place() -> None:
    async def main() -> None:
        async with cluster("h1", "h2") as hosts, Fleet(hosts.client) as fleet:
            hosts.hosts["h2"].fail("list", ConnectFailed("away"))
            answers = await fleet.each(names_of)
            assert answers["h1"].value == ["Domain-0"]
            with pytest.raises(ConnectFailed, match="away"):
                _ = answers["h2"].value

    run(main())


async def _asleep(_: Host) -> None:
    await asyncio.sleep(3600)


def test_a_host_that_does_not_answer_is_not_waited_for() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            answers = await fleet.each(_asleep, timeout=0.2)
            assert isinstance(answers["h1"].error, OperationTimeout)

    run(main())


def test_a_lost_host_is_opened_again() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            machine = hosts.hosts["h1"]._machine
            hosts.hosts["h1"].vanish()
            with pytest.raises(ConnectFailed):
                _ = (await fleet.each(names_of))["h1"].value
            creating = asyncio.create_task(fleet.create(GUEST))
            await asyncio.sleep(0.5)
            machine.lost = None
            assert (await creating).host == "h1"

    run(main())


async def _unreachable(_: Host) -> None:
    raise ConnectFailed("another server does not answer")


def test_a_run_that_its_host_has_lost_gives_its_room_back() -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            address = hosts.workers["h1"].address
            for _ in range(2):  # each is tried three times
                with pytest.raises(ConnectFailed, match="another server"):
                    await fleet.run(_unreachable, memory=1000, vcpus=3, wait=60)
            await hosts.until(lambda: "h1" in fleet.hosts)
            room = fleet._rooms._rooms[address]
            assert (room.held_memory, room.held_vcpus) == (0, 0)
            assert await fleet.run(one_guest, "job", memory=3000, vcpus=4, wait=60) == "job"

    run(main())


# Workers without a host, and none at all.


def test_a_worker_without_a_host_says_how_to_start_it() -> None:
    async def main() -> None:
        async with cluster() as hosts:
            await hosts.add_worker("bare")
            async with Fleet(hosts.client) as fleet:
                assert fleet.hosts == ()
                with pytest.raises(InvalidState, match=r"bare has no host: start it with --preload pyxen\.distributed"):
                    await fleet.create(GUEST, wait=0)
                with pytest.raises(InvalidState, match="bare has no host: start it with --preload"):
                    _ = next(iter((await fleet.each(names_of)).values())).value

    run(main())


def test_no_worker_at_all() -> None:
    async def main() -> None:
        async with cluster() as hosts, Fleet(hosts.client) as fleet:
            with pytest.raises(InvalidState, match="none of 0 workers has a host that reports: start dask worker"):
                await fleet.create(GUEST, wait=0)
            creating = asyncio.create_task(fleet.create(GUEST))
            await asyncio.sleep(0.1)
            await hosts.add("late")
            assert (await creating).host == "late"

    run(main())


def test_another_pyxen_at_a_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with cluster("h1") as hosts, Fleet(hosts.client) as fleet:
            with pytest.raises(
                InvalidState, match=r"tcp://.*: h1 has pyxen 0\.1\.0, and this is 7\.0\.0: install the same"
            ):
                await fleet.create(GUEST, wait=0)

    monkeypatch.setattr(members, "__version__", "7.0.0")
    run(main())


def test_a_plugin_is_given_to_all_workers_at_once() -> None:
    async def main() -> None:
        async with cluster() as hosts:
            await hosts.add_worker("w1")
            await hosts.client.register_plugin(HostPlugin("memory:///of-all-workers"))
            async with Fleet(hosts.client) as fleet:
                assert (await fleet.create(GUEST)).host == "w1"

    run(main())


def test_a_host_that_cannot_be_opened_gets_no_guests() -> None:
    async def main() -> None:
        async with cluster() as hosts:
            worker = await hosts.add_worker("w1")
            await worker.plugin_add(plugin=HostPlugin("nowhere:///"), name=HostPlugin.name)
            async with Fleet(hosts.client) as fleet:
                with pytest.raises(InvalidState, match="nowhere:///: use xenlight:///"):
                    await fleet.create(GUEST, wait=0)

    run(main())
