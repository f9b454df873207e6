"""An operation: its end always comes, whoever waits, cancels, watches or interrupts."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from pyxen.errors import InvalidArgument, NotEnoughMemory, OperationCancelled, OperationFailed, OperationTimeout
from pyxen.operation import Operation, Progress
from tests.forks import told_by_a_child
from tests.unit.worker import Worker
from tests.waiting import until


def test_whether_it_runs() -> None:
    operation = Operation[str]("create", "web1")
    assert not operation.running()  # nothing carries it out yet
    worker = Worker(operation)
    until(operation.running, "it does not run")
    worker.finish.set()
    operation.wait()
    assert not operation.running()


def test_one_that_was_cancelled_has_an_exception() -> None:
    operation = Operation[str]("create", "web1")
    Worker(operation)
    assert operation.cancel()
    assert isinstance(operation.exception(30), OperationCancelled)
    assert (operation.running(), operation.cancelled(), operation.done()) == (False, False, True)


def test_the_result_comes() -> None:
    operation = Operation[str]("create", "web1")
    worker = Worker(operation)
    assert not operation.done()
    worker.finish.set()
    assert operation.wait() == "done"
    assert operation.result() == "done"
    assert operation.stopped is None


def test_the_failure_comes() -> None:
    operation = Operation[str]("create")
    operation.set_exception(OperationFailed("no", operation="create"))
    with pytest.raises(OperationFailed, match="create: no"):
        operation.wait()


def test_cancel_returns_at_once_and_the_end_comes_when_all_is_undone() -> None:
    operation = Operation[str]("create", "web1")
    worker = Worker(operation, slow=True)
    assert operation.cancel()
    assert not operation.done()
    threading.Timer(0.05, worker.undone.set).start()
    with pytest.raises(OperationCancelled):
        operation.wait()
    assert worker.undone.is_set()
    assert worker.stops == ["cancelled"]


def test_only_the_first_reason_counts() -> None:
    operation = Operation[str]("create")
    worker = Worker(operation, slow=True)
    assert operation.stop("timeout")
    assert operation.cancel()
    assert operation.stop("closed")
    worker.undone.set()
    assert operation.stopped == "timeout"
    assert isinstance(operation.exception(30), OperationCancelled)
    assert worker.stops == ["timeout"]


def test_what_is_over_cannot_be_cancelled() -> None:
    operation = Operation[str]("create")
    operation.set_result("done")
    assert not operation.cancel()
    assert operation.stopped is None
    assert operation.wait() == "done"


def test_cancelled_before_anybody_carries_it() -> None:
    operation = Operation[str]("create")
    assert operation.cancel()
    assert operation.stopped == "cancelled"
    assert not operation.done()


def test_it_is_a_future() -> None:
    operations = [Operation[str]("create", name) for name in ("a", "b")]
    called: list[str | int | None] = []
    for operation in operations:
        operation.add_done_callback(lambda op: called.append(op.subject))
        Worker(operation).finish.set()
    done, waiting = concurrent.futures.wait(operations, timeout=30)
    assert done == set(operations)
    assert waiting == set()
    for operation in operations:
        operation.result(30)
    assert sorted(str(name) for name in called) == ["a", "b"]


def test_asyncio_can_await_it() -> None:
    operation = Operation[str]("create")
    worker = Worker(operation)

    async def wait() -> str:
        asyncio.get_running_loop().call_later(0.02, worker.finish.set)
        return await asyncio.wrap_future(operation)

    assert asyncio.run(wait()) == "done"


def test_ctrl_c_after_the_end_changes_nothing() -> None:
    operation = Operation[str]("create")
    operation.set_result("done")
    assert operation.wait() == "done"
    assert not operation.stop("cancelled")


def test_the_deadline_is_a_moment() -> None:
    assert Operation[str]("create").deadline is None
    before = time.monotonic()
    deadline = Operation[str]("create", timeout=5).deadline
    assert deadline is not None
    assert before + 5 <= deadline <= time.monotonic() + 5
    already = Operation[str]("create", timeout=0).deadline
    assert already is not None
    assert already <= time.monotonic()


def test_progress_is_what_was_last_told() -> None:
    operation = Operation[str]("save", 7)
    assert operation.progress is None
    operation.report("Sending memory", 40)
    operation.report("Sending memory", 90)
    assert operation.progress == ("Sending memory", 90)


def test_repr_tells_its_state() -> None:
    operation = Operation[str]("create", "web1")
    assert repr(operation) == "<Operation create web1: running>"
    operation.report("memory", 45)
    assert repr(operation) == "<Operation create web1: running, memory 45 %>"
    operation.cancel()
    assert repr(operation) == "<Operation create web1: stopping (cancelled)>"
    operation.set_result("done")
    assert repr(operation) == "<Operation create web1: done>"
    assert repr(Operation[str]("connect")) == "<Operation connect: running>"
    assert repr(Operation[str]("pause", 0)) == "<Operation pause 0: running>"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationCancelled("stopped"), "cancelled"),
        (OperationTimeout("late"), "failed (OperationTimeout)"),
        (NotEnoughMemory("full"), "failed (NotEnoughMemory)"),
        (SystemExit(), "failed (SystemExit)"),
    ],
)
def test_repr_tells_how_it_ended(error: BaseException, told: str) -> None:
    operation = Operation[str]("create", "web1")
    operation.set_exception(error)
    assert repr(operation) == f"<Operation create web1: {told}>"


def test_progress_has_names() -> None:
    operation = Operation[str]("save", 7)
    operation.report("memory", 40)
    assert operation.progress == Progress(what="memory", percent=40)
    assert operation.progress.percent == 40


@pytest.mark.parametrize("timeout", [float("nan"), -1, -0.5, float("-inf"), "5", True, timedelta(seconds=1), []])
def test_a_timeout_that_is_not_valid(timeout: Any) -> None:
    with pytest.raises(InvalidArgument, match="timeout="):
        Operation[str]("create", timeout=timeout)
    operation = Operation[str]("create")
    with pytest.raises(InvalidArgument, match="timeout="):
        operation.result(timeout)
    with pytest.raises(InvalidArgument, match="timeout="):
        operation.exception(timeout)


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 10**400, None])
def test_a_timeout_beyond_all_times_is_no_deadline(timeout: float | None) -> None:
    assert Operation[str]("create", timeout=timeout).deadline is None


def test_a_huge_timeout_is_a_deadline() -> None:
    deadline = Operation[str]("create", timeout=2_200_000).deadline
    assert deadline is not None
    assert deadline > time.monotonic() + 2_199_000


def test_awaited_it_gives_its_result() -> None:
    async def main() -> str:
        operation = Operation[str]("create")
        Worker(operation).finish.set()
        return await operation

    assert asyncio.run(main()) == "done"


def test_awaited_it_raises_its_failure() -> None:
    async def main() -> None:
        operation = Operation[str]("create")
        operation.set_exception(OperationFailed("no", operation="create"))
        with pytest.raises(OperationFailed, match="create: no"):
            await operation

    asyncio.run(main())


def test_a_cancelled_task_cancels_it_and_waits_until_it_is_undone() -> None:
    async def main() -> None:
        operation = Operation[str]("create")
        worker = Worker(operation, slow=True)

        async def wait() -> str:
            return await operation

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        threading.Timer(0.05, worker.undone.set).start()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert operation.done()
        assert worker.stops == ["cancelled"]
        assert isinstance(operation.exception(), OperationCancelled)

    asyncio.run(main())


def test_another_result_is_made_of_it() -> None:
    operation = Operation[str]("create", "web1", timeout=5)
    longer = operation.map(lambda text: [text, text])
    seen = []
    longer.add_done_callback(lambda ended: seen.append(ended.result()))
    worker = Worker(operation)
    operation.domid = 7
    operation.log.append("a line")
    operation.report("memory", 3)
    assert (longer.verb, longer.subject, longer.domid, longer.deadline) == ("create", "web1", 7, operation.deadline)
    assert (longer.log, longer.progress) == (["a line"], ("memory", 3))
    worker.finish.set()
    assert longer.wait() is longer.result(30)
    assert longer.result() == ["done", "done"]
    worker.thread.join(30)
    assert seen == [["done", "done"]]


def test_stopping_what_was_made_of_it_stops_it() -> None:
    operation = Operation[str]("create", "web1")
    longer = operation.map(len)
    worker = Worker(operation)
    assert longer.cancel()
    assert operation.stopped == longer.stopped == "cancelled"
    assert isinstance(longer.exception(30), OperationCancelled)
    assert worker.stops == ["cancelled"]
    assert not longer.cancel()


def test_a_result_that_cannot_be_made_is_a_failure() -> None:
    operation = Operation[str]("create")
    number = operation.map(int)
    operation.set_result("done")
    with pytest.raises(ValueError, match="done"):
        number.wait()
    assert operation.result() == "done"


def test_a_result_that_is_late_leaves_the_operation_alone() -> None:
    operation = Operation[str]("create")
    worker = Worker(operation)
    with pytest.raises(TimeoutError):
        operation.result(0.01)
    assert worker.stops == []
    worker.finish.set()
    assert operation.result() == "done"


def test_progress_is_measured_while_it_lasts() -> None:
    operation = Operation[str]("save")
    moments = iter([0.0, 0.456, 1.2])
    with operation.measured(lambda: next(moments)):
        assert [operation.progress for _ in range(3)] == [("memory", 0), ("memory", 45), ("memory", 100)]
    assert operation.progress == ("memory", 100)


def test_what_cannot_be_measured_any_more_stays() -> None:
    operation = Operation[str]("save")

    def measure() -> float:
        raise FileNotFoundError

    with operation.measured(lambda: 0.5):
        assert operation.progress == ("memory", 50)
    with operation.measured(measure):
        assert operation.progress == ("memory", 50)


def test_in_the_child_of_a_fork() -> None:
    """What had ended has its result there; what had not never ends, so nobody waits for it, nor for its lock."""
    ended: Operation[str] = Operation("create")
    ended.set_result("web")
    running: Operation[str] = Operation("create")
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with ended._condition, running._condition:
            held.set()
            go_on.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    told = told_by_a_child([ended.done, ended.result, ended.cancel, ended.wait, lambda: repr(ended)])
    assert told == ["True", "'web'", "False", "'web'", repr("<Operation create: done>")]
    told = told_by_a_child([running.done, running.cancel, running.result, running.exception, running.wait])
    assert told == ["False", "False", "HostClosed", "HostClosed", "HostClosed"]

    async def awaited(operation: Operation[str]) -> str:
        return await operation

    told = told_by_a_child([lambda: asyncio.run(awaited(ended)), lambda: asyncio.run(awaited(running))])
    assert told == ["'web'", "HostClosed"]
    told = told_by_a_child([lambda: ended.add_done_callback(repr), lambda: running.add_done_callback(repr)])
    assert told == ["None", "HostClosed"]
    go_on.set()
    thread.join(20)
    assert running.cancel()
