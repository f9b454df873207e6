"""Watches of xenstore's nodes for asyncio."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyxen._durations import timeout_of
from pyxen.aio._calls import Calls
from pyxen.aio.readers._inbox import Inbox, Source
from pyxen.aio.readers._reader import Reader
from pyxen.backends.base import Backend
from pyxen.errors import HostClosed
from pyxen.readers.xenstore import ChangeQueue, deadline_of, watched_paths
from pyxen.records.xenstore import NodeChange

__all__ = ["XenstoreWatch"]


class XenstoreWatch(Reader[NodeChange]):
    """A reader of the changes of some nodes, returned by `Xenstore.watch`. Any number of tasks may read from it.

    It watches from ``async with`` on, or else from the first read, and its deadline counts from then on. ``async for
    change in watch`` waits for each change. It ends when the host or the watch is closed, and raises `OperationTimeout`
    when the watch's deadline has passed. A watch that is garbage-collected is closed too.
    """

    _inbox: Inbox[NodeChange]

    def __init__(
        self, backend: Backend, calls: Calls, paths: Sequence[str], timeout: float | None, maxlen: int
    ) -> None:
        self._paths = watched_paths(paths)
        self._until = deadline_of(timeout, self._paths)
        super().__init__(Inbox(ChangeQueue(maxlen)), self._until)
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<XenstoreWatch of {', '.join(self._paths)}: {self._inbox.status()}>"

    async def __anext__(self) -> NodeChange:
        change = await self._next_before(self._inbox, self._until)
        if change is None:
            raise StopAsyncIteration
        return change

    async def get(self, timeout: float | None = None) -> NodeChange | None:
        """Return the next change, or None if no change arrives in time.

        Args:
            timeout: Seconds to wait; 0 returns only a change that has already arrived. None waits forever, whatever the
                deadline of the watch.

        Raises:
            HostClosed: The host or this watch was closed, and nothing is left to read.
        """
        seconds = timeout_of(timeout, operation="xenstore.watch")
        await self._begin()
        try:
            change = await self._taken(self._inbox, seconds)
        except TimeoutError:
            return None
        if change is None:
            raise HostClosed("xenstore.watch: the host, or this watch, was closed")
        return change

    async def close(self) -> None:
        """End the watch and wake everything that waits for a change. Calling it again does nothing."""
        await super().close()

    async def _started(self) -> Callable[[], object]:
        source, backend, paths = Source(self._inbox), self._backend, self._paths  # not `self`: see `EventReader`
        try:
            return await self._calls.acquire(
                lambda: backend.xenstore().watch(paths, source.put, source.end), give_back=lambda unwatch: unwatch()
            )
        except BaseException:
            source.shut()
            raise
