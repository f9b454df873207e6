"""Which workers there are, and what their hosts say of themselves: looked up every second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Final, TypeVar

from distributed import Client

from pyxen import __version__
from pyxen._common.shield import logger
from pyxen.distributed.rooms import Rooms
from pyxen.distributed.worker import report
from pyxen.errors import ConnectFailed, InvalidState, OperationTimeout

__all__ = ["Members"]

T = TypeVar("T")

_LOG: Final = logger("pyxen.distributed")

LOOK_SECONDS: Final = 1.0
"""How often the scheduler is asked which workers there are."""

REPORT_SECONDS: Final = 15.0
"""How often a host is asked what it has free, since others may create guests, too."""

_SECONDS_EACH: Final = 0.05
"""Where there are many hosts, each is asked once in their number times this: an answer costs the scheduler time."""

ANSWER_SECONDS: Final = 10.0
"""How long a host has to report, and the scheduler to answer."""

_BATCH: Final = 64
"""How many workers are asked with one message, and in one look; one that hangs holds up the others of its batch."""

_AT_ONCE: Final = 16
"""How many such messages are under way at the same time."""


class Members:
    """The workers, and what their hosts report, for one `Fleet`.

    A worker is gone when Dask says so. One that is there, but whose host does not report, gets no new guests.
    """

    def __init__(self, client: Client, rooms: Rooms) -> None:
        self._client = client
        self._rooms = rooms
        self._gone: dict[str, asyncio.Future[None]] = {}
        self._names: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: set[str] = set()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._asked: dict[str, float] = {}

    async def start(self) -> None:
        """Look once, and keep looking.

        Raises:
            OperationTimeout: The scheduler does not answer.
            ConnectFailed: The connection to it is broken.
        """
        try:
            await self._look()
        except TimeoutError:
            message = f"the scheduler has not answered for {ANSWER_SECONDS:g} s"
            raise OperationTimeout(message, operation="fleet") from None
        except OSError as error:
            raise ConnectFailed(f"cannot ask the scheduler which workers there are: {error}") from error
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._begin(self._keep_looking())

    async def stop(self) -> None:
        """Stop looking."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for address in list(self._gone):
            self._leaves(address)

    @property
    def hosts(self) -> Collection[str]:
        """The names of the hosts that report."""
        return [self.name(address) for address in self._rooms.hosts()]

    @property
    def workers(self) -> Collection[str]:
        """The addresses of all workers."""
        return self._gone.keys()

    def name(self, address: str) -> str:
        """Return the name of a worker."""
        return self._names.get(address, address)

    def gone(self, address: str) -> asyncio.Future[None] | None:
        """Return what is done when a worker is gone; None if it is gone already."""
        return self._gone.get(address)

    def lost(self, address: str) -> None:
        """Give a host no more guests until it reports again, which it is asked to do at once."""
        self._rooms.forget(address)
        self._reasons.pop(address, None)

    def check(self) -> None:
        """Check that a host has reported.

        Raises:
            InvalidState: None has, and why.
        """
        if self._rooms.hosts():
            return
        why = "start dask worker on each host, see pyxen.distributed.HostPlugin"
        for address, reason in self._reasons.items():
            why = f"{address}: {reason}"
        raise InvalidState(f"none of {len(self._gone)} workers has a host that reports: {why}", operation="fleet")

    async def ask(
        self,
        addresses: Collection[str],
        function: Callable[..., Awaitable[T]],
        *args: Any,
        seconds: float | None,
        batch: int = _BATCH,
    ) -> dict[str, T | Exception]:
        """Run a function in workers, beside their tasks, and return what it returned or raised in each.

        Args:
            addresses: The workers.
            function: The function.
            *args: Its arguments.
            seconds: How long a worker has.
            batch: How many workers are asked with one message. If they have not answered, each is asked again alone.
        """
        every = list(addresses)
        batches = [every[start : start + batch] for start in range(0, len(every), batch)]
        answers: dict[str, T | Exception] = {}
        for found in await asyncio.gather(*(self._ask(each, function, args, seconds) for each in batches)):
            answers |= found
        return answers

    async def _ask(
        self, batch: list[str], function: Callable[..., Awaitable[T]], args: tuple[Any, ...], seconds: float | None
    ) -> dict[str, T | Exception]:
        try:
            async with self._places:
                asked = self._client.run(function, *args, workers=batch, on_error="return")
                return dict(await _in_time(asked, seconds))
        except TimeoutError:
            if len(batch) == 1:
                message = f"the host has not answered for {seconds:g} s"
                return {batch[0]: OperationTimeout(message, operation="fleet")}
        except (OSError, RuntimeError) as error:  # RuntimeError: the client is closed
            return dict.fromkeys(batch, ConnectFailed(f"the scheduler does not answer: {error!r}"))
        return await self.ask(batch, function, *args, seconds=seconds, batch=1)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except (OSError, TimeoutError, RuntimeError) as error:  # the scheduler is away; the client finds it again
                _LOG.warning("Cannot ask which workers there are: %s", error)

    async def _look(self) -> None:
        workers = set(await _in_time(self._client.nthreads(), ANSWER_SECONDS))
        loop = asyncio.get_running_loop()
        for address in set(self._gone) - workers:
            self._leaves(address)
        for address in workers - set(self._gone):
            self._gone[address] = loop.create_future()
        due = loop.time() - max(REPORT_SECONDS, len(workers) * _SECONDS_EACH)
        new = workers - set(self._rooms.hosts()) - set(self._reasons)
        old = {address for address in workers - new if self._asked.get(address, due) <= due} | self._rooms.stale()
        oldest = sorted(old - self._asking, key=lambda address: self._asked.get(address, 0))[:_BATCH]
        every = [*sorted(new - self._asking), *oldest]
        for start in range(0, len(every), _BATCH):
            self._begin(self._take_reports(every[start : start + _BATCH]))

    async def _take_reports(self, batch: list[str]) -> None:
        self._asking.update(batch)
        try:
            for address in batch:
                self._asked[address] = asyncio.get_running_loop().time()
                self._rooms.ask(address)
            answers = await self.ask(batch, report, seconds=ANSWER_SECONDS)
            for address, said in answers.items():
                if address in self._gone:
                    self._take_report(address, said)
        finally:
            self._asking.difference_update(batch)

    def _take_report(self, address: str, said: tuple[str, str, int, int] | Exception) -> None:
        if isinstance(said, Exception):
            why = str(said)
        else:
            self._names[address], version, memory, vcpus = said
            if _series(version) == _series(__version__):
                self._reasons.pop(address, None)
                self._rooms.report(address, memory, vcpus)
                return
            why = f"{self._names[address]} has pyxen {version}, and this is {__version__}: install the same on both"
        if self._reasons.get(address) != why:
            _LOG.warning("No guests for the worker at %s: %s", address, why)
        self._reasons[address] = why
        self._rooms.forget(address)

    def _leaves(self, address: str) -> None:
        self._rooms.forget(address)
        self._names.pop(address, None)
        self._asked.pop(address, None)
        self._reasons.pop(address, None)
        self._gone.pop(address).set_result(None)

    def _begin(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _in_time(call: Awaitable[T], seconds: float | None) -> T:
    """Await a call, which is cancelled if it has not ended in time. Not with `asyncio.timeout`: see `_asyncio.woken`.

    Raises:
        TimeoutError: It has not ended in time.
    """
    asking = asyncio.ensure_future(call)
    try:
        await asyncio.wait({asking}, timeout=seconds)
        if asking.done():
            return asking.result()
    finally:
        asking.cancel()
    raise TimeoutError


def _series(version: str) -> list[str]:
    return version.split(".")[:2]
