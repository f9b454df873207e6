"""The host of a worker, and the calls that run on it: stopped, undone, and what they have made."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from pyxen._common.shield import logger
from pyxen._common.shown_uri import shown
from pyxen.aio.connection import connect
from pyxen.aio.domain import Domain
from pyxen.aio.host import Host
from pyxen.errors import ConnectFailed, DomainNotFound, Error, HostClosed, InvalidState
from pyxen.records.info import DomainInfo, HostInfo

__all__ = ["HostCalls"]

T = TypeVar("T")

_LOG: Final = logger("pyxen.distributed")

_REMEMBERED: Final = 4096
"""How many calls that were stopped, and guests that were just made, are remembered."""

_NO_LIMIT: Final = 1 << 30
"""So many virtual CPUs has no host."""


class HostCalls:
    """The host of a worker, opened when it is needed, and the calls that run on it."""

    def __init__(self, uri: str, vcpus_per_cpu: float) -> None:
        self._uri = uri
        self._vcpus_per_cpu = vcpus_per_cpu
        self._host: Host | None = None
        self._opening = asyncio.Lock()
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._stopped: OrderedDict[str, None] = OrderedDict()
        self._made: OrderedDict[str, Domain] = OrderedDict()
        self._closed = False

    async def host(self) -> Host:
        """Return the host, which is opened if it is not open."""
        async with self._opening:
            if self._closed:
                raise HostClosed("the worker of the host ends")
            if self._host is None:
                self._host = await connect(self._uri)
            return self._host

    async def room(self) -> tuple[int, int]:
        """Return the free memory, in MiB, and the virtual CPUs that the host takes besides those of its guests."""
        info, domains = await self._perform(_look)
        most = min(_NO_LIMIT, info.nr_cpus * self._vcpus_per_cpu)
        used = sum(domain.vcpus for domain in domains if domain.domid != 0)
        return info.free_memory_kib >> 10, math.floor(most) - used

    async def perform(self, key: str, call: Callable[[Host], Awaitable[T]]) -> T:
        """Make a call with the host, which `stop` can stop."""
        if key in self._stopped:
            raise InvalidState("the call was stopped before it began", operation="fleet")
        self._running[key] = task = asyncio.ensure_future(self._perform(call))
        try:
            return await task
        finally:
            self._running.pop(key, None)  # Dask may have begun it twice

    def is_wanted(self, key: str) -> bool:
        """Tell whether neither `stop` nor `close` has stopped a call."""
        return key not in self._stopped and not self._closed

    def remember(self, key: str, made: Domain) -> None:
        """Remember a guest that a call has made, in case that the call is stopped."""
        _remember(self._made, key, made)

    async def stop(self, key: str) -> None:
        """Stop a call, wait until it is undone, and destroy a guest that it has made."""
        _remember(self._stopped, key, None)
        if key in self._running:
            await _cancel({self._running[key]})
        made = self._made.pop(key, None)
        if made is not None:
            with contextlib.suppress(DomainNotFound):
                await made.destroy()

    async def close(self) -> None:
        """Stop all calls, and close the host."""
        self._closed = True
        await _cancel(set(self._running.values()))
        async with self._opening:
            if self._host is not None:
                await self._host.close()

    async def _perform(self, call: Callable[[Host], Awaitable[T]]) -> T:
        host = await self.host()
        try:
            return await call(host)
        except (ConnectFailed, HostClosed):
            await self._check(host)
            raise

    async def _check(self, host: Host) -> None:
        """Close a host that does not answer any more; the next call opens it again."""
        try:
            await host.info()
        except (ConnectFailed, HostClosed) as error:
            _LOG.warning("The host %s is lost, and will be opened again: %s", shown(self._uri), error)
            async with self._opening:
                if self._host is not host:
                    return
                self._host = None
            with contextlib.suppress(Error):
                await host.close()


async def _look(host: Host) -> tuple[HostInfo, list[DomainInfo]]:
    return await host.info(), await host.list()


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _remember(what: OrderedDict[str, T], key: str, value: T) -> None:
    what[key] = value
    if len(what) > _REMEMBERED:
        what.popitem(last=False)
