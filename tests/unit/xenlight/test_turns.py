"""Turns at a connection, where a signal handler interrupts one, and where one does not end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from pyxen.backends.xenlight.xenstore import turns as turns_module
from pyxen.backends.xenlight.xenstore.turns import Turns
from pyxen.errors import ConnectFailed
from tests.waiting import until

SECONDS = 60.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def is_free(turns: Turns, pool: ThreadPoolExecutor) -> bool:
    """Tell whether another thread gets a turn."""

    def take() -> bool:
        with turns.taken() as has_turn:
            return has_turn

    return pool.submit(take).result(SECONDS)


def test_a_handler_that_interrupts_a_turn_gets_none(pool: ThreadPoolExecutor) -> None:
    turns = Turns(0.05)
    with turns.taken() as has_turn:
        assert has_turn
        with turns.taken() as handlers:
            assert not handlers
        with turns.tried() as handlers:
            assert not handlers
        assert not is_free(turns, pool)
    assert is_free(turns, pool)


def test_a_turn_that_does_not_end_is_not_waited_for(pool: ThreadPoolExecutor) -> None:
    """Its thread may be in a signal handler that waits for this one."""
    turns = Turns(0.05)
    with turns.taken():
        for _ in range(2):
            assert not is_free(turns, pool)
    assert is_free(turns, pool)


def test_turns_that_end_are_waited_for_however_many_there_are(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]  # by this clock each turn ends in time, and all of them take far too long for one
    monkeypatch.setattr(turns_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    turns = Turns(0.02)
    ended = threading.Event()

    def busy() -> None:
        for _ in range(20):
            with turns.taken() as has_turn:
                assert has_turn
                now[0] += 0.005
                ended.wait(0.05)

    waiting = [pool.submit(busy) for _ in range(3)]
    found = [is_free(turns, pool) for _ in range(3)]
    ended.set()
    for one in waiting:
        one.result(SECONDS)
    assert found == [True] * 3


def test_who_is_interrupted_by_ctrl_c_keeps_no_turn(pool: ThreadPoolExecutor) -> None:
    turns = Turns(0.05)
    with pytest.raises(KeyboardInterrupt), turns.taken():
        raise KeyboardInterrupt
    assert is_free(turns, pool)


def test_who_waits_fails_with_the_one_that_got_no_answer(pool: ThreadPoolExecutor) -> None:
    turns = Turns()
    error = ConnectFailed("silent")
    error.__cause__ = TimeoutError()
    with contextlib.suppress(ConnectFailed), turns.taken():
        waiting = pool.submit(is_free, turns, pool)
        until(lambda: len(turns._present) == 2, "another thread waits")
        raise error
    with pytest.raises(ConnectFailed, match="did not answer another thread"):
        waiting.result(SECONDS)


def test_who_has_waited_in_vain_makes_nobody_wait_longer(pool: ThreadPoolExecutor) -> None:
    turns = Turns(0.05)

    def take() -> bool:
        with turns.tried() as has_turn:
            return has_turn

    with turns.tried():
        before = turns._last_end
        assert not pool.submit(take).result(SECONDS)
        assert turns._last_end == before
    assert turns._last_end > before
