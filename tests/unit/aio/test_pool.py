"""Pools and clones, awaited."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import pyxen
from pyxen import DomainConfig, DomainExists, InvalidState
from pyxen.testing import FakeHost
from tests.backends.support import wait_until

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
