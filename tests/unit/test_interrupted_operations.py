"""What interrupts whoever waits for an operation: Ctrl-C, and what signal handlers raise, undo what was begun."""

from __future__ import annotations

import concurrent.futures
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from types import FrameType

import pytest

from pyxen.errors import OperationCancelled, OperationTimeout
from pyxen.operation import Calls, Operation, completing, finish
from tests.unit.worker import Worker
from tests.waiting import SECONDS, until


def _is_in(ident: int, wanted: set[str]) -> bool:
    """Tell whether a thread is in one of some functions."""
    return bool(wanted & set(_functions(sys._current_frames()[ident])))


def ctrl_c_when_it_waits(times: int = 1, number: int = signal.SIGINT) -> None:
    """Send Ctrl-C to the main thread as soon as it waits for an operation, and again when it waits for its undoing."""
    ident = threading.main_thread().ident
    assert ident is not None

    def send() -> None:
        for wanted in [{"result"}, {"exception"}][:times]:
            until(partial(_is_in, ident, wanted), f"it is not in {wanted}")
            signal.pthread_kill(ident, number)

    threading.Thread(target=send, daemon=True).start()


def _functions(frame: FrameType | None) -> Iterator[str]:
    """Yield the names of the functions of `concurrent.futures` that a thread is in."""
    while frame is not None:
        if frame.f_code.co_filename == concurrent.futures.Future.result.__code__.co_filename:
            yield frame.f_code.co_name
        frame = frame.f_back


def test_ctrl_c_cancels_waits_for_the_end_and_then_interrupts() -> None:
    operation = Operation[str]("create", "web1")
    worker = Worker(operation)
    ctrl_c_when_it_waits()
    with pytest.raises(KeyboardInterrupt):
        operation.wait()
    assert operation.done()
    assert worker.stops == ["cancelled"]


def test_a_second_ctrl_c_does_not_wait() -> None:
    operation = Operation[str]("create", "web1")
    worker = Worker(operation, slow=True)
    ctrl_c_when_it_waits(times=2)
    with pytest.raises(KeyboardInterrupt):
        operation.wait()
    assert not operation.done()
    assert worker.stops == ["cancelled"]
    worker.undone.set()
    assert isinstance(operation.exception(SECONDS), OperationCancelled)


def test_a_second_ctrl_c_does_not_wait_for_what_was_begun_and_awaited_at_once() -> None:
    workers: list[Worker] = []

    def begin() -> Operation[str]:
        operation = Operation[str]("create", "web1")
        workers.append(Worker(operation, slow=True))
        failing = threading.Timer(SECONDS, workers[0].undone.set)  # so that it fails, and does not hang
        failing.daemon = True
        failing.start()
        ctrl_c_when_it_waits(times=2)
        return operation

    with pytest.raises(KeyboardInterrupt):
        finish(begin)
    assert not workers[0].operation.done()
    workers[0].undone.set()
    assert isinstance(workers[0].operation.exception(SECONDS), OperationCancelled)


def test_a_first_ctrl_c_waits_for_the_undoing_of_what_was_cancelled_already() -> None:
    """What begins an operation cancels it if Ctrl-C comes, as nobody else has it."""
    workers: list[Worker] = []

    def begin() -> Operation[str]:
        operation = Operation[str]("create", "web1")
        workers.append(Worker(operation, slow=True))
        threading.Timer(0.2, workers[0].undone.set).start()
        operation.cancel()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish(begin)
    assert workers[0].operation.done()


class Late(Exception):
    """Raised by a signal handler."""


@pytest.fixture(params=[SystemExit, Late])
def handled(request: pytest.FixtureRequest) -> Iterator[type[BaseException]]:
    """Have SIGTERM raise an exception, as services do, and return its class."""
    kind: type[BaseException] = request.param

    def handle(*_: object) -> None:
        raise kind

    before = signal.signal(signal.SIGTERM, handle)
    yield kind
    signal.signal(signal.SIGTERM, before)


def test_what_a_signal_handler_raises_undoes_what_runs(handled: type[BaseException]) -> None:
    operation = Operation[str]("create", "web1")
    worker = Worker(operation)
    ctrl_c_when_it_waits(number=signal.SIGTERM)
    with pytest.raises(handled):
        operation.wait()
    assert operation.done()
    assert worker.stops == ["cancelled"]


def test_what_a_signal_handler_raises_again_does_not_wait(handled: type[BaseException]) -> None:
    workers: list[Worker] = []

    def begin() -> Operation[str]:
        workers.append(Worker(Operation[str]("create", "web1"), slow=True))
        ctrl_c_when_it_waits(times=2, number=signal.SIGTERM)
        return workers[0].operation

    with pytest.raises(handled):
        finish(begin)
    assert not workers[0].operation.done()
    assert workers[0].stops == ["cancelled"]
    workers[0].undone.set()
    assert isinstance(workers[0].operation.exception(SECONDS), OperationCancelled)


