"""Watches of nodes while xenstored refuses them, against a xenstored in this process."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from pyxen import OperationFailed, OperationTimeout
from pyxen.backends.xenlight.xenstore import joining
from pyxen.backends.xenlight.xenstore import watches as watches_module
from pyxen.backends.xenlight.xenstore.connection import Connection, Verb
from pyxen.backends.xenlight.xenstore.watches import Watches
from pyxen.records.xenstore import NodeChange
from tests.unit.xenstored import Xenstored
from tests.waiting import SECONDS, until


@pytest.fixture
def watches(server: Xenstored, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watches]:
    """Watches whose first pauses are short."""
    monkeypatch.setattr(watches_module, "_PAUSE", 10)
    watches = Watches(lambda: Connection(sockets=[server.path], devices=()))
    yield watches
    watches.close()


@pytest.fixture
def changes(watches: Watches) -> Iterator[list[NodeChange]]:
    """What has been told of the node ``/a``, since its watch began."""
    changes: list[NodeChange] = []
    end = watches.watch(["/a"], changes.append, lambda: None)
    until(lambda: changes, "the first event of a watch")
    changes.clear()
    yield changes
    end()


def refuse_attempts(server: Xenstored, count: int) -> list[float]:
    """Hang up, refuse all watches until so many were asked for, and return when. Fail after 60 s."""
    attempts: list[float] = []

    def refuse(verb: Verb, _path: str) -> str | None:
        if verb is not Verb.WATCH or len(attempts) >= count:
            return None
        attempts.append(time.monotonic())
        return "ENOMEM"

    server.refuse = refuse
    server.hang_up()
    until(lambda: len(attempts) >= count, "attempts that are refused", 60)
    return attempts


def test_attempts_that_are_refused_are_further_and_further_apart(
    server: Xenstored, changes: list[NodeChange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches_module, "_LONGEST_PAUSE", 80)
    attempts = refuse_attempts(server, 8)
    apart = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert all(time >= least for time, least in zip(apart, [0.01, 0.02, 0.04, *[0.08] * 4], strict=True))
    until(lambda: changes, "a change once xenstored no longer refuses")
    assert changes == [NodeChange("/a", "/a", lost=True)]


def test_the_pace_is_quick_again_once_xenstored_answers(
    server: Xenstored, changes: list[NodeChange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches_module, "_LONGEST_PAUSE", 3_600_000)
    for _ in range(3):
        refuse_attempts(server, 6)  # if the pauses of the first time went on to grow, it would take a minute
        until(lambda: changes, "a change once xenstored no longer refuses")
        assert changes == [NodeChange("/a", "/a", lost=True)]
        changes.clear()


# Whoever joins is not left waiting


def nothing() -> None:
    """Take note of the end."""


@pytest.mark.parametrize("error", [MemoryError("none left"), SystemExit(1), KeyError("broken")], ids=repr)
def test_nobody_waits_for_a_thread_that_fails_as_he_joins(
    server: Xenstored, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def connect() -> Connection:
        raise error

    monkeypatch.setattr(joining, "TO_JOIN", 60.0)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    watches = Watches(connect)
    with pytest.raises(OperationFailed, match=r"its thread has ended: .*: open the host again") as caught:
        watches.watch(["/a"], lambda _: None, nothing)
    assert caught.value.__cause__ is error
    thread = watches._thread
    assert thread is not None
    thread.join(SECONDS)
    with pytest.raises(OperationFailed, match=r"^xenstore.watch: its thread has ended: .*: open the host again"):
        watches.watch(["/a"], lambda _: None, nothing)
    watches.close()
    assert server.clients() == 0


def test_nobody_waits_for_ever_for_a_callback_that_does_not_return(
    server: Xenstored, watches: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def hang(_: NodeChange) -> None:
        busy.set()
        go_on.wait(SECONDS)

    end = watches.watch(["/a"], hang, nothing)
    try:
        assert busy.wait(SECONDS)
        monkeypatch.setattr(joining, "TO_JOIN", 0.05)
        with pytest.raises(OperationTimeout, match="look for a callback that does not return"):
            watches.watch(["/b"], lambda _: None, nothing)
        monkeypatch.undo()
    finally:
        go_on.set()
    end()
    watches.watch(["/b"], lambda _: None, nothing)()
    until(lambda: server.clients() == 0, "the end of the connection")
