"""Hosts behind the workers of Dask's distributed: guests land where there is room."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, cast
from uuid import UUID, uuid4

from distributed import Client

from pyxen._common.arguments import check_bools, check_config, check_is, check_number
from pyxen._common.needs import needed_kib
from pyxen._durations import timeout_of
from pyxen.aio.domain import Domain
from pyxen.config import DomainConfig
from pyxen.distributed.calls import Calls, WorkerGone
from pyxen.distributed.members import Members
from pyxen.distributed.rooms import Need, Rooms
from pyxen.distributed.worker import call_domain, call_host, create, find, on_host
from pyxen.errors import (
    ConnectFailed,
    DomainExists,
    DomainNotFound,
    HostClosed,
    InvalidArgument,
    InvalidState,
    NotEnoughMemory,
    OperationTimeout,
)
from pyxen.records.answers import Answer, Answers

__all__ = ["Fleet", "FleetGuest"]

P = ParamSpec("P")
T = TypeVar("T")

_MOST_LOST: Final = 3
"""On how many hosts a call is tried that are lost during it: it may be what kills them."""


@dataclass(frozen=True)
class FleetGuest:
    """A guest on a host of a `Fleet`. `Fleet.find` returns it again by its uuid, also in another program.

    Attributes:
        uuid: Its uuid.
        name: Its name.
        host: The name of the worker of its host.
        address: The address of that worker.
    """

    uuid: UUID
    name: str
    host: str
    address: str
    _calls: Calls = field(repr=False, compare=False)

    async def call(
        self, function: Callable[Concatenate[Domain, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function with the guest's `pyxen.aio.Domain`, at its host, and return what it returns.

        ::

            await guest.call(Domain.shutdown, timeout=60)

        If the task is cancelled, so is the call.

        Args:
            function: A method of `pyxen.aio.Domain`, or another coroutine function; pickled, with what it returns.
            *args: Its further arguments.
            **kwargs: Its named arguments.

        Raises:
            DomainNotFound: The guest is not on this host any more.
            InvalidState: The worker of its host is gone.
            InvalidArgument: The function is no coroutine function, or cannot be pickled.
            HostClosed: The fleet is closed.
            Exception: What the function raises.
        """
        answer = await self._calls.call(self.address, call_domain, self.uuid, function, args, kwargs)
        return cast("T", answer)


