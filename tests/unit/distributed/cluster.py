"""A cluster of Dask in one event loop: a scheduler, and a worker for each host in memory."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import dask
from distributed import Client, Scheduler, Worker

from pyxen import DomainConfig
from pyxen.aio import Host
from pyxen.distributed import HostPlugin
from pyxen.testing import FakeHost

T = TypeVar("T")

GUEST = DomainConfig("guest", type="pvh", kernel="/boot/vmlinuz", memory=128)


async def names_of(host: Host) -> list[str]:
    """Return the names of a host's domains; a call for `Fleet.run` and `Fleet.each`."""
    return [str(info.name) for info in await host.list()]


class Cluster:
    """A scheduler with workers, each with a host in memory."""

    def __init__(self, scheduler: Scheduler, client: Client, stack: contextlib.AsyncExitStack) -> None:
        self.scheduler = scheduler
        self.client = client
        self.workers: dict[str, Worker] = {}
        self.hosts: dict[str, FakeHost] = {}
        self._stack = stack

    async def add(self, name: str, *, memory: int = 4096, cpus: int = 4, create: float = 0.01) -> FakeHost:
        """Add a host with its worker, where a create takes so many seconds."""
        host = self._stack.enter_context(FakeHost(memory=memory, cpus=cpus, seed=len(self.hosts), time="real"))
        host._machine.timing = dataclasses.replace(host._machine.timing, create=create)
        self.hosts[name] = host
        worker = await self.add_worker(name)
        await worker.plugin_add(plugin=HostPlugin(host.uri), name=HostPlugin.name)
        return host

    async def add_worker(self, name: str) -> Worker:
        """Add a worker without a host."""
        worker = Worker(self.scheduler.address, name=name, nthreads=8, dashboard=False, host="127.0.0.1")
        self.workers[name] = worker = await self._stack.enter_async_context(worker)
        return worker

    async def kill(self, name: str) -> None:
        """Let a host lose its power: its worker says nothing more."""
        worker = self.workers[name]
        plugin = worker.plugins.pop(HostPlugin.name)  # nothing is undone
        assert isinstance(plugin, HostPlugin)
        self._stack.push_async_callback(plugin.teardown, worker)
        self.hosts[name].vanish()
        assert worker.batched_stream.comm is not None
        worker.batched_stream.comm.abort()
        await worker.finished()

    async def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (the hosts know nothing of this loop)
                await asyncio.sleep(0.01)

    def names(self) -> dict[str, list[str]]:
        """Return the names of the guests on each host."""
        return {
            name: sorted(str(info.name) for info in host.list() if info.domid)
            for name, host in self.hosts.items()
            if host._machine.lost is None
        }


@contextlib.asynccontextmanager
async def cluster(*hosts: str) -> AsyncIterator[Cluster]:
    """Run a scheduler, and a worker for each of some hosts."""
    quiet = {"distributed.worker.profile.enabled": False, "distributed.admin.system-monitor.interval": "60s"}
    with dask.config.set(quiet):
        async with contextlib.AsyncExitStack() as stack:
            made_scheduler = Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0")
            scheduler = await stack.enter_async_context(made_scheduler)
            client = await stack.enter_async_context(Client(scheduler.address, asynchronous=True))
            made = Cluster(scheduler, client, stack)
            for name in hosts:
                await made.add(name)
            yield made


def run(test: Coroutine[Any, Any, T], *, seconds: float = 120) -> T:
    """Run a test in a loop of its own, with a bound."""
    return asyncio.run(asyncio.wait_for(test, seconds))
