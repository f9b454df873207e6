"""Pools and clones, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import Disk, DomainConfig, DomainExists, InvalidState, Operation, OperationCancelled
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.testing import FakeHost
from tests.backends.support import SECONDS, wait_until

WEB = DomainConfig("web", type="pvh", kernel="/boot/vmlinuz", memory=64)


def names(fake: FakeHost) -> set[str | None]:
    return {info.name for info in fake.list()} - {"Domain-0"}


def test_a_pool_and_clones(tmp_path: Path) -> None:
    saved = f"{tmp_path}/saved"

    async def main(fake: FakeHost) -> None:
        async with fake.aio() as xen:
            async with await xen.pool(WEB, size=2) as pool:
                await pool.wait()
                first, second = await asyncio.gather(pool.take("web1"), pool.take("web2"))
                assert isinstance(first, pyxen.aio.Domain)
                with pytest.raises(DomainExists):
                    await pool.take("web2")
            assert names(fake) == {"web1", "web2"}
            with pytest.raises(InvalidState):
                await pool.take("web3")
            await second.destroy()
            await first.save(saved)
            clones = await xen.clone(saved, 3)
            assert [clone.name for clone in clones] == ["web1-1", "web1-2", "web1-3"]
            assert isinstance(clones[0], pyxen.aio.Domain)
            left = await xen.pool(WEB, size=1)
        assert "closed" in repr(left)  # with its host
        assert names(fake) == {"web1-1", "web1-2", "web1-3"}

    with FakeHost() as fake:
        asyncio.run(main(fake))


def test_a_task_that_is_cancelled_leaves_nothing() -> None:
    async def main(fake: FakeHost) -> None:
        async with fake.aio() as xen:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await xen.pool(WEB, size=4)
            async with await xen.pool(WEB, size=1) as pool:
                held = await pool.take("web1")
                fake.fail("create", pyxen.OperationFailed("broken"), times=None)
                taking = asyncio.create_task(pool.take("web2", timeout=None))
                await asyncio.sleep(0)
                taking.cancel()
                with pytest.raises((asyncio.CancelledError, pyxen.OperationFailed)):
                    await taking
                await held.destroy()
        wait_until(lambda: not names(fake))

    with FakeHost(time="real") as fake:
        asyncio.run(main(fake))


@pytest.mark.parametrize("order", ["host first", "pool first"])
def test_a_pool_that_is_closed_while_its_host_is(order: str) -> None:
    async def main(fake: FakeHost) -> None:
        async with fake.aio() as xen:
            pool = await xen.pool(WEB, size=2)
            await pool.wait()
            calls = [xen.close(), closed(pool)]
            await asyncio.gather(*(calls if order == "host first" else reversed(calls)), xen.close())
            await pool.close()

    async def closed(pool: pyxen.aio.Pool) -> None:
        await pool.close()
        assert not names(fake)

    with FakeHost() as fake:
        asyncio.run(main(fake))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "base.img"
    base.write_bytes(bytes(1024))
    return base


def with_disk(base: Path) -> DomainConfig:
    return WEB.replace(kernel=str(base), disks=[Disk(str(base), vdev="xvda")])


async def cancelled_too_late(call: Coroutine[Any, Any, object], verb: str, ended: list[str]) -> None:
    """Cancel a call whose operation has succeeded, which its task has not heard of yet."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    deadline = time.monotonic() + SECONDS
    while verb not in ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # noqa: ASYNC251 (the loop is held up, so that the task hears of nothing)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs of the operations that have succeeded."""
    verbs: list[str] = []
    set_result = Operation.set_result

    def noted(operation: Operation[Any], result: Any) -> None:
        set_result(operation, result)
        verbs.append(operation.verb)

    monkeypatch.setattr(Operation, "set_result", noted)
    return verbs


def test_what_is_made_when_its_task_is_cancelled_leaves_no_files(base: Path, ended: list[str]) -> None:
    saved = f"{base.parent}/saved"

    async def main() -> None:
        async with pyxen.aio.connect("memory:///aio-too-late?files=here") as host:
            await (await host.create(with_disk(base))).save(saved)
            await cancelled_too_late(host.clone(saved, 2), "clone", ended)
            async with await host.pool(with_disk(base), size=1, folder=base.parent) as pool:
                await pool.wait()
                await cancelled_too_late(pool.take("web1"), "take", ended)
        # what was abandoned is undone when the host is closed

    asyncio.run(main())
    assert list(base.parent.glob("*.qcow2")) == []


def test_clones_that_were_begun_are_undone_before_the_host_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, real = f"{tmp_path}/saved", MemoryBackend.restore
    begun: list[Operation[Any]] = []
    restores: list[None] = []

    async def main(fake: FakeHost) -> None:
        async with fake.aio() as xen:
            begun.append(xen.begin.clone(saved, 100))
            wait_until(lambda: len(names(fake)) > 3)
        assert isinstance(begun[0].exception(0), OperationCancelled)
        assert names(fake) == set()

    def restore(*arguments: Any, **how: Any) -> Operation[Any]:
        restores.append(None)
        if len(restores) == 50:  # not all are made before the host is closed
            wait_until(lambda: begun and begun[0].stopped)
        return real(*arguments, **how)

    with FakeHost() as fake:
        fake.create(WEB.replace(memory=2)).save(saved)
        monkeypatch.setattr(MemoryBackend, "restore", restore)
        asyncio.run(main(fake))
