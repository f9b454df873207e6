"""Threads that do not keep a program from ending: each call is made once, however many come and whenever."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from pyxen.aio import _threads
from pyxen.aio._threads import Daemons
from tests.waiting import until


def test_no_call_is_lost_as_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_IDLE_SECONDS", 0.001)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        daemons, made = Daemons(1, "test"), threading.Semaphore(0)
        for number in range(1500):
            daemons.submit(made.release)
            assert made.acquire(timeout=30), "nobody makes the call"
            time.sleep(number % 20 / 10_000)
    finally:
        sys.setswitchinterval(interval)


def test_no_more_calls_are_made_at_once_than_may_be() -> None:
    daemons, go_on = Daemons(3, "test"), threading.Event()
    begun: list[None] = []
    done: list[None] = []

    def call() -> None:
        begun.append(None)
        go_on.wait(30)
        done.append(None)

    for _ in range(10):
        daemons.submit(call)
    until(lambda: len(begun) == 3, "they do not begin")
    go_on.set()
    until(lambda: len(done) == 10, "some are not made")
    daemons.end(30)
    assert not daemons._threads


def test_calls_that_come_after_the_end_are_made() -> None:
    daemons, made = Daemons(1, "test"), threading.Semaphore(0)
    daemons.submit(made.release)
    assert made.acquire(timeout=30)
    daemons.end()
    for _ in range(3):
        daemons.submit(made.release)
    for _ in range(3):
        assert made.acquire(timeout=30)
