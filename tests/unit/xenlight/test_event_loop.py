"""The event loop's own part, without Xen: scripts, waits, stops, deadlines, ends.

The test makes the events that libxl would report; `tests/xen` has the real ones. Everything else is the real code.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable

import pytest

from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.error_map import stopped
from pyxen.backends.xenlight.libxl.event_loop import TIME_IS_UP, LibxlEvent, Script, Stopped, Wait
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.errors import HostClosed, OperationCancelled, OperationFailed, OperationTimeout
from pyxen.operation import Operation
from tests.unit.xenlight.paced import PacedPump, run, settle, waits
from tests.waiting import join, until


def test_a_script_that_waits_for_nothing(event_loop: PacedPump) -> None:
    def script(_: Operation[int]) -> Script[int]:
        yield from ()
        return 7

    assert run(event_loop, script).wait() == 7


def test_a_script_goes_on_when_its_event_comes(event_loop: PacedPump) -> None:
    first, second = run(event_loop, waits(1)), run(event_loop, waits(2))
    event_loop.provide(2, 22)
    assert second.result(30) == 22
    assert not first.done()
    event_loop.provide(1, 11)
    assert first.result(30) == 11
    assert event_loop.running() == []


def test_an_event_may_come_before_it_is_waited_for(event_loop: PacedPump) -> None:
    def script(_: Operation[int]) -> Script[int]:
        first = yield Wait(1)
        second = yield Wait(2)
        return 100 * first.code + second.code

    operation = run(event_loop, script)
    event_loop.provide(2, 2)
    event_loop.provide(1, 1)
    assert operation.result(30) == 102


def test_an_event_that_nobody_will_wait_for_is_forgotten(event_loop: PacedPump) -> None:
    def script(_: Operation[int]) -> Script[int]:
        yield Wait(1)
        event_loop.forget(2)
        event = yield Wait(2)
        return event.code

    operation = run(event_loop, script)
    event_loop.provide(2, 1)
    event_loop.provide(1)
    settle(event_loop)
    assert not operation.done()
    event_loop.provide(2, 3)
    assert operation.result(30) == 3


def test_a_script_can_wait_for_a_moment(event_loop: PacedPump) -> None:
    def script(_: Operation[int]) -> Script[int]:
        begun = time.monotonic()
        late = yield Wait(1, until=begun + 0.05)
        assert time.monotonic() >= begun + 0.05
        early = yield Wait(2, until=time.monotonic() + 60)
        return 100 * (late is TIME_IS_UP) + early.code

    operation = run(event_loop, script)
    event_loop.provide(2, 7)
    assert operation.result(30) == 107


def test_a_script_can_bring_an_event_to_itself(event_loop: PacedPump) -> None:
    def script(_: Operation[int]) -> Script[int]:
        event_loop.bring(3, LibxlEvent(0, 7, 5))
        return (yield Wait(3)).code

    assert run(event_loop, script).result(30) == 5


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_script_raises_is_its_operations(event_loop: PacedPump, error: BaseException) -> None:
    def script(_: Operation[int]) -> Script[int]:
        yield Wait(1)
        raise error

    operation = run(event_loop, script)
    event_loop.provide(1)
    assert operation.exception(30) is error
    other = run(event_loop, waits(2))
    event_loop.provide(2, 4)
    assert other.result(30) == 4


def test_the_lock_is_held_in_calls_and_never_while_waiting(event_loop: PacedPump) -> None:
    held: list[bool] = []

    def abort() -> int:
        held.append(LIBXL.locked())
        return 0

    def script(operation: Operation[int]) -> Script[int]:
        held.append(LIBXL.locked())
        yield Wait(1, abort)
        held.append(LIBXL.locked())
        raise stopped(operation)

    operation = run(event_loop, script)
    settle(event_loop)
    assert not LIBXL.locked()
    operation.cancel()
    settle(event_loop)
    event_loop.provide(1)
    assert isinstance(operation.exception(30), OperationCancelled)
    assert held == [True, True, True]
    assert not LIBXL.locked()


def test_cancel_aborts_and_the_operation_ends_when_libxl_says_so(event_loop: PacedPump) -> None:
    aborted: list[int] = []
    operation = run(event_loop, waits(1, aborted))
    settle(event_loop)
    operation.cancel()
    operation.cancel()
    settle(event_loop)
    assert aborted == [1]
    assert not operation.done()
    event_loop.provide(1, lib.ERROR_ABORTED)
    error = operation.exception(30)
    assert isinstance(error, OperationCancelled)
    assert (error.operation, error.domain, error.code) == ("create", "web1", lib.ERROR_ABORTED)


def test_an_abort_waits_until_it_may_be(event_loop: PacedPump) -> None:
    aborted: list[int] = []
    asked: list[bool] = []
    may_abort = False

    def look() -> bool:
        asked.append(may_abort)
        return may_abort

    def abort() -> int:
        aborted.append(1)
        return 0

    def script(operation: Operation[int]) -> Script[int]:
        event = yield Wait(1, abort, look)
        raise stopped(operation, event.code)

    operation = run(event_loop, script)
    settle(event_loop)
    assert asked == []
    operation.cancel()
    until(lambda: len(asked) >= 3, "it does not ask again")
    assert aborted == []
    may_abort = True
    until(lambda: aborted, "it is not aborted")
    assert asked[-1]
    event_loop.provide(1, lib.ERROR_ABORTED)
    assert isinstance(operation.exception(30), OperationCancelled)
    assert aborted == [1]


def test_what_ends_before_its_abort_may_be(event_loop: PacedPump) -> None:
    def script(operation: Operation[int]) -> Script[int]:
        event = yield Wait(1, lambda: 1 // 0, lambda: False)
        assert operation.stopped is not None
        return event.code

    operation = run(event_loop, script)
    settle(event_loop)
    operation.cancel()
    settle(event_loop)
    event_loop.provide(1, 7)
    assert operation.result(30) == 7


def test_what_cannot_be_aborted_is_stopped_where_it_waits_and_cleans_up(event_loop: PacedPump) -> None:
    done: list[str] = []

    def script(_: Operation[int]) -> Script[int]:
        try:
            yield Wait(1)
        except Stopped:
            yield Wait(2, lambda: 0)
            done.append("cleaned up")
            raise
        return 0

    operation = run(event_loop, script)
    settle(event_loop)
    operation.cancel()
    settle(event_loop)
    assert not operation.done()
    event_loop.provide(2)
    assert isinstance(operation.exception(30), OperationCancelled)
    assert done == ["cleaned up"]


def test_cancelled_in_the_middle_of_a_call(event_loop: PacedPump) -> None:
    inside, go_on, aborted = threading.Event(), threading.Event(), list[int]()

    def script(operation: Operation[int]) -> Script[int]:
        inside.set()
        assert go_on.wait(30)
        return (yield from waits(1, aborted)(operation))

    operation = run(event_loop, script)
    assert inside.wait(30)
    operation.cancel()  # it does not wait for the call, which waits for this thread
    go_on.set()
    settle(event_loop)
    assert aborted
    event_loop.provide(1)
    assert isinstance(operation.exception(30), OperationCancelled)


def test_what_ends_well_in_spite_of_the_abort_is_aborted_at_its_next_wait(event_loop: PacedPump) -> None:
    aborted: list[int] = []

    def script(operation: Operation[int]) -> Script[int]:
        yield Wait(1, lambda: 0)
        return (yield from waits(2, aborted)(operation))

    operation = run(event_loop, script)
    settle(event_loop)
    operation.cancel()
    settle(event_loop)
    event_loop.provide(1)
    settle(event_loop)
    assert aborted == [2]
    event_loop.provide(2)
    assert isinstance(operation.exception(30), OperationCancelled)


def test_cancelled_before_its_turn_it_never_begins(event_loop: PacedPump) -> None:
    inside, go_on, began = threading.Event(), threading.Event(), list[int]()

    def blocks(_: Operation[int]) -> Script[int]:
        inside.set()
        assert go_on.wait(30)
        yield from ()
        return 0

    def never(_: Operation[int]) -> Script[int]:
        began.append(1)
        yield from ()
        return 0

    first = run(event_loop, blocks)
    assert inside.wait(30)
    second = run(event_loop, never)
    second.cancel()
    go_on.set()
    assert first.result(30) == 0
    assert isinstance(second.exception(30), OperationCancelled)
    assert began == []


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_the_deadline_stops_it(event_loop: PacedPump, timeout: float) -> None:
    aborted: list[int] = []
    start = time.monotonic()
    operation = run(event_loop, waits(1, aborted), timeout)
    while not aborted and not operation.done():
        assert time.monotonic() - start < 30
        time.sleep(0.005)
    assert time.monotonic() - start >= timeout
    event_loop.provide(1, lib.ERROR_ABORTED)
    error = operation.exception(30)
    assert isinstance(error, OperationTimeout)
    assert isinstance(error, TimeoutError)
    assert "the deadline passed" in str(error)


def test_many_threads_submit(event_loop: PacedPump) -> None:
    operations: list[Operation[int]] = []

    def submit(start: int) -> None:
        for token in range(start, start + 50):
            operations.append(run(event_loop, waits(token)))
            event_loop.provide(token, token)

    threads = [threading.Thread(target=submit, args=(1000 * number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    results = sorted(operation.result(30) for operation in operations)
    assert results == [1000 * number + offset for number in range(1, 5) for offset in range(50)]


def test_tokens_are_never_the_same(event_loop: PacedPump) -> None:
    assert len({event_loop.token() for _ in range(100)}) == 100


# The log


def test_a_line_belongs_to_the_call_that_caused_it(
    event_loop: PacedPump, sink: LogSink, caplog: pytest.LogCaptureFixture
) -> None:
    def script(_: Operation[int]) -> Script[int]:
        sink.note(lib.XTL_ERROR, "no such file")
        sink.note(lib.XTL_DEBUG, "details")
        yield Wait(1)
        return 0

    with caplog.at_level(logging.DEBUG, "pyxen.libxl"):
        operation, other = run(event_loop, script), run(event_loop, waits(2))
        event_loop.provide(1)
        event_loop.provide(2)
        assert (operation.result(30), other.result(30)) == (0, 0)
    assert (operation.log, other.log) == (["no such file"], [])
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "no such file"),
        ("DEBUG", "details"),
    ]


def test_a_handler_of_logging_may_do_anything(event_loop: PacedPump, sink: LogSink) -> None:
    locked: list[bool] = []

    class Handler(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            locked.append(LIBXL.locked())

    def script(_: Operation[int]) -> Script[int]:
        sink.note(lib.XTL_ERROR, "no")
        yield from ()
        return 0

    logger, handler = logging.getLogger("pyxen.libxl"), Handler()
    logger.addHandler(handler)
    try:
        run(event_loop, script).wait()
    finally:
        logger.removeHandler(handler)
    assert locked == [False]


# Callbacks


def test_a_callback_may_begin_another_but_not_wait_for_it(event_loop: PacedPump) -> None:
    refused: list[str] = []
    begun: list[Operation[int]] = []

    def then(_: object) -> None:
        operation = run(event_loop, waits(2))
        begun.append(operation)
        try:
            operation.wait()
        except RuntimeError as error:
            refused.append(str(error))

    first = run(event_loop, waits(1))
    first.add_done_callback(then)
    event_loop.provide(1)
    event_loop.provide(2, 5)
    first.result(30)
    until(lambda: refused, "the callback is not refused")
    assert begun[0].result(30) == 5
    assert "cannot wait here" in refused[0]


def test_one_whose_time_is_over_before_its_turn_does_not_begin(event_loop: PacedPump) -> None:
    busy, go_on, begun = threading.Event(), threading.Event(), list[float | None]()

    def keep_busy(_: Operation[int]) -> Script[int]:
        yield from ()
        busy.set()
        assert go_on.wait(60)
        return 1

    def look(operation: Operation[int]) -> Script[int]:
        yield from ()
        begun.append(operation.deadline)
        return 2

    first = run(event_loop, keep_busy)
    assert busy.wait(60)
    late, only_looks, patient = (run(event_loop, look, timeout) for timeout in (0.02, 0, 60))
    until(lambda: time.monotonic() > (late.deadline or 0), "its deadline does not pass")
    go_on.set()
    assert first.result(30) == 1
    assert isinstance(late.exception(30), OperationTimeout)
    assert only_looks.result(30) == patient.result(30) == 2
    assert begun == [only_looks.deadline, patient.deadline]


# The end


def test_close_stops_what_runs_and_waits_until_it_is_undone(sink: LogSink) -> None:
    event_loop = PacedPump(sink)
    aborted: list[int] = []
    operations = [run(event_loop, waits(token, aborted)) for token in (1, 2)]
    closer = threading.Thread(target=event_loop.close)
    closer.start()
    until(lambda: len(aborted) == 2, "they are not aborted")
    assert closer.is_alive()
    for token in (1, 2):
        event_loop.provide(token, lib.ERROR_ABORTED)
    join(closer)
    for operation in operations:
        with pytest.raises(OperationCancelled, match="the host was closed"):
            operation.result(0)
    with pytest.raises(HostClosed, match="create: the host is closed"):
        run(event_loop, waits(3))


def test_after_a_disaster_nothing_begins(event_loop: PacedPump) -> None:
    event_loop.disaster = "poll failed: Bad file descriptor"
    with pytest.raises(HostClosed, match="open it again: poll failed"):
        run(event_loop, waits(1)).wait()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_pump_that_broke(sink: LogSink) -> None:
    event_loop = PacedPump(sink)
    begun = run(event_loop, waits(1))
    settle(event_loop)
    event_loop.breaks_with = OSError("poll is broken")
    only_submitted = run(event_loop, waits(2))
    error = begun.exception(30)
    assert isinstance(error, OperationFailed)
    assert error.__cause__ is event_loop.breaks_with
    assert (error.operation, error.domain) == ("create", "web1")
    with pytest.raises(HostClosed, match="open it again: OSError: poll is broken"):
        only_submitted.result(30)
    with pytest.raises(HostClosed, match="open it again: OSError: poll is broken"):
        run(event_loop, waits(3))
    event_loop.close()


def test_an_operation_that_was_not_submitted_ends_though_the_thread_has_ended(
    sink: LogSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_loop = PacedPump(sink)
    operation = Operation[int]("create", "web1")

    def ctrl_c(_: Callable[[], None]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(event_loop, "_post", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            event_loop.submit(operation, waits(1)(operation))
    event_loop.close()
    assert operation.cancel()
    assert isinstance(operation.exception(20), OperationCancelled)


def test_a_request_that_comes_too_late_writes_into_no_other_file(sink: LogSink) -> None:
    """A thread has posted its request, and comes to wake the loop when that has ended."""
    event_loop = PacedPump(sink)
    reused: list[int] = []

    class Posted(deque[Callable[[], None]]):
        def append(self, action: Callable[[], None], /) -> None:
            super().append(action)
            if action == event_loop._stop_all or reused:
                return
            wake = event_loop._wake
            event_loop.close()
            other = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            reused.append(os.dup2(other, wake, inheritable=False))  # in one step: other threads open files, too
            os.close(other)

    event_loop._posted = Posted()
    event_loop.arrive(1)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(reused[0])
    event_loop.arrive(2)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(reused[0])
    os.close(reused[0])
