"""Readers of the events of a domain's QEMU, and the queues in which events wait to be read."""

from __future__ import annotations

import _thread
import sys
import time
from collections.abc import Iterator
from concurrent.futures import wait
from types import TracebackType
from typing import Final, Self

from pyxen._common.arguments import check_is
from pyxen._durations import timeout_of
from pyxen.backends.base import Backend, DomainRef
from pyxen.errors import Error, HostClosed, InvalidArgument, OperationTimeout
from pyxen.operation import Calls, Operation
from pyxen.readers._unread import Unread
from pyxen.records.qmp_event import QmpEvent

__all__ = ["CONNECT", "QmpEventQueue", "QmpEvents"]

CONNECT: Final = 10.0
"""Seconds that QEMU has to greet a reader of its events."""


class QmpEvents(Iterator[QmpEvent]):
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
        self._queue = queue = QmpEventQueue(names, timeout, maxlen)
        self._listening = calls.finish(
            lambda: backend.qmp_events(ref, queue.put, queue.finish, timeout=CONNECT),
            undo=lambda listening: listening.cancel(),
        )

    def __repr__(self) -> str:
        return f"<QmpEvents of domain {self._ref.domid}: {self._queue.status()}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._listening is not None and not sys.is_finalizing():
            _thread.start_new_thread(self._listening.cancel, ())  # it takes locks, which this thread may already hold

    def __next__(self) -> QmpEvent:
        event = self._queue.take(self._queue.left())
        if event is not None:
            return event
        if self._queue.ended:
            self._queue.raise_failure()
            raise StopIteration
        raise self._queue.passed()

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
        """Number of events that were dropped because `maxlen` others were waiting to be read."""
        return self._queue.lost

    def close(self) -> None:
        """Stop reading, so that others can talk to QEMU, and wake everything that waits for an event.

        Calling it again does nothing.
        """
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            wait([listening])
        self._queue.drop()


class QmpEventQueue(Unread[QmpEvent]):
    """A bounded queue of unread events that counts those it has to drop. Both APIs use it.

    Args:
        names: The events that are wanted; empty for all.
        timeout: Seconds until the reader's deadline; None for no deadline.
        maxlen: How many events may wait.

    Attributes:
        lost: Number of events that were dropped.
    """

    def __init__(self, names: tuple[str, ...], timeout: float | None, maxlen: int) -> None:
        super().__init__(maxlen, "events")
        for name in names:
            check_is(str, name, "qmp.events", ", as the name of an event")
            if not name:
                raise InvalidArgument("the name of an event is empty", operation="qmp.events")
        seconds = timeout_of(timeout, operation="qmp.events")
        self.lost = 0
        self._names = frozenset(names)
        self._seconds = timeout
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._failure: Error | None = None

    def put(self, item: QmpEvent) -> None:
        """Add an event if it is wanted."""
        if not self._names or item.name in self._names:
            super().put(item)

    def _lose(self, item: QmpEvent) -> None:  # noqa: ARG002 (only its loss counts)
        self.lost += 1

    def finish(self, error: Error | None) -> None:
        """Mark the queue as ended, with the reason if it is an error."""
        self._failure = error
        self.end()

    def raise_failure(self) -> None:
        """Raise the error with which the events ended, if they did."""
        if self._failure is not None:
            raise self._failure

    def left(self) -> float | None:
        """Return how many seconds are left until the deadline, 0 at least; None if there is no deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def passed(self) -> OperationTimeout:
        """Return the exception for a loop that has reached the deadline."""
        message = f"the deadline of {self._seconds} s passed, and the loop over QEMU's events goes on"
        return OperationTimeout(message, operation="qmp.events")
