"""What runs in a worker: its host, and the calls that a `Fleet` sends there.

As a preload of ``dask worker`` this module opens the host: ``--preload pyxen.distributed.worker --uri URI``.
"""

from __future__ import annotations

import asyncio
import inspect
import pickle
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar, cast
from uuid import UUID
from weakref import WeakKeyDictionary

import click
from distributed import Worker, WorkerPlugin, get_worker
from distributed.core import Status

from pyxen import __version__
from pyxen._common.arguments import check_is, check_number
from pyxen._common.shield import logger
from pyxen._common.shown_uri import shown
from pyxen.aio.domain import Domain
from pyxen.aio.host import Host
from pyxen.config import DomainConfig
from pyxen.distributed.host_calls import HostCalls
from pyxen.errors import (
    DomainExists,
    DomainNotFound,
    Error,
    InvalidArgument,
    InvalidState,
    OperationCancelled,
    OperationFailed,
)

__all__ = [
    "Failure",
    "HostPlugin",
    "Report",
    "call_domain",
    "call_host",
    "create",
    "dask_setup",
    "find",
    "on_host",
    "perform",
    "report",
    "stop",
]

T = TypeVar("T")

Report: TypeAlias = tuple[str, str, int, int]
"""The name of a worker, its pyxen's version, and its host's free memory, in MiB, and vCPUs that it takes besides."""

_LOG: Final = logger("pyxen.distributed")

_NAME: Final = "pyxen-host"

_CALLS: Final = WeakKeyDictionary[Worker, HostCalls]()
"""The host of each worker of this process."""


class HostPlugin(WorkerPlugin):
    """Opens a host when its worker starts, and closes it when the worker ends; domains stay.

    ``dask worker --preload pyxen.distributed.worker --uri URI`` has it from its start. To give it to all workers at
    once, each in the dom0 of its host: ``await client.register_plugin(HostPlugin())``.

    Args:
        uri: The host, as `pyxen.connect` takes it.
        vcpus_per_cpu: How many virtual CPUs of guests the host takes for each of its CPUs; above 0.
            ``math.inf`` sets no limit.

    Raises:
        InvalidArgument: An argument is of the wrong type or out of range.
    """

    name = _NAME

    def __init__(self, uri: str = "xenlight:///", *, vcpus_per_cpu: float = 4) -> None:
        check_is(str, uri, "fleet", ", the URI of a host")
        check_number(vcpus_per_cpu, "fleet", whole=False)
        if not vcpus_per_cpu > 0:
            raise InvalidArgument(f"vcpus_per_cpu={vcpus_per_cpu}: use a number above 0", operation="fleet")
        self.uri = uri
        self.vcpus_per_cpu = vcpus_per_cpu

    async def setup(self, worker: Worker) -> None:
        """Open the host. If that fails, it is tried again whenever a `Fleet` asks what the host has."""
        _CALLS[worker] = HostCalls(self.uri, self.vcpus_per_cpu)
        try:
            await _CALLS[worker].host()
        except Error as error:
            _LOG.warning("The host %s cannot be opened yet: %s", shown(self.uri), error)

    async def teardown(self, worker: Worker) -> None:
        """Stop what is going on, undo it, and close the host."""
        if worker in _CALLS:
            await _CALLS.pop(worker).close()


@click.command()
@click.option("--uri", default="xenlight:///", show_default=True, help="The host of this worker.")
@click.option("--vcpus-per-cpu", default=4.0, show_default=True, help="Virtual CPUs for each CPU of the host.")
async def dask_setup(worker: Worker, uri: str, vcpus_per_cpu: float) -> None:
    """Open the host of a worker; ``dask worker`` calls this."""
    await worker.plugin_add(plugin=HostPlugin(uri, vcpus_per_cpu=vcpus_per_cpu), name=_NAME)


