"""What runs in a worker: its host, and the calls that a `Fleet` sends there.

As a preload of ``dask worker`` this module opens the host: ``--preload pyxen.distributed.worker --uri URI``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import click
from distributed import Worker, WorkerPlugin, get_worker

from pyxen.aio.connection import connect
from pyxen.aio.domain import Domain
from pyxen.aio.host import Host
from pyxen.config import DomainConfig
from pyxen.errors import DomainExists, DomainNotFound, InvalidState

__all__ = ["HostPlugin", "call_domain", "call_host", "create_domain", "dask_setup", "find_domain", "report"]

T = TypeVar("T")

_NAME: Final = "pyxen-host"


class HostPlugin(WorkerPlugin):
    """Opens a host when its worker starts, and closes it when the worker ends.

    Args:
        uri: The host, as `pyxen.connect` takes it.
        vcpus_per_cpu: How many virtual CPUs the host takes for each of its CPUs.
    """

    name = _NAME

    def __init__(self, uri: str = "xenlight:///", *, vcpus_per_cpu: float = 4) -> None:
        self.uri = uri
        self.vcpus_per_cpu = vcpus_per_cpu
        self.host: Host | None = None

    async def setup(self, worker: Worker) -> None:  # noqa: ARG002 (Dask's signature)
        """Open the host."""
        self.host = await connect(self.uri)

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 (Dask's signature)
        """Close the host; domains stay."""
        if self.host is not None:
            await self.host.close()


@click.command()
@click.option("--uri", default="xenlight:///", show_default=True, help="The host of this worker.")
@click.option("--vcpus-per-cpu", default=4.0, show_default=True, help="Virtual CPUs for each CPU of the host.")
async def dask_setup(worker: Worker, uri: str, vcpus_per_cpu: float) -> None:
    """Open the host of a worker; ``dask worker`` calls this."""
    await worker.plugin_add(plugin=HostPlugin(uri, vcpus_per_cpu=vcpus_per_cpu), name=_NAME)


def _plugin() -> HostPlugin:
    plugin = get_worker().plugins.get(_NAME)
    if plugin is None or plugin.host is None:
        message = f"the worker {get_worker().name} has no host: start it with --preload pyxen.distributed.worker"
        raise InvalidState(message, operation="fleet")
    return cast("HostPlugin", plugin)


def _host() -> Host:
    return cast("Host", _plugin().host)


async def report(dask_worker: Worker) -> tuple[int, int] | None:
    """Return the free memory of a worker's host, in MiB, and the virtual CPUs that it takes; None if it has no host."""
    plugin = dask_worker.plugins.get(_NAME)
    if plugin is None or plugin.host is None:
        return None
    info = await plugin.host.info()
    return info.free_memory_kib >> 10, int(info.nr_cpus * plugin.vcpus_per_cpu)


async def call_host(function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> tuple[str, T]:
    """Call a function with the host of this worker, and return the worker's address and what it returned."""
    return get_worker().address, await function(_host(), *args)


async def create_domain(config: DomainConfig, timeout: float | None) -> tuple[str, str]:
    """Create a domain, unless an earlier try has created it here, and return the worker's address and name."""
    host = _host()
    try:
        await host.create(config, timeout=timeout)
    except DomainExists:
        if config.uuid is None or await host.domains.get(config.uuid) is None:
            raise
    return get_worker().address, str(get_worker().name)


async def find_domain(uuid: UUID, dask_worker: Worker) -> tuple[str, str, str] | None:
    """Return the worker's address and name, and the name of the domain; None if it is not on this host."""
    plugin = dask_worker.plugins.get(_NAME)
    domain = None if plugin is None or plugin.host is None else await plugin.host.domains.get(uuid)
    return None if domain is None else (dask_worker.address, str(dask_worker.name), str(domain.name))


async def call_domain(uuid: UUID, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
    """Call a function with a domain of this worker's host, and return what it returned."""
    domain = await _host().domains.get(uuid)
    if domain is None:
        message = f"it is not on the host of the worker {get_worker().name}: Fleet.find looks for it on all hosts"
        raise DomainNotFound(message, operation="call", domain=str(uuid))
    domain_call: Domain = domain
    return await function(domain_call, *args)
