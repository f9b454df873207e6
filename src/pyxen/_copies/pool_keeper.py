"""The keeper of a pool: one thread that makes guests ahead, and removes those that are not to be handed out."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from pyxen._common.joinable import JoinableThread
from pyxen._common.own_thread import OwnThreads
from pyxen._common.ready_names import ready_prefix
from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen._common.stopping import Stop, stoppable
from pyxen._copies.copies import Copier, Copy, discard
from pyxen._copies.orphans import destroy_all
from pyxen._copies.steps import Steps
from pyxen._durations import bounded
from pyxen.backends.base import Backend, DomainRef
from pyxen.errors import HostClosed, InvalidState, OperationFailed, OperationTimeout
from pyxen.events import DomainDestroyed, Event
from pyxen.features import Feature
from pyxen.operation import Operation, describe

__all__ = ["Keeper", "Ready", "Source"]

_LOG = logger("pyxen.pool")

_AT_ONCE: Final = 4  # guests that are made at the same time
_TO_MAKE: Final = 600.0  # seconds for one guest
_LEAST_APART: Final = 0.5  # seconds from a try that has failed to the next
_MOST_APART: Final = 30.0  # the same, after many


class Ready(NamedTuple):
    """A guest that waits to be handed out."""

    ref: DomainRef
    copy: Copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the guests of a pool are made from.

    Attributes:
        copier: Makes their configurations and disks.
        saved: The file of a saved state; None to create them.
        autoballoon: Whether dom0 gives up memory for them.
    """

    copier: Copier
    saved: str | None
    autoballoon: bool | None

    def begin(self, copy: Copy) -> Operation[DomainRef]:
        """Begin to make a guest, which stays paused."""
        backend, balloon = self.copier.backend, self.autoballoon
        if self.saved is None:
            return backend.create(copy.config, paused=True, autoballoon=balloon, timeout=_TO_MAKE)
        return backend.restore(self.saved, copy.config, paused=True, autoballoon=balloon, timeout=_TO_MAKE)