class Fleet:
    """Hosts behind the workers of Dask's distributed. A guest lands on the host with the most free memory.

    ::

        async with Client("tls://scheduler:8786", asynchronous=True) as client, Fleet(client) as fleet:
            guest = await fleet.create(config)
            print(guest.host, await guest.call(Domain.info))

    Each worker has a host, see `HostPlugin`. Memory is counted as libxl counts it; a host that refuses a guest all the
    same is asked again what it has. A worker is gone when Dask says so: at once if its connection breaks, after 30
    seconds if its host has no power, and after ``distributed.scheduler.worker-ttl``, 5 minutes, if it hangs. Then its
    calls are made again on another host. But **a worker that dies alone leaves its guests running**, and nothing here
    can tell the difference. A guest with a disk that another host can write to needs fencing, see `create`.

    Several programs may use the same workers, each with a fleet of its own. A fleet belongs to one event loop.

    Args:
        client: The client, with ``asynchronous=True``. It is not closed.

    Raises:
        InvalidArgument: It is no such client.
    """

    def __init__(self, client: Client) -> None:
        check_is(Client, client, "fleet")
        if not client.asynchronous:
            raise InvalidArgument("takes a Client of distributed with asynchronous=True", operation="fleet")
        self._client = client
        self._rooms = Rooms()
        self._members = Members(client, self._rooms)
        self._calls: Calls | None = None
        self._creating: set[UUID] = set()

    async def __aenter__(self) -> Self:
        if self._calls is not None:
            raise InvalidState("the fleet was opened before: make another one", operation="fleet")
        self._calls = Calls(self._client, self._members)
        self._calls.check()
        await self._members.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened().close()
        await self._members.stop()

    @property
    def hosts(self) -> Collection[str]:
        """The names of the workers whose hosts take guests."""
        return tuple(self._members.hosts)

    async def create(
        self,
        config: DomainConfig,
        *,
        timeout: float | None = 60,
        elsewhere: bool = True,
        wait: float | None = 60,
        ask: bool = True,
    ) -> FleetGuest:
        """Create a guest on a host with room.

        If the host refuses for want of memory, or its worker dies, the next one is tried, under the same uuid. A host
        without what the guest needs, such as a file of its disk, is not told apart: all hosts should have it. If the
        task is cancelled, the guest is destroyed first.

        Args:
            config: The configuration. Without a uuid, it gets one.
            timeout: Seconds for the create itself, see `Host.create`.
            elsewhere: Whether to try another host when a worker dies. The create may have succeeded, and the guest may
                run on: with disks that both hosts can write to, pass False, and `find` it once the first host is known
                to be off or back.
            wait: Seconds to wait for room. None, or ``math.inf``, waits without a limit.
            ask: Whether to ask all hosts first, if the configuration has a uuid, that none has it. Pass False where it
                is known, as for the guests of a host that is off: a thousand hosts take a second.

        Raises:
            NotEnoughMemory: No host has had room in this time.
            DomainExists: A host has this uuid already, it is being created, or the host that was chosen has the name.
            InvalidState: No worker has a host. Or the worker died, with ``elsewhere=False``; or so did three of them.
            OperationTimeout: The create, or a host that was asked for the uuid, has not answered in time.
            OperationFailed: As for `Host.create`.
            HostClosed: The fleet is closed.
        """
        self._opened().check()
        check_config(config, "create")
        check_bools("create", elsewhere=elsewhere, ask=ask)
        timeout, wait = timeout_of(timeout, operation="create"), timeout_of(wait, "wait", operation="create")
        uuid = config.uuid or uuid4()
        if uuid in self._creating:
            raise DomainExists("a domain with this uuid is being created", operation="create", domain=str(uuid))
        self._creating.add(uuid)
        try:
            if config.uuid is not None and ask:
                await self._check_is_new(uuid)
            again = config.uuid is None or ask  # then only an earlier try can have made it
            config = config.replace(uuid=uuid)
            need = Need(math.ceil(needed_kib(config) / 1024), config.vcpus)
            address, _ = await self._placed(
                need, create, config, timeout, again, wait=wait, elsewhere=elsewhere, kept=True
            )
        finally:
            self._creating.discard(uuid)
        return FleetGuest(uuid, config.name, self._members.name(address), address, self._opened())

    async def run(
        self,
        function: Callable[..., Awaitable[T]],
        *args: Any,
        memory: int,
        vcpus: int = 1,
        wait: float | None = None,
    ) -> T:
        """Call a function with the `pyxen.aio.Host` of a host with room, which is held while it runs.

        If the worker dies, or the function raises `NotEnoughMemory`, `ConnectFailed` or `HostClosed`, it is called
        again on another host: what it makes must end with it, or do no harm. If the task is cancelled, so is the call.

        Args:
            function: A coroutine function; pickled, with its arguments and what it returns.
            *args: Its further arguments.
            memory: The memory that its guests need together, in MiB, with some for each besides its own.
            vcpus: The virtual CPUs that they need, 1 or more.
            wait: Seconds to wait for room. None, or ``math.inf``, waits without a limit.

        Raises:
            NotEnoughMemory: No host has had room in this time.
            InvalidState: No worker has a host, or three workers died.
            InvalidArgument: The function is no coroutine function, or cannot be pickled; or a number is out of range.
            HostClosed: The fleet is closed.
            Exception: What the function raises.
        """
        self._opened().check()
        for name, value, least in (("memory", memory, 0), ("vcpus", vcpus, 1)):
            check_number(value, "run")
            if value < least:
                raise InvalidArgument(f"{name}={value} is out of range: use {least} or more", operation="run")
        wait = timeout_of(wait, "wait", operation="run")
        _, answer = await self._placed(Need(memory, vcpus), call_host, function, args, wait=wait)
        return cast("T", answer)

    async def find(self, uuid: UUID, *, timeout: float | None = 30) -> FleetGuest:
        """Return the guest with a uuid, on whichever host it is.

        Args:
            uuid: The uuid.
            timeout: Seconds that each host has to answer.

        Raises:
            DomainNotFound: It is on none of the hosts.
            InvalidState: It is on several. Destroy all but one at once: they would corrupt their disks.
            OperationTimeout: It is not on the hosts that answer, but some do not.
            HostClosed: The fleet is closed.
        """
        calls = self._opened()
        calls.check()
        check_is(UUID, uuid, "find")
        seconds = timeout_of(timeout, operation="find")
        answers = await self._members.ask(self._members.workers, find, uuid, seconds=seconds)
        found = [
            FleetGuest(uuid, answer, self._members.name(address), address, calls)
            for address, answer in answers.items()
            if isinstance(answer, str)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            message = f"it is on several hosts: {', '.join(sorted(guest.host for guest in found))}: destroy all but one"
            raise InvalidState(message, operation="find", domain=str(uuid))
        answers = {address: answer for address, answer in answers.items() if address in self._members.workers}
        silent = {address: answer for address, answer in answers.items() if isinstance(answer, Exception)}
        if silent:
            address, error = next(iter(silent.items()))
            message = (
                f"{len(silent)} of {len(answers)} hosts do not answer, such as {self._members.name(address)}: {error}"
            )
            raise OperationTimeout(message, operation="find", domain=str(uuid))
        raise DomainNotFound(f"it is on none of {len(answers)} hosts", operation="find", domain=str(uuid))

    async def each(self, function: Callable[..., Awaitable[T]], *args: Any, timeout: float | None = 30) -> Answers[T]:
        """Call a function with the `pyxen.aio.Host` of each host, side by side; each answers in its place.

        ::

            answers = await fleet.each(Host.list)

        Args:
            function: A method of `pyxen.aio.Host`, or another coroutine function; pickled, with what it returns.
            *args: Its further arguments.
            timeout: Seconds that each host has to answer. After that, its result is lost.

        Raises:
            HostClosed: The fleet is closed.
        """
        self._opened().check()
        seconds = timeout_of(timeout, operation="each")
        answers = await self._members.ask(self._members.workers, on_host, function, args, seconds=seconds, batch=1)
        return Answers(
            {
                self._members.name(address): Answer(None, said) if isinstance(said, Exception) else Answer(said)
                for address, said in answers.items()
            }
        )

    def _opened(self) -> Calls:
        if self._calls is None:
            raise InvalidState("the fleet is not open: use it as an async context manager", operation="fleet")
        return self._calls

    async def _check_is_new(self, uuid: UUID) -> None:
        try:
            guest = await self.find(uuid)
        except DomainNotFound:
            return
        message = f"the host {guest.host} has a domain with this uuid: leave the uuid out, and it gets a new one"
        raise DomainExists(message, operation="create", domain=str(uuid))

    async def _placed(
        self,
        need: Need,
        function: Callable[..., Awaitable[T]],
        *args: Any,
        wait: float | None,
        elsewhere: bool = True,
        kept: bool = False,
    ) -> tuple[str, T]:
        """Make a call on a host with room, and return the address of its worker with what it returned."""
        loop = asyncio.get_running_loop()
        end = None if wait is None else loop.time() + wait
        lost = 0
        while True:
            address = await self._take(need, None if end is None else max(0.0, end - loop.time()))
            try:
                answer = await self._opened().attempt(address, function, *args)
            except NotEnoughMemory:  # others have taken the room, or libxl needs more than was counted
                self._rooms.refuse(address, need)
                if end is not None and loop.time() >= end:
                    raise
            except (WorkerGone, ConnectFailed, HostClosed) as error:
                self._members.lost(address)
                self._rooms.give_back(address, need)
                lost += 1
                if not elsewhere or lost == _MOST_LOST:
                    raise (error.in_words() if isinstance(error, WorkerGone) else error) from None
            except BaseException:
                self._rooms.give_back(address, need)
                raise
            else:
                self._rooms.give_back(address, need)
                if kept:
                    self._rooms.use(address, need)
                return address, answer

    async def _take(self, need: Need, seconds: float | None) -> str:
        try:
            return await self._rooms.take(need, seconds)
        except NotEnoughMemory:
            self._members.check()
            raise
