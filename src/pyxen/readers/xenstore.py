"""Watches of xenstore's nodes, and the queues in which changes wait to be read."""

from __future__ import annotations

from collections.abc import Sequence

from pyxen._common.xenstore import check_watched
from pyxen._durations import timeout_of
from pyxen.backends.base import Backend
from pyxen.errors import HostClosed, InvalidArgument
from pyxen.operation import Calls
from pyxen.readers._reader import Deadline, Reader
from pyxen.readers._unread import Unread
from pyxen.records.xenstore import NodeChange

__all__ = ["ChangeQueue", "XenstoreWatch", "deadline_of", "watched_paths"]


class XenstoreWatch(Reader[NodeChange]):
    """A reader of the changes of some nodes, returned by `Xenstore.watch`. Any number of threads may read from it.

    ``for change in watch`` waits for each change. It ends when the host or the watch is closed, and raises
    `OperationTimeout` when the watch's deadline has passed. A watch that is garbage-collected is closed too.
    """

    def __init__(
        self, backend: Backend, calls: Calls, paths: Sequence[str], timeout: float | None, maxlen: int
    ) -> None:
        store = backend.xenstore()
        self._paths = watched_paths(paths)
        self._deadline = deadline_of(timeout, self._paths)
        self._queue = ChangeQueue(maxlen, backend.completer)
        self._stop = calls.ask(lambda: store.watch(self._paths, self._queue.put, self._queue.end))
        self._deadline.begin()

    def __repr__(self) -> str:
        return f"<XenstoreWatch of {', '.join(self._paths)}: {self._queue.status()}>"

    def __next__(self) -> NodeChange:
        if self._queue.ended or self._deadline.may_take(self._queue.unread):
            change = self._queue.take(self._deadline.left())
            if change is not None:
                return change
        if self._queue.ended:
            raise StopIteration
        raise self._deadline.passed()

    def get(self, timeout: float | None = None) -> NodeChange | None:
        """Return the next change, or None if no change arrives in time.

        Args:
            timeout: Seconds to wait; 0 returns only a change that has already arrived. None waits forever, whatever the
                deadline of the watch.

        Raises:
            HostClosed: The host or this watch was closed, and nothing is left to read.
        """
        change = self._queue.take(timeout_of(timeout, operation="xenstore.watch"))
        if change is None and self._queue.ended:
            raise HostClosed("xenstore.watch: the host, or this watch, was closed")
        return change

    def close(self) -> None:
        """End the watch and wake everything that waits for a change. Calling it again does nothing."""
        self._queue.drop()  # first: see `EventReader.close`
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()


class ChangeQueue(Unread[NodeChange]):
    """A bounded queue of unread changes that says so if it had to drop some. Both APIs use it."""

    def __init__(self, maxlen: int, completer: object = None) -> None:
        super().__init__(maxlen, "changes", completer)
        self._marked: set[str] = set()

    def _lose(self, item: NodeChange) -> None:
        if item.watched not in self._marked:  # one unread mark for each path, beyond `maxlen`
            self._marked.add(item.watched)
            self._items.append(NodeChange(item.watched, item.watched, lost=True))

    def _taken(self, item: NodeChange) -> None:
        if item.lost:  # the reader looks at the path now: what is lost from now on needs another mark
            self._marked.discard(item.watched)


def deadline_of(timeout: float | None, paths: Sequence[str]) -> Deadline:
    """Return the deadline of a loop over the changes of nodes."""
    return Deadline(timeout, "xenstore.watch", f"the changes of {paths[0]}")


def watched_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """Return paths that can be watched.

    Raises:
        InvalidArgument: One is not a path, or there is none.
    """
    if not paths:
        raise InvalidArgument("give at least one path to watch", operation="xenstore.watch")
    return tuple(check_watched(path) for path in paths)
