"""The supervisor, as users have it: it looks once, and then `pyxen.supervisor.work` goes on."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from pyxen._common.arguments import check_is, path_of
from pyxen._common.joinable import JoinableThread
from pyxen._common.shortage import shortage
from pyxen._functions import check_function
from pyxen._printable import quoted
from pyxen.errors import InvalidArgument, OperationFailed
from pyxen.events import Event
from pyxen.host import Host
from pyxen.operation import check_may_wait
from pyxen.records.info import DomainInfo
from pyxen.supervisor.actions import _LOG, Outcome
from pyxen.supervisor.core_dump import Dumper
from pyxen.supervisor.policy import Brake
from pyxen.supervisor.watchers import is_here, watcher_of
from pyxen.supervisor.work import NO_THREAD, Work

__all__ = ["Supervisor"]

_TO_END: Final = 60.0
"""Seconds in which a supervisor that was not left finishes what has begun, when the program ends."""


class Supervisor:
    """Acts when a domain of a host ends, as the domain's configuration says (``on_crash`` and the like).

    xl keeps a process for each domain to do this. One supervisor handles all domains of a host, including those that
    xl or libvirt made, and those that ended before it started. Call `run`, or let it work in the background::

        with Supervisor(host):
            ...

    A domain is restarted under its name and uuid, from the configuration that libxl keeps, which includes devices
    attached since its start. If it keeps ending soon after its start, the restarts are delayed more and more (`Brake`).
    A create that fails is tried again 4 times, with the same delays; while xenstore cannot be reached, until it can.
    Suspended and saved guests are left alone, and so are domains that libxl keeps no configuration for, and those that
    another toolstack supervises.

    It has to run on the host itself. From another machine it cannot see who watches the domains, so it takes `leave`
    there, and writes no core dumps.

    A program that ends without leaving the context ends all the same: what has begun is finished first, core dumps too.

    Args:
        host: The host.
        on_outcome: Called with the `Outcome` of each domain that ended and was acted on or preserved. Several threads
            call it. Exceptions that it raises are logged.
        brake: How restarts are slowed down.
        leave: Returns why a domain is to be left alone, in a few words for the log, or None to act on it. If it returns
            anything else or raises an exception, the domain is left alone, and its outcome has the error. The default
            leaves domains that an xl process or libvirt watches on this machine.
        dump_dir: Folder for core dumps. As with xl, each file has its domain's name.

    Raises:
        InvalidArgument: The host is another machine, and `leave` is not given; or a function cannot be called; or
            `brake` is no `Brake`, or `dump_dir` no path.
    """

    def __init__(
        self,
        host: Host,
        *,
        on_outcome: Callable[[Outcome], object] | None = None,
        brake: Brake | None = None,
        leave: Callable[[DomainInfo], str | None] = watcher_of,
        dump_dir: str = "/var/lib/xen/dump",
    ) -> None:
        for name, function in (("on_outcome", on_outcome), ("leave", leave)):
            if function is not None:
                check_function(function, name, "supervise")
        if leave is watcher_of and not is_here(host.uri):
            message = f"who watches domains cannot be seen from outside of {host.uri}: run it there, or give leave="
            raise InvalidArgument(message, operation="supervise")
        self._host = host
        self._on_outcome = on_outcome
        if brake is not None:
            check_is(Brake, brake, "supervise", ", as the brake")
        self._brake = Brake() if brake is None else brake
        self._leave = leave
        self._dump_dir = path_of(dump_dir, "supervise")
        if not self._dump_dir or "\0" in self._dump_dir:
            raise InvalidArgument(f"{quoted(self._dump_dir)} is no folder for core dumps", operation="supervise")
        # Input of the deciding thread: events, functions that other threads want it to call, and None to end.
        self._inbox: SimpleQueue[Event | Callable[[], object] | None] = SimpleQueue()
        self._has_run = self._is_stopped = False
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None  # what has ended the thread

    def __repr__(self) -> str:
        running = self._thread is not None and self._thread.is_alive()
        return f"<Supervisor of {self._host.uri}: {'running' if running else 'not running in the background'}>"

    def __enter__(self) -> Self:
        """Begin to supervise in the background.

        Raises:
            ConnectFailed: xenstore cannot be reached.
            OperationFailed: No thread can be started, or the host does not list its domains.
        """
        self._begin(self._start_thread)
        atexit.register(self._at_exit)  # after the host, so that it runs before the host is closed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread is not None:
            check_may_wait("supervise", "it ends by itself. Leave its context on another thread")
            self._thread.join()
            atexit.unregister(self._at_exit)
        if self._failure is not None and error is None:
            raise self._failure

    def _at_exit(self) -> None:
        """Finish what has begun, if the program ends in the context."""
        self.stop()
        if self._thread is not None:
            self._thread.join(_TO_END)

    def run(self) -> None:
        """Supervise until `stop` is called, the host is closed, or Ctrl-C.

        Work that has begun is finished before this returns, except core dumps, which are given up. Domains whose
        restart is not due yet stay shut down, for the next supervisor.

        Ctrl-C again, and this does not wait for that work. `on_outcome` is then called for each domain that was being
        removed or created again, with its configuration and `OperationCancelled` as the error. It may run all the same
        a moment later, which is another outcome.

        Raises:
            ConnectFailed: xenstore cannot be reached.
            OperationFailed: No thread can be started, or the host does not list its domains.
        """
        self._begin(lambda _: None).run()

    def stop(self) -> None:
        """Make `run` end, and return at once. Any thread or signal handler may call it. A supervisor runs only once."""
        self._is_stopped = True
        self._inbox.put(None)

    def _begin(self, start: Callable[[Work], None]) -> Work:
        if self._has_run:
            raise OperationFailed("supervise: a supervisor runs only once: make another one")
        dumper = Dumper(self._host.uri, self._dump_dir)
        work = Work(self._host, self._inbox, self._brake, self._leave, dumper, self._on_outcome)
        try:
            work.begin()
            start(work)
        except BaseException:
            try:
                work.close()
            finally:
                self._inbox = SimpleQueue()  # the end of that work is in the other, and it may be tried again
                if self._is_stopped:
                    self._inbox.put(None)
            raise
        self._has_run = True
        return work

    def _start_thread(self, work: Work) -> None:
        # A daemon: at exit, Python would wait for it before anything could stop it. So `_at_exit` stops it.
        claim = threading.Lock()
        thread = JoinableThread(target=self._carry_on, args=(work, claim), name="pyxen-supervisor", daemon=True)
        self._thread, self._failure = thread, None
        try:
            with shortage(OperationFailed, NO_THREAD):
                thread.start()
        except BaseException:  # Ctrl-C, too: the thread may have begun nevertheless
            if not claim.acquire(blocking=False):
                self._inbox.put(None)
                thread.join(_TO_END)
            self._thread = None
            raise

    def _carry_on(self, work: Work, claim: threading.Lock) -> None:
        if not claim.acquire(blocking=False):  # who started this thread was interrupted, and closes the work
            return
        try:
            work.run()
        except BaseException as error:  # noqa: BLE001 (it is raised by `__exit__`)
            _LOG.error("the supervisor has ended: %s", error, exc_info=error)
            self._failure = error
