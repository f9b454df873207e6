"""The work of a supervisor: one thread that tracks the domains and decides, and a pool of threads that act."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

from pyxen._common.shortage import shortage, submitted
from pyxen._durations import bounded
from pyxen._functions import check_answer
from pyxen._printable import printable
from pyxen.config import ActionOnShutdown
from pyxen.errors import DomainNotFound, Error, HostClosed, OperationCancelled, OperationFailed
from pyxen.events import DomainCreated, DomainDestroyed, DomainShutdown, Event, EventsLost
from pyxen.host import Host
from pyxen.readers.events import EventReader
from pyxen.records.info import ENDS, RUNS, DomainInfo, DomainState, ShutdownReason
from pyxen.supervisor.actions import (
    _LOG,
    Case,
    Outcome,
    Unremoved,
    create_anew,
    fulfil,
    may_pass,
    not_studied,
    passes,
    reason_of,
    state_still,
    study,
)
from pyxen.supervisor.core_dump import Dumper
from pyxen.supervisor.policy import RESTARTS, Brake

__all__ = ["NO_THREAD", "Work"]

_Key = tuple[int, UUID]
"""Domids are reused, so only domid and uuid together identify a domain."""

NO_THREAD = "the supervisor cannot start a thread"
_AT_ONCE = 16  # domains being destroyed or restarted
_DUMPS_AT_ONCE = 2
_LEAST_APART, _MOST_APART = 0.2, 30.0  # seconds between retries after a transient error
_TRIES = 5  # to create a domain that was destroyed, or to find out what a domain needs


class _Phase(Enum):
    RUNS = auto()
    IN_HAND = auto()
    WAITS = auto()
    """Ended, and waiting for its restart."""
    LEFT = auto()
    """Ended, and left as it is."""


@dataclass(slots=True)
class _Domain:
    """The state that the supervisor keeps for a domain."""

    phase: _Phase = _Phase.RUNS
    started: float | None = None
    """Start time by `time.monotonic`; None if the domain started before the supervisor."""
    uptime: float | None = None
    """Seconds from its start to its end; None if the start was not seen."""
    stumbles: int = 0
    """How many errors occurred in a row."""
    failures: int = 0
    """How many of them were not transient."""
    judged: bool = False
    """Whether its action and the delay of its restart are known."""
    end: DomainInfo | DomainShutdown | None = None
    """How it was when it ended."""
    missed: DomainInfo | DomainShutdown | None = None
    """An end that was reported while an earlier one was still being handled."""
    ran: bool = False
    """Whether a look has found it running while its end was being handled."""
    found: DomainInfo | None = None
    """How it was when a look found that it had ended, and it was left. The event of that end may still come."""


@dataclass(frozen=True, slots=True)
class _Tries:
    """How often it was tried to create a domain anew."""

    failed: int = 0
    """How many of them failed for a reason that may be the domain's fault."""
    stumbled: int = 0
    """How many failed with a transient error."""


