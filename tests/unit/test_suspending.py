"""Who suspends which guest, as this process knows it."""

from __future__ import annotations

import contextlib
import threading

import pytest

from pyxen import InvalidState, Operation
from pyxen._common import suspending
from pyxen._common.suspending import alone, check_resumable, holding, release
from tests.forks import told_by_a_child, told_under
from tests.waiting import join


def begin(verb: str = "save", domain: str = "web") -> Operation[None]:
    operation: Operation[None] = Operation(verb, 1)
    with alone(domain, operation, 1):
        return operation


def test_one_at_a_time_and_domain() -> None:
    saving = begin()
    begin(domain="shop")
    with pytest.raises(InvalidState, match="suspend 1: a save that this process has begun suspends the guest: wait"):
        begin("suspend")
    saving.set_exception(ValueError())
    suspended = begin("suspend")
    with pytest.raises(InvalidState, match="a suspend that"):
        begin()
    suspended.set_result(None)
    resetting = begin("soft_reset")
    with pytest.raises(InvalidState, match="a soft_reset that this process has begun restarts the guest"):
        begin("soft_reset")
    resetting.set_result(None)
    begin()


def test_nobody_resumes_what_is_copied() -> None:
    for verb in ("save", "migrate", "remus"):
        operation = begin(verb)
        with pytest.raises(InvalidState, match=f"resume 1: a {verb} that"):
            check_resumable("web", 1)
        operation.set_result(None)
        check_resumable("web", 1)
    suspended = begin("suspend")
    check_resumable("web", 1)  # as soon as it is suspended
    suspended.set_result(None)


def test_what_is_held_counts_after_its_end() -> None:
    with holding() as held:
        saving = begin()
    saving.set_result(None)
    assert held == [saving]
    with pytest.raises(InvalidState, match="a save that"):
        begin("migrate")
    with pytest.raises(InvalidState, match="a save that"):
        check_resumable("web", 1)
    release(held)
    migrating = begin("migrate")
    migrating.set_result(None)
    begin()


def test_what_others_begin_meanwhile_is_not_held() -> None:
    thread = threading.Thread(target=lambda: begin(domain="shop").set_result(None))
    with holding() as held:
        thread.start()
        join(thread)
    assert held == []
    begin(domain="shop").set_result(None)


def test_nothing_is_held_by_what_fails() -> None:
    with contextlib.suppress(ZeroDivisionError), holding():
        begin().set_result(None)
        raise ZeroDivisionError
    begin().set_result(None)


def test_what_could_not_begin_is_forgotten() -> None:
    operation: Operation[None] = Operation("save", 1)
    with pytest.raises(ZeroDivisionError), alone("web", operation, 1):
        raise ZeroDivisionError
    begin().set_result(None)
    assert not operation.done()


def test_what_ctrl_c_kept_from_its_beginning_is_forgotten() -> None:
    operation: Operation[None] = Operation("save", 1)
    with pytest.raises(KeyboardInterrupt), alone("web", operation, 1):
        raise KeyboardInterrupt
    begin().set_result(None)
    assert not operation.done()


def test_what_has_begun_before_ctrl_c_counts_until_its_end() -> None:
    operation: Operation[None] = Operation("save", 1)

    def begin_late() -> None:
        with alone("web", operation, 1):
            operation.carried_by(lambda _: None, threading.current_thread())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin_late()
    with pytest.raises(InvalidState):
        begin()
    operation.set_result(None)
    begin().set_result(None)


def test_the_child_of_a_fork_has_none_of_them() -> None:
    saving = begin()
    assert told_by_a_child([lambda: begin().verb]) == ["'save'"]
    assert told_under([suspending._gate], {"begin": lambda: begin().verb}) == {"begin": "'save'"}
    with pytest.raises(InvalidState):
        begin()
    saving.set_result(None)
