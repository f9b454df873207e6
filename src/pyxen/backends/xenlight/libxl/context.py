"""A context of libxl: its logger, its children, its event loop, its end."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.error_map import code_name
from pyxen.backends.xenlight.libxl.event_loop import Arrival, EventLoop, LibxlEvent, Script, Wait
from pyxen.backends.xenlight.libxl.journal import Journal
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.backends.xenlight.libxl.process_workers import LOST, NO_DOMID, Workers
from pyxen.errors import ConnectFailed, HostClosed
from pyxen.operation import Operation

__all__ = ["Context"]

T = TypeVar("T")


class Context:
    """A ``libxl_ctx`` with all that it needs around it.

    Args:
        hypervisor: For scripts that want to look at something; it stays the caller's.
        workers: Processes that make long calls; 0: all is done in this one.

    Raises:
        ConnectFailed: libxl refuses; its own words are in the message.
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
        # libxl keeps pointers to both structures: they live as long as the context.
        self._event_hooks = ffi.new("libxl_event_hooks *")
        self._event_hooks.disaster = lib.pyxen_on_disaster
        lib.libxl_event_register_callbacks(self.pointer, self._event_hooks, self._handle)
        self._child_hooks = ffi.new("libxl_childproc_hooks *")
        self._child_hooks.chldowner = lib.libxl_sigchld_owner_mainloop
        self._child_hooks.fork_replacement = ffi.addressof(lib, "pyxen_fork")
        lib.libxl_childproc_setmode(self.pointer, self._child_hooks, self._loop)

    def run(self, operation: Operation[T], script: Script[T]) -> Operation[T]:
        """Begin a script, which ends the operation.

        Raises:
            HostClosed: The context was closed, or belongs to the parent of this process.
        """
        if self._closed:
            raise HostClosed(f"{operation.verb}: the host is closed, or was opened before a fork: open it anew")
        return self._event_loop.submit(operation, script)

    def complete(
        self, start: Callable[[CData], int], *, abortable: bool = True, may_abort: Callable[[], bool] | None = None
    ) -> Script[int]:
        """Start one of libxl's asynchronous functions and wait for its end: a part of a script.

        Args:
            start: Makes the call, given the ``libxl_asyncop_how *``.
            abortable: False for clean-up, which goes on when the operation is stopped.
            may_abort: Tells whether libxl may be told to end by now; until then, one that is stopped goes on.

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
        """Call a function that takes its time, on a thread of its own, and wait for its end: a part of a script."""
        token = self._event_loop.token()
        failures: list[BaseException] = []

        def call() -> None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001 (it is the script's)
                failures.append(error)
            self._event_loop.arrive(token)

        threading.Thread(target=call, name="pyxen-outside", daemon=True).start()
        yield Wait(token, lambda: 0)
        if failures:
            raise failures[0]

    def elsewhere(
        self, kind: int, *, domid: int = NO_DOMID, payload: bytes = b"", abortable: bool = True
    ) -> Script[LibxlEvent | None]:
        """Let a worker make a call, and wait for its end: a part of a script.

        Args:
            kind: Which, as in worker.h.
            domid: The domain it is for.
            payload: What goes with it.
            abortable: As of `complete`.

        Returns:
            The end; None where there is no worker, and nothing has been done.
        """
        while (worker := self._workers.free()) is None:
            if not self._workers.starting():
                return None
            token = self._event_loop.token()
            with self._workers.change(token):
                yield Wait(token, None if abortable else lambda: 0)
        token = self._event_loop.token()
        worker.set_level(self._sink.level)
        worker.call(kind, token, domid, payload)
        return (yield Wait(token, lambda: worker.abort(token) if abortable else 0))

    def apart(self, kind: int) -> Script[LibxlEvent]:
        """Let a worker that is begun for it make a call, which ends with that process: a part of a script.

        Args:
            kind: Which, as in worker.h.

        Raises:
            OSError: There can be no such process.
        """
        worker = self._workers.apart()
        try:
            token = self._event_loop.token()
            worker.set_level(self._sink.level)
            worker.call(kind, token, NO_DOMID, b"")
            return (yield Wait(token, lambda: worker.abort(token)))
        finally:
            self._workers.dismiss(worker)

    def _take(self, fd: int) -> Iterator[Arrival]:
        for frame in self._workers.take(fd):
            complete: int = lib.LIBXL_EVENT_TYPE_OPERATION_COMPLETE
            yield frame.token, LibxlEvent(complete, frame.domid, frame.number, lost=frame.kind == LOST)

    def _note(self, token: int, level: int, line: str) -> None:
        """Take a line from a worker."""
        self._sink.current = self._event_loop.waiting(token)
        self._sink.note(level, line)
        self._sink.current = None

    def _abort(self, how: CData) -> int:
        code: int = lib.libxl_ao_abort(self.pointer, how)
        return code

    @contextlib.contextmanager
    def watching(self, domid: int) -> Iterator[int]:
        """Let libxl tell a part of a script when a domain shuts down, and when it dies.

        Yields:
            The token of both events. A domain that is gone already has died.
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
        """Refuse all further operations: libxl's event loop cannot go on."""
        self._event_loop.disaster = reason

    def close(self) -> None:
        """Stop what runs, wait until that is undone, and free everything. Calling it again waits for the same end."""
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
        """Give up in the child of a fork: only the parent may use the context."""
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


# Later, when the interpreter is taken apart, the event loop's thread no longer runs, and nothing can be undone.
atexit.register(_close_all)


@ffi.def_extern()  # type: ignore[untyped-decorator]  # cffi's decorator has no types
def pyxen_on_disaster(user: CData, event_type: int, message: CData, errnoval: int) -> None:  # noqa: ARG001 (C's own)
    text = "" if message == ffi.NULL else ffi.string(message).decode(errors="replace")
    ffi.from_handle(user).break_down(text if errnoval <= 0 else f"{text}: {os.strerror(errnoval)}")