def _calls(worker: Worker) -> HostCalls:
    if worker not in _CALLS:
        remedy = "start it with --preload pyxen.distributed.worker --uri URI, or register a HostPlugin"
        raise InvalidState(f"the worker {worker.name} has no host: {remedy}", operation="fleet")
    return _CALLS[worker]


# What is run in a worker beside its tasks.


async def report(dask_worker: Worker) -> Report:
    """Return what a host has free."""
    return str(dask_worker.name), __version__, *await _calls(dask_worker).room()


async def find(uuid: UUID, dask_worker: Worker) -> str | None:
    """Return the name of the domain with a uuid; None if it is not on this host."""
    host = await _calls(dask_worker).host()
    domain = await host.domains.get(uuid)
    return None if domain is None else str(domain.name)


async def on_host(function: Callable[..., Awaitable[T]], args: tuple[Any, ...], dask_worker: Worker) -> T:
    """Call a function with the host."""
    return await _awaited(function, await _calls(dask_worker).host(), *args)


async def stop(key: str, dask_worker: Worker) -> None:
    """Stop a task, and wait until it is undone."""
    await _calls(dask_worker).stop(key)


# What is run as a task, by `perform`.


async def call_host(calls: HostCalls, key: str, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
    """Call a function with the host."""
    return await calls.perform(key, lambda host: _awaited(function, host, *args))


async def call_domain(
    calls: HostCalls,
    key: str,
    uuid: UUID,
    function: Callable[..., Awaitable[T]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> T:
    """Call a function with a domain."""

    async def call(host: Host) -> T:
        domain = await host.domains.get(uuid)
        if domain is None:
            message = "it is not on this host any more: Fleet.find looks for it on all hosts"
            raise DomainNotFound(message, operation="call", domain=str(uuid))
        return await _awaited(function, domain, *args, **kwargs)

    return await calls.perform(key, call)


async def create(calls: HostCalls, key: str, config: DomainConfig, timeout: float | None, again: bool) -> None:
    """Create a domain, unless it is an earlier try that has created it here."""

    async def call(host: Host) -> None:
        try:
            made = await host.create(config, timeout=timeout)
        except DomainExists:
            found = await host.domains.get(config.uuid) if again and config.uuid is not None else None
            if found is None:
                raise
            made = found
        calls.remember(key, made)

    await calls.perform(key, call)


@dataclass(frozen=True)
class Failure:
    """What a task returns instead of raising: Dask logs what is raised, and sends its traceback with it."""

    error: Exception


async def perform(key: str, function: Callable[..., Awaitable[T]], *args: Any) -> T | Failure:
    """Call one of the functions above, with the calls of this worker and the key of the task."""
    worker = get_worker()
    try:
        calls = _calls(worker)
        try:
            return await function(calls, key, *args)
        except asyncio.CancelledError:
            if calls.is_wanted(key) and worker.status == Status.running:
                raise OperationCancelled("the function was cancelled at its worker", operation="call") from None
            raise
    except Exception as error:  # noqa: BLE001 (it is raised at the caller)
        return Failure(_sendable(error, str(worker.name)))


async def _awaited(function: Callable[..., Awaitable[T]], what: Host | Domain, *args: Any, **kwargs: Any) -> T:
    try:
        answer: object = function(what, *args, **kwargs)
        if not inspect.isawaitable(answer):
            message = "the function is no coroutine function: use async def, or a method such as Domain.shutdown"
            raise InvalidArgument(message, operation="call")
        return cast("T", await answer)
    except (SystemExit, KeyboardInterrupt) as error:  # it would end the worker
        raise OperationFailed(f"the function raised {error!r}", operation="call") from None


def _sendable(error: Exception, worker: str) -> Exception:
    """Return an error that can be pickled, without its traceback; of errors that are not pyxen's, that is a note."""
    if not isinstance(error, Error):
        error.add_note(f"At the worker {worker}:\n{''.join(traceback.format_exception(error))}")
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
        except Exception:  # noqa: BLE001 (whatever its own code raises)
            error = OperationFailed(f"{type(error).__name__}: {error}", operation="call")
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
