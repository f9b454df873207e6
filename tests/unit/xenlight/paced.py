"""An event loop whose libxl is the test, and scripts for it."""

from __future__ import annotations

import os
import queue
import select
from collections.abc import Callable

from pyxen.backends.xenlight.libxl.binding import ffi, lib
from pyxen.backends.xenlight.libxl.error_map import stopped
from pyxen.backends.xenlight.libxl.event_loop import EventLoop, LibxlEvent, Script, Wait
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.operation import Operation

__all__ = ["PacedPump", "run", "settle", "waits"]


class PacedPump(EventLoop):
    """A event loop whose events a test provides."""

    def __init__(self, sink: LogSink) -> None:
        self.provided: queue.SimpleQueue[tuple[int, LibxlEvent]] = queue.SimpleQueue()
        self.breaks_with: Exception | None = None
        wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        super().__init__(ffi.NULL, sink, ffi.NULL, wake, lambda _: (), lambda *_: None)

    def provide(self, token: int, code: int = 0) -> None:
        """Let an event come."""
        self.provided.put((token, LibxlEvent(lib.LIBXL_EVENT_TYPE_OPERATION_COMPLETE, 7, code)))
        self._post(lambda: None)

    def _poll(self) -> list[tuple[int, LibxlEvent]]:
        if self.provided.empty():
            timeout = self._milliseconds()
            if select.select([self._wake], [], [], None if timeout < 0 else timeout / 1000)[0]:
                os.eventfd_read(self._wake)
        if self.breaks_with is not None:
            raise self.breaks_with
        found = []
        while not self.provided.empty():
            found.append(self.provided.get())
        return found


def run(
    event_loop: EventLoop, script: Callable[[Operation[int]], Script[int]], timeout: float | None = None
) -> Operation[int]:
    operation = Operation[int]("create", "web1", timeout=timeout)
    return event_loop.submit(operation, script(operation))


def settle(event_loop: EventLoop) -> None:
    """Wait until the event loop has done all that it was asked for so far."""

    def nothing(_: Operation[int]) -> Script[int]:
        yield from ()
        return 0

    run(event_loop, nothing).result(30)


def waits(token: int, aborted: list[int] | None = None) -> Callable[[Operation[int]], Script[int]]:
    """Make a script that waits once, as for one of libxl's calls."""

    def abort() -> int:
        if aborted is not None:
            aborted.append(token)
        return 0

    def script(operation: Operation[int]) -> Script[int]:
        event = yield Wait(token, abort)
        if operation.stopped is not None:
            raise stopped(operation, event.code)
        return event.code

    return script
