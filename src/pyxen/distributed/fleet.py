"""Hosts behind the workers of Dask's distributed: guests land where there is room."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import UUID, uuid4

from distributed import Client
from distributed.scheduler import KilledWorker

from pyxen.config import DomainConfig
from pyxen.distributed.rooms import Need, Rooms
from pyxen.distributed.worker import call_domain, call_host, create_domain, find_domain, report
from pyxen.errors import ConnectFailed, DomainNotFound, HostClosed, InvalidState, NotEnoughMemory

__all__ = ["Fleet", "FleetGuest"]

T = TypeVar("T")

_LOG: Final = logging.getLogger("pyxen.distributed")

LOOK_SECONDS: Final = 1.0
"""How often the fleet looks which workers there are."""

REPORT_SECONDS: Final = 15.0
"""How often all hosts are asked for their free memory; others may create guests, too."""

_TRIES: Final = 5
"""On how many hosts a call is tried that finds them full, or that dies with them."""


@dataclass(frozen=True)
class FleetGuest:
    """A guest on a host of a `Fleet`. `Fleet.find` returns it again by its uuid, also in another program.

    Attributes:
        fleet: The fleet.
        uuid: Its uuid.
        name: Its name.
        host: The name of the worker of its host.
        address: The address of that worker.
    """

    fleet: Fleet
    uuid: UUID
    name: str
    host: str
    address: str

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call a function with the guest's `pyxen.aio.Domain`, at its host, and return what it returns.

        Args:
            function: The function, e.g. ``Domain.shutdown``; pickled, with what it returns.
            *args: Its further arguments.

        Raises:
            DomainNotFound: The guest is not there any more.
            InvalidState: The worker of its host is gone.
            Exception: What the function raises.
        """
        return await self.fleet.submit(call_domain, self.uuid, function, args, near=self.address, elsewhere=False)


