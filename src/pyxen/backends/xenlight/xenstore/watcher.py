"""The thread that watches a host, and the subscribers to its events."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from pyxen._common.joinable import JoinableThread
from pyxen._common.shield import logger, shielded
from pyxen._common.shortage import shortage
from pyxen.backends.xenlight.xenstore.connection import Connection
from pyxen.backends.xenlight.xenstore.event_diff import EventDiff
from pyxen.backends.xenlight.xenstore.gate import INTERRUPTS, Gate
from pyxen.backends.xenlight.xenstore.joining import thread_failed, wait_joined
from pyxen.backends.xenlight.xenstore.watch_hints import from_guest
from pyxen.errors import ConnectFailed, HostClosed, OperationFailed
from pyxen.events import Event
from pyxen.records.info import DomainInfo

__all__ = ["Watcher"]

_LOG = logger("pyxen.events")

_PAUSE = 0.25  # seconds between attempts to reconnect to xenstored, and from a refusal to the next look
_LONGEST_PAUSE = 5.0  # seconds between looks at most, while xenstored goes on to refuse them
_APART = 0.05  # seconds between looks: a guest can write to xenstore a thousand times a second


class _Subscriber:
    """A subscriber to events."""

    def __init__(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> None:
        self.on_event = on_event
        self.on_end = on_end
        self.listens = True
        self.joined: Future[None] = Future()


class Watcher:
    """Watches a host as long as there are subscribers, on its own thread and over its own connection.

    Args:
        look: Returns the current state of all domains, from any thread; names are not needed.
        connect: Opens a connection to xenstore.
    """

    def __init__(self, look: Callable[[], list[DomainInfo]], connect: Callable[[], Connection] = Connection) -> None:
        self._look = look
        self._connect = connect
        self._gate = Gate()
        self._joining: deque[_Subscriber] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._pid = os.getpid()
        self._closed = False
        self._failure: BaseException | None = None
        """What has ended the thread, if it was not closed."""
        self._thread: threading.Thread | None = None
        # The following attributes belong to the thread.
        self._subscribers: list[_Subscriber] = []
        self._xenstore: Connection | None = None
        self._changes: EventDiff | None = None
        self._broken = False
        self._pause = _PAUSE
        self._next_look = 0.0

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        """Call a function with each event from now on. No event after this returns is missed.

        Both functions are called on the watcher's thread. They should be quick, since all other subscribers wait for
        them. Exceptions that they raise go to `threading.excepthook`, and affect nothing else.

        Args:
            on_event: Called with each event, one after the other.
            on_end: Called once, when the host is closed and no more events will follow.

        Returns:
            A function that ends the subscription, from any thread. It does not wait for a call in progress.

        Raises:
            HostClosed: The host was closed, or belongs to the parent of this process.
            ConnectFailed: xenstore cannot be reached.
            OperationTimeout: The thread is busy for too long.
            OperationFailed: The thread cannot be started, or has failed.
        """
        self._check_open()  # check first: after a fork, a thread that was not copied may hold the gate
        subscriber = _Subscriber(on_event, on_end)
        with self._gate.entered() as interrupts:
            self._check_open()
            if interrupts:
                raise OperationFailed(INTERRUPTS, operation="events")
            if threading.current_thread() is self._thread:  # in a callback; it cannot wait for itself
                self._subscribers.append(subscriber)
                return lambda: self._leave(subscriber)
            if self._thread is None:
                thread = JoinableThread(target=self._run, name="pyxen-events", daemon=True)
                self._joining.append(subscriber)  # before the thread begins: without it, the thread would end
                try:
                    with shortage(OperationFailed, "events: cannot start a thread"):
                        self._thread = thread
                        thread.start()
                except BaseException:  # Ctrl-C, too
                    self._thread = None  # if it has begun nevertheless, it sees that it is not needed
                    self._joining.remove(subscriber)
                    raise
            else:
                self._joining.append(subscriber)
            self._rouse()
        try:
            wait_joined(subscriber.joined, "events")
        except BaseException:
            self._leave(subscriber)
            raise
        return lambda: self._leave(subscriber)

    def close(self) -> None:
        """Call each subscriber's `on_end`, and end the thread. Calling it again does nothing."""
        if os.getpid() != self._pid:
            return  # the thread belongs to the parent
        with self._gate.entered() as interrupts:
            self._closed = True
            thread = self._thread
            self._rouse()
        if thread is None:
            self._end()
        elif thread is not threading.current_thread() and not interrupts:
            thread.join()

    def _leave(self, subscriber: _Subscriber) -> None:
        subscriber.listens = False
        self._rouse()

    def _check_open(self) -> None:
        if self._failure is not None and os.getpid() == self._pid:
            raise thread_failed("events", self._failure)
        if self._closed or os.getpid() != self._pid:
            raise HostClosed("events: the host is closed, or was opened before a fork: open it again")

    def _rouse(self) -> None:
        if os.getpid() != self._pid:
            return
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
                if self._joining:
                    self._join(self._joining.popleft())
                elif self._wait():
                    self._advance()
        except BaseException as error:
            self._failure, self._closed = error, True
            raise
        finally:
            if self._closed:
                self._end()

    def _goes_on(self) -> bool:
        """Tell whether the thread is still needed. If not, the next subscription starts another one."""
        self._subscribers = [subscriber for subscriber in self._subscribers if subscriber.listens]
        if not self._subscribers:
            self._disconnect()
        with self._gate.entered():
            if self._closed:
                return False
            if not self._joining and not self._subscribers:
                self._thread = None
            return self._thread is not None

    def _join(self, subscriber: _Subscriber) -> None:
        try:
            if self._changes is None:
                self._xenstore = self._connect()
                self._changes = EventDiff(self._xenstore, self._look)
            else:
                self._catch_up(self._changes)
        except (ConnectFailed, OperationFailed) as error:
            self._break(error)
            subscriber.joined.set_exception(error)
        except BaseException as error:  # the thread ends, and `_end` knows nothing of this subscriber
            subscriber.joined.set_exception(thread_failed("events", error))
            raise
        else:
            self._subscribers.append(subscriber)
            subscriber.joined.set_result(None)

    def _wait(self) -> bool:
        """Wait until something may have happened; return False if a subscriber joined or left instead."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if not self._rest():
            os.eventfd_read(self._wake)
            return False
        if self._xenstore is not None and not self._broken:
            if self._xenstore.events:
                return True
            poll.register(self._xenstore, select.POLLIN)
        pause = max(0.0, self._next_look - time.monotonic()) if self._broken else None
        ready = [fd for fd, _ in poll.poll(None if pause is None else math.ceil(pause * 1000))]
        if self._wake in ready:
            os.eventfd_read(self._wake)
            return False
        return True

    def _rest(self) -> bool:
        """Collect hints from guests for a while after a look; return False if a subscriber joined or left."""
        xenstore = self._xenstore
        while xenstore is not None and not self._broken and all(from_guest(path) for path, _ in xenstore.events):
            rest = self._next_look - time.monotonic()
            if rest <= 0:
                break
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            poll.register(xenstore, select.POLLIN)
            ready = [fd for fd, _ in poll.poll(math.ceil(rest * 1000))]
            if self._wake in ready:
                return False
            if ready:
                try:
                    xenstore.receive()
                except ConnectFailed as error:
                    self._break(error)
                hints = dict.fromkeys(xenstore.events)
                xenstore.events.clear()
                xenstore.events.extend(hints)  # deduplicated, however often a guest has written
        return True

    def _advance(self) -> None:
        """Pass on the events that have happened."""
        if self._xenstore is None or self._changes is None:
            return
        try:
            if not self._broken and not self._xenstore.events:
                self._xenstore.receive()
            self._catch_up(self._changes)
        except (ConnectFailed, OperationFailed) as error:
            self._break(error)

    def _catch_up(self, changes: EventDiff) -> None:
        """Pass on all events up to now, also those that arrive while others are passed on."""
        if self._broken:
            self._tell(changes.resume())
            self._broken = False
        else:
            self._tell(changes.settle())
        self._next_look = time.monotonic() + _APART

    def _break(self, error: Exception) -> None:
        """Look again after a pause. Looks that xenstored refuses one after the other are further and further apart."""
        if self._subscribers and not self._broken:
            _LOG.warning("events are interrupted: %s", error)
        refused_again = self._broken and self._xenstore is not None and self._xenstore.is_open
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if refused_again else _PAUSE
        self._next_look = time.monotonic() + self._pause
        self._broken = True

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            for subscriber in list(self._subscribers):
                if subscriber.listens:
                    shielded(subscriber.on_event, event)

    def _disconnect(self) -> None:
        if self._xenstore is not None:
            self._xenstore.close()
        self._xenstore = self._changes = None
        self._broken = False

    def _end(self) -> None:
        """Release everything. No subscriber is left waiting, whatever the reason for the end."""
        self._disconnect()
        while self._joining:
            failure = self._failure
            error = HostClosed("events: the host was closed") if failure is None else thread_failed("events", failure)
            self._joining.popleft().joined.set_exception(error)
        subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            if subscriber.listens:
                shielded(subscriber.on_end)
        with self._gate.entered():
            wake, self._wake = self._wake, -1
            if wake >= 0:
                os.close(wake)
