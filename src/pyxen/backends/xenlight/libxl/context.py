"""A libxl context with its logger, child processes and event loop."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from uuid import UUID

from pyxen._common.closing import Closing
from pyxen._common.shortage import shortage
from pyxen._common.still_open import still_open
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.builds import BUILDS
from pyxen.backends.xenlight.libxl.error_map import code_name
from pyxen.backends.xenlight.libxl.event_loop import (
    TIME_IS_UP,
    Arrival,
    EventLoop,
    LibxlEvent,
    Script,
    Wait,
)
from pyxen.backends.xenlight.libxl.hung_xenstored import WATCH, Lifeline
from pyxen.backends.xenlight.libxl.journal import Journal
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.backends.xenlight.libxl.process_workers import HUNG, LOST, Workers
from pyxen.backends.xenlight.libxl.worker_calls import SILENCE, WorkerCalls
from pyxen.backends.xenlight.xenstore.connection import check_answers
from pyxen.errors import ConnectFailed, Error, HostClosed, OperationFailed
from pyxen.operation import Operation, completing, describe
from pyxen.records.info import DomainState

__all__ = ["Context"]

T = TypeVar("T")

_CUT_OFF: Final = "libxl has lost its connection to xenstore"
_TO_END: Final = 15.0  # seconds in which calls that were aborted end
_LOOK_AGAIN: Final = 0.02  # seconds between looks at calls that are to end, and whether libxl may abort
_OPEN_AGAIN: Final = 0.5  # seconds between attempts to open libxl while xenstored is away


@dataclass(slots=True, eq=False)
class _Call:
    """A call of libxl's that has begun and not ended."""

    how: CData
    may_abort: Callable[[], bool] | None
    asks: int | None
    given_up: bool = False


@dataclass(slots=True, eq=False)
class _Watching:
    """A domain whose end libxl reports."""

    domid: int
    token: int
    evgen: CData