class Fleet:
    """Hosts behind the workers of Dask's distributed. A guest lands on the host with the most free memory.

    Each worker has a host, see `HostPlugin`. What a worker does ends with it: Dask then tries it again on another one.
    So a host that dies loses no call, but **a worker that dies alone leaves its guests running**, and nothing here can
    tell the difference. A guest with a disk that another host can write to needs fencing, see `create`.

    Args:
        client: The client, with ``asynchronous=True``. It is not closed.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._rooms = Rooms()
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._look(everywhere=True)
        self._looking = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    @property
    def hosts(self) -> Collection[str]:
        """The addresses of the workers that have a host."""
        return tuple(self._rooms.hosts())

    async def create(
        self, config: DomainConfig, *, timeout: float | None = 60, elsewhere: bool = True, wait: float | None = 60
    ) -> FleetGuest:
        """Create a guest on a host with room.

        If the host refuses for want of memory, the next one is tried. If its worker dies, the create is tried again on
        another host, under the same uuid.

        Args:
            config: The configuration. Without a uuid, it gets one.
            timeout: Seconds for the create itself, see `Host.create`.
            elsewhere: Whether to try another host when a worker dies. The create may have succeeded, and the guest may
                run on: with disks that both hosts can write to, pass False, and look with `find` once the first host
                is known to be off.
            wait: Seconds to wait for room.

        Raises:
            NotEnoughMemory: No host has room.
            InvalidState: The worker died, with ``elsewhere=False``; or so did each of several workers.
            OperationFailed: As for `Host.create`.
        """
        config = config if config.uuid is not None else config.replace(uuid=uuid4())
        need = _need(config)
        address, host = await self._place(need, create_domain, config, timeout, elsewhere=elsewhere, wait=wait, kept=True)
        assert config.uuid is not None  # noqa: S101 (it was given one above)
        return FleetGuest(self, config.uuid, config.name, host, address)

    async def run(
        self,
        function: Callable[..., Awaitable[T]],
        *args: Any,
        memory: int,
        vcpus: int = 1,
        wait: float | None = None,
    ) -> T:
        """Call a function with the `pyxen.aio.Host` of a host with room, which is held while it runs.

        If the worker dies, it is called again on another host: what it makes must end with it, or do no harm.

        Args:
            function: The function; pickled, with its arguments and what it returns.
            *args: Its further arguments.
            memory: The memory that its guests need, in MiB.
            vcpus: The virtual CPUs that they need.
            wait: Seconds to wait for room; None waits without a limit.

        Raises:
            NotEnoughMemory: No host has room.
            InvalidState: Each of several workers died.
            Exception: What the function raises.
        """
        _, value = await self._place(Need(memory, vcpus), call_host, function, args, wait=wait)
        return value

    async def find(self, uuid: UUID) -> FleetGuest:
        """Return the guest with a uuid, on whichever host it is.

        Raises:
            DomainNotFound: It is on none of the hosts.
            InvalidState: It is on several. Destroy all but one at once: they would corrupt their disks.
        """
        answers = await self._client.run(find_domain, uuid, on_error="ignore")
        found = [FleetGuest(self, uuid, name, host, address) for address, host, name in filter(None, answers.values())]
        if not found:
            message = f"it is on none of {len(answers)} hosts"
            raise DomainNotFound(message, operation="find", domain=str(uuid))
        if len(found) > 1:
            message = f"it is on several hosts: {', '.join(guest.host for guest in found)}: destroy all but one"
            raise InvalidState(message, operation="find", domain=str(uuid))
        return found[0]

    async def submit(self, function: Callable[..., Awaitable[T]], *args: Any, near: str, elsewhere: bool) -> T:
        """Have a worker call a function, and return what it returns.

        Args:
            function: The function, called in the loop of the worker.
            *args: Its arguments.
            near: The address of the worker.
            elsewhere: Whether Dask gives it to another worker when that one dies.

        Raises:
            InvalidState: The worker is gone.
        """
        future = self._client.submit(
            function, *args, workers=[near], allow_other_workers=elsewhere, pure=False, retries=0
        )
        result = asyncio.ensure_future(future.result())
        try:
            while not (await asyncio.wait({result}, timeout=None if elsewhere else LOOK_SECONDS))[0]:
                if near not in self._rooms:  # Dask would wait until there is a worker at this address again
                    raise InvalidState(f"the worker at {near} is gone, and its host may be", operation="fleet")
            return result.result()
        except KilledWorker as error:
            raise InvalidState(f"the worker at {near} has died: {error}", operation="fleet") from error
        finally:
            if not result.done():
                result.cancel()
                await future.cancel()

    async def _place(
        self,
        need: Need,
        function: Callable[..., Awaitable[tuple[str, T]]],
        *args: Any,
        wait: float | None,
        elsewhere: bool = True,
        kept: bool = False,
    ) -> tuple[str, T]:
        failed: set[str] = set()
        while True:
            near = await self._rooms.take(need, failed, wait)
            try:
                answer = await self.submit(function, *args, near=near, elsewhere=elsewhere)
                if kept:
                    self._rooms.use(answer[0], need)
                return answer
            except NotEnoughMemory:  # others have taken the room, or Dask chose another host than ours
                failed.add(near)
                if len(failed) >= min(_TRIES, len(self._rooms)):
                    raise
            except (ConnectFailed, HostClosed, InvalidState):  # the host is gone, or its worker is
                failed.add(near)
                self._rooms.forget(near)
                if not elsewhere or len(failed) >= _TRIES or not self._rooms.hosts():
                    raise
            finally:
                self._rooms.give_back(near, need)

    async def _keep_looking(self) -> None:
        loop = asyncio.get_running_loop()
        next_report = loop.time() + REPORT_SECONDS
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            everywhere = loop.time() >= next_report
            if everywhere:
                next_report = loop.time() + REPORT_SECONDS
            try:
                await self._look(everywhere=everywhere)
            except (OSError, TimeoutError) as error:  # the scheduler is away; the client finds it again
                _LOG.warning("Cannot ask which workers there are: %s", error)

    async def _look(self, *, everywhere: bool) -> None:
        workers = set(await self._client.nthreads())
        for gone in set(self._rooms.hosts()) - workers:
            self._rooms.forget(gone)
        asked = workers if everywhere else workers - set(self._rooms.hosts())
        if not asked:
            return
        reports = await self._client.run(report, workers=list(asked), on_error="ignore")
        for address in asked:
            said = reports.get(address)
            if said is None:
                self._rooms.forget(address)
            else:
                self._rooms.report(address, *said)


def _need(config: DomainConfig) -> Need:
    return Need(math.ceil(config.maxmem or config.memory or 0), config.vcpus)


