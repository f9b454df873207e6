"""Whichever request for a descriptor or a thread fails: an error that says so, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pyxen
import pyxen.aio
from pyxen import Domain, DomainConfig, DomainState, Hosts, OperationFailed, Supervisor, attach_terminal
from pyxen._common.shortage import submitted
from pyxen.aio import bridges
from pyxen.autostart import XendomainsSettings, stop_all
from pyxen.doctor import examine
from pyxen.metrics import Exporter, HostCollector
from pyxen.testing import FakeHost
from tests.scarce import check_each_shortage
from tests.unit.remote.sockets import AtSocket, at_socket

CONFIG = DomainConfig("web", type="pvh", kernel="/boot/vmlinuz", memory=64)


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    with FakeHost() as fake:
        yield fake


@pytest.fixture
def web(fake: FakeHost) -> Domain:
    return fake.create(CONFIG)


@pytest.fixture
def served(tmp_path: Path, fake: FakeHost) -> Iterator[AtSocket]:
    with at_socket(tmp_path / "pyxen", fake.uri) as served:
        yield served


def test_threads_that_were_closed_are_no_shortage() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert submitted(pool, lambda: 7, OperationFailed, "asking").result(60) == 7
    with pytest.raises(OperationFailed, match=r"^asking: it was closed meanwhile$"):
        submitted(pool, lambda: 7, OperationFailed, "asking")


def test_a_simulated_host() -> None:
    def act() -> None:
        with pyxen.connect("memory:///") as host:
            web = host.create(CONFIG)
            web.console().close()
            with web.console_stream() as console:
                console.write(b"x")
            with host.events():
                web.destroy()

    assert check_each_shortage(act) > 5


def test_a_domain_is_saved_to_a_descriptor(fake: FakeHost, web: Domain) -> None:
    def act() -> None:
        with contextlib.ExitStack() as opened:
            read_fd, write_fd = os.pipe()
            opened.callback(os.close, read_fd)
            opened.callback(os.close, write_fd)
            web.save(write_fd, checkpoint=True)

    assert check_each_shortage(act, web.info) > 0
    assert len(fake.guests) == 1


def test_a_host_behind_a_link(served: AtSocket, fake: FakeHost, web: Domain) -> None:
    def act() -> None:
        with pyxen.connect(served.uri) as host:
            there = host.domains[web.domid]
            there.pause()
            there.unpause()
            there.console().close()
            with host.events():
                host.list()

    def works() -> None:
        with pyxen.connect(served.uri) as host:
            assert [domain.name for domain in host.guests] == ["web"]

    assert check_each_shortage(act, works) > 8
    assert len(fake.guests) == 1


def test_a_save_over_a_link_is_whole_or_nothing(served: AtSocket, fake: FakeHost, tmp_path: Path) -> None:
    def act() -> None:
        if not fake.guests:
            fake.create(CONFIG)
        path = tmp_path / "saved"
        with pyxen.connect(served.uri) as host, open(path, "wb") as file:
            host.domains["web"].save(file.fileno(), timeout=30)

    def works() -> None:
        assert all(guest.info().state is not DomainState.PAUSED for guest in fake.guests)

    assert check_each_shortage(act, works) > 8


def test_a_terminal(web: Domain) -> None:
    def act() -> None:
        with contextlib.ExitStack() as opened:
            read_fd, write_fd = os.pipe()
            opened.callback(os.close, read_fd)
            os.close(write_fd)  # the user leaves at once
            console = web.console_stream()
            try:
                attach_terminal(console, stdin=read_fd, stdout=read_fd)
            finally:
                with pytest.raises(pyxen.HostClosed):
                    console.write(b"x")

    assert check_each_shortage(act) > 2


def test_a_supervisor(fake: FakeHost) -> None:
    def act() -> None:
        with Supervisor(fake, leave=lambda _: None):
            pass

    assert check_each_shortage(act) == 2


def test_an_exporter(fake: FakeHost) -> None:
    def act() -> None:
        with HostCollector(fake) as collector, Exporter(collector, port=0):
            list(collector.collect())

    assert check_each_shortage(act) > 1


def test_a_collector_collects_again(fake: FakeHost) -> None:
    with HostCollector(fake, timeout=30) as collector:

        def up() -> float:
            return next(sample.value for family in collector.collect() for sample in family.samples)

        def works() -> None:
            assert up() == 1

        assert check_each_shortage(up, works) == 1


def test_an_awaited_host(fake: FakeHost) -> None:
    async def main() -> None:
        async with pyxen.aio.connect(fake.uri) as host:
            web = await host.create(CONFIG)
            await host.list()
            await web.destroy()

    def works() -> None:
        for domain in fake.guests:  # a destroy that no thread was there for
            domain.destroy()

    assert check_each_shortage(lambda: asyncio.run(main()), works) > 1


def test_an_awaited_create_that_is_cancelled(fake: FakeHost) -> None:
    async def main() -> None:
        async with pyxen.aio.connect(fake.uri) as host:
            task = asyncio.create_task(host.create(CONFIG))
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def works() -> None:
        assert not fake.guests

    assert check_each_shortage(lambda: asyncio.run(main()), works) > 1


def test_many_hosts() -> None:
    def act() -> None:
        with Hosts({"one": "memory:///", "two": "memory:///"}) as hosts:
            hosts.each(lambda host: host.create(CONFIG)).check()

    assert check_each_shortage(act) > 5


def test_the_stop_of_all_domains(fake: FakeHost) -> None:
    def act() -> None:
        if not fake.guests:
            fake.create(CONFIG)
            fake.create(CONFIG.replace(name="db"))
        stop_all(fake, XendomainsSettings(save=None))

    def works() -> None:
        assert not fake.guests

    assert check_each_shortage(act, works) > 0


def test_an_examination(tmp_path: Path) -> None:
    del tmp_path

    def act() -> None:
        examine(timeout=30)

    assert check_each_shortage(act) > 5


def test_a_program_that_is_awaited() -> None:
    async def main() -> None:
        with contextlib.suppress(pyxen.errors.ToolMissing):
            await bridges.bridges()

    assert check_each_shortage(lambda: asyncio.run(main())) > 0