@pytest.mark.parametrize("kind", [SystemExit, Late])
def test_what_is_raised_before_anyone_has_the_operation_undoes_it(kind: type[BaseException]) -> None:
    undone: list[str] = []
    workers: list[Worker] = []

    def begin() -> Operation[str]:
        workers.append(Worker(Operation[str]("create", "web1")))
        if len(workers) == 2:
            workers[1].finish.set()
            workers[1].operation.exception()
        raise kind

    for _ in range(2):
        with pytest.raises(kind):
            finish(begin, undone.append)
    assert workers[0].stops == ["cancelled"]
    assert (workers[1].stops, undone) == ([], ["done"])


def test_its_own_failure_undoes_nothing() -> None:
    """What has failed has undone itself, also where another operation that was begun with it has succeeded."""
    undone: list[str] = []

    def begin() -> Operation[str]:
        first, second = Operation[str]("config"), Operation[str]("create")
        Worker(first).finish.set()
        first.exception()
        Worker(second).operation.cancel()
        return second

    with pytest.raises(OperationCancelled):
        finish(begin, undone.append)
    assert undone == []


def test_a_wait_that_is_refused_stops_nothing() -> None:
    operation = Operation[str]("create", "web1")
    worker = Worker(operation)
    with completing(object()), pytest.raises(RuntimeError, match="cannot wait here"):
        operation.wait()
    assert worker.stops == []
    worker.finish.set()
    assert operation.wait() == "done"


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_several_at_once_and_a_second_one_waits_for_none(times: int) -> None:
    workers: list[Worker] = []

    def begin() -> Operation[str]:
        workers.append(Worker(Operation[str]("shutdown", "web1"), slow=True))
        return workers[-1].operation

    def press() -> None:
        ident = threading.main_thread().ident
        assert ident is not None
        until(lambda: len(workers) == 3, "they are not begun")
        until(lambda: _is_in(ident, {"exception"}), "it does not wait")
        signal.pthread_kill(ident, signal.SIGINT)
        until(lambda: all(worker.stops for worker in workers), "all are stopped before one is undone")
        if times == 2:
            until(lambda: _is_in(ident, {"exception"}), "it does not wait for the undoing")
            signal.pthread_kill(ident, signal.SIGINT)
        else:
            for worker in workers:
                worker.undone.set()

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        Calls().finish_each([begin] * 3)
    assert [worker.operation.done() for worker in workers] == [times == 1] * 3
    for worker in workers:
        worker.undone.set()
        assert isinstance(worker.operation.exception(SECONDS), OperationCancelled)


def interrupted_at(moment: str) -> tuple[Operation[str], Worker, list[str]]:
    """Let Ctrl-C come at a moment of `finish`; return what was begun, who carried it out, and what was undone."""
    begun: list[tuple[Operation[str], Worker]] = []
    undone: list[str] = []

    def begin() -> Operation[int]:
        operation = Operation[str]("create")
        worker = Worker(operation)
        begun.append((operation, worker))
        if moment == "before anyone has it":
            raise KeyboardInterrupt
        if moment == "while it runs":
            ctrl_c_when_it_waits()
            return operation.map(len)
        worker.finish.set()
        operation.exception()
        if moment == "when it has just succeeded":
            raise KeyboardInterrupt
        return operation.map(_interrupted)

    with pytest.raises(KeyboardInterrupt):
        finish(begin, undone.append)
    return *begun[0], undone


def _interrupted(_: str) -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["before anyone has it", "while it runs"])
def test_ctrl_c_undoes_what_was_begun(moment: str) -> None:
    operation, worker, undone = interrupted_at(moment)
    assert worker.stops == ["cancelled"]
    assert isinstance(operation.exception(), OperationCancelled)
    assert undone == []


@pytest.mark.parametrize("moment", ["when it has just succeeded", "when its result is made"])
def test_ctrl_c_undoes_what_has_just_succeeded(moment: str) -> None:
    operation, worker, undone = interrupted_at(moment)
    assert worker.stops == []
    assert operation.exception() is None
    assert undone == ["done"]
    assert finish(lambda: operation) == "done"


def test_each_owns_what_it_has_begun_itself() -> None:
    undone: list[str] = []

    def begin() -> Operation[str]:
        def first() -> Operation[str]:
            operation = Operation[str]("config")
            Worker(operation).finish.set()
            return operation

        assert finish(first, undone.append) == "done"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish(begin, undone.append)
    assert undone == []


def test_ctrl_c_says_so_where_its_undoing_fails() -> None:
    def begin() -> Operation[str]:
        operation = Operation[str]("create")
        Worker(operation).finish.set()
        operation.exception()
        raise KeyboardInterrupt

    def undo(_: str) -> None:
        raise OperationTimeout("destroy 1: it takes too long")

    with pytest.raises(KeyboardInterrupt) as caught:
        finish(begin, undo)
    assert caught.value.__notes__ == ["create had succeeded, and could not be undone: destroy 1: it takes too long"]
