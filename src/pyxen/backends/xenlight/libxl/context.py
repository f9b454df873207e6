"""A libxl context with its logger, child processes and event loop."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.error_map import code_name
from pyxen.backends.xenlight.libxl.event_loop import (
    TIME_IS_UP,
    Arrival,
    EventLoop,
    LibxlEvent,
    Script,
    Stopped,
    Wait,
)
from pyxen.backends.xenlight.libxl.journal import Journal
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.backends.xenlight.libxl.process_workers import HUNG, LOST, NO_DOMID, Worker, Workers
from pyxen.errors import ConnectFailed, HostClosed
from pyxen.operation import Operation

__all__ = ["Context"]

T = TypeVar("T")

_SILENCE = 2.0  # seconds without a sign of life after which a worker is killed, if its operation is to end
_LOOK_AGAIN = 0.02  # seconds between looks whether libxl may abort
_START = 10.0  # seconds for a worker to start, if the operation is to end


class Context:
    """A ``libxl_ctx`` with everything that it needs.

    Args:
        hypervisor: Read-only queries for scripts. The caller still owns it.
        workers: Number of processes that make long calls; 0 to make them in this process.

    Raises:
        ConnectFailed: libxl refuses. The message contains libxl's log.
    """

    def __init__(self, hypervisor: Hypervisor, workers: int) -> None:
        self.hypervisor = hypervisor
        self.journal = Journal()
        self._opening: Operation[None] | None = Operation("connect")
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._sink = LogSink(self._running, lambda: os.eventfd_write(self._wake, 1))
        self._sink.current = self._opening
        self._closed = False
        self._closing = threading.Lock()
        self._pid = os.getpid()
        self._handle = ffi.new_handle(self)
        self._loop: CData = lib.pyxen_loop_new(self._wake)
        if self._loop == ffi.NULL:
            self._sink.free()
            os.close(self._wake)
            raise MemoryError
        self.pointer: CData = ffi.NULL
        try:
            self._allocate()
            self._set_hooks()
        except BaseException:
            self._free()
            raise
        self._sink.current = self._opening = None
        self._workers = Workers(workers, self._loop, self._note)
        self._event_loop: EventLoop = EventLoop(self.pointer, self._sink, self._loop, self._wake, self._take)
        _CONTEXTS.add(self)

    def _allocate(self) -> None:
        pointer = ffi.new("libxl_ctx **")
        code = lib.pyxen_ctx_alloc(pointer, self._sink.logger)
        if code != 0:
            lines = "".join(f"\n  libxl: {line}" for line in self._opening.log) if self._opening else ""
            raise ConnectFailed(f"libxl does not open ({code_name(code)}){lines}")
        self.pointer = pointer[0]

    def _set_hooks(self) -> None:
        # libxl keeps pointers to both structures, so they must live as long as the context.
        self._event_hooks = ffi.new("libxl_event_hooks *")
        self._event_hooks.disaster = lib.pyxen_on_disaster
        lib.libxl_event_register_callbacks(self.pointer, self._event_hooks, self._handle)
        self._child_hooks = ffi.new("libxl_childproc_hooks *")
        self._child_hooks.chldowner = lib.libxl_sigchld_owner_mainloop
        self._child_hooks.fork_replacement = ffi.addressof(lib, "pyxen_fork")
        lib.libxl_childproc_setmode(self.pointer, self._child_hooks, self._loop)

    def run(self, operation: Operation[T], script: Script[T]) -> Operation[T]:
        """Start a script. Its end ends the operation.

        Raises:
            HostClosed: The context was closed, or belongs to the parent of this process.
        """
        if self._closed:
            raise HostClosed(f"{operation.verb}: the host is closed, or was opened before a fork: open it again")
        return self._event_loop.submit(operation, script)

    def complete(
        self, start: Callable[[CData], int], *, abortable: bool = True, may_abort: Callable[[], bool] | None = None
    ) -> Script[int]:
        """Start one of libxl's asynchronous functions and wait for its end. This is a part of a script.

        Args:
            start: Makes the call, given the ``libxl_asyncop_how *``.
            abortable: False for clean-up, which continues when the operation is stopped.
            may_abort: Tells whether libxl's operation may be aborted yet. Until then, a stopped operation continues.

        Returns:
            libxl's code, 0 for success.
        """
        token = self._event_loop.token()
        how = ffi.new("libxl_asyncop_how *")
        how.u.for_event = token
        code: int = start(how)
        if code != 0:
            return code
        event: LibxlEvent = yield Wait(token, lambda: self._abort(how) if abortable else 0, may_abort)
        return event.code

    def outside(self, function: Callable[[], object]) -> Script[None]:
        """Call a slow function on its own thread, and wait for its end. This is a part of a script."""
        token = self._event_loop.token()
        failures: list[BaseException] = []

        def call() -> None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001 (the script gets every error)
                failures.append(error)
            self._event_loop.arrive(token)

        threading.Thread(target=call, name="pyxen-outside", daemon=True).start()
        yield Wait(token, lambda: 0)
        if failures:
            raise failures[0]

    def elsewhere(
        self, kind: int, *, domid: int = NO_DOMID, payload: bytes = b"", abortable: bool = True
    ) -> Script[LibxlEvent | None]:
        """Have a worker make a call, and wait for its end. This is a part of a script.

        Args:
            kind: Which, as in worker.h.
            domid: The domain that the call is for.
            payload: Data for the call.
            abortable: As in `complete`.

        Returns:
            The event of its end; None if there is no worker, so that nothing was done. If the operation is to end, and
            the worker hangs, it is killed, and the event is `hung`.
        """
        operation = self._sink.current  # whose script this is
        while (worker := self._workers.free()) is None:
            if not self._workers.starting():
                return None
            token = self._event_loop.token()
            with self._workers.change(token):
                until = None if abortable else time.monotonic() + _START
                event = yield Wait(token, None if abortable else lambda: 0, until=until)
            if event is TIME_IS_UP and operation is not None and operation.stopped is not None:
                return LibxlEvent(0, NO_DOMID, lib.ERROR_FAIL, lost=True, hung=True)
        token = self._event_loop.token()
        worker.set_level(self._sink.level)
        worker.call(kind, token, domid, payload)
        return (yield from self._outcome(worker, token, operation, abortable=abortable))

    def _outcome(
        self,
        worker: Worker,
        token: int,
        operation: Operation[Any] | None,
        *,
        abortable: bool,
        may_abort: Callable[[], bool] | None = None,
    ) -> Script[LibxlEvent]:
        """Wait for the end of a worker's call. If the operation is to end, and the worker hangs, kill the worker."""
        if abortable:
            try:
                return (yield Wait(token))
            except Stopped:
                pass
        to_abort = abortable
        while True:
            worker.knock()
            silent = time.monotonic() + _SILENCE
            while time.monotonic() < silent:
                if to_abort and (may_abort is None or may_abort()):
                    worker.abort(token)
                    to_abort = False
                until = min(silent, time.monotonic() + _LOOK_AGAIN) if to_abort else silent
                event = yield Wait(token, lambda: 0, until=until)
                if event is not TIME_IS_UP:
                    return event
            if operation is not None and operation.stopped is not None and worker.hangs():
                worker.kill()

    def serve(self, kind: int) -> Script[LibxlEvent]:
        """Make a call that never returns in a new worker process, which ends with it. This is a part of a script.

        Args:
            kind: Which, as in worker.h.

        Raises:
            OSError: The process cannot be started.
        """
        worker = self._workers.apart()
        try:
            token = self._event_loop.token()
            worker.set_level(self._sink.level)
            worker.call(kind, token, NO_DOMID, b"")
            return (yield Wait(token, lambda: worker.abort(token)))
        finally:
            self._workers.dismiss(worker)

    def restore_apart(
        self, payload: bytes, stream: int, may_abort: Callable[[], bool], *, checkpointed: int
    ) -> Script[LibxlEvent | None]:
        """Restore a domain in a worker process of its own, so that a stream can harm nothing else. Part of a script.

        Args:
            payload: As in worker.h.
            stream: The descriptor of the stream.
            may_abort: As in `complete`.
            checkpointed: A ``libxl_checkpointed_stream``.

        Returns:
            The event of its end, as of `elsewhere`; None if there are to be no workers, or none can be started, so that
            nothing was read of the stream.
        """
        operation = self._sink.current
        if not self._workers.enabled:
            return None
        try:
            worker = self._workers.apart(stream)
        except OSError:
            return None
        try:
            token = self._event_loop.token()
            worker.set_level(self._sink.level)
            worker.call(lib.PYXEN_RESTORE, token, NO_DOMID, payload, checkpointed)
            event = yield from self._outcome(worker, token, operation, abortable=True, may_abort=may_abort)
            return None if event.lost and not worker.ready and not event.hung else event
        finally:
            self._workers.dismiss(worker)

    def _take(self, fd: int) -> Iterator[Arrival]:
        for frame in self._workers.take(fd):
            complete: int = lib.LIBXL_EVENT_TYPE_OPERATION_COMPLETE
            lost, hung = frame.kind in {LOST, HUNG}, frame.kind == HUNG
            yield frame.token, LibxlEvent(complete, frame.domid, frame.number, lost=lost, hung=hung)

    def _note(self, token: int, level: int, line: str) -> None:
        """Take a line from a worker."""
        current, self._sink.current = self._sink.current, self._event_loop.waiting(token)
        self._sink.note(level, line)
        self._sink.current = current

    def _abort(self, how: CData) -> int:
        code: int = lib.libxl_ao_abort(self.pointer, how)
        return code

    @contextlib.contextmanager
    def watching(self, domid: int) -> Iterator[int]:
        """Make libxl report to a script when a domain shuts down, and when it dies.

        Yields:
            The token of both events. A domain that is already gone is reported as dead.
        """
        token = self._event_loop.token()
        watch = ffi.new("libxl_evgen_domain_death **")
        if lib.libxl_evenable_domain_death(self.pointer, domid, token, watch) != 0:
            self._event_loop.bring(token, LibxlEvent(lib.LIBXL_EVENT_TYPE_DOMAIN_DEATH, domid))
        try:
            yield token
        finally:
            if watch[0] != ffi.NULL:
                lib.libxl_evdisable_domain_death(self.pointer, watch[0])
            self._event_loop.forget(token)

    def break_down(self, reason: str) -> None:
        """Refuse all further operations: libxl's event loop cannot continue."""
        self._event_loop.disaster = reason

    def close(self) -> None:
        """Stop running operations, wait until they are undone, and free everything. A second call waits for this."""
        if self._pid != os.getpid():
            self._closed = True
            return
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._event_loop.close()
            self._workers.close()
            self.journal.close()
            self._free()
            _CONTEXTS.discard(self)

    def forked(self) -> None:
        """Release it in the child of a fork: only the parent may use the context."""
        self._closed = True
        self.hypervisor.forked()
        self._workers.forked()
        self.journal.forked()
        lib.libxl_postfork_child_noexec(self.pointer)

    def _running(self) -> list[Operation[Any]]:
        return self._event_loop.running()

    def _free(self) -> None:
        if self.pointer != ffi.NULL:
            lib.pyxen_ctx_free(self.pointer)
            self.pointer = ffi.NULL
        lib.pyxen_loop_free(self._loop)
        self._sink.free()
        os.close(self._wake)


_CONTEXTS: weakref.WeakSet[Context] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for context in list(_CONTEXTS):
        context.forked()
    _CONTEXTS.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _close_all() -> None:
    for context in list(_CONTEXTS):
        context.close()


# Close at exit: later in the interpreter's shutdown, the event loop's thread no longer runs to undo anything.
atexit.register(_close_all)


@ffi.def_extern()  # type: ignore[untyped-decorator]  # cffi's decorator has no types
def pyxen_on_disaster(user: CData, event_type: int, message: CData, errnoval: int) -> None:  # noqa: ARG001 (C's signature)
    text = "" if message == ffi.NULL else ffi.string(message).decode(errors="replace")
    ffi.from_handle(user).break_down(text if errnoval <= 0 else f"{text}: {os.strerror(errnoval)}")
