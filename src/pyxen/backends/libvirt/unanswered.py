"""What libvirt was asked for and has not answered: if the link breaks meanwhile, libvirt may do it all the same.

Nobody hears of its success then. So what it may have done is looked for once libvirt answers again, and undone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Literal, Protocol

from pyxen._common.shield import logger
from pyxen.backends.libvirt.binding import Connection
from pyxen.backends.libvirt.error_map import words_of
from pyxen.backends.libvirt.frames import release
from pyxen.backends.libvirt.timer_thread import TimerThread
from pyxen.errors import HostClosed, OperationFailed
from pyxen.operation import Operation

__all__ = ["Request", "Seen", "Unanswered"]

_LOG: Final = logger("pyxen.libvirt")

_BETWEEN: Final = 1.0  # seconds between two looks
_ENOUGH: Final = 60.0  # seconds that libvirt answers and knows nothing of it, after which it will not come any more
_LONGEST: Final = 3600.0  # seconds that libvirt may be away, or take to do it

Lease = Callable[[], AbstractContextManager[Connection]]
Seen = Literal["undone", "coming", "absent"]
"""What was found: nothing is left of it, libvirt is doing it, or libvirt knows nothing of it."""


class Request(Protocol):
    """What libvirt is asked to bring about."""

    @property
    def key(self) -> Hashable:
        """What identifies it. Two requests with one key are for the same thing."""

    def undo(self, connection: Connection) -> Seen:
        """Undo it if it is there."""


class _Lost:
    """A request whose answer was lost."""

    def __init__(self, operation: Operation[Any], lease: Lease, request: Request) -> None:
        self.operation = operation
        self.lease = lease
        self.request = request
        self.undoing = threading.Lock()
        self.end = time.monotonic() + _LONGEST
        self.absent_since: float | None = None


class Unanswered:
    """The requests to libvirt that are not answered, and the undoing of those whose answer was lost.

    Args:
        timer: Has the times of the next looks.
        submit: Has a thread make a call.
    """

    def __init__(self, timer: TimerThread, submit: Callable[[Callable[[], None]], None]) -> None:
        self._timer = timer
        self._submit = submit
        self._lock = threading.Lock()
        self._asked: dict[Operation[Any], Request] = {}
        self._lost: list[_Lost] = []
        self._listening: list[set[Hashable]] = []

    def ask(self, operation: Operation[Any], request: Request) -> None:
        """Note what an operation is about to ask for.

        If it was asked for before, and the answer was lost, it is now wanted again: the earlier one is not undone.
        """
        with self._lock:
            for other in [each for each, asked in self._asked.items() if asked.key == request.key]:
                del self._asked[other]
            dropped = [lost for lost in self._lost if lost.request.key == request.key]
            self._lost = [lost for lost in self._lost if lost not in dropped]
            self._asked[operation] = request
            for keys in self._listening:
                keys.add(request.key)
        for lost in dropped:
            with lost.undoing:  # one that is being undone now must be gone before it is asked for
                pass

    def answered(self, operation: Operation[Any]) -> None:
        """Note that libvirt has answered."""
        with self._lock:
            self._asked.pop(operation, None)

    def lost(self, operation: Operation[Any], lease: Lease) -> bool:
        """Undo what an operation asked for once libvirt answers again; return False if that is not known."""
        with self._lock:
            request = self._asked.pop(operation, None)
            if request is None:
                return False
            lost = _Lost(operation, lease, request)
            self._lost.append(lost)
        self._later(lost)
        return True

    @contextmanager
    def meanwhile(self) -> Iterator[set[Hashable]]:
        """Yield the keys of the requests that there are, with those that come meanwhile."""
        with self._lock:
            keys = {request.key for request in self._asked.values()} | {lost.request.key for lost in self._lost}
            self._listening.append(keys)
        try:
            yield keys
        finally:
            with self._lock:
                self._listening = [each for each in self._listening if each is not keys]

    def close(self) -> None:
        """Give up looking."""
        with self._lock:
            left, self._lost = self._lost, []
        for lost in left:
            if lost.absent_since is None:
                self._warn(lost, "the host was closed before libvirt answered again")

    def _later(self, lost: _Lost) -> None:
        self._timer.at(time.monotonic() + _BETWEEN, lambda: self._begin(lost))

    def _begin(self, lost: _Lost) -> None:
        try:
            self._submit(lambda: self._look(lost))
        except OperationFailed as error:  # no thread can be started now
            _LOG.debug("%r: %s", lost.operation, str(error))
            self._later(lost)

    def _look(self, lost: _Lost) -> None:
        try:
            with lost.lease() as connection, lost.undoing:
                if lost not in self._lost:
                    return
                seen = lost.request.undo(connection)
        except HostClosed:
            return
        except Exception as error:  # noqa: BLE001 (the next look may succeed)
            release(error)
            _LOG.debug("%r: it cannot be undone yet: %s", lost.operation, words_of(error))
            seen = "coming"
        now = time.monotonic()
        if seen != "absent":
            lost.absent_since = None
        elif lost.absent_since is None:
            lost.absent_since = now
        if seen == "undone":
            self._drop(lost)
            _LOG.info("%r: nothing is left of what libvirt did after the link broke", lost.operation)
        elif lost.absent_since is not None and now - lost.absent_since > _ENOUGH:
            self._drop(lost)
        elif now > lost.end:
            self._drop(lost)
            self._warn(lost, "libvirt did not answer for too long")
        else:
            self._later(lost)

    def _drop(self, lost: _Lost) -> None:
        with self._lock:
            self._lost = [each for each in self._lost if each is not lost]

    @staticmethod
    def _warn(lost: _Lost, why: str) -> None:
        _LOG.warning("%r: %s: what libvirt may have done is not undone", lost.operation, why)
