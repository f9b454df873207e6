"""Readers of the events of a domain's QEMU, and the queues in which events wait to be read."""

from __future__ import annotations

from concurrent.futures import wait
from typing import Final

from pyxen._common.arguments import check_is
from pyxen._durations import timeout_of
from pyxen.backends.base import Backend, DomainRef
from pyxen.errors import Error, HostClosed, InvalidArgument
from pyxen.operation import Calls, Operation, check_may_wait
from pyxen.readers._reader import Deadline, Reader
from pyxen.readers._unread import Unread
from pyxen.records.qmp_event import QmpEvent, QmpEventsLost

__all__ = ["CONNECT", "QmpEventQueue", "QmpEvents", "deadline_of", "end_listening"]

CONNECT: Final = 10.0
"""Seconds that QEMU has to greet a reader of its events."""


class QmpEvents(Reader[QmpEvent]):
    """A reader of the events of a domain's QEMU, returned by `Qmp.events`. Any number of threads may read from it.

    ``for event in reader`` waits for each event. It ends when QEMU has ended, or when the host or the reader is closed.
    It raises `OperationTimeout` when the reader's deadline has passed, and `QmpError` if QEMU does not keep to its
    protocol. A reader that is garbage-collected is closed too.
    """

    _listening: Operation[None] | None = None

    def __init__(
        self, backend: Backend, calls: Calls, ref: DomainRef, names: tuple[str, ...], timeout: float | None, maxlen: int
    ) -> None:
        self._ref = ref
        self._completer = backend.completer
        self._deadline = deadline_of(timeout)
        self._queue = queue = QmpEventQueue(names, maxlen, backend.completer)
        self._listening = calls.finish(
            lambda: backend.qmp_events(ref, queue.put, queue.finish, timeout=CONNECT),
            undo=end_listening,
        )
        self._stop = self._listening.cancel
        self._deadline.begin()

    def __repr__(self) -> str:
        return f"<QmpEvents of domain {self._ref.domid}: {self._queue.status()}>"

    def __next__(self) -> QmpEvent:
        if self._queue.ended or self._deadline.may_take(self._queue.unread):
            event = self._queue.take(self._deadline.left())
            if event is not None:
                return event
        if self._queue.ended:
            self._queue.raise_failure()
            raise StopIteration
        raise self._deadline.passed()

    def get(self, timeout: float | None = None) -> QmpEvent | None:
        """Return the next event, or None if no event arrives in time.

        Args:
            timeout: Seconds to wait; 0 returns only an event that has already arrived. None waits forever, whatever the
                deadline of the reader.

        Raises:
            HostClosed: The host or this reader was closed, or QEMU has ended, and nothing is left to read.
            QmpError: QEMU does not keep to its protocol.
        """
        event = self._queue.take(timeout_of(timeout, operation="qmp.events"))
        if event is None and self._queue.ended:
            self._queue.raise_failure()
            raise HostClosed("qmp.events: QEMU has ended, or the host or this reader of its events was closed")
        return event

    @property
    def lost(self) -> int:
        """Number of events that were dropped because `maxlen` others were waiting to be read.

        With a remote host, also those of any name that were lost on their way. A loss of unknown size counts as 1.
        """
        return self._queue.lost

    def close(self) -> None:
        """Stop reading, so that others can talk to QEMU, and wake everything that waits for an event.

        Calling it again does nothing.

        Raises:
            RuntimeError: Called in a callback of an operation, on a thread for which this has to wait.
        """
        if self._listening is not None and not self._listening.done():
            instead = "nothing was closed. Close the reader on another thread"
            check_may_wait("qmp.events", instead, completer=self._completer)
        self._queue.drop()  # first: see `EventReader.close`
        listening, self._listening, self._stop = self._listening, None, None
        if listening is not None:
            end_listening(listening)


class QmpEventQueue(Unread[QmpEvent]):
    """A bounded queue of unread events that counts those it has to drop. Both APIs use it.

    Args:
        names: The events that are wanted; empty for all.
        maxlen: How many events may wait.
        completer: What brings the events; see `Unread`.

    Attributes:
        lost: Number of events that were dropped.
    """

    def __init__(self, names: tuple[str, ...], maxlen: int, completer: object = None) -> None:
        super().__init__(maxlen, "events", completer)
        for name in names:
            check_is(str, name, "qmp.events", ", as the name of an event")
            if not name:
                raise InvalidArgument("the name of an event is empty", operation="qmp.events")
        self.lost = 0
        self._names = frozenset(names)
        self._failure: Error | None = None

    def put(self, item: QmpEvent) -> None:
        """Add an event if it is wanted."""
        if isinstance(item, QmpEventsLost):
            self.lose(item.count)
        elif not self._names or item.name in self._names:
            super().put(item)

    def lose(self, count: int | None) -> None:
        """Record that events were lost; None is an unknown number of them."""
        if self._entered():
            try:
                self.lost += 1 if count is None else count
            finally:
                self._changed.release()

    def _lose(self, item: QmpEvent) -> None:  # noqa: ARG002 (only its loss counts)
        self.lose(1)

    def finish(self, error: Error | None) -> None:
        """Mark the queue as ended, with the reason if it is an error."""
        self._failure = error
        self.end()

    def raise_failure(self) -> None:
        """Raise the error with which the events ended, if they did."""
        if self._failure is not None:
            raise self._failure


def end_listening(listening: Operation[None]) -> None:
    """End the reading of events, and wait until others can talk to QEMU."""
    if listening.cancel():  # not in the child of a fork, where it never ends
        wait([listening])


def deadline_of(timeout: float | None) -> Deadline:
    """Return the deadline of a loop over QEMU's events."""
    return Deadline(timeout, "qmp.events", "QEMU's events")
