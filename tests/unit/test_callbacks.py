"""Callbacks of operations: they break nothing, whatever they raise, and wait for nothing that needs their thread."""

from __future__ import annotations

import threading
from functools import partial

import pytest

import pyxen
from pyxen.errors import InvalidArgument
from pyxen.operation import Calls, Operation, check_may_wait, completing, finish, may_wait
from tests.forks import told_by_a_child
from tests.unit.worker import Worker
from tests.waiting import until


def test_waiting_for_oneself_is_refused() -> None:
    operation = Operation[str]("pause", 7)
    seen: list[BaseException | None] = []

    def run() -> None:
        try:
            operation.wait()
        except RuntimeError as error:
            seen.append(error)
        finally:
            operation.set_result("done")

    thread = threading.Thread(target=run)
    operation.carried_by(lambda _: None, thread)
    thread.start()
    assert operation.wait() == "done"
    assert "pause: cannot wait here" in str(seen[0])


def test_a_callback_on_a_thread_of_many_waits_for_nothing_that_runs() -> None:
    first, second = Operation[str]("create"), Operation[str]("pause")
    other = Worker(second)
    begun: list[Operation[str]] = []
    raised: list[BaseException] = []

    def begin() -> Operation[str]:
        begun.append(second)
        return second

    def callback(_: object) -> None:
        for wait in (
            second.wait,
            second.result,
            partial(second.exception, 30),
            partial(finish, begin),
            partial(Calls().finish, begin),
            partial(Calls().finish_each, [begin]),
            partial(second.result, 0),
        ):
            try:
                wait()
            except (RuntimeError, TimeoutError) as error:
                raised.append(error)

    first.add_done_callback(callback)
    with completing(object()):
        first.set_result("done")
    assert [type(error) for error in raised] == [RuntimeError] * 6 + [TimeoutError]
    assert begun == []
    assert "pause: cannot wait here" in str(raised[0])
    assert "nothing was begun" in str(raised[3])
    other.finish.set()
    assert second.wait() == "done"


def test_a_callback_waits_for_what_another_completes() -> None:
    """What it waits for must not need the thread that the callback is on."""
    mine, other = object(), object()
    operations = [Operation[str]("create", name) for name in ("mine", "other", "unknown")]
    for operation, completer in zip(operations, (mine, other, None), strict=True):
        operation.carried_by(lambda _: None, threading.Thread(), completer)
    with completing(mine):
        assert [may_wait(each) for each in (mine, other, None)] == [False, True, False]
        check_may_wait(completer=other)
        for operation in (operations[0], operations[2]):
            with pytest.raises(RuntimeError, match="cannot wait here"):
                operation.result(30)
        threading.Timer(0.05, operations[1].set_result, ["done"]).start()
        assert operations[1].result(30) == "done"
        with completing(other):
            assert [may_wait(each) for each in (mine, other)] == [True, False]
        assert [may_wait(each) for each in (mine, other)] == [False, True]
    assert may_wait()


def test_what_turns_out_to_need_the_thread_is_cancelled() -> None:
    mine, other, stops = object(), object(), list[str | None]()

    def begin() -> Operation[str]:
        operation = Operation[str]("migrate")
        operation.carried_by(lambda stopping: stops.append(stopping.stopped), threading.Thread(), None)
        return operation

    with completing(mine), pytest.raises(RuntimeError, match="migrate: cannot wait here"):
        finish(begin, completer=other)
    assert stops == ["cancelled"]


def test_a_callback_of_an_operation_with_a_thread_of_its_own_may_wait() -> None:
    first, second = Operation[str]("clone"), Operation[str]("pause")
    worker, other = Worker(first), Worker(second)
    seen: list[str] = []
    first.add_done_callback(lambda _: seen.append(finish(lambda: second)))
    other.finish.set()
    worker.finish.set()
    worker.thread.join(30)
    assert seen == ["done"]


def test_a_process_that_is_forked_in_a_callback_may_wait() -> None:
    with completing(object()):
        assert told_by_a_child([may_wait]) == ["True"]
        assert not may_wait()

    def create_and_close() -> str:
        with pyxen.connect("memory:///child") as host:
            return str(host.create(pyxen.DomainConfig("web2", type="pvh", kernel="/k", memory=64)).name)

    told: list[str] = []
    with pyxen.connect("memory:///parent") as parent:
        waiting = parent.create(pyxen.DomainConfig("web1", type="pvh", kernel="/k", memory=64)).begin.wait("paused")
        waiting.add_done_callback(lambda _: told.extend(told_by_a_child([create_and_close])))
        waiting.cancel()
        until(lambda: told, "the callback hangs")
    assert told == ["'web2'"]


def test_a_callback_that_is_called_at_once_may_wait() -> None:
    """It runs on the thread of its caller, which completes nothing."""
    first, second = Operation[str]("create"), Operation[str]("pause")
    first.set_result("done")
    worker = Worker(second)
    worker.finish.set()
    seen: list[str] = []
    first.add_done_callback(lambda _: seen.append(second.wait()))
    assert seen == ["done"]


def test_a_callback_that_would_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_value))
    operation = Operation[str]("create")

    async def never(_: object) -> None:
        raise AssertionError

    with pytest.raises(InvalidArgument, match="a plain function as callback, not an async one"):
        operation.add_done_callback(never)
    with pytest.raises(InvalidArgument, match="a function as callback, not None"):
        operation.add_done_callback(None)  # type: ignore[arg-type]  # on purpose
    operation.add_done_callback(lambda _: never(None))
    worker = Worker(operation)
    worker.finish.set()
    worker.thread.join(30)
    operation.add_done_callback(lambda _: never(None))  # it has ended: the same rule
    assert [type(error) for error in told] == [InvalidArgument] * 2
    ended: list[object] = []
    operation.add_done_callback(ended.append)
    assert ended == [operation]


@pytest.mark.parametrize("error", [ValueError("v"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_a_callback_that_raises_breaks_nothing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_value))
    operation = Operation[str]("create")
    after: list[str] = []

    def fail(_: object) -> None:
        raise error

    operation.add_done_callback(fail)
    operation.add_done_callback(lambda ended: after.append(ended.result()))
    worker = Worker(operation)
    worker.finish.set()
    worker.thread.join(30)
    assert after == ["done"]
    assert told == [error]


def test_a_hook_that_raises_breaks_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(threading, "excepthook", fail)
    operation = Operation[str]("create")
    operation.add_done_callback(fail)
    worker = Worker(operation)
    worker.finish.set()
    worker.thread.join(30)
    assert operation.result(0) == "done"


@pytest.mark.parametrize("error", [ValueError("v"), SystemExit(1), GeneratorExit()])
def test_a_callback_that_raises_at_once_breaks_nothing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_value))
    operation = Operation[str]("create")
    operation.set_result("done")

    def fail(_: object) -> None:
        raise error

    operation.add_done_callback(fail)
    assert told == [error]


def test_ctrl_c_in_a_callback_that_is_called_at_once_interrupts() -> None:
    operation = Operation[str]("create")
    operation.set_result("done")

    def fail(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        operation.add_done_callback(fail)