class Context:
    """A ``libxl_ctx`` with everything that it needs.

    A ``libxl_ctx`` has one connection to xenstore. When libxl has lost that, because xenstored was restarted or a
    request could not be sent, it never opens another one. So each operation that follows a failure looks whether the
    connection is still there, and replaces the ``libxl_ctx`` if it is not. Clean-up that fails for this reason is done
    again. `hung_xenstored` cuts it off where xenstored hangs.

    Args:
        hypervisor: Read-only queries for scripts. The caller still owns it.
        workers: Number of processes that make long calls; None for as many as there is work for; 0 to make them in
            this process.

    Raises:
        ConnectFailed: xenstored does not answer, or libxl refuses. The message contains libxl's log then.
    """

    def __init__(self, hypervisor: Hypervisor, workers: int | None) -> None:
        self.hypervisor = hypervisor
        self.journal = Journal()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._sink = LogSink(self._running, lambda: os.eventfd_write(self._wake, 1))
        self._closed = False
        self._closing = Closing()
        self._pid = os.getpid()
        self._suspect = False
        """Look whether libxl still has its connection to xenstore before the next operation."""
        self._cut_off = False
        """libxl itself has said that it lost its connection."""
        self._generation = hypervisor.generation
        self._lifeline = Lifeline()
        self._held_up: set[Operation[Any]] = set()
        """Those in whose calls libxl waited for a xenstored that hangs."""
        self._closer: int | None = None
        self._calls: dict[int, _Call] = {}
        self._watchings: dict[int, _Watching] = {}
        self._handle = ffi.new_handle(self)
        self._loop: CData = lib.pyxen_loop_new(self._wake, self._sink.logger)
        self.pointer: CData = ffi.NULL
        try:
            if self._loop == ffi.NULL:
                raise MemoryError
            self._make_hooks()
            check_answers()  # libxl would wait for its answers without a bound
            self.pointer = self._allocate()
            self._workers = Workers(workers, self._loop, self._note)
            self._event_loop: EventLoop = EventLoop(
                self.pointer, self._sink, self._loop, self._wake, self._take, self._refused
            )
            self.workers = WorkerCalls(self._workers, self._event_loop, self._sink)
        except BaseException:
            self._free()
            raise
        _CONTEXTS.add(self)
        try:
            WATCH.add(self)
        except BaseException:  # no thread can be started
            self.close()
            raise

    def _allocate(self) -> CData:
        pointer = ffi.new("libxl_ctx **")
        try:
            with (
                shortage(ConnectFailed, "libxl does not open"),
                self._sink.collecting() as lines,
                self._lifeline.found(self.hypervisor.xenstored),
            ):
                code = lib.pyxen_ctx_alloc(pointer, self._sink.logger)
        except BaseException:  # Ctrl-C, too
            if pointer[0] != ffi.NULL:
                lib.pyxen_ctx_free(pointer[0])
            raise
        if code != 0:
            shown = "".join(f"\n  libxl: {line}" for line in lines)
            raise ConnectFailed(f"libxl does not open ({code_name(code)}){shown}")
        lib.libxl_event_register_callbacks(pointer[0], self._event_hooks, self._handle)
        lib.libxl_childproc_setmode(pointer[0], self._child_hooks, self._loop)
        return pointer[0]

    def _make_hooks(self) -> None:
        # libxl keeps pointers to both structures, so they must live as long as the context.
        self._event_hooks = ffi.new("libxl_event_hooks *")
        self._event_hooks.disaster = lib.pyxen_on_disaster
        self._child_hooks = ffi.new("libxl_childproc_hooks *")
        self._child_hooks.chldowner = lib.libxl_sigchld_owner_mainloop
        self._child_hooks.fork_replacement = ffi.addressof(lib, "pyxen_fork")

    @property
    def logger(self) -> CData:
        """The logger, for other libraries of Xen that a script calls."""
        return self._sink.logger

    @contextlib.contextmanager
    def building(self, uuid: UUID, needed_kib: int = 0) -> Iterator[None]:
        """Count a domain among those that are being made."""
        BUILDS[uuid] = needed_kib
        try:
            yield
        finally:
            BUILDS.pop(uuid, None)

    def run(self, operation: Operation[T], script: Script[T]) -> Operation[T]:
        """Start a script. Its end ends the operation.

        Raises:
            HostClosed: The context was closed, or belongs to the parent of this process.
        """
        if self._closed:
            raise HostClosed(f"{operation.verb}: the host is closed, or was opened before a fork: open it again")
        self._event_loop.submit(operation, self._connected(operation, script))
        WATCH.begun()
        return operation

    def _connected(self, operation: Operation[T], script: Script[T]) -> Script[T]:
        """Run a script with a ``libxl_ctx`` that has its connection to xenstore."""
        failed = False
        try:
            yield from self._replace_if_cut_off()
            return (yield from script)
        except Error as error:
            failed = True
            if operation not in self._held_up or operation.stopped is not None:
                raise
            raise ConnectFailed(f"{error}: xenstored does not answer: is it stopped?") from error
        finally:
            self._held_up.discard(operation)
            if operation.log:
                self._suspect = True  # something failed, even if the whole did not, and libxl does not say why
            if (failed or operation.log) and self._lifeline.let_go():
                self._suspect = True

    def complete(
        self,
        start: Callable[[CData], int],
        *,
        abortable: bool = True,
        may_abort: Callable[[], bool] | None = None,
        repeatable: bool = False,
        unhang: Callable[[], object] | None = None,
        asks: int | None = None,
    ) -> Script[int]:
        """Start one of libxl's asynchronous functions and wait for its end. This is a part of a script.

        Args:
            start: Makes the call, given the ``libxl_asyncop_how *``.
            abortable: False for clean-up, which continues when the operation is stopped.
            may_abort: Tells whether libxl's operation may be aborted yet. Until then, a stopped operation continues.
            repeatable: If libxl has lost its connection to xenstore, make the call again over a new one.
            unhang: Makes what libxl waits for fail. Called if the operation is stopped, and libxl cannot end its call.
            asks: The domid of a guest that libxl asks, in the call or later, to shut down, to reboot or to suspend.

        Returns:
            libxl's code, 0 for success.
        """
        pointer = self.pointer
        code = yield from self._complete(start, abortable, may_abort, unhang, asks)
        if code != 0 and repeatable:
            yield from self.reconnect()
            if pointer != self.pointer:
                code = yield from self._complete(start, abortable, may_abort, unhang, asks)
        return code

    @contextlib.contextmanager
    def sheltered(self, fd: int, size: int) -> Iterator[int]:
        """Open a descriptor for a stream that libxl writes to a file. Its first bytes go to the file from here.

        Raises:
            OSError: They could not be written.
            OperationFailed: This process may have no more descriptors or memory.
        """
        with shortage(OperationFailed, "cannot begin to save"):
            stream = os.memfd_create("pyxen-stream")
        try:
            if lib.pyxen_loop_shelter(self._loop, stream, fd, size) != 0:
                raise MemoryError
            try:
                yield stream
            finally:
                error = -lib.pyxen_loop_end_shelter(self._loop, stream)
                if error:  # what libxl says of a file without a beginning is of no use
                    raise OSError(error, os.strerror(error))
        finally:
            os.close(stream)

    def connected(self) -> Script[None]:
        """If there is a sign that libxl has lost its connection to xenstore, open it again. This is a part of a script.

        Raises:
            ConnectFailed: libxl does not open, because xenstored is away.
        """
        yield from self._replace_if_cut_off()

    def reconnect(self) -> Script[None]:
        """After a failure, open libxl again if it has lost its connection to xenstore. This is a part of a script."""
        self._suspect = True
        with contextlib.suppress(ConnectFailed):
            yield from self._replace_if_cut_off()

    def _complete(
        self,
        start: Callable[[CData], int],
        abortable: bool,
        may_abort: Callable[[], bool] | None,
        unhang: Callable[[], object] | None,
        asks: int | None,
    ) -> Script[int]:
        token = self._event_loop.token()
        how = ffi.new("libxl_asyncop_how *")
        how.u.for_event = token
        code: int = start(how)
        if code != 0:
            return code
        call = self._calls[token] = _Call(how, may_abort, asks if abortable else None)
        self._choose_what_to_wait_for()
        wait = Wait(token, lambda: self._abort(how) if abortable else 0, may_abort)
        event: LibxlEvent = (yield wait) if unhang is None else (yield from self._unless_it_hangs(wait, unhang, asks))
        del self._calls[token]
        self._choose_what_to_wait_for()
        if call.given_up and event.code != 0:
            return lib.ERROR_FAIL  # type: ignore[no-any-return]  # cffi has no types
        return event.code

    def _unless_it_hangs(self, wait: Wait, unhang: Callable[[], object], asks: int | None) -> Script[LibxlEvent]:
        operation, was_stopped = self._sink.current, False
        while True:
            event = yield replace(wait, until=time.monotonic() + SILENCE / 2)
            if event is not TIME_IS_UP:
                return event
            if was_stopped:
                unhang()
            given_up = self._calls[wait.token].given_up
            if asks is not None and not given_up and self.hypervisor.glance_at(asks) is None:
                self._give_up(wait.token, "the domain is gone")  # libxl waits for its event channel all the same
            was_stopped = operation is not None and operation.stopped is not None

    def check_connected(self) -> None:
        """Check whether libxl found nothing because it has lost its connection to xenstore.

        Raises:
            OperationFailed: It has.
        """
        self._suspect = True
        if self._is_cut_off():
            raise self._failed(f"{_CUT_OFF}: try again", lib.ERROR_FAIL)

    def _failed(self, message: str, code: int) -> OperationFailed:
        """Return an exception for the operation whose script runs."""
        operation = self._sink.current
        return describe(OperationFailed, message, operation, code) if operation else OperationFailed(message, code=code)

    @property
    def busy(self) -> bool:
        """Whether it may be in a call of libxl's."""
        return self.pointer != ffi.NULL and (self._closer is not None or self._event_loop.busy)

    def callers(self) -> Iterable[int]:
        """Return the threads that make its calls."""
        return (thread for thread in (self._event_loop.thread, self._closer) if thread is not None)

    def cut_off(self) -> None:
        """Shut libxl's connection to xenstore down, so that a call that waits for xenstored fails."""
        if (operation := self._sink.current) is not None:
            self._held_up.add(operation)
        self._suspect = True
        self._lifeline.cut()

    # Replacement of a libxl_ctx that has lost its connection to xenstore

    def break_down(self, reason: str) -> None:
        """Replace the ``libxl_ctx``: libxl itself says that it cannot continue."""
        if self._cut_off:
            return
        self._suspect = self._cut_off = True
        self._lifeline.let_go()
        self._sink.note(lib.XTL_ERROR, f"{_CUT_OFF}: {reason}")
        self._event_loop.rests = True
        with contextlib.suppress(HostClosed):
            self._event_loop.submit(Operation("reconnect"), self._reconnect())

    def _reconnect(self) -> Script[None]:
        """Replace the ``libxl_ctx`` as soon as xenstored is there, as long as someone waits for libxl's reports."""
        while self._cut_off:
            with contextlib.suppress(ConnectFailed):
                yield from self._replace_if_cut_off()
            if not self._watchings:
                return
            yield Wait(self._event_loop.token(), until=time.monotonic() + _OPEN_AGAIN)

    def _replace_if_cut_off(self) -> Script[None]:
        """Replace the ``libxl_ctx`` if it has lost its connection to xenstore. This is a part of a script.

        Calls of libxl's that wait are aborted first, because they would wait for ever. If one of them does not end,
        nothing is replaced yet.

        Raises:
            ConnectFailed: libxl does not open, because xenstored is away.
        """
        if self._generation != self.hypervisor.generation:
            self._generation, self._suspect = self.hypervisor.generation, True
        if not self._suspect or not self._is_cut_off():
            return
        pointer, late = self.pointer, time.monotonic() + _TO_END
        while self._calls and time.monotonic() < late:
            self._give_up_calls()
            yield Wait(self._event_loop.token(), lambda: 0, until=time.monotonic() + _LOOK_AGAIN)
            if self.pointer != pointer:
                return  # another script was faster
        self._choose_what_to_wait_for()
        yield from self.outside(check_answers)  # libxl would wait for its answers without a bound
        if self.pointer == pointer and not self._calls:
            self._replace()

    def _is_cut_off(self) -> bool:
        if not self._cut_off:
            with self._sink.silent():
                self._cut_off = bool(lib.pyxen_ctx_is_cut_off(self.pointer))
            self._suspect = self._event_loop.rests = self._cut_off
            if self._cut_off:
                self._lifeline.let_go()  # xenstored may wait for the rest of a request
        return self._cut_off

    def _choose_what_to_wait_for(self) -> None:
        """Do not wait for a ``libxl_ctx`` whose descriptors are ready all the time and which has nothing to tell."""
        self._event_loop.context = ffi.NULL if self._cut_off and not self._calls else self.pointer

    def _give_up_calls(self) -> None:
        for token, call in self._calls.items():
            if not call.given_up and (call.may_abort is None or call.may_abort()):
                self._give_up(token, _CUT_OFF)

    def _refused(self, domid: int, error: int) -> None:
        """Give up the calls that would wait for a guest's answer without a watch for it."""
        with LIBXL:
            for token, call in self._calls.items():
                if call.asks == domid and not call.given_up:
                    self._give_up(token, f"xenstored refuses a watch for the guest's answer: {os.strerror(error)}")

    def _give_up(self, token: int, reason: str) -> None:
        """Abort a call, though its operation is not to end, and say why in the operation's log."""
        self._calls[token].given_up = True
        self._note(token, lib.XTL_ERROR, reason)
        self._abort(self._calls[token].how)

    def _replace(self) -> None:
        with LIBXL.released():
            fresh = self._allocate()
        old, self.pointer, self._event_loop.context = self.pointer, fresh, fresh
        self._suspect = self._cut_off = self._event_loop.rests = False
        for watching in self._watchings.values():
            self._disable(watching.evgen, old)
            with contextlib.suppress(OperationFailed):  # it is lost again, and the next operation sees that
                self._enable(watching)
        with LIBXL.released():
            lib.pyxen_ctx_free(old)
        self._sink.note(lib.XTL_WARN, f"{_CUT_OFF}: it has been opened again")

    def outside(self, function: Callable[[], object]) -> Script[None]:
        """Call a slow function on its own thread, and wait for its end. This is a part of a script."""
        token = self._event_loop.token()
        failures: list[BaseException] = []

        def call() -> None:
            try:
                with completing(self.completer):  # the loop waits for this thread: a user's function must not for it
                    function()
            except BaseException as error:  # noqa: BLE001 (the script gets every error)
                failures.append(error)
            self._event_loop.arrive(token)

        with shortage(OperationFailed, "cannot start a thread"):
            threading.Thread(target=call, name="pyxen-outside", daemon=True).start()
        yield Wait(token, lambda: 0)
        if failures:
            raise failures[0]

    def _take(self, fd: int) -> Iterator[Arrival]:
        frames = self._workers.take(fd)
        if self._workers.was_cut_off():
            self._suspect = True  # what a worker has lost, this process may have lost, too
        for frame in frames:
            complete: int = lib.LIBXL_EVENT_TYPE_OPERATION_COMPLETE
            lost, hung = frame.kind in {LOST, HUNG}, frame.kind == HUNG
            yield frame.token, LibxlEvent(complete, frame.domid, frame.number, lost=lost, hung=hung)

    def _note(self, token: int, level: int, line: str) -> None:
        """Take a line for the operation that waits for a token."""
        current, self._sink.current = self._sink.current, self._event_loop.waiting(token)
        self._sink.note(level, line)
        self._sink.current = current

    def _abort(self, how: CData) -> int:
        code: int = lib.libxl_ao_abort(self.pointer, how)
        return code

    def token(self) -> int:
        """Return a token that no event has, for a script that waits for a time."""
        return self._event_loop.token()

    @contextlib.contextmanager
    def watching(self, domid: int) -> Iterator[int]:
        """Make libxl report to a script when a domain shuts down, and when it dies.

        Yields:
            The token of both events, for `report`. A domain that is already gone is reported as dead.
        """
        watching = _Watching(domid, self._event_loop.token(), ffi.new("libxl_evgen_domain_death **"))
        self._enable(watching)
        self._watchings[watching.token] = watching
        try:
            yield watching.token
        finally:
            del self._watchings[watching.token]
            self._disable(watching.evgen, self.pointer)
            self._event_loop.forget(watching.token)

    def report(self, token: int, until: float | None = None) -> Script[None]:
        """Wait until libxl reports on a watched domain, or until a time. This is a part of a script.

        The caller then looks at the domain: a guest that was suspended may already run again.
        """
        event = yield Wait(token, until=until)
        if event.type == lib.LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN:
            self._ask_anew(self._watchings[token])

    def _ask_anew(self, watching: _Watching) -> None:
        """Make libxl report the next shutdown, too: it reports one, and no other after the guest was resumed."""
        old, watching.evgen = watching.evgen, ffi.new("libxl_evgen_domain_death **")
        try:
            self._enable(watching)
        finally:
            # Only now: a watch of xenstore's that libxl gives up and sets again would report the same shutdown at once.
            self._disable(old, self.pointer)

    def _enable(self, watching: _Watching) -> None:
        code = lib.libxl_evenable_domain_death(self.pointer, watching.domid, watching.token, watching.evgen)
        if code == 0:
            return
        self._suspect = True
        infos = self.hypervisor.glance()
        if any(info.domid == watching.domid and info.state is not DomainState.DYING for info in infos):
            raise self._failed(f"libxl does not watch domain {watching.domid} ({code_name(code)})", code)
        self._event_loop.bring(watching.token, LibxlEvent(lib.LIBXL_EVENT_TYPE_DOMAIN_DEATH, watching.domid))

    @staticmethod
    def _disable(evgen: CData, pointer: CData) -> None:
        if evgen[0] != ffi.NULL:
            lib.libxl_evdisable_domain_death(pointer, evgen[0])
            evgen[0] = ffi.NULL

    def close(self) -> bool:
        """Stop running operations, wait until they are undone, and free everything. A second call waits for this.

        Returns:
            Whether nothing uses it any more. A signal handler that interrupts this does not wait for its own thread.
        """
        self._closed = True
        if self._pid != os.getpid():
            return True
        with self._closing.turn() as begins:
            if begins:
                self._closer = threading.get_ident()
                WATCH.begun()
                self._event_loop.close()
                self._workers.close()
                self.journal.close()
                self._free()
                _CONTEXTS.discard(self)
                WATCH.remove(self)
        return self._closing.done

    def forked(self) -> None:
        """Release it in the child of a fork: only the parent may use the context."""
        self._closed = True
        self.hypervisor.forked()
        self._workers.forked()
        self.journal.forked()
        self._lifeline.forked()
        lib.libxl_postfork_child_noexec(self.pointer)

    @property
    def completer(self) -> object:
        """What completes its operations; see `pyxen.operation.completing`."""
        return self._event_loop

    def _running(self) -> list[Operation[Any]]:
        return self._event_loop.running()

    def _free(self) -> None:
        # Each is forgotten first: Ctrl-C may come after any of these calls, and then this is called again.
        pointer, self.pointer = self.pointer, ffi.NULL
        if pointer != ffi.NULL:
            lib.pyxen_ctx_free(pointer)
        self._lifeline.close()
        loop, self._loop = self._loop, ffi.NULL
        if loop != ffi.NULL:
            lib.pyxen_loop_free(loop)
        self._sink.free()
        wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)


_CONTEXTS: weakref.WeakSet[Context] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for context in list(_CONTEXTS):
        context.forked()
    _CONTEXTS.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _close_all() -> None:
    for context in still_open(_CONTEXTS):
        context.close()


# Close at exit: later in the interpreter's shutdown, the event loop's thread no longer runs to undo anything.
atexit.register(_close_all)


@ffi.def_extern()  # type: ignore[untyped-decorator]  # cffi's decorator has no types
def pyxen_on_disaster(user: CData, event_type: int, message: CData, errnoval: int) -> None:  # noqa: ARG001 (C's signature)
    text = "" if message == ffi.NULL else ffi.string(message).decode(errors="replace")
    ffi.from_handle(user).break_down(text if errnoval <= 0 else f"{text}: {os.strerror(errnoval)}")
