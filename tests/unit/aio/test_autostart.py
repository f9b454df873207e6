"""Domains that start and stop with their host, awaited: the same as with the blocking functions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pyxen import DomainConfig, InvalidArgument, OperationFailed, xlcfg
from pyxen.aio import Domain
from pyxen.aio.autostart import StartAction, StopAction, XendomainsSettings, start_all, stop_all
from pyxen.testing import FakeHost
from tests.backends.support import wait_until


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    with FakeHost(time="real") as fake:
        yield fake


@pytest.fixture
def settings(tmp_path: Path) -> XendomainsSettings:
    auto = tmp_path / "auto"
    auto.mkdir()
    for name in ("web", "db"):
        (auto / f"{name}.cfg").write_text(xlcfg.dumps(_config(name)))
    return XendomainsSettings(auto=str(auto), save=str(tmp_path / "save"), create_delay_s=0, stop_timeout_s=60)


def _config(name: str) -> DomainConfig:
    return DomainConfig(name, type="pvh", kernel="/boot/vmlinuz", memory=64)


def boot_all(fake: FakeHost) -> None:
    for domain in fake.guests:
        fake.guest(domain).boot()


def test_they_come_and_go(fake: FakeHost, settings: XendomainsSettings) -> None:
    asyncio.run(_they_come_and_go(fake, settings))


async def _they_come_and_go(fake: FakeHost, settings: XendomainsSettings) -> None:
    async with fake.aio() as host:
        done = await start_all(host, settings)
        assert [(Path(one.path).name, one.action) for one in done] == [("db.cfg", "created"), ("web.cfg", "created")]
        assert all(isinstance(one.domain, Domain) for one in done)
        assert [one.action for one in await start_all(host, settings)] == [StartAction.RUNNING] * 2
        boot_all(fake)
        stopped = await stop_all(host, settings, parallel=2)
        assert [(one.name, one.action) for one in stopped] == [("db", "saved"), ("web", "saved")]
        fake.fail("restore", OperationFailed("damaged"), domain=str(Path(settings.save or "", "db")))
        assert [one.action for one in await start_all(host, settings)] == ["failed", "restored", "skipped", "running"]


def test_what_fails_is_tried_otherwise(fake: FakeHost, settings: XendomainsSettings) -> None:
    asyncio.run(_what_fails_is_tried_otherwise(fake, settings))


async def _what_fails_is_tried_otherwise(fake: FakeHost, settings: XendomainsSettings) -> None:
    async with fake.aio() as host:
        (Path(settings.auto or "") / "broken.cfg").write_text("name=[")
        fake.fail("create", OperationFailed("no"), domain="web")
        assert [one.action for one in await start_all(host, settings)] == ["failed", "created", "failed"]
        boot_all(fake)
        fake.fail("save", OperationFailed("the disk is full"))
        (one,) = await stop_all(host, replace(settings, migrate="host2", sysrq=("s",), sysrq_delay_s=0))
        assert (one.action, len(one.errors)) == (StopAction.SHUT_DOWN, 2)
        with pytest.raises(InvalidArgument, match="parallel=0 is out of range"):
            await stop_all(host, settings, parallel=0)


@pytest.mark.parametrize("parallel", [float("nan"), 2.5, "4", None, True])
def test_what_is_no_number_of_domains(fake: FakeHost, settings: XendomainsSettings, parallel: Any) -> None:
    async def main() -> None:
        async with fake.aio() as host, asyncio.timeout(30):
            await stop_all(host, settings, parallel=parallel)

    with pytest.raises(InvalidArgument, match="takes a whole number, not"):
        asyncio.run(main())


def test_a_task_that_is_cancelled(fake: FakeHost, settings: XendomainsSettings) -> None:
    asyncio.run(_a_task_that_is_cancelled(fake, settings))


async def _a_task_that_is_cancelled(fake: FakeHost, settings: XendomainsSettings) -> None:
    async with fake.aio() as host:
        await start_all(host, settings)
        for domain in fake.guests:
            fake.guest(domain).answers = False
        stopping = asyncio.ensure_future(stop_all(host, replace(settings, save=None)))
        await asyncio.to_thread(wait_until, lambda: "shutdown" in {call.verb for call in fake.calls})
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert [info.is_running for info in fake.list()] == [True] * 3
