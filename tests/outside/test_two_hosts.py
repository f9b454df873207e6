"""Two real hosts: guests move between them by links, in an upgrade, and by Ansible; and a fleet has both."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

import pyxen
from examples import rolling_upgrade
from pyxen import DomainState, Host, MigrationFailed, aio
from pyxen.distributed import Fleet, HostPlugin
from tests.backends.hosts import boot
from tests.outside.guests import LINUX, TINY
from tests.outside.pair import NAMES, Pair
from tests.outside.playbooks import SECONDS, play
from tests.unit.distributed.cluster import cluster, run

URI: Final = "xenlight+ssh://root@{}/"
MINUTES: Final = 60.0

pytestmark = [pytest.mark.long, pytest.mark.timeout(SECONDS)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two hosts."""
    with Pair(tmp_path_factory.mktemp("ssh")) as pair, pair.led():
        yield pair


@pytest.fixture
def hosts(pair: Pair) -> Iterator[tuple[Host, Host]]:  # noqa: ARG001 (it says where ssh leads)
    """A link to each host. When the test is over, no guest is left on either."""
    with ExitStack() as stack:
        one, two = (stack.enter_context(pyxen.connect(URI.format(name))) for name in NAMES)
        yield one, two
    for name in NAMES:  # by links of their own, since a host may have been replaced
        with pyxen.connect(URI.format(name)) as host:
            for guest in host.guests:
                guest.destroy(timeout=2 * MINUTES)


def names(host: Host) -> list[str | None]:
    """Return the names of a host's domains that Xen is not taking apart."""
    return [info.name for info in host.list() if info.state is not DomainState.DYING]


def answers(domain: pyxen.Domain) -> bool:
    """Tell whether a guest's shell works out a sum."""
    with domain.console() as console:
        console.write(b"echo $((6*7))\n")
        seen, end = b"", time.monotonic() + MINUTES
        while b"42" not in seen and time.monotonic() < end:
            seen += os.read(console.fileno(), 4096)
    return b"42" in seen


def test_through_links_to_both(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    guest = boot(one, LINUX)
    with pytest.raises(MigrationFailed, match="goes on here"):
        guest.migrate("nobody@two", timeout=5 * MINUTES)
    assert answers(guest)
    guest.migrate("two", timeout=15 * MINUTES)
    assert names(one) == ["Domain-0"]
    moved = two.domains[guest.uuid]
    assert moved.info().is_running
    assert answers(moved)
    moved.migrate("one", timeout=15 * MINUTES)
    assert names(two) == ["Domain-0"]
    assert answers(one.domains[guest.uuid])


def test_an_upgrade(hosts: tuple[Host, Host], pair: Pair, tmp_path: Path) -> None:
    one, two = hosts
    guest = boot(two, LINUX)
    inventory = tmp_path / "hosts.toml"
    inventory.write_text("".join(f'{name} = "{URI.format(name)}"\n' for name in NAMES))
    emptied: list[list[str | None]] = []

    def reboot(uri: str) -> None:
        assert uri == URI.format("two")
        emptied.append(names(two))
        assert answers(one.domains[guest.uuid])
        pair.replace("two")

    rolling_upgrade.upgrade(str(inventory), ["two"], reboot)
    assert emptied == [["Domain-0"]]
    assert names(one) == ["Domain-0"]
    with pyxen.connect(URI.format("two")) as back:
        assert answers(back.domains[guest.uuid])
        back.domains[guest.uuid].destroy()


def test_by_ansible(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    one, two = hosts
    guest = boot(one, LINUX)
    ways = {name: {"ansible_host": name, "ansible_python_interpreter": "/usr/bin/python3"} for name in NAMES}
    printed = play("move.yml", ways, tmp_path)
    assert "failed=0" in printed
    assert names(one) == names(two) == ["Domain-0"]
    assert guest.uuid not in one.domains


def test_a_fleet_of_both(hosts: tuple[Host, Host], pair: Pair) -> None:
    async def main() -> None:
        async with cluster() as workers:
            for name in NAMES:
                worker = await workers.add_worker(name)
                await worker.plugin_add(plugin=HostPlugin(URI.format(name)), name=HostPlugin.name)
            async with Fleet(workers.client) as fleet:
                guests = await asyncio.gather(
                    *(fleet.create(TINY.replace(name=f"tiny{number}"), timeout=5 * MINUTES) for number in range(4))
                )
                assert sorted(guest.host for guest in guests) == ["one", "one", "two", "two"]
                infos = await asyncio.gather(*(guest.call(aio.Domain.info) for guest in guests))
                assert [info.name for info in infos] == [f"tiny{number}" for number in range(4)]
                assert {guest.host for guest in guests if guest.uuid in hosts[0].domains} == {"one"}
                lost = next(guest for guest in guests if guest.host == "two")
                pair.replace("two")  # in this thread: a lab ends with the thread that has begun it
                await workers.workers["two"].close()
                await workers.until(lambda: list(fleet.hosts) == ["one"])
                again = await fleet.create(
                    TINY.replace(name=lost.name, uuid=lost.uuid), timeout=5 * MINUTES, wait=5 * MINUTES
                )
                assert (again.host, again.uuid) == ("one", lost.uuid)
                assert (await fleet.find(lost.uuid)).host == "one"

    run(main(), seconds=SECONDS)
