"""Delivery of libxl's log: each line to the operation that it belongs to, and to `logging`.

libxl returns bare numbers; only its log says why something failed. Lines arrive in a callback from C, on the thread
that is inside libxl and holds its lock. The callback only stores them. `LogSink.flush` passes them on later.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyxen._common.shield import logger as shielded_logger
from pyxen._printable import printable
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.operation import Operation

__all__ = ["LogSink"]

logging.getLogger("pyxen").addHandler(logging.NullHandler())
_LOG = shielded_logger("pyxen.libxl")

MOST_LINES = 200
"""The maximum number of lines kept for an operation; a failed create logs about ten."""

_DOMAIN = re.compile(r"\bDomain (\d+):")

_LEVELS = {
    lib.XTL_DEBUG: logging.DEBUG,
    lib.XTL_VERBOSE: logging.DEBUG,
    lib.XTL_DETAIL: logging.DEBUG,
    lib.XTL_PROGRESS: logging.INFO,
    lib.XTL_INFO: logging.INFO,
    lib.XTL_NOTICE: logging.INFO,
    lib.XTL_WARN: logging.WARNING,
    lib.XTL_ERROR: logging.ERROR,
    lib.XTL_CRITICAL: logging.CRITICAL,
}


class LogSink:
    """A logger for libxl that collects its lines.

    A context without a logger crashes on the first message, so its sink is made before it and freed after it.

    Args:
        running: Returns the operations that a line may belong to if no call is in progress.
        wake: Called on the thread inside libxl when there are lines to `flush`.
    """

    def __init__(
        self, running: Callable[[], Iterable[Operation[Any]]] = tuple, wake: Callable[[], None] = lambda: None
    ) -> None:
        self._running = running
        self._wake = wake
        self._handle = ffi.new_handle(self)
        self._pending: list[tuple[int, str]] = []
        self.current: Operation[Any] | None = None
        """The operation whose call is in progress. The lock around libxl guards it."""
        self.level: int = lib.XTL_WARN
        """The lowest level of lines that libxl formats."""
        self.logger: CData = lib.pyxen_logger_new(self._handle, self.level)
        if self.logger == ffi.NULL:
            raise MemoryError("no memory for libxl's logger")

    def free(self) -> None:
        """Free the logger. Nothing may use it any more."""
        logger, self.logger = self.logger, ffi.NULL
        if logger != ffi.NULL:
            lib.pyxen_logger_free(logger)

    def adjust(self) -> None:
        """Make libxl format only the lines that are needed: warnings for exceptions, and those that `logging` shows."""
        if _LOG.isEnabledFor(logging.DEBUG):
            self.level = lib.XTL_DEBUG
        elif _LOG.isEnabledFor(logging.INFO):
            self.level = lib.XTL_PROGRESS
        else:
            self.level = lib.XTL_WARN
        lib.pyxen_logger_set_level(self.logger, self.level)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[list[str]]:
        """Collect the lines that belong to no operation."""
        outer, self.current = self.current, Operation("connect")
        try:
            yield self.current.log
        finally:
            self.current = outer

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Drop the lines of calls whose failure is no news."""
        lib.pyxen_logger_set_level(self.logger, lib.XTL_NUM_LEVELS)
        try:
            yield
        finally:
            lib.pyxen_logger_set_level(self.logger, self.level)

    def note(self, level: int, line: str) -> None:
        """Store a line from libxl."""
        self._pending.append((level, line))
        self._wake()
        if level < lib.XTL_WARN:
            return
        for operation in self._owners(line):
            if len(operation.log) < MOST_LINES:
                operation.log.append(line)

    def note_progress(self, what: str, percent: int) -> None:
        """Record a progress report from libxl, which does not say to which operation it belongs."""
        migrations = [operation for operation in self._running() if operation.verb == "migrate"]
        if len(migrations) == 1:
            migrations[0].report(what, percent)

    def flush(self) -> None:
        """Pass the lines to `logging`. Call it without the lock, since handlers may do anything."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        for level, line in pending:
            _LOG.log(_LEVELS.get(level, logging.DEBUG), "%s", printable(line))

    def _owners(self, line: str) -> Iterable[Operation[Any]]:
        """Return the operations that a line may be about; empty if that would be a guess."""
        if self.current is not None:
            return (self.current,)
        running = list(self._running())
        if len(running) < 2:
            return running
        match = _DOMAIN.search(line)
        if match is None:
            return ()
        domid = int(match[1])
        named = [operation for operation in running if operation.domid == domid]
        return named or [operation for operation in running if operation.domid is None]


def _text(cdata: CData) -> str:
    return "" if cdata == ffi.NULL else ffi.string(cdata).decode(errors="replace")


@ffi.def_extern()  # type: ignore[untyped-decorator]  # cffi's decorator has no types
def pyxen_on_log(owner: CData, level: int, errnoval: int, context: CData, line: CData) -> None:
    text = _text(line)
    if errnoval > 0:
        text += f": {os.strerror(errnoval)}"
    source = _text(context)
    ffi.from_handle(owner).note(level, text if source in {"", "libxl"} else f"{source}: {text}")


@ffi.def_extern()  # type: ignore[untyped-decorator]  # cffi's decorator has no types
def pyxen_on_progress(owner: CData, what: CData, percent: int, done: int, total: int) -> None:  # noqa: ARG001 (C's)
    if total:  # otherwise it is a mere mark, such as "Complete", with percentage 0
        ffi.from_handle(owner).note_progress(_text(what), percent)
