"""Calls of libxl's that worker processes make, for scripts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.event_loop import TIME_IS_UP, EventLoop, LibxlEvent, Script, Stopped, Wait
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.backends.xenlight.libxl.process_workers import NO_DOMID, Worker, Workers
from pyxen.operation import Operation

__all__ = ["SILENCE", "WorkerCalls"]

SILENCE: Final = 5.0
"""Seconds without a sign of life after which what an operation waits for is ended, if the operation is to end."""
_START: Final = 10.0  # seconds for a worker to start, if the operation is to end
_TO_LEAVE: Final = 6.0  # seconds that a worker gives its scripts, if what never returns is to end: see worker.c
_LOOK_AGAIN: Final = 0.02  # seconds between looks whether libxl may abort


class WorkerCalls:
    """Has workers make calls, and waits for their end.

    Args:
        workers: The workers.
        event_loop: What scripts run on.
        sink: Knows whose script runs, and which lines of the log someone listens to.
    """

    def __init__(self, workers: Workers, event_loop: EventLoop, sink: LogSink) -> None:
        self._workers = workers
        self._event_loop = event_loop
        self._sink = sink

    def call(
        self, kind: int, *, domid: int = NO_DOMID, number: int = 0, payload: bytes = b"", abortable: bool = True
    ) -> Script[LibxlEvent | None]:
        """Have a worker make a call, and wait for its end. This is a part of a script.

        Args:
            kind: Which, as in worker.h.
            domid: The domain that the call is for.
            number: As in worker.h.
            payload: Data for the call.
            abortable: As in `Context.complete`.

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
        worker.call(kind, token, domid, payload, number)
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
        to_abort, silent = abortable, 0.0
        worker.knock()
        while True:
            if to_abort and (may_abort is None or may_abort()):
                worker.abort(token)
                to_abort = False
            pause = _LOOK_AGAIN if to_abort else SILENCE / 10
            event = yield Wait(token, lambda: 0, until=time.monotonic() + pause)
            if event is not TIME_IS_UP:
                return event
            # Only our own pauses count, however long they took: where this process gets no CPU, a worker gets none.
            if operation is None or operation.stopped is None or not worker.hangs():
                silent = 0
                worker.knock()
            else:
                silent += pause
                if silent >= SILENCE:
                    worker.kill()

    def serve(self, kind: int) -> Script[LibxlEvent]:
        """Make a call that never returns in a new worker process, which ends with it. This is a part of a script.

        If the operation is to end, and the worker hangs, it is killed.

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
            try:
                return (yield Wait(token))
            except Stopped:
                worker.abort(token)
            event = yield Wait(token, lambda: 0, until=time.monotonic() + _TO_LEAVE + SILENCE)
            if event is TIME_IS_UP:
                worker.kill()
                event = yield Wait(token, lambda: 0)
            return event
        finally:
            self._workers.dismiss(worker)

    def restore(
        self, payload: bytes, stream: int, may_abort: Callable[[], bool], *, number: int
    ) -> Script[LibxlEvent | None]:
        """Restore a domain in a worker process of its own, so that a stream can harm nothing else. Part of a script.

        Args:
            payload: As in worker.h.
            stream: The descriptor of the stream.
            may_abort: As in `Context.complete`.
            number: As in worker.h.

        Returns:
            The event of its end, as of `call`; None if there are to be no workers, or none can be started, so that
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
            worker.call(lib.PYXEN_RESTORE, token, NO_DOMID, payload, number)
            event = yield from self._outcome(worker, token, operation, abortable=True, may_abort=may_abort)
            return None if event.lost and not worker.ready and not event.hung else event
        finally:
            self._workers.dismiss(worker)
