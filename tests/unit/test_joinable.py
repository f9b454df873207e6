"""Threads that are waited for again after Ctrl-C, and closings that are gone on with."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyxen._common.closing import Closing
from pyxen._common.joinable import JoinableThread
from tests.waiting import SECONDS, join, until


@contextmanager
def ctrl_c() -> Iterator[None]:
    """Have Ctrl-C come as soon as this thread waits in the block."""
    ident, begun, over = threading.get_ident(), threading.Event(), threading.Event()

    def press() -> None:
        begun.wait(SECONDS)
        until(lambda: over.is_set() or _waits(ident), "nobody waits")
        for _ in range(5):  # again, if it came just as the wait began: then Python does not see it
            if not over.is_set():
                signal.pthread_kill(ident, signal.SIGINT)
                over.wait(20.0)

    presser = threading.Thread(target=press, daemon=True)
    presser.start()
    begun.set()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        over.set()
        join(presser)


def _waits(ident: int) -> bool:
    """Tell whether a thread waits for the end of another."""
    frame = sys._current_frames().get(ident)
    while frame is not None and frame.f_code.co_name != "join":
        frame = frame.f_back
    return frame is not None


def test_a_thread_is_waited_for_after_ctrl_c() -> None:
    goes_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        goes_on.wait(SECONDS)
        ended.set()

    thread = JoinableThread(target=work, daemon=True)
    thread.start()
    with ctrl_c():
        thread.join(SECONDS)
    assert thread.is_alive()
    thread.join(0)
    assert not ended.is_set()
    threading.Timer(0.05, goes_on.set).start()
    thread.join(SECONDS)
    assert ended.is_set()
    assert not thread.is_alive()
    thread.join(SECONDS)


def test_one_that_was_not_started_cannot_be_waited_for() -> None:
    with pytest.raises(RuntimeError, match="before it is started"):
        JoinableThread(target=print).join(SECONDS)


def test_a_closing_that_fails_is_begun_again() -> None:
    closing = Closing()
    with pytest.raises(KeyboardInterrupt), closing.turn():
        raise KeyboardInterrupt
    assert not closing.done
    with closing.turn() as begins:
        assert begins
        with closing.turn() as inner:  # a signal handler
            assert not inner
    with closing.turn() as begins:
        assert not begins
    assert closing.done


def test_another_thread_waits_for_a_closing() -> None:
    closing, goes_on, found = Closing(), threading.Event(), list[bool]()

    def first() -> None:
        with closing.turn():
            goes_on.wait(SECONDS)

    def second() -> None:
        with closing.turn() as begins:
            found.append(begins)

    threads = [threading.Thread(target=first, daemon=True), threading.Thread(target=second, daemon=True)]
    threads[0].start()
    until(lambda: closing._runs, "the first begins")
    threads[1].start()
    threads[1].join(0.05)
    assert found == []
    goes_on.set()
    for thread in threads:
        thread.join(SECONDS)
    assert found == [False]


def test_it_does_not_wait_for_itself() -> None:
    said: list[str] = []

    def wait_for_itself() -> None:
        try:
            thread.join(SECONDS)
        except RuntimeError as error:
            said.append(str(error))

    thread = JoinableThread(target=wait_for_itself, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert said == ["cannot join current thread"]
