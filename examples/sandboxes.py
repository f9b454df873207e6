"""Run samples in sandboxes: a guest for each, some at a time, each with a deadline.

With ``pool = "NAME"`` in the configuration they stay in a CPU pool of their own.

python3 examples/sandboxes.py GUEST.cfg COUNT [URI]
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pyxen
from pyxen import DomainConfig, DomainDestroyed, DomainNotFound, DomainShutdown, EventsLost
from pyxen.aio import Host

AT_ONCE = 4
SECONDS = 120
"""How long a sandbox may run."""


async def run_one(xen: Host, config: DomainConfig) -> str:
    """Run a sandbox until its guest powers off or its time is up, and return how it ended."""
    async with xen.events(DomainShutdown, DomainDestroyed) as events:
        sandbox = await xen.create(config, timeout=60)
        try:
            async with asyncio.timeout(SECONDS):
                async for event in events:
                    if isinstance(event, DomainShutdown) and event.uuid == sandbox.uuid:
                        return str(event.reason)
                    if isinstance(event, DomainDestroyed) and event.uuid == sandbox.uuid:
                        return "destroyed"
                    if isinstance(event, EventsLost) and await xen.domains.get(sandbox.uuid) is None:
                        return "gone"
            return "host closed"
        except TimeoutError:
            return "out of time"
        finally:
            with contextlib.suppress(DomainNotFound):  # a supervisor may have been faster
                await sandbox.destroy()


async def run_all(xen: Host, config: DomainConfig, count: int) -> dict[str, str]:
    """Run sandboxes, `AT_ONCE` at a time, and return how each ended."""
    places = asyncio.Semaphore(AT_ONCE)
    ends: dict[str, str] = {}

    async def run(name: str) -> None:
        async with places:
            ends[name] = await run_one(xen, config.replace(name=name, uuid=None))

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(run(f"{config.name}-{number}"))
    return ends


async def main(path: str, count: str, uri: str = "xenlight:///") -> None:
    """Run sandboxes of one configuration."""
    config = pyxen.xlcfg.load(path)
    async with pyxen.aio.connect(uri) as xen:
        for name, end in sorted((await run_all(xen, config, int(count))).items()):
            print(f"{name}: {end}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
