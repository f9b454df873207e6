"""Calls to workers as tasks of Dask: each on one worker, stopped there when it is cancelled here."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

import distributed
from distributed import Client, Future
from distributed.scheduler import KilledWorker

from pyxen._common.shield import logger
from pyxen.distributed.members import Members
from pyxen.distributed.worker import Failure, perform, stop
from pyxen.errors import ConnectFailed, HostClosed, InvalidArgument, InvalidState

__all__ = ["Calls", "WorkerGone"]

T = TypeVar("T")

_LOG: Final = logger("pyxen.distributed")

_STOP_SECONDS: Final = 60.0
"""How long a worker has to stop a call and undo it."""


class WorkerGone(Exception):
    """The worker of a call is gone, and what it has done is not known; callers get it as an `InvalidState`."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def in_words(self) -> InvalidState:
        """Return the error for the caller."""
        message = f"the worker at {self.address} is gone, and its host may be: Fleet.find looks for its guests"
        return InvalidState(message, operation="fleet")


class Calls:
    """The calls of one `Fleet`."""

    def __init__(self, client: Client, members: Members) -> None:
        self._client = client
        self._members = members
        self._loop = asyncio.get_running_loop()
        self._stops: set[asyncio.Task[None]] = set()
        self._closed = False

    def check(self) -> None:
        """Check that calls can be made.

        Raises:
            HostClosed: The fleet is closed, or its client is.
            ConnectFailed: The scheduler is away.
            InvalidState: This is another loop than that of the fleet.
        """
        if self._closed or self._client.status in {"closed", "closing"}:
            raise HostClosed("the fleet is closed, or the client of Dask is: open them again")
        if self._client.status != "running":
            raise ConnectFailed("the scheduler does not answer; Dask's client tries to reach it again")
        if asyncio.get_running_loop() is not self._loop:
            raise InvalidState("the fleet belongs to another event loop: open one in this loop", operation="fleet")

    async def close(self) -> None:
        """Refuse further calls, and wait until what was cancelled is undone."""
        self._closed = True
        if self._stops:
            await asyncio.wait(self._stops)

    async def call(self, address: str, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Do as `attempt`, with an `InvalidState` if the worker is gone."""
        try:
            return await self.attempt(address, function, *args)
        except WorkerGone as gone:
            raise gone.in_words() from None

    async def attempt(self, address: str, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Have a worker call a function, and return what it returns.

        If the task is cancelled, the call is stopped and undone there first.

        Args:
            address: The address of the worker.
            function: A function of `pyxen.distributed.worker`.
            *args: Its arguments.

        Raises:
            WorkerGone: The worker is gone.
            InvalidArgument: The function or an argument cannot be pickled.
        """
        self.check()
        gone = self._members.gone(address)
        if gone is None:
            raise WorkerGone(address)
        key = f"pyxen-{function.__name__}-{uuid4().hex}"
        try:
            future = self._client.submit(
                perform, key, function, *args, key=key, workers=[address], allow_other_workers=False, retries=0
            )
        except (TypeError, AttributeError, ValueError, pickle.PicklingError) as error:
            message = f"the function or an argument cannot be sent to a worker: {error}"
            raise InvalidArgument(message, operation="fleet") from error
        result = asyncio.ensure_future(_result(future))
        try:
            await asyncio.wait({result, gone}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await asyncio.shield(self._stop(address, key, future, result))
            raise
        if result.done() and not result.cancelled():
            raised = result.exception()
            if raised is None:
                return cast("T", result.result())
            if not isinstance(raised, KilledWorker | concurrent.futures.CancelledError):
                raise raised
        # Dask has lost the call with its worker. That may be there yet, cut off for a while.
        self._stop(address, key, future, result)
        raise WorkerGone(address)

    def _stop(self, address: str, key: str, future: Future[Any], result: asyncio.Future[Any]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._stopped(address, key, future, result))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)
        return task

    async def _stopped(self, address: str, key: str, future: Future[Any], result: asyncio.Future[Any]) -> None:
        result.cancel()
        await asyncio.wait({result})
        await future.cancel()
        if address not in self._members.workers:
            return
        answer = (await self._members.ask([address], stop, key, seconds=_STOP_SECONDS))[address]
        if answer is not None:
            _LOG.warning("A call at %s was not stopped, and may have left something: %s", address, answer)


async def _result(future: Future[Any]) -> Any:
    await distributed.wait(future)
    if future.status == "finished" and future.type is None:
        return None  # to get it from the worker would cost two messages
    try:
        answer = await future.result()
    except TypeError as error:
        message = (
            f"what the function returned cannot be pickled, return plain values instead: {str(error).splitlines()[0]}"
        )
        raise InvalidArgument(message, operation="call") from None
    if isinstance(answer, Failure):
        raise answer.error
    return answer
