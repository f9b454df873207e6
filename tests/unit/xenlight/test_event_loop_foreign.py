"""What others wrote around the event loop: log filters, callbacks and aborts that raise, and lines of libxl's."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.event_loop import Script, Wait
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.operation import Operation
from tests.unit.xenlight.paced import PacedPump, run, settle, waits


class Raising(logging.Filter):
    """A filter that raises, whatever comes."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def filter(self, _: logging.LogRecord) -> bool:
        raise self._error


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    """What was shown of what others raised."""
    shown: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: shown.append(args.exc_type))
    return shown


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(1)])
def test_a_log_filter_that_raises(
    event_loop: PacedPump, sink: LogSink, hooked: list[type[BaseException]], error: BaseException
) -> None:
    def script(_: Operation[int]) -> Script[int]:
        yield from ()
        sink.note(lib.XTL_ERROR, "a line")
        return 7

    logger, raising = logging.getLogger("pyxen.libxl"), Raising(error)
    logger.addFilter(raising)
    try:
        assert run(event_loop, script).result(30) == 7
        assert run(event_loop, script).result(30) == 7
        settle(event_loop)
    finally:
        logger.removeFilter(raising)
    assert hooked == [type(error)] * 2


def test_exit_in_a_callback_ends_nobody_elses_operation(
    event_loop: PacedPump, hooked: list[type[BaseException]]
) -> None:
    other, operation = run(event_loop, waits(1)), run(event_loop, waits(2))
    operation.add_done_callback(lambda _: sys.exit(3))
    event_loop.provide(2, 7)
    assert operation.result(30) == 7
    event_loop.provide(1, 8)
    assert other.result(30) == 8
    assert hooked == [SystemExit]


@pytest.mark.parametrize("which", ["abort", "may_abort"])
def test_an_abort_that_fails_is_that_operations_own(event_loop: PacedPump, which: str) -> None:
    def script(_: Operation[int]) -> Script[int]:
        event = yield Wait(1, lambda: 1 // 0 if which == "abort" else 0, lambda: which == "abort" or bool(1 // 0))
        return event.code

    other, operation = run(event_loop, waits(2)), run(event_loop, script)
    settle(event_loop)
    operation.cancel()
    assert isinstance(operation.exception(30), ZeroDivisionError)
    assert not LIBXL.locked()
    event_loop.provide(2, 8)
    assert other.result(30) == 8


def test_a_line_that_names_nobody_goes_to_nobody(event_loop: PacedPump, sink: LogSink) -> None:
    first, second = run(event_loop, waits(1)), run(event_loop, waits(2))
    settle(event_loop)
    sink._running = event_loop.running
    first.domid, second.domid = 7, 8
    sink.note(lib.XTL_ERROR, "something is wrong")
    sink.note(lib.XTL_ERROR, "libxl: Domain 8:something is wrong")
    event_loop.provide(2)
    second.result(30)
    settle(event_loop)
    sink.note(lib.XTL_ERROR, "it can only be the other one's")
    event_loop.provide(1)
    first.result(30)
    assert second.log == ["libxl: Domain 8:something is wrong"]
    assert first.log == ["it can only be the other one's"]


def test_lines_are_safe_to_print(sink: LogSink, caplog: pytest.LogCaptureFixture) -> None:
    sink.note(lib.XTL_ERROR, "a name: \x1b]0;owned\x07")
    sink.flush()
    assert caplog.messages == ["a name: \\x1b]0;owned\\x07"]
