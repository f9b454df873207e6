"""The calls of a client: begun, watched, stopped, and undone if their results do not arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen.backends.remote.failures import failure_of
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.lost import added, lost_with
from pyxen.backends.remote.messages import BACKLOG, Begun, Done, Failed, Item, Over, Progress
from pyxen.backends.remote.values import Codec, encoded
from pyxen.errors import DomainNotFound, Error, OperationFailed
from pyxen.operation import Operation
from pyxen.records.qmp_event import QmpEventsLost

__all__ = ["ServedCall", "Subscription"]

_LOG = logger("pyxen.serve")
_UNSENDABLE: Final = (ValueError, TypeError, OverflowError, Error)
"""What is raised by a value that cannot be sent, such as a text that is not UTF-8."""
_MOST_ITEMS: Final = BACKLOG // 4
"""The bytes that wait to be sent, above which items are lost."""


class ServedCall:
    """A call that a client has going.

    Args:
        link: The link to the client.
        number: Its number.
        verb: Its verb.
        on_end: Called when it has ended.
    """

    def __init__(self, link: Link, number: int, verb: str, on_end: Callable[[int], None]) -> None:
        self.number = number
        self.verb = verb
        self.made: Callable[[], object] | None = None
        """Undoes what it has made, until the client has got it."""
        self._link, self._on_end = link, on_end
        self._lock = threading.Lock()
        self._stops: list[Callable[[str], object]] = []
        self._reason: str | None = None
        self._operation: Operation[Any] | None = None
        self._reported: tuple[Any, ...] = (None, None, None)

    @property
    def operation(self) -> Operation[Any] | None:
        """The operation that it runs; None if it has none yet."""
        return self._operation

    @property
    def stopped(self) -> str | None:
        """Why it is stopped; None if it is not."""
        return self._reason

    def stop(self, reason: str) -> None:
        """Stop it, for a reason of `Operation.stop`; what has not begun is stopped when it does."""
        with self._lock:
            self._reason = self._reason or reason
            stops = list(self._stops)
        for stop in stops:
            stop(reason)

    def on_stop(self, stop: Callable[[str], object]) -> None:
        """Have a function called with the reason when this is stopped."""
        with self._lock:
            self._stops.append(stop)
            reason = self._reason
        if reason is not None:
            stop(reason)

    def follow(
        self,
        operation: Operation[Any],
        result: Codec,
        *,
        undo: Callable[[Any], object] | None = None,
        ends: Callable[[], object] = lambda: None,
        shown: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        """Tell the client what becomes of an operation.

        Args:
            operation: The operation.
            result: How its result is sent.
            undo: Undoes its success, with its result.
            ends: Called when it has ended, before the client is told.
            shown: What the client gets of its result.
        """
        self._operation = operation
        self._link.send(Begun(self.number, operation.subject, operation.domid))
        self.on_stop(operation.stop)
        operation.add_done_callback(lambda ended: self._ended(operation, ended, result, undo, ends, shown))

    def _ended(
        self,
        operation: Operation[Any],
        ended: Future[Any],
        result: Codec,
        undo: Callable[[Any], object] | None,
        ends: Callable[[], object],
        shown: Callable[[Any], Any],
    ) -> None:
        ends()
        error = ended.exception()
        if error is not None:
            self.fail(error)
            return
        value = ended.result()
        if undo is not None:
            self.made = lambda: undo(value)
        try:
            data = encoded(shown(value), result)
        except _UNSENDABLE as problem:
            self._undo_and_fail(problem)
            return
        log = tuple(line[:4096] for line in operation.log[:1000])
        self._link.send(Done(self.number, data, operation.subject, operation.domid, log, undo is not None))
        self._on_end(self.number)

    def _undo_and_fail(self, error: Exception) -> None:
        """Undo a success that the client cannot be told, on a thread that may wait for that."""

        def undo() -> None:
            self.undo()
            self.fail(error)

        if self.made is None:
            self.fail(error)
            return
        try:
            with shortage(OperationFailed, self.verb):
                threading.Thread(target=undo, name="pyxen-serve-undo", daemon=True).start()
        except OperationFailed:  # it is undone when the link ends
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Tell the client that it has failed."""
        operation = self._operation
        stopped = None if operation is None else operation.stopped
        subject, domid = (None, None) if operation is None else (operation.subject, operation.domid)
        self._link.send(Failed(self.number, failure_of(error), stopped, subject, domid))
        self._on_end(self.number)

    def undo(self) -> None:
        """Undo what it has made, if the client has not got it; this may block."""
        with self._lock:
            undo, self.made = self.made, None
        if undo is None:
            return
        try:
            undo()
        except DomainNotFound:
            pass
        except Exception as error:  # noqa: BLE001 (there is no caller left to raise it to)
            _LOG.error("%s: what it has made could not be undone, and stays: %s", self.verb, error)

    def report(self) -> None:
        """Tell the client how far it has got, if that has changed."""
        operation = self._operation
        if operation is None or operation.done():
            return
        progress = operation.progress
        found = (operation.subject, operation.domid, progress)
        if found != self._reported:
            self._reported = found
            what, percent = (None, 0) if progress is None else (progress.what, max(0, min(100, progress.percent)))
            self._link.send(Progress(self.number, operation.subject, operation.domid, what, percent))


class Subscription:
    """What a client gets one by one. If it does not read fast enough, some are lost, and it is told how many.

    Args:
        link: The link to the client.
        number: The number of the call.
        item: How an item is sent.
        lost: Returns the items that say that so many were lost; None is an unknown number.
    """

    def __init__(self, link: Link, number: int, item: Codec, lost: Callable[[int | None], Sequence[Any]]) -> None:
        self._link, self._number, self._item, self._lost_items = link, number, item, lost
        self._lock = threading.Lock()
        self._lost: int | None = 0

    def put(self, value: Any) -> None:
        """Send an item."""
        with self._lock:
            if self._link.backlog > _MOST_ITEMS:
                self._lost = added(self._lost, lost_with(value))
                return
            self._say_lost()
            self._send(value)

    def report(self) -> None:
        """Say what was lost, if there is room for it now."""
        with self._lock:
            if self._link.backlog <= _MOST_ITEMS:
                self._say_lost()

    def _say_lost(self) -> None:
        if self._lost != 0:
            lost, self._lost = self._lost, 0
            for item in self._lost_items(lost):
                self._send(item)

    def _send(self, value: Any) -> None:
        lost = value.count if isinstance(value, QmpEventsLost) else 0
        try:
            self._link.send(Item(self._number, encoded(value, self._item), lost))
        except _UNSENDABLE as error:
            _LOG.error("%s cannot be sent, and counts as lost: %s", type(value).__name__, error)
            self._lost = added(self._lost, lost_with(value))

    def end(self, error: Error | None = None) -> None:
        """Say that no more come."""
        self._link.send(Over(self._number, None if error is None else failure_of(error)))
