"""Operations with a thread of their own: they end, also when the thread never began."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pyxen._common.own_thread import OwnThreads
from pyxen._copies.steps import Steps
from pyxen.errors import HostClosed, OperationCancelled, OperationFailed
from pyxen.operation import Operation, finish
from tests.waiting import join, until

START = threading.Thread.start


@pytest.mark.parametrize("is_begun", [False, True], ids=["before the thread begins", "when it has begun"])
def test_ctrl_c_at_the_start_of_the_thread(monkeypatch: pytest.MonkeyPatch, *, is_begun: bool) -> None:
    """Whoever waits for the end gets it, and what the work has made is undone."""
    made: list[str] = []
    caught: list[BaseException] = []

    def start(thread: threading.Thread) -> None:
        if thread.name == "pyxen-clone":
            if is_begun:
                START(thread)
                until(lambda: made, "the work has begun")
            raise KeyboardInterrupt
        START(thread)

    def work() -> str:
        made.append("web")
        return "web"

    def call() -> None:
        operation: Operation[str] = Operation("clone", "web")
        try:
            finish(lambda: OwnThreads().carry_out(operation, work, lambda _: None), made.remove)
        except BaseException as error:  # noqa: BLE001 (it is looked at below)
            caught.append(error)

    monkeypatch.setattr(threading.Thread, "start", start)
    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    join(caller)
    assert [type(error) for error in caught] == [KeyboardInterrupt]
    assert made == []


def test_the_thread_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C has ended the operation: the thread, which begins after all, does nothing."""
    late: list[threading.Thread] = []
    made: list[str] = []

    def start(thread: threading.Thread) -> None:
        late.append(thread)
        raise KeyboardInterrupt

    operation: Operation[None] = Operation("apply", "web")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            OwnThreads().carry_out(operation, lambda: made.append("web"), lambda _: None)
    late[0].start()
    join(late[0])
    assert made == []
    assert isinstance(operation.exception(0), OperationCancelled)


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    operation: Operation[Any] = Operation("apply", "web")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(OperationFailed, match="apply: cannot begin") as caught:
            OwnThreads().carry_out(operation, lambda: None, lambda _: None)
    assert operation.exception(0) is caught.value


def test_a_close_stops_what_runs_and_waits_until_it_is_undone() -> None:
    threads, asked, undo = OwnThreads(), threading.Event(), threading.Event()
    done: list[str] = []

    def work() -> None:
        assert asked.wait(30)
        assert undo.wait(30)
        done.append("undone")
        raise OperationCancelled("undone")

    operation: Operation[None] = Operation("clone", "web")
    threads.carry_out(operation, work, lambda _: asked.set())
    assert threads.close(0.01) == [operation]
    assert operation.stopped == "closed"
    undo.set()
    assert threads.close(30) == []
    assert done == ["undone"]
    late: Operation[None] = Operation("clone", "web")
    with pytest.raises(HostClosed) as caught:
        threads.carry_out(late, work, lambda _: None)
    assert late.exception(0) is caught.value


def test_a_close_in_the_middle_of_a_begin_ends_what_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler closes the host while its own thread starts another."""
    threads = OwnThreads()
    made: list[str] = []

    def start(thread: threading.Thread) -> None:
        assert threads.close(30) == []
        START(thread)
        join(thread)

    operation: Operation[None] = Operation("clone", "web")
    monkeypatch.setattr(threading.Thread, "start", start)
    threads.carry_out(operation, lambda: made.append("web"), lambda _: None)
    assert isinstance(operation.exception(0), OperationCancelled)
    assert made == []


def test_a_close_on_a_thread_of_its_own_waits_for_the_others_only() -> None:
    threads = OwnThreads()
    left: list[object] = []

    def work() -> None:
        assert threads.is_here()
        left.append(threads.close(30))

    threads.carry_out(Operation[None]("clone", "web"), work, lambda _: None).result(30)
    assert left == [[]]
    assert not threads.is_here()


class Collecting(set[Operation[Any]]):
    """Running steps: while one is added or removed, the coroutine that awaits the whole is collected."""

    def __init__(self, whole: Operation[Any]) -> None:
        super().__init__()
        self._whole = whole

    def add(self, step: Operation[Any]) -> None:
        super().add(step)
        self._whole.cancel()

    def discard(self, step: object) -> None:
        super().discard(step)
        self._whole.cancel()


@pytest.mark.parametrize("moment", ["add", "discard"])
def test_an_operation_is_stopped_on_its_own_thread_between_two_lines(moment: str) -> None:
    """As by garbage collection, which may come anywhere."""
    operation: Operation[None] = Operation("clone", "web")
    steps = Steps(operation)
    step: Operation[None] = Operation("restore", "web")

    def work() -> None:
        if moment == "discard":
            steps.begin(lambda: step)
            step.set_result(None)
            steps._running = Collecting(operation)
            steps.end(step)
        else:
            steps._running = Collecting(operation)
            steps.begin(lambda: step)

    OwnThreads().carry_out(operation, work, steps.stop).result(60)
    assert operation.stopped == "cancelled"
    assert step.done() or step.stopped == "cancelled"
