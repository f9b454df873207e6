"""Readers of the events of a domain's QEMU for asyncio."""

from __future__ import annotations

from collections.abc import Callable

from pyxen._asyncio import done
from pyxen._durations import timeout_of
from pyxen.aio._calls import Calls
from pyxen.aio.readers._inbox import Inbox
from pyxen.aio.readers._reader import Reader
from pyxen.backends.base import Backend, DomainRef
from pyxen.errors import Error, HostClosed, OperationCancelled
from pyxen.operation import Operation, check_may_wait
from pyxen.readers.qmp import CONNECT, QmpEventQueue, deadline_of, end_listening
from pyxen.records.qmp_event import QmpEvent

__all__ = ["QmpEvents"]


class QmpEvents(Reader[QmpEvent]):
    """A reader of the events of a domain's QEMU, returned by `Qmp.events`. Any number of tasks may read from it.

    It reads from ``async with`` on, or else from the first read; earlier events are not seen, and the deadline counts
    from then on. ``async for event in reader`` waits for each event. It ends, and raises, as `pyxen.QmpEvents`.
    """

    _inbox: Inbox[QmpEvent]
    _listening: Operation[None] | None = None
    _opening: Operation[Operation[None]] | None = None
    """What waits for QEMU to greet it, while it begins."""

    def __init__(
        self, backend: Backend, calls: Calls, ref: DomainRef, names: tuple[str, ...], timeout: float | None, maxlen: int
    ) -> None:
        self._until = deadline_of(timeout)
        self._queue = QmpEventQueue(names, maxlen)
        super().__init__(Inbox(self._queue), self._until)
        self._backend = backend
        self._calls = calls
        self._ref = ref

    def __repr__(self) -> str:
        return f"<QmpEvents of domain {self._ref.domid}: {self._queue.status()}>"

    async def __anext__(self) -> QmpEvent:
        event = await self._next_before(self._inbox, self._until)
        if event is None:
            self._queue.raise_failure()
            raise StopAsyncIteration
        return event

    async def get(self, timeout: float | None = None) -> QmpEvent | None:
        """Return the next event, or None if no event arrives in time.

        Args:
            timeout: Seconds to wait; 0 returns only an event that has already arrived. None waits forever, whatever the
                deadline of the reader.

        Raises:
            HostClosed: The host or this reader was closed, or QEMU has ended, and nothing is left to read.
            QmpError: QEMU does not keep to its protocol.
        """
        seconds = timeout_of(timeout, operation="qmp.events")
        await self._begin()
        try:
            event = await self._taken(self._inbox, seconds)
        except TimeoutError:
            return None
        if event is None:
            self._queue.raise_failure()
            raise HostClosed("qmp.events: QEMU has ended, or the host or this reader of its events was closed")
        return event

    @property
    def lost(self) -> int:
        """Number of events that were dropped because `maxlen` others were waiting to be read.

        With a remote host, also those of any name that were lost on their way. A loss of unknown size counts as 1.
        """
        return self._queue.lost

    async def close(self) -> None:
        """Stop reading, so that others can talk to QEMU, and wake everything that waits for an event.

        Calling it again does nothing.

        Raises:
            RuntimeError: Called in a callback of an operation, on a thread for which this has to wait.
        """
        if self._listening is not None and not self._listening.done():
            instead = "nothing was closed. Close the reader on another thread"
            check_may_wait("qmp.events", instead, completer=self._backend.completer)
        self._inbox.close()
        opening = self._opening
        if opening is not None:  # QEMU need not greet it any more
            opening.cancel()
        await super().close()

    async def _started(self) -> Callable[[], object] | None:
        inbox, queue, backend, ref = self._inbox, self._queue, self._backend, self._ref  # not `self`: see `EventReader`

        given_back = False

        def end(error: Error | None) -> None:
            if not given_back:  # another task may still begin to read
                queue.finish(error)
                inbox.end()

        def give_back(listening: Operation[None]) -> None:
            nonlocal given_back
            given_back = True
            end_listening(listening)

        def begin() -> Operation[Operation[None]]:
            self._opening = opening = backend.qmp_events(ref, inbox.put, end, timeout=CONNECT)
            if inbox.ended:  # `close` has not seen it
                opening.cancel()
            return opening

        try:
            self._listening = await self._calls.finish(begin, undo=give_back)
        except OperationCancelled:
            if not inbox.ended:
                raise
            return None
        finally:
            self._opening = None
        return self._listening.cancel

    async def _end(self) -> None:
        listening, self._listening, self._stop = self._listening, None, None
        if listening is not None and listening.cancel():
            await done(listening)