class Work:
    """One run of a supervisor. Its methods run on the thread of `run`, unless they say otherwise.

    `begin` comes before that, and `close` instead of `run`.
    """

    def __init__(
        self,
        host: Host,
        inbox: SimpleQueue[Event | Callable[[], object] | None],
        brake: Brake,
        leave: Callable[[DomainInfo], str | None],
        dumper: Dumper,
        on_outcome: Callable[[Outcome], object] | None,
    ) -> None:
        self._host = host
        self._inbox = inbox
        self._brake = brake
        self._leave = leave
        self._dumper = dumper
        self._on_outcome = on_outcome
        self._domains: dict[_Key, _Domain] = {}
        self._short_lives: dict[UUID, int] = {}  # in a row; domains without any are absent
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._ending = False
        self._number = itertools.count()  # breaks ties in the heap, since functions have no order
        # What is told of a domain that is being removed, or is removed and not yet created again, if that never ends.
        # The action threads write it, too.
        self._unborn: dict[_Key, tuple[Case, Outcome]] = {}
        self._doubts: dict[_Key, tuple[Case, Outcome]] = {}  # destroyed or not: the call that did it has failed
        self._actors = ThreadPoolExecutor(_AT_ONCE, "pyxen-supervisor-act")
        self._dumpers = ThreadPoolExecutor(_DUMPS_AT_ONCE, "pyxen-supervisor-dump")
        self._events = host.events(DomainCreated, DomainShutdown, DomainDestroyed)
        feed = (self._events, inbox)
        self._feeder = threading.Thread(target=_feed, args=feed, name="pyxen-supervisor-events", daemon=True)
        try:
            with shortage(OperationFailed, NO_THREAD):
                self._feeder.start()
        except BaseException:
            self._events.close()
            raise

    def begin(self) -> None:
        """Look which domains there are, for the first time."""
        self._look()
        _LOG.info("supervising %d domains of %s", len(self._domains), self._host.uri)

    def run(self) -> None:
        """Act until it is stopped."""
        try:
            while self._step():
                pass
        except HostClosed:
            _LOG.info("the host was closed")
        finally:
            self.close()

    def close(self) -> None:
        """Finish what has begun, and release what it holds. Calling it again does nothing."""
        if self._ending:
            return
        self._end()
        self._feeder.join()

    def _step(self) -> bool:
        """Handle the next item; return False at the end."""
        left = self._due[0][0] - time.monotonic() if self._due else None
        if left is not None and left <= 0:
            heapq.heappop(self._due)[2]()
            return True
        try:
            item = self._inbox.get(timeout=bounded(left))
        except Empty:
            return True
        if item is None:
            return False
        if isinstance(item, Event):
            self._take(item)
        else:
            item()
        return True

    def _end(self) -> None:
        self._ending = True
        try:
            try:
                self._events.close()
                self._dumper.stop()
                self._dumpers.shutdown()
                self._actors.shutdown()
            finally:  # if Ctrl-C has interrupted the waiting, nothing else begins
                self._dumpers.shutdown(wait=False, cancel_futures=True)
                self._actors.shutdown(wait=False, cancel_futures=True)
                self._take_results()
        finally:
            self._tell_unfinished()

    def _take_results(self) -> None:
        """Take the results of the last actions."""
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
            if item is not None and not isinstance(item, Event):
                item()

    def _tell_unfinished(self) -> None:
        """Report what may have been destroyed and was not created again: nobody else has its configuration."""
        unfinished = {**self._doubts, **self._unborn.copy()}.values()
        for case, outcome in unfinished:
            _LOG.error("%s: %s is not finished, the supervisor was stopped: %s", case, case.action, outcome.error)
        waiting = sum(domain.phase is _Phase.WAITS for domain in self._domains.values())
        _LOG.info("stopped; %d domains that have ended are left for the next supervisor", waiting)
        with contextlib.ExitStack() as rest:  # if Ctrl-C interrupts one call, the others are made all the same
            for _, outcome in unfinished:
                rest.callback(self._tell, outcome)

    # Events

    def _take(self, event: Event) -> None:
        if isinstance(event, EventsLost):
            self._look_again()
        if event.domid is None or event.uuid is None:
            return
        key = (event.domid, event.uuid)
        if isinstance(event, DomainDestroyed):
            self._gone(key)
        elif isinstance(event, DomainCreated):
            self._domains.setdefault(key, _Domain()).started = time.monotonic()
        elif isinstance(event, DomainShutdown):
            self._ended(key, event)

    def _look_again(self) -> None:
        """Compare with the host's list of domains; retry later if the host cannot list them."""
        try:
            self._look()
        except HostClosed:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, the supervisor goes on)
            _LOG.warning("the host does not list its domains, asked again in %g s: %s", _MOST_APART / 10, error)
            self._schedule(_MOST_APART / 10, self._look_again)

    def _look(self) -> None:
        """Compare with the host's list of domains: at the start, and after events were lost."""
        infos = [info for info in self._host.list() if info.domid != 0 and info.state is not DomainState.DYING]
        for key in self._domains.keys() - {(info.domid, info.uuid) for info in infos}:
            self._gone(key)
        for info in infos:
            domain = self._domains.setdefault((info.domid, info.uuid), _Domain())
            if info.state in ENDS and info.shutdown_reason is not None:
                self._ended((info.domid, info.uuid), info)
            elif info.state not in ENDS and domain.phase is _Phase.LEFT:
                domain.phase, domain.started, domain.found = _Phase.RUNS, None, None
            elif info.state not in ENDS and domain.phase is _Phase.IN_HAND:
                domain.ran = True

    def _gone(self, key: _Key) -> None:
        domain = self._domains.pop(key, None)
        if domain is not None and domain.phase in {_Phase.RUNS, _Phase.WAITS}:  # someone else destroyed it
            self._short_lives.pop(key[1], None)

    def _ended(self, key: _Key, end: DomainInfo | DomainShutdown) -> None:
        domain = self._domains.setdefault(key, _Domain())
        if domain.phase is _Phase.IN_HAND:
            domain.missed = end  # it may have been restarted and have ended again
        if domain.phase is _Phase.LEFT and isinstance(end, DomainShutdown):
            # Someone has let it run again. Or it is the end that a look has found before, and `study` will notice.
            domain.phase, domain.started = _Phase.RUNS, None
        if domain.phase is not _Phase.RUNS or reason_of(end) == ShutdownReason.SUSPEND:
            return
        domain.phase, domain.end = _Phase.IN_HAND, end
        domain.uptime = None if domain.started is None else max(0.0, time.monotonic() - domain.started)
        known = domain.found
        self._act(key, lambda: self._study(key, self._judge, known))

    # Actions

    def _study(self, key: _Key, then: Callable[[_Key, Case], None], known: DomainInfo | None) -> None:
        """Find out which action a domain needs. Runs on an action thread."""
        try:
            found = study(self._host, *key, self._leave, known)
        except DomainNotFound:
            self._later(key, lambda: self._settle(key, _Phase.RUNS))
            return
        if isinstance(found, Case):
            self._later(key, lambda: then(key, found))
        else:
            self._later(key, lambda: self._settle(key, _Phase.RUNS) if found is None else self._leave_be(key))

    def _look_after_failure(self, key: _Key, case: Case, outcome: Outcome) -> None:
        """Find out what became of a domain whose removal has failed. Runs on an action thread.

        Nothing but whether it is there is asked: a destroy that failed can have taken its name and its configuration.
        """
        try:
            state = state_still(self._host, *key)
        except DomainNotFound:
            self._later(key, lambda: self._go_on(key, lambda: self._leave_to_others(key, case)))
            return
        error, ended = outcome.error, state in ENDS
        if ended and error is not None and passes(error):
            self._later(key, lambda: self._carry_out(key, case))
            return
        if state in RUNS and case.action is ActionOnShutdown.SOFT_RESET:
            _LOG.info("%s: the call that reset it failed, but it runs: %s", case, error)
            self._finish(key, case, replace(outcome, restarted=case.domain, error=None, config=None), _Tries())
            return
        _LOG.error("%s: %s failed, it stays as it is: %s", case, case.action, error)
        self._later(key, lambda: self._leave_be(key) if ended else self._settle(key, _Phase.RUNS))
        self._tell(replace(outcome, preserved=case.domain, config=outcome.config if ended else None))

    def _judge(self, key: _Key, case: Case) -> None:
        """Act on a case now, or later if it is a restart that must be delayed."""
        domain = self._domains.get(key)
        if domain is None:  # gone meanwhile
            self._leave_be(key)
            return
        domain.judged = True
        _LOG.info("%s: has ended, reason %s: %s", case, _named(case.reason), case.action)
        delay = 0.0
        if case.action in RESTARTS:
            delay = self._slow_down(key[1], domain.uptime)
        if delay <= 0:
            self._carry_out(key, case)
            return
        _LOG.warning(
            "%s: ended %.1f s after its start, %d times in a row within %g s: restarted in %g s only",
            *(case, domain.uptime, self._short_lives[key[1]], self._brake.min_uptime, delay),
        )
        domain.phase = _Phase.WAITS
        self._schedule(delay, self._about(key, lambda: self._resume(key)))

    def _slow_down(self, uuid: UUID, uptime: float | None) -> float:
        """Count the life that just ended, and return how long to wait before the restart."""
        lives = self._brake.short_lives(self._short_lives.pop(uuid, 0), uptime)
        if lives:
            self._short_lives[uuid] = lives
        return self._brake.delay(lives)

    def _resume(self, key: _Key) -> None:
        domain = self._known(key)
        if domain is not None:  # otherwise someone destroyed it, and there is nothing to restart
            domain.phase = _Phase.IN_HAND
            doubt = self._doubts.get(key)
            if doubt is not None:
                self._act(key, lambda: self._look_after_failure(key, *doubt))
            else:
                then, known = self._carry_out if domain.judged else self._judge, domain.found
                self._act(key, lambda: self._study(key, then, known))

    def _carry_out(self, key: _Key, case: Case) -> None:
        self._act(key, lambda: self._fulfil(key, case), dumps=case.dumps)

    def _fulfil(self, key: _Key, case: Case) -> None:
        """Take the action of a case. Runs on an action thread."""
        try:
            outcome = fulfil(case, self._host, self._dumper, lambda so_far: self._note(key, case, so_far))
        except DomainNotFound:
            self._unborn.pop(key, None)
            self._later(key, lambda: self._go_on(key, lambda: self._leave_to_others(key, case)))
            return
        except Unremoved as unremoved:
            self._doubt(key, case, unremoved.error, unremoved.outcome)
            return
        except OperationCancelled:
            _LOG.info("%s: left for the next supervisor, this one was stopped", case)
            return
        self._finish(key, case, outcome, _Tries())

    def _note(self, key: _Key, case: Case, outcome: Outcome) -> None:
        """Keep what is told of a domain if Ctrl-C interrupts its removal or its creation. Runs on an action thread."""
        if case.action in RESTARTS:
            message = "the supervisor was interrupted before it was known whether the domain runs again"
            error = OperationCancelled(message, operation="supervise", domain=case.name, domid=case.domain.domid)
            self._unborn[key] = case, replace(outcome, error=error, config=case.config)

    def _doubt(self, key: _Key, case: Case, error: Exception, outcome: Outcome) -> None:
        """Note that a domain may be gone or not, and find out. Runs on an action thread."""
        case = replace(case, so_far=outcome)
        outcome = replace(outcome, error=error, config=case.config if case.action in RESTARTS else None)
        if isinstance(error, OperationCancelled):
            _LOG.info("%s: this supervisor was stopped, and what became of it is not known", case)
            self._unborn.pop(key, None)
            self._tell(outcome)
            return

        def note() -> None:
            self._doubts[key] = (case, outcome)
            self._unborn.pop(key, None)
            if passes(error):
                self._stumble(key, error)
            else:
                self._act(key, lambda: self._look_after_failure(key, case, outcome))

        self._later(key, note)

    def _go_on(self, key: _Key, otherwise: Callable[[], object]) -> None:
        """Restart a domain that is gone, if this supervisor may have destroyed it; call a function if others have."""
        doubt = self._doubts.pop(key, None)
        if doubt is None:
            otherwise()
            return
        self._unborn[key] = doubt
        case, outcome = doubt
        _LOG.info("%s: the call that removed it failed, but it is gone", case)
        self._domains.pop(key, None)
        self._act(key, lambda: self._create(key, case, outcome, _Tries()))

    def _create(self, key: _Key, case: Case, outcome: Outcome, tries: _Tries) -> None:
        """Create a domain anew, and report that or schedule a retry. Runs on an action thread."""
        dumped = case.so_far or case.outcome()
        again = create_anew(case, replace(outcome, error=dumped.error, config=None), self._host, outcome.error)
        self._finish(key, case, again, tries)

    def _finish(self, key: _Key, case: Case, outcome: Outcome, tries: _Tries) -> None:
        """Report the outcome, or schedule a retry. Runs on an action thread."""
        restarted, error = outcome.restarted, outcome.error
        if outcome.config is None or error is None:
            if restarted is not None:
                _LOG.info("%s: restarted as domain %d", case, restarted.domid)
            self._conclude(key, outcome)
        elif passes(error):
            again = replace(tries, stumbled=tries.stumbled + 1)
            self._fail(key, case, outcome, again, lambda: self._apart(again.stumbled))
        elif may_pass(error) and tries.failed + 1 < _TRIES:
            again = replace(tries, failed=tries.failed + 1)
            self._fail(key, case, outcome, again, lambda: self._brake.delay(again.failed))
        else:
            _LOG.error("%s: is not restarted: %s", case, error)
            self._conclude(key, outcome)

    def _conclude(self, key: _Key, outcome: Outcome) -> None:
        self._unborn.pop(key, None)
        self._later(key, lambda: self._done(key, outcome))
        self._tell(outcome)

    def _fail(self, key: _Key, case: Case, outcome: Outcome, tries: _Tries, delay: Callable[[], float]) -> None:
        self._unborn[key] = case, outcome
        self._later(key, lambda: self._try_again(key, case, outcome, tries, delay()))

    def _try_again(self, key: _Key, case: Case, outcome: Outcome, tries: _Tries, delay: float) -> None:
        _LOG.warning("%s: cannot be created, tried again in %g s: %s", case, delay, outcome.error)
        self._doubts.pop(key, None)  # it is gone
        again = self._about(key, lambda: self._act(key, lambda: self._create(key, case, outcome, tries)))
        self._schedule(delay, again)

    def _apart(self, stumbles: int) -> float:
        """Return how long to wait after so many errors in a row."""
        return min(max(self._brake.delay(stumbles), _LEAST_APART), _MOST_APART)

    def _done(self, key: _Key, outcome: Outcome) -> None:
        """Record the outcome."""
        new = outcome.restarted
        if new is None:
            self._leave_be(key)
            return
        same = key == (new.domid, new.uuid)  # after a soft reset
        started = self._domains.get((new.domid, new.uuid))
        if started is not None and (same or started.phase is _Phase.RUNS):
            started.started = time.monotonic()  # the creation may take long and does not count as uptime
        self._settle(key, _Phase.RUNS if same else _Phase.LEFT)

    def _leave_to_others(self, key: _Key, case: Case) -> None:
        _LOG.info("%s: someone else has destroyed it", case)
        self._leave_be(key)

    def _leave_be(self, key: _Key) -> None:
        """Leave a domain that has ended as it is."""
        self._short_lives.pop(key[1], None)
        self._settle(key, _Phase.LEFT)

    def _known(self, key: _Key) -> _Domain | None:
        """Return the state that is kept for a domain; one that may be gone or not has one, too."""
        if key in self._doubts:
            return self._domains.setdefault(key, _Domain())
        return self._domains.get(key)

    def _settle(self, key: _Key, phase: _Phase) -> None:
        self._doubts.pop(key, None)
        domain = self._domains.get(key)
        if domain is None:
            return
        end, missed = domain.end, domain.missed
        if phase is _Phase.LEFT and domain.ran:  # someone has let it run again meanwhile
            phase, domain.started = _Phase.RUNS, None
        awaits_event = phase is _Phase.LEFT and not isinstance(missed, DomainShutdown)
        domain.found = end if awaits_event and isinstance(end, DomainInfo) else None
        domain.phase, domain.end, domain.missed = phase, None, None
        domain.judged = domain.ran = False
        domain.stumbles = domain.failures = 0
        if phase is _Phase.RUNS and missed is not None:
            self._ended(key, missed)

    # Communication between the threads

    def _schedule(self, delay: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._due, (time.monotonic() + delay, next(self._number), what))

    def _later(self, key: _Key, what: Callable[[], object]) -> None:
        """Make the thread of `run` call a function that is about a domain. Any thread may call this."""
        self._inbox.put(self._about(key, what))

    def _about(self, key: _Key, what: Callable[[], object]) -> Callable[[], None]:
        """Return a function whose exceptions affect only one domain."""
        return partial(self._shielded, key, what)

    def _shielded(self, key: _Key, what: Callable[[], object]) -> None:
        try:
            what()
        except HostClosed:
            raise
        except Exception as error:  # noqa: BLE001 (it is logged and told)
            self._give_up(key, self._domains.get(key), error)

    def _act(self, key: _Key, what: Callable[[], object], *, dumps: bool = False) -> None:
        """Make an action thread call a function. Exceptions that it raises affect only this domain."""

        def act() -> None:
            try:
                what()
            except BaseException as anything:  # noqa: BLE001 (it is logged, and affects only this domain)
                error = anything  # Python deletes `anything` at the end of this block
                self._later(key, lambda: self._stumble(key, error))

        if self._ending:
            return
        try:
            submitted(self._dumpers if dumps else self._actors, act, OperationFailed, NO_THREAD)
        except OperationFailed as error:
            _LOG.warning("domain %d: tried again in %g s: %s", key[0], _MOST_APART / 10, error)
            self._schedule(_MOST_APART / 10, self._about(key, lambda: self._act(key, what, dumps=dumps)))

    def _stumble(self, key: _Key, error: BaseException) -> None:
        """Retry later after an error that may pass; after any other, or too many, leave the domain as it is."""
        domain = self._known(key)
        if domain is None or not self._is_tried_again(domain, error):
            self._give_up(key, domain, error)
            return
        domain.stumbles += 1
        delay = self._apart(domain.stumbles)
        _LOG.warning("domain %d: tried again in %g s: %s", key[0], delay, error)
        domain.phase = _Phase.WAITS
        self._schedule(delay, self._about(key, lambda: self._resume(key)))

    def _is_tried_again(self, domain: _Domain, error: BaseException) -> bool:
        if passes(error):
            return True
        domain.failures += 1
        return may_pass(error) and domain.failures < _TRIES

    def _give_up(self, key: _Key, domain: _Domain | None, error: BaseException) -> None:
        # For pyxen's own errors, the message is enough.
        trace = None if isinstance(error, Error) else error
        _LOG.error("domain %d: left as it is: %s", key[0], error, exc_info=trace)
        doubt, unborn = self._doubts.get(key), self._unborn.pop(key, None)
        end = None if domain is None else domain.end
        self._leave_be(key)
        if doubt is not None:
            self._tell(doubt[1])
        elif unborn is not None:
            self._tell(replace(unborn[1], error=error) if isinstance(error, Exception) else unborn[1])
        elif end is not None and isinstance(error, Exception):
            self._tell(not_studied(end, error))

    def _tell(self, outcome: Outcome) -> None:
        """Report an outcome to the user. Any thread may call this."""
        if self._on_outcome is None:
            return
        try:
            check_answer(self._on_outcome(outcome), "on_outcome", "supervise")
        except BaseException as error:  # the callback's error must not stop the supervisor
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # a real Ctrl-C, which only the main thread gets
            _LOG.exception("%s: on_outcome failed", printable(outcome.name))


def _feed(events: EventReader[Any], inbox: SimpleQueue[Event | Callable[[], object] | None]) -> None:
    try:
        for event in events:
            inbox.put(event)
    finally:
        inbox.put(None)  # the host or the reader was closed


def _named(reason: ShutdownReason | int) -> str:
    return reason.name.lower() if isinstance(reason, ShutdownReason) else str(reason)
