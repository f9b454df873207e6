"""The thread that watches nodes of xenstore for users, over a connection of its own."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from pyxen._common.joinable import JoinableThread
from pyxen._common.shield import logger, shielded
from pyxen._common.shortage import shortage
from pyxen._common.xenstore import refused
from pyxen.backends.xenlight.xenstore.connection import Connection, Request, Verb
from pyxen.backends.xenlight.xenstore.gate import INTERRUPTS, Gate
from pyxen.backends.xenlight.xenstore.joining import thread_failed, wait_joined
from pyxen.errors import ConnectFailed, HostClosed, OperationFailed
from pyxen.records.xenstore import NodeChange

__all__ = ["Watches"]

_LOG: Final = logger("pyxen.xenstore")

_PAUSE = 250  # milliseconds between attempts to reconnect to xenstored, and from a refusal to the next attempt
_LONGEST_PAUSE = 5_000  # milliseconds between attempts at most, while xenstored goes on to refuse the watches
_ENDED: Final = "xenstore: the host was closed"


class _Watcher:
    """One call of `Watches.watch`.

    Attributes:
        first: The token of its first path; the others have the following numbers.
        lost: The paths whose changes may be incomplete until their next one.
    """

    def __init__(
        self, paths: Sequence[str], first: int, on_change: Callable[[NodeChange], None], on_end: Callable[[], None]
    ) -> None:
        self.paths = paths
        self.first = first
        self.on_change = on_change
        self.on_end = on_end
        self.listens = True
        self.lost: set[str] = set()
        self.joined: Future[None] = Future()

    def tokens(self) -> range:
        return range(self.first, self.first + len(self.paths))

    def requests(self, verb: Verb) -> list[Request]:
        return [(verb, f"{path}\0{token}\0".encode()) for path, token in zip(self.paths, self.tokens(), strict=True)]


class Watches:
    """Watches nodes as long as anyone wants to know, on its own thread.

    Args:
        connect: Opens a connection to xenstore.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._gate = Gate()
        self._joining: deque[_Watcher] = deque()
        self._wake = -1
        self._pid = os.getpid()
        self._closed = False
        self._failure: BaseException | None = None
        """What has ended the thread, if it was not closed."""
        self._next_token = 0
        self._thread: threading.Thread | None = None
        # The following attributes belong to the thread.
        self._watchers: list[_Watcher] = []
        self._by_token: dict[str, tuple[_Watcher, str]] = {}
        self._xenstore: Connection | None = None
        self._broken = False
        self._pause = _PAUSE

    def watch(
        self, paths: Sequence[str], on_change: Callable[[NodeChange], None], on_end: Callable[[], None]
    ) -> Callable[[], None]:
        """Call a function with each change; see `pyxen.backends.store.Store.watch`.

        Raises:
            HostClosed: The host was closed, or belongs to the parent of this process.
            ConnectFailed: xenstore cannot be reached, or does not answer.
            XenstoreQuota: xenstore allows no more watches.
            OperationTimeout: The thread is busy for too long.
            OperationFailed: The thread cannot be started, or has failed.
        """
        self._check_open()  # check first: after a fork, a thread that was not copied may hold the gate
        with self._gate.entered() as interrupts:
            self._check_open()
            if interrupts:
                raise OperationFailed(INTERRUPTS, operation="xenstore.watch")
            watcher = _Watcher(tuple(paths), self._next_token, on_change, on_end)
            self._next_token += len(watcher.paths)
            self._joining.append(watcher)
            here = threading.current_thread() is self._thread
            if self._thread is None:
                self._start(watcher)
            self._rouse()
        if here:  # in a callback, which cannot wait for its own thread
            return lambda: self._leave(watcher)
        try:
            wait_joined(watcher.joined, "xenstore.watch")
        except BaseException:
            self._leave(watcher)
            raise
        return lambda: self._leave(watcher)

    def _start(self, watcher: _Watcher) -> None:
        thread = JoinableThread(target=self._run, name="pyxen-xenstore", daemon=True)
        try:
            with shortage(OperationFailed, "xenstore: cannot start a thread"):
                if self._wake < 0:
                    self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._thread = thread
                thread.start()
        except BaseException:  # Ctrl-C, too
            self._thread = None  # if it has begun nevertheless, it sees that it is not needed
            self._joining.remove(watcher)
            raise

    def close(self) -> None:
        """Call each `on_end`, and end the thread. Calling it again does nothing."""
        if os.getpid() != self._pid:
            return
        with self._gate.entered() as interrupts:
            self._closed = True
            thread = self._thread
            self._rouse()
        if thread is None:
            self._end()
        elif thread is not threading.current_thread() and not interrupts:
            thread.join()

    def _leave(self, watcher: _Watcher) -> None:
        watcher.listens = False
        if os.getpid() == self._pid:
            self._rouse()

    def _check_open(self) -> None:
        if self._failure is not None and os.getpid() == self._pid:
            raise thread_failed("xenstore.watch", self._failure)
        if self._closed or os.getpid() != self._pid:
            raise HostClosed("xenstore: the host is closed, or was opened before a fork: open it again")

    def _rouse(self) -> None:
        with self._gate.entered():
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    # The following methods run on the thread

    def _run(self) -> None:
        with self._gate.entered():
            if self._thread is not threading.current_thread():
                return
        try:
            while self._goes_on():
                self._join()
                self._wait()
                self._receive()
        except BaseException as error:
            self._failure, self._closed = error, True
            raise
        finally:
            if self._closed:
                self._end()

    def _goes_on(self) -> bool:
        """Tell whether the thread is still needed. If not, the next watch starts another one."""
        gone = [watcher for watcher in self._watchers if not watcher.listens]
        self._watchers = [watcher for watcher in self._watchers if watcher.listens]
        if not self._watchers:
            self._disconnect()
        elif gone:
            self._unwatch(gone)
        with self._gate.entered():
            if self._closed:
                return False
            if not self._joining and not self._watchers:
                self._thread = None
            return self._thread is not None

    def _unwatch(self, gone: Sequence[_Watcher]) -> None:
        for watcher in gone:
            for token in watcher.tokens():
                del self._by_token[str(token)]
        if self._xenstore is not None:
            try:
                self._xenstore.batch([request for watcher in gone for request in watcher.requests(Verb.UNWATCH)])
            except ConnectFailed as error:
                self._break(error)

    def _join(self) -> None:
        """Begin the watches that wait for it. If xenstored does not answer one of them, none of them begins."""
        while self._joining and not self._closed:
            watcher = self._joining.popleft()
            try:
                self._begin(self._connected(), watcher)
            except ConnectFailed as error:
                self._break(error)
                waiting, self._joining = [watcher, *self._joining], deque()
                for each in waiting:
                    self._refuse(each, error)
            except OperationFailed as error:
                self._refuse(watcher, error)
            except BaseException as error:  # the thread ends, and `_end` knows nothing of this watcher
                self._refuse(watcher, thread_failed("xenstore.watch", error))
                raise
            else:
                self._watchers.append(watcher)
                watcher.joined.set_result(None)

    def _connected(self) -> Connection:
        """Return the connection. After it broke, connect again, and watch everything again.

        xenstored then reports each path at once, and that report counts as one before which changes were lost.
        """
        if self._xenstore is None:
            xenstore = self._connect()
            try:
                for watcher in self._watchers:
                    watcher.lost.update(watcher.paths)
                    self._begin(xenstore, watcher)
            except BaseException:
                xenstore.close()
                raise
            self._xenstore = xenstore
            self._broken = False
        return self._xenstore

    def _refuse(self, watcher: _Watcher, error: Exception) -> None:
        for token in watcher.tokens():
            self._by_token.pop(str(token), None)
        watcher.joined.set_exception(error)
        shielded(watcher.on_end)

    def _begin(self, xenstore: Connection, watcher: _Watcher) -> None:
        for path, token in zip(watcher.paths, watcher.tokens(), strict=True):
            self._by_token[str(token)] = watcher, path
        answers = xenstore.batch(watcher.requests(Verb.WATCH))
        for path, answer in zip(watcher.paths, answers, strict=True):
            if isinstance(answer, OSError):
                xenstore.batch(watcher.requests(Verb.UNWATCH))
                raise refused(answer.errno or 0, "watch", path)

    def _wait(self) -> None:
        """Wait until something has happened: a change, a watcher that joined or left, or time to reconnect."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if self._xenstore is not None:
            if self._xenstore.events:
                return
            poll.register(self._xenstore, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(self._pause if self._broken else None)]
        if self._wake in ready:
            os.eventfd_read(self._wake)

    def _receive(self) -> None:
        """Pass on the changes that have arrived, or reconnect."""
        if not self._watchers:
            return
        try:
            xenstore = self._connected()
            if not xenstore.events and _readable(xenstore):
                xenstore.receive()
        except (ConnectFailed, OperationFailed) as error:
            self._break(error)
            return
        while xenstore.events:
            path, token = xenstore.events.popleft()
            watcher, watched = self._by_token.get(token, (None, ""))
            if watcher is not None and watcher.listens:
                change = NodeChange(path, watched, lost=watched in watcher.lost)
                watcher.lost.discard(watched)
                shielded(watcher.on_change, change)

    def _break(self, error: ConnectFailed | OperationFailed) -> None:
        """Try again after a pause. Attempts that xenstored refuses in a row are further and further apart."""
        if self._watchers and not self._broken:
            _LOG.warning("watches of xenstore are interrupted: %s", error)
        if self._xenstore is not None:
            self._xenstore.close()
        self._xenstore = None
        refused_again = self._broken and not isinstance(error, ConnectFailed)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if refused_again else _PAUSE
        self._broken = True

    def _disconnect(self) -> None:
        if self._xenstore is not None:
            self._xenstore.close()
        self._xenstore = None
        self._by_token.clear()
        self._broken = False

    def _end(self) -> None:
        """Release everything. No watcher is left waiting, whatever the reason for the end."""
        self._disconnect()
        while self._joining:
            failure = self._failure
            error = HostClosed(_ENDED) if failure is None else thread_failed("xenstore.watch", failure)
            self._refuse(self._joining.popleft(), error)
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if watcher.listens:
                shielded(watcher.on_end)
        with self._gate.entered():
            wake, self._wake = self._wake, -1
            if wake >= 0:
                os.close(wake)


def _readable(xenstore: Connection) -> bool:
    poll = select.poll()
    poll.register(xenstore, select.POLLIN)
    return bool(poll.poll(0))
