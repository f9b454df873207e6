"""Operations with a thread of their own: they end, also when the thread never began."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pyxen._common.own_thread import carry_out
from pyxen.errors import OperationCancelled, OperationFailed
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
            finish(lambda: carry_out(operation, work, lambda _: None, None), made.remove)
        except BaseException as error:  # noqa: BLE001 (it is looked at below)
            caught.append(error)

    monkeypatch.setattr(threading.Thread, "start", start)
    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    join(caller, 20)
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
            carry_out(operation, lambda: made.append("web"), lambda _: None, None)
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
            carry_out(operation, lambda: None, lambda _: None, None)
    assert operation.exception(0) is caught.value
