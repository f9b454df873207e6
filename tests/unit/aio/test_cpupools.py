"""CPU pools of the asyncio face: the same as those of the blocking one, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from pyxen import CpupoolInfo, Cpupools, CpuSet, NotFound, PoolScheduler
from pyxen.testing import FakeHost
from tests.unit.memory.configs import config


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


def test_all_methods_are_awaited() -> None:
    async def main() -> None:
        with FakeHost(cpus=4) as fake:
            async with fake.aio() as xen:
                first = await xen.cpupools["Pool-0"]
                await first.remove_cpus("2-3")
                assert await xen.cpupools.free_cpus() == CpuSet("2-3")
                pool = await xen.cpupools.create("batch", cpus=[3], scheduler="credit")
                await pool.add_cpus("2")
                await pool.rename("late")
                await pool.set_scheduler(PoolScheduler(tslice_ms=5))
                assert (await pool.scheduler()).tslice_ms == 5
                assert await pool.info() == CpupoolInfo(
                    pool.number, "late", pool.uuid, (await pool.info()).scheduler, CpuSet("2-3"), ()
                )
                assert [one.name for one in await xen.cpupools.list()] == ["Pool-0", "late"]
                assert [one.name async for one in xen.cpupools] == ["Pool-0", "late"]
                assert await xen.cpupools.get("batch") is None
                assert await xen.cpupools.get("late") == pool
                assert {pool, await xen.cpupools[pool.number]} == {pool}
                await pool.destroy()
                with pytest.raises(NotFound, match="is gone"):
                    await pool.info()
                await xen.cpupools.numa_split()
                assert fake.cpupools[0].name == "Pool-node0"

    run(main())


def test_what_cannot_be_awaited_says_so() -> None:
    async def main() -> None:
        with FakeHost() as fake:
            async with fake.aio() as xen:
                with pytest.raises(TypeError, match="cannot await"):
                    assert "Pool-0" in xen.cpupools
                with pytest.raises(TypeError, match="async for"):
                    list(xen.cpupools)

    run(main())


def test_a_create_that_is_cancelled_leaves_no_pool() -> None:
    async def main() -> None:
        with FakeHost() as fake:
            async with fake.aio() as xen:
                creating = asyncio.ensure_future(xen.cpupools.create("batch"))
                await asyncio.sleep(0)
                creating.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await creating
                assert len(await xen.cpupools.list()) == 1

    run(main())


def test_a_domain_moves_to_a_handle_of_either_face() -> None:
    async def main() -> None:
        with FakeHost() as fake:
            web = fake.create(config())
            fake.cpupools[0].remove_cpus("3")
            pool = fake.cpupools.create("batch", cpus="3")
            async with fake.aio() as xen:
                domain = await xen.domains[web.domid]
                await domain.set_cpupool(pool)
                assert (await domain.info()).pool == "batch"
                web.set_cpupool(await xen.cpupools[0])
                assert (await domain.info()).pool == "Pool-0"
                await domain.set_cpupool(pool.info())
                assert web.info().poolid == pool.number
                await domain.begin.set_cpupool("Pool-0")
                assert web.vcpus() == await domain.vcpus()
                assert web.scheduler() == await domain.scheduler()

    run(main())


def test_tables_of_notebooks() -> None:
    with FakeHost() as fake:
        fake.cpupools.create("<b>")
        assert "&lt;b&gt;" in fake.cpupools._repr_html_()
        assert fake.cpupools._ipython_key_completions_() == ["Pool-0", "<b>"]
        assert isinstance(fake.cpupools, Cpupools)
        assert repr(fake.cpupools) == f"<Cpupools of {fake.uri}>"
