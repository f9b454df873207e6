"""Calls on many hosts side by side, each on a thread of its own, so that one that hangs holds no other."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Final, TypeAlias, TypeVar

from pyxen._common.arguments import check_is, check_number
from pyxen._common.shortage import shortage
from pyxen._durations import bounded, timeout_of
from pyxen._functions import check_answer, check_function
from pyxen._inventory import check_uris
from pyxen.connection import connect
from pyxen.errors import HostClosed, InvalidArgument, NotFound, OperationFailed, OperationTimeout
from pyxen.host import Host
from pyxen.operation import check_may_wait
from pyxen.records.answers import Answer, Answers

__all__ = ["CLOSE_SECONDS", "HostCall", "HostCalls", "Places", "no_answer", "still_busy"]

T = TypeVar("T")

HostCall: TypeAlias = Callable[[Host], T]
"""What is called with each host. In `pyxen.aio` it returns what can be awaited."""

CLOSE_SECONDS: Final = 10.0
"""How long a close waits for a host that hangs."""

MOST_AT_ONCE: Final = 1024
"""The most hosts that are asked at the same time; each takes a thread."""


class Places:
    """The hosts' names and URIs, and how many of them are asked at once, for both APIs."""

    def __init__(self, uris: Mapping[str, str], *, at_once: int, timeout: float | None) -> None:
        self.uris = check_uris(uris)
        check_number(at_once, "hosts")
        if not 1 <= at_once <= MOST_AT_ONCE:
            raise InvalidArgument(f"at_once={at_once} is out of range: use 1 to {MOST_AT_ONCE}", operation="hosts")
        self.at_once = at_once
        self.timeout = timeout_of(timeout, operation="hosts")

    def check_name(self, name: str) -> None:
        """Check that there is a host with this name."""
        check_is(str, name, "hosts", ", the name of a host")
        if name not in self.uris:
            raise NotFound(f"there is no host {name!r}; the hosts are {', '.join(self.uris)}", operation="hosts")


class _Place:
    """A host that is opened when it is first needed."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._host: Host | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self.late: Future[Any] | None = None

    def opened(self) -> Host:
        """Return the host. If opening it failed before, this tries again."""
        if os.getpid() != self._pid:  # a thread that is not in this child may hold the lock
            raise HostClosed("the hosts belong to the process that was forked: open them again")
        with self._lock:
            if self._closed:
                raise HostClosed("the hosts are closed: open them again")
            if self._host is None:
                self._host = connect(self._uri)
            return self._host

    def close(self) -> None:
        """Close the host. If it is being opened, wait for that first."""
        self._closed = True
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._host is not None:
                self._host.close()


class HostCalls:
    """The calls of `pyxen.Hosts`. `pyxen.aio` has a class of the same name with coroutines as its methods."""

    def __init__(self, places: Places) -> None:
        self._at_once, self._timeout = places.at_once, places.timeout
        self._places = {name: _Place(uri) for name, uri in places.uris.items()}

    def one(self, name: str) -> Host:
        """Open a host, if it is not open."""
        answers = self._side_by_side({name: self._places[name].opened}, self._timeout)
        return answers[name].value

    def open(self) -> Answers[Host]:
        """Open all hosts that are not open."""
        return self._side_by_side({name: place.opened for name, place in self._places.items()}, self._timeout)

    def each(self, call: HostCall[T], timeout: float | None = None) -> Answers[T]:
        """Make a call on each host, opened if need be."""
        check_function(call, "call", "hosts")
        seconds = self._timeout if timeout is None else timeout_of(timeout, operation="hosts")

        def made(place: _Place) -> Callable[[], T]:
            return lambda: _ran(call(place.opened()))

        return self._side_by_side({name: made(place) for name, place in self._places.items()}, seconds)

    def close(self) -> None:
        """Close all hosts."""
        for place in self._places.values():
            place.late = None  # the close of a host that hangs waits for its turn, too
        closes = {name: place.close for name, place in self._places.items()}
        closed = self._side_by_side(closes, CLOSE_SECONDS, at_once=len(closes), always=True)
        errors = [error for error in closed.errors.values() if not isinstance(error, OperationTimeout)]
        if errors:
            raise ExceptionGroup("some hosts were not closed in order", errors)

    def _side_by_side(
        self,
        calls: Mapping[str, Callable[[], T]],
        seconds: float | None,
        *,
        at_once: int | None = None,
        always: bool = False,
    ) -> Answers[T]:
        check_may_wait("hosts")
        answers: dict[str, Answer[T]] = {}
        waiting = deque(calls)
        running: dict[Future[T], tuple[str, float | None]] = {}
        while waiting or running:
            while waiting and len(running) < (at_once or self._at_once):
                name = waiting.popleft()
                earlier = self._places[name].late
                if earlier is not None and not earlier.done():
                    answers[name] = Answer(None, still_busy())
                else:
                    end = None if seconds is None else time.monotonic() + seconds
                    running[_started(calls[name], always=always)] = name, end
            first = min((end for _, end in running.values() if end is not None), default=None)
            left = None if first is None else first - time.monotonic()
            done, _ = wait(running, timeout=bounded(left), return_when=FIRST_COMPLETED)
            for call in done:
                answers[running.pop(call)[0]] = _answer(call)
            for call, name in list(_expired(running)):
                del running[call]
                self._places[name].late = call
                answers[name] = Answer(None, no_answer(seconds))
        return Answers({name: answers[name] for name in calls})


def no_answer(seconds: float | None) -> OperationTimeout:
    """Return the error of a host that does not answer."""
    return OperationTimeout(f"the host has not answered for {seconds:g} s: is it up, and is the way to it open?")


def still_busy() -> OperationTimeout:
    """Return the error of a host that still hangs in an earlier call."""
    return OperationTimeout("the host has not answered an earlier call yet, and is asked again when it has")


def _ran(answer: T) -> T:
    """Return what a user's function has returned, unless the function has yet to run."""
    check_answer(answer, "call", "hosts")
    return answer


def _started(call: Callable[[], T], *, always: bool) -> Future[T]:
    """Make a call on a thread of its own. If there is no thread for it, it fails, or with `always` is made here."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 (it is what the host answers)
            answer.set_exception(error)

    # A daemon: a host that hangs must not keep this program from its end.
    try:
        with shortage(OperationFailed, "cannot start a thread"):
            threading.Thread(target=run, name="pyxen-hosts", daemon=True).start()
    except OperationFailed as error:
        if always:
            run()
        else:
            answer.set_exception(error)
    return answer


def _answer(call: Future[T]) -> Answer[T]:
    error = call.exception()
    if error is None:
        return Answer(call.result())
    if isinstance(error, Exception):
        return Answer(None, error)
    raise error  # such as a SystemExit of the caller's own function


def _expired(running: Mapping[Future[T], tuple[str, float | None]]) -> Iterator[tuple[Future[T], str]]:
    now = time.monotonic()
    for call, (name, end) in running.items():
        if end is not None and now >= end:
            yield call, name
