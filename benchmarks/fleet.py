"""``python3 -m benchmarks.fleet``: a fleet of 1,000 hosts in memory, where a host dies each second.

It creates 100,000 guests through `pyxen.distributed.Fleet`. Hosts die all the time, with their guests; in the end these
are created again, under their uuids. Then all hosts are asked what they have: each guest must be there, and once.

The scheduler, this program, and each part of the workers are processes of their own; a process of workers has many
hosts. Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID, uuid4

import dask
import psutil
from distributed import Client, Scheduler, Worker

from pyxen import DomainConfig
from pyxen.aio import Host
from pyxen.backends.memory.address import forget, machine_at
from pyxen.distributed import Fleet, FleetGuest, HostPlugin
from pyxen.distributed import worker as in_worker
from pyxen.errors import InvalidState

GUEST: Final = DomainConfig("guest", type="pvh", kernel="/boot/vmlinuz", memory=128)
HOST: Final = "memory=40960&cpus=64"
"""Room for 300 guests."""

REBOOT_SECONDS: Final = 10
"""After this time a host that died comes back, without guests."""

SETTINGS: Final = {
    "distributed.admin.system-monitor.interval": "60s",  # what hundreds of workers in one process need not do each
    "distributed.admin.tick.interval": "60s",
    "distributed.admin.tick.limit": "120s",
    "distributed.scheduler.reuse-broadcast-comm": True,
    "distributed.worker.profile.enabled": False,
}


async def serve_scheduler() -> None:
    """Run a scheduler until standard input ends."""
    server = Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0")
    async with server as scheduler:
        print(scheduler.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        os._exit(0)


async def serve_hosts(address: str, first: int, count: int) -> None:
    """Run workers, each with a host, until standard input ends."""
    sys.setswitchinterval(0.0005)
    for number in range(first, first + count):
        await start_host(address, f"host{number}")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


async def start_host(address: str, name: str) -> None:
    """Start a host and its worker."""
    worker = await Worker(address, name=name, nthreads=1000, host="127.0.0.1", dashboard=False, memory_limit=0)
    plugin = HostPlugin(f"memory:///{name}?{HOST}", vcpus_per_cpu=math.inf)
    await worker.plugin_add(plugin=plugin, name=HostPlugin.name)


async def die(dask_worker: Worker) -> None:
    """Let a host lose its power: its guests are gone, and its worker says nothing more. It comes back later."""
    dask_worker.plugins.pop(HostPlugin.name)
    del in_worker._CALLS[dask_worker]  # noqa: SLF001 (nothing is closed, and nothing undone)
    name = str(dask_worker.name)
    machine = machine_at(f"memory:///{name}")
    machine.go_away()
    forget(name)
    comm = dask_worker.batched_stream.comm
    assert comm is not None
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, comm.abort)  # after the answer
    address = dask_worker.scheduler.address
    loop.call_later(REBOOT_SECONDS, lambda: _REBOOTS.add(loop.create_task(start_host(address, name))))


_REBOOTS: set[asyncio.Task[None]] = set()


async def guests_of(host: Host) -> list[UUID]:
    """Return the uuids of the guests on a host."""
    return [info.uuid for info in await host.list() if info.domid and info.uuid is not None]


class Run:
    """One run of the benchmark."""

    def __init__(self, fleet: Fleet, client: Client, at_once: int, seconds: float) -> None:
        self._fleet = fleet
        self._client = client
        self._places = asyncio.Semaphore(at_once)
        self._end = time.monotonic() + seconds
        self.guests: dict[UUID, FleetGuest] = {}
        self.seconds: list[float] = []
        self.killed: list[str] = []
        self.dead: set[str] = set()
        self.given_up = 0

    async def create(self, uuid: UUID) -> None:
        """Create a guest."""
        async with self._places:
            begun = time.monotonic()
            if begun > self._end and uuid not in self.guests:
                return
            config = GUEST.replace(name=f"guest-{uuid}", uuid=uuid)
            while uuid not in self.guests or self.guests[uuid].address in self.dead:
                try:
                    self.guests[uuid] = await self._fleet.create(config, wait=None, ask=False)
                except InvalidState:  # each of three hosts died during it
                    self.given_up += 1
            self.seconds.append(time.monotonic() - begun)
            if len(self.seconds) % 5000 == 0:
                print(f"{len(self.seconds)} creates", file=sys.stderr, flush=True)

    async def kill(self) -> None:
        """Kill a host each second."""
        while True:
            await asyncio.sleep(1)
            workers = await self._client.nthreads()
            address = next(iter(workers))
            self.killed.append(address)
            with contextlib.suppress(TimeoutError):  # it may die before it has answered
                async with asyncio.timeout(2):
                    await self._client.run(die, workers=[address], on_error="ignore")

    async def buried(self) -> None:
        """Wait until all hosts that were told to die are dead: a busy one hears it late."""
        async with asyncio.timeout(120):
            while not (await self._client.nthreads()).keys().isdisjoint(self.killed):  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(1)

    async def lost(self) -> list[UUID]:
        """Return the guests that were on hosts which are dead."""
        there = set(await self._client.nthreads())
        self.dead = {guest.address for guest in self.guests.values()} - there
        return [uuid for uuid, guest in self.guests.items() if guest.address in self.dead]

    async def missing(self) -> tuple[int, int, int]:
        """Return how many guests are on the hosts, how many that should be there are not, and how many are twice."""
        answers = (await self._fleet.each(guests_of, timeout=120)).succeeded
        found = Counter(uuid for uuids in answers.values() for uuid in uuids)
        twice = sum(number > 1 for number in found.values())
        return found.total(), len(self.guests.keys() - found.keys()), twice


async def measure(options: argparse.Namespace, address: str, processes: dict[str, list[psutil.Process]]) -> Any:
    """Create all guests, and return the figures."""
    async with Client(address, asynchronous=True) as client:
        begun = time.monotonic()
        async with Fleet(client) as fleet:
            opened = time.monotonic() - begun
            run = Run(fleet, client, options.at_once, options.seconds)
            before = _cpu(processes)
            begun = time.monotonic()
            killing = asyncio.create_task(run.kill() if options.kill else asyncio.sleep(0))
            async with asyncio.TaskGroup() as group:
                for _ in range(options.guests):
                    group.create_task(run.create(uuid4()))
            took, made = time.monotonic() - begun, len(run.guests)
            used = {name: seconds - before[name] for name, seconds in _cpu(processes).items()}
            killing.cancel()
            await asyncio.wait({killing})
            await run.buried()
            begun = time.monotonic()
            again = await run.lost()
            async with asyncio.TaskGroup() as group:
                for uuid in again:
                    group.create_task(run.create(uuid))
            recovered = time.monotonic() - begun
            begun = time.monotonic()
            found, missing, twice = await run.missing()
            checked = time.monotonic() - begun
            begun = time.monotonic()
            some = list(run.guests)[:: max(1, len(run.guests) // 5)]
            for uuid in some:
                assert (await fleet.find(uuid)).address == run.guests[uuid].address
            finds = (time.monotonic() - begun) / len(some)
    seconds = sorted(run.seconds)
    return {
        "hosts": options.hosts,
        "guests": made,
        "at once": options.at_once,
        "open, s": opened,
        "creates, s": took,
        "creates a second": made / took,
        "a create, median, ms": statistics.median(seconds) * 1e3,
        "a create, 99 %, ms": seconds[int(len(seconds) * 0.99)] * 1e3,
        "CPU of a create, ms": {name: value / made * 1e3 for name, value in used.items()},
        "hosts killed": len(run.killed),
        "creates that three hosts died under": run.given_up,
        "guests made again": len(again),
        "made again in, s": recovered,
        "guests found": found,
        "guests missing": missing,
        "guests twice": twice,
        "all hosts listed in, s": checked,
        "a find, s": finds,
        "memory, MiB": {name: sum(each.memory_info().rss for each in of) >> 20 for name, of in processes.items()},
    }


def _cpu(processes: dict[str, list[psutil.Process]]) -> dict[str, float]:
    return {
        name: sum(sum(process.cpu_times()[:2]) for process in of if process.is_running())
        for name, of in processes.items()
    }


@contextlib.contextmanager
def _started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.fleet", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--guests", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=4, help="how many processes have the workers")
    parser.add_argument("--at-once", type=int, default=400, help="how many creates are under way")
    parser.add_argument("--seconds", type=float, default=540, help="after which no more are created")
    parser.add_argument("--kill", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--scheduler", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--workers", nargs=3, metavar=("ADDRESS", "FIRST", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    dask.config.set(SETTINGS)
    if options.scheduler:
        asyncio.run(serve_scheduler())
    if options.workers:
        address, first, count = options.workers
        asyncio.run(serve_hosts(address, int(first), int(count)))
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(_started("--scheduler"))
        assert scheduler.stdout is not None
        address = scheduler.stdout.readline().strip()
        share = options.hosts // options.processes
        workers = [
            stack.enter_context(_started("--workers", address, str(number * share), str(share)))
            for number in range(options.processes)
        ]
        for each in workers:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        processes = {
            "scheduler": [psutil.Process(scheduler.pid)],
            "program": [psutil.Process()],
            "workers": [psutil.Process(each.pid) for each in workers],
        }
        # What was lost is created again when all others were, and that may take as long.
        figures = asyncio.run(asyncio.wait_for(measure(options, address, processes), 2 * options.seconds + 330))
    print(json.dumps(figures))
    return 1 if figures["guests missing"] or figures["guests twice"] else 0


if __name__ == "__main__":
    sys.exit(main())
