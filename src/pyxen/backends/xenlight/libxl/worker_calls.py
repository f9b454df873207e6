"""The end of a call that a worker makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from pyxen.backends.xenlight.libxl.event_loop import TIME_IS_UP, LibxlEvent, Script, Stopped, Wait
from pyxen.backends.xenlight.libxl.process_workers import Worker
from pyxen.operation import Operation

__all__ = ["outcome"]

_LOOK_AGAIN: Final = 0.02  # seconds between looks whether libxl may abort
_SILENCE = 5.0  # seconds without a sign of life after which a worker is killed, if its operation is to end


def outcome(
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
        pause = _LOOK_AGAIN if to_abort else _SILENCE / 10
        event = yield Wait(token, lambda: 0, until=time.monotonic() + pause)
        if event is not TIME_IS_UP:
            return event
        # Only our own pauses count, however long they took: where this process gets no CPU, a worker gets none.
        if operation is None or operation.stopped is None or not worker.hangs():
            silent = 0
            worker.knock()
        else:
            silent += pause
            if silent >= _SILENCE:
                worker.kill()