class Keeper:
    """Keeps a number of guests ready. Any thread may use it.

    Nothing calls the backend while it holds the lock here: backends call back under their own.

    Args:
        backend: The host.
        source: What guests are made from.
        size: How many are ready or being made at a time.
        threads: The operations of the host with threads of their own, such as those of takers.
        on_close: Called with this keeper when it is closed.
    """

    def __init__(
        self,
        backend: Backend,
        source: Source,
        size: int,
        threads: OwnThreads,
        on_close: Callable[[Keeper], object],
    ) -> None:
        self.backend = backend
        self.size = size
        self.threads = threads
        self._source = source
        self._on_close = on_close
        self._claims = backend.claims()
        self._changed = threading.Condition()
        self._ready: deque[Ready] = deque()
        self._making: dict[Operation[DomainRef], Copy] = {}
        self._starting = 0  # being made, and not begun yet
        self._rejects: deque[Ready] = deque()
        self._out: dict[UUID, Operation[Any]] = {}  # being handed out, with the operation of the taker
        self._failures = 0  # in a row
        self._tries = 0  # that have ended, in all
        self._error: Exception | None = None
        self._first_error: Exception | None = None  # of the very first try
        self._not_before = 0.0
        self._closing = False
        self._prefix = ready_prefix(source.copier.base.name)
        self._numbers = itertools.count(1)
        self._pid = os.getpid()
        self._programs = Stop()  # ends the program of the host that makes a disk
        self._unsubscribe: Callable[[], None] = lambda: None
        self._thread = JoinableThread(target=self._run, name="pyxen-pool", daemon=True)

    def start(self) -> None:
        """Begin to make guests."""
        if Feature.EVENTS in self.backend.features:
            self._unsubscribe = self.backend.subscribe(self._take_event, self._wake)
        try:
            with shortage(OperationFailed, "pool: cannot begin"):
                self._thread.start()
        except BaseException:
            self._unsubscribe()
            raise

    @property
    def closed(self) -> bool:
        """Whether it is closed, or was opened before a fork."""
        return self._closing or self._pid != os.getpid()

    @property
    def ended(self) -> bool:
        """Whether it is closed, and its guests are gone."""
        return self.closed and (self._pid != os.getpid() or not self._thread.is_alive())

    def is_here(self) -> bool:
        """Tell whether this is the thread of the keeper, which `close` has to wait for."""
        return self._thread is threading.current_thread()

    @property
    def ready(self) -> int:
        """How many guests can be handed out now."""
        return len(self._ready)

    @property
    def error(self) -> Exception | None:
        """Why the last try to make a guest failed; None if it succeeded."""
        return self._error

    # For takers

    def take(self, steps: Steps) -> Ready:
        """Wait for a guest, and remove it from the pool.

        Raises:
            InvalidState: The pool is closed.
            OperationTimeout: None is ready in time.
            Error: None is ready, and none can be made: the error of a try that has ended meanwhile.
        """

        def serve() -> Ready | None:
            if not self._ready:
                return None
            guest = self._ready.popleft()
            self._out[guest.ref.uuid] = steps.operation
            return guest

        guest: Ready = self._await(steps, serve, "no guest of the pool was ready in time")
        self._wake()
        return guest

    def await_first(self, steps: Steps) -> None:
        """Wait until the first try to make a guest has ended, and raise the error that it failed with."""
        self._await(steps, lambda: self._tries or None, "the first guest was not ready in time")
        if self._first_error is not None:
            raise self._first_error

    def await_ready(self, steps: Steps, count: int) -> None:
        """Wait until a number of guests are ready; errors as for `take`."""
        self._await(steps, lambda: len(self._ready) >= count or None, f"{count} guests were not ready in time")

    def _await(self, steps: Steps, serve: Callable[[], Any], late: str) -> Any:
        if self._pid != os.getpid():  # a lock that another thread held would be locked for ever in this process
            raise HostClosed("the pool belongs to the process that was forked: open another")
        with steps.waking(self._wake), self._changed:
            seen = self._tries
            self._not_before = 0.0  # someone waits: try at once
            self._changed.notify_all()
            while True:
                if self.closed:
                    raise describe(InvalidState, "the pool is closed: open another", steps.operation)
                if steps.operation.stopped is not None and steps.operation.stopped != "timeout":
                    raise steps.stopped()
                served = serve()
                if served is not None:
                    return served
                if self._tries > seen and self._error is not None:
                    raise self._error
                if self._failures == 0:
                    seen = self._tries
                left = steps.left()
                if left == 0:
                    reason = "" if self._error is None else f"; the last try to make one failed: {self._error}"
                    raise describe(OperationTimeout, late + reason, steps.operation)
                self._changed.wait(bounded(left))

    def give_back(self, guest: Ready) -> None:
        """Put a guest back that was not changed."""
        with self._changed:
            self._ready.appendleft(guest)
            self._settle(guest)

    def reject(self, guest: Ready) -> None:
        """Destroy a guest that was changed, with its files, and wait until it is gone."""
        try:
            self._destroy([guest])
        finally:
            with self._changed:
                self._settle(guest)

    def hand_out(self, guest: Ready) -> None:
        """Give up the guest: from now on it is its taker's."""
        self._claims.drop(guest.copy.uuid)
        with self._changed:
            self._settle(guest)

    def _settle(self, guest: Ready) -> None:
        self._out.pop(guest.ref.uuid, None)
        self._changed.notify_all()

    def close(self) -> None:
        """Destroy the guests that are ready or being made, and wait until they are gone. It may be called again."""
        if self._pid != os.getpid():
            return
        with self._changed:
            first, self._closing = not self._closing, True
            running = [*self._making, *self._out.values()]
            self._changed.notify_all()
        if first:
            self._programs.request()
            for operation in running:
                operation.cancel()
        if self._thread.is_alive() and not self.is_here():
            self._thread.join()
        self._on_close(self)

    def abandon(self) -> None:
        """Begin to close, and return at once."""
        with contextlib.suppress(RuntimeError):  # no thread can be started any more: the interpreter ends
            threading.Thread(target=self.close, name="pyxen-pool-close", daemon=True).start()

    # The keeper's own thread

    def _run(self) -> None:
        try:
            with stoppable(self._programs):
                while not self._closing:
                    if not self._step():
                        self._rest()
        except HostClosed:
            _LOG.warning("the host was closed before its pool")
        except BaseException:
            _LOG.exception("the pool ends")
            raise
        finally:
            self._end()

    def _step(self) -> bool:
        """Do one thing; False if there is nothing to do now."""
        if self._rejects:
            self._clear()
            return True
        with self._changed:
            if not self._has_room(time.monotonic()):
                return False
            self._starting += 1
        try:
            self._make()
        finally:
            with self._changed:
                self._starting -= 1
        return True

    def _rest(self) -> None:
        """Wait until there is something to do.

        What changes meanwhile may also set the time of the next try, so each wait looks at that time anew.
        """
        with self._changed:
            while True:
                now = time.monotonic()
                if self._closing or self._rejects or self._has_room(now):
                    return
                self._changed.wait(self._not_before - now if self._not_before > now else None)

    def _has_room(self, now: float) -> bool:
        making = len(self._making) + self._starting
        there = len(self._ready) + len(self._out) + len(self._rejects)
        if self._closing or there + making >= self.size or making >= self._at_once():
            return False
        return now >= self._not_before

    def _at_once(self) -> int:
        """Return how many guests may be made at a time: one, until it is known that one can be made."""
        return 1 if self._failures or self._tries == 0 else _AT_ONCE

    def _make(self) -> None:
        """Begin to make a guest."""
        name = f"{self._prefix}{next(self._numbers)}"
        try:
            copy = self._source.copier.make(name, self._claims)
        except BaseException as error:  # noqa: BLE001 (also what the user's functions raise; takers get it)
            self._fail(error if isinstance(error, Exception) else _exit_in_a_function(error))
            return
        try:
            operation = self._source.begin(copy)
        except Exception as error:
            self._discard(copy)
            self._fail(error)
            if isinstance(error, HostClosed):
                raise
            return
        with self._changed:
            self._making[operation] = copy
        operation.add_done_callback(self._made)
        if self._closing:  # it may have been too early for `close` to see the operation
            operation.cancel()

    def _made(self, ended: Any) -> None:
        """Take a guest that was made; runs on a thread of the backend."""
        error = ended.exception()
        try:
            if error is not None:
                self._discard(self._making[ended])  # before it counts as made: then the claims may be closed
                self._fail(error)
        finally:  # `close` waits for that
            with self._changed:
                copy = self._making.pop(ended)
                if error is None:
                    self._ready.append(Ready(ended.result(), copy))
                    self._failures, self._error, self._not_before = 0, None, 0.0
                    self._tries += 1
                self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if self._tries == 0:
                self._first_error = error
            self._failures += 1
            self._tries += 1
            delay = min(_LEAST_APART * 2 ** min(self._failures - 1, 16), _MOST_APART)
            self._not_before = time.monotonic() + delay
            self._error = error
            self._changed.notify_all()
        if not self._closing:
            _LOG.warning("no guest could be made for the pool, tried again in %g s: %s", delay, error)

    def _discard(self, copy: Copy) -> None:
        """Remove the files of a guest that was not made."""
        discard(self.backend, self._claims, copy.uuid, copy.files)

    def _clear(self) -> None:
        with self._changed:
            rejects = list(self._rejects)
            self._rejects.clear()
        self._destroy(rejects)

    def _destroy(self, guests: list[Ready]) -> None:
        """Destroy guests. What cannot be destroyed stays claimed, and is an orphan when this pool is closed."""
        stay = {ref.uuid for ref in destroy_all(self.backend, [guest.ref for guest in guests])}
        for guest in guests:
            if guest.ref.uuid not in stay:
                self._discard(guest.copy)

    def _end(self) -> None:
        """Leave nothing."""
        self._unsubscribe()
        with self._changed:
            self._closing = True
            running = [*self._making, *self._out.values()]
            self._changed.notify_all()
        for operation in running:
            operation.cancel()
        with self._changed:
            while self._making or self._out:  # all of them are stopped, and operations always end
                self._changed.wait(_MOST_APART)
            self._rejects += self._ready
            self._ready.clear()
        self._clear()
        self._claims.close()

    # From elsewhere

    def _take_event(self, event: Event) -> None:
        """Forget a guest that someone else has destroyed; runs on a thread of the backend."""
        if isinstance(event, DomainDestroyed):
            with self._changed:
                key = (event.domid, event.uuid)
                gone = [guest for guest in self._ready if (guest.ref.domid, guest.ref.uuid) == key]
                for guest in gone:
                    self._ready.remove(guest)
                    self._rejects.append(guest)
                if gone:
                    self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _exit_in_a_function(error: BaseException) -> OperationFailed:
    """Return the error for an exit, such as `SystemExit`, in a function of the user's: it ends no pool."""
    message = f"a function that was given for the guests of the pool ended with {type(error).__name__}: {error}"
    failed = OperationFailed(message, operation="create")
    failed.__cause__ = error
    return failed
