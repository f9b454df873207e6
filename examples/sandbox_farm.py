"""Run thousands of short-lived guests on many hosts, each batch from a pool of guests that are ready.

Each host has a worker of Dask, started with ``--preload pyxen.distributed.worker``. A batch whose host dies is run
again on another one, so each job should do no harm if it runs twice.

python3 examples/sandbox_farm.py GUEST.cfg COUNT tls://SCHEDULER:8786
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter

from distributed import Client

import pyxen
from pyxen import DomainConfig, DomainNotFound, DomainState
from pyxen.aio import Host, Pool
from pyxen.distributed import Fleet

BATCH = 50
"""How many jobs a host gets at once, with one pool for them."""
AT_ONCE = 4
"""How many of them run at the same time; as many guests are ready for the next ones."""
SECONDS = 120
"""How long a guest may run."""
SPARE_MIB = 16
"""What a guest takes besides its memory."""


async def run_one(pool: Pool, name: str) -> str:
    """Run a guest until it powers off or its time is up, and return how it ended."""
    guest = await pool.take(name)
    try:
        async with asyncio.timeout(SECONDS):
            end = await guest.wait()
        return "crashed" if end is not None and end.state is DomainState.CRASHED else "done"
    except TimeoutError:
        return "out of time"
    finally:
        with contextlib.suppress(DomainNotFound):  # a supervisor may have been faster
            await guest.destroy()


async def run_batch(host: Host, config: DomainConfig, names: list[str]) -> dict[str, str]:
    """Run some jobs on a host, and return how each ended; this is what the workers do."""
    for left in await host.list():  # by a worker that was killed
        if left.name in names and left.domain is not None:
            with contextlib.suppress(DomainNotFound):
                await left.domain.destroy()
    places = asyncio.Semaphore(AT_ONCE)

    async def run(name: str) -> tuple[str, str]:
        async with places:
            return name, await run_one(pool, name)

    async with await host.pool(config, size=AT_ONCE) as pool, asyncio.TaskGroup() as group:
        jobs = [group.create_task(run(name)) for name in names]
    return dict(job.result() for job in jobs)


async def run_all(fleet: Fleet, config: DomainConfig, count: int) -> dict[str, str]:
    """Run jobs on all hosts, as many batches at once as there is room for, and return how each ended."""
    names = [f"{config.name}-{number}" for number in range(count)]
    memory = round((config.memory or 0) + SPARE_MIB) * 2 * AT_ONCE
    async with asyncio.TaskGroup() as group:
        batches = [
            group.create_task(
                fleet.run(
                    run_batch, config, names[start : start + BATCH], memory=memory, vcpus=2 * AT_ONCE * config.vcpus
                )
            )
            for start in range(0, count, BATCH)
        ]
    return {name: end for batch in batches for name, end in batch.result().items()}


async def main(path: str, count: str, scheduler: str) -> None:
    """Run a farm of one configuration."""
    config = pyxen.xlcfg.load(path).replace(uuid=None)
    async with Client(scheduler, asynchronous=True) as client, Fleet(client) as fleet:
        print(f"{len(fleet.hosts)} hosts")
        ends = await run_all(fleet, config, int(count))
        print(", ".join(f"{number} {end}" for end, number in Counter(ends.values()).items()))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
