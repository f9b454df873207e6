"""The thread behind all readers: its beginning and end, and what callbacks may do to it."""

from __future__ import annotations

import gc
import os
import threading
import time
from typing import Any

import pytest

from pyxen import DomainInfo, Event, EventReader, HostClosed, OperationFailed, OperationTimeout
from pyxen.backends.xenlight.xenstore import joining
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from tests.forks import told_by_a_child
from tests.unit.events.support import read, short, tell_all, told, wait_until, watchers_threads
from tests.unit.xenhost import XenHost
from tests.waiting import SECONDS, join


def test_one_thread_and_one_connection_for_all(xen: XenHost, watcher: Watcher) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        readers = [read(watcher) for _ in range(5)]
        assert len(watchers_threads()) == 1
        assert xen.server.clients() == 1
        xen.rename(0, f"dom{time.monotonic()}")
        assert len({told(hypervisor, 1)[0] for hypervisor in readers}) == 1
        for hypervisor in readers:
            hypervisor.close()
        wait_until(lambda: xen.server.clients() == 0 and not watchers_threads())
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_whoever_lets_go_of_a_reader_has_closed_it(xen: XenHost, watcher: Watcher) -> None:
    for _ in read_after_rename(xen, watcher):
        break
    gc.collect()
    wait_until(lambda: xen.server.clients() == 0 and not watchers_threads())


def read_after_rename(xen: XenHost, watcher: Watcher) -> EventReader[Any]:
    hypervisor = read(watcher)
    xen.rename(0, "dom0")
    return hypervisor


def test_threads_come_and_go(xen: XenHost, watcher: Watcher) -> None:
    failures: list[BaseException] = []

    def live() -> None:
        try:
            for _ in range(20):
                with read(watcher) as events:
                    assert events.get(0) is None
        except BaseException as error:  # noqa: BLE001 (of a thread, for the test)
            failures.append(error)

    threads = [threading.Thread(target=live) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert failures == []
    wait_until(lambda: xen.server.clients() == 0 and not watchers_threads())


def test_an_exception_in_a_callback_reaches_the_user_and_stops_nothing(
    xen: XenHost, watcher: Watcher, events: EventReader[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def fail(_: Event) -> None:
        raise ZeroDivisionError

    leave = watcher.subscribe(fail, lambda: None)
    for name in ("dom0", "dom-0"):
        xen.rename(0, name)
        assert len(told(events, 1)) == 1
    tell_all(watcher)  # another reader may be told before the callback is
    assert [report.exc_type for report in reported] == [ZeroDivisionError] * 2
    leave()
    xen.rename(0, "dom0")
    assert len(told(events, 1)) == 1
    tell_all(watcher)
    assert len(reported) == 2


def test_a_callback_may_subscribe_and_close(xen: XenHost, watcher: Watcher) -> None:
    inner: list[EventReader[Any]] = []
    ended = threading.Event()

    def react(_: Event) -> None:
        if inner:
            watcher.close()
        else:
            inner.append(read(watcher))

    watcher.subscribe(react, ended.set)
    xen.rename(0, "a")
    wait_until(lambda: bool(inner))
    xen.rename(0, "b")
    assert ended.wait(SECONDS)
    assert [short(event) for event in inner[0]] == ["DomainRenamed 0 b a->b"]


def test_the_end(xen: XenHost, watcher: Watcher, events: EventReader[Any]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    xen.rename(0, "dom0")
    wait_until(lambda: bool(events._queue._items))
    watcher.close()
    watcher.close()
    assert [short(event) for event in events] == ["DomainRenamed 0 dom0 Domain-0->dom0"]
    for timeout in (None, 0, 1):
        with pytest.raises(HostClosed):
            events.get(timeout)
    with pytest.raises(HostClosed):
        read(watcher)
    assert watchers_threads() == []
    wait_until(lambda: len(os.listdir("/proc/self/fd")) == before - 3)  # both ends of the connection, and the eventfd


def test_the_child_of_a_fork_has_no_events(watcher: Watcher, events: EventReader[Any]) -> None:
    pid = os.fork()
    if pid == 0:
        refused = 0
        for attempt in (lambda: events.get(0), lambda: read(watcher)):
            try:
                attempt()
            except HostClosed:
                refused += 1
        events.close()
        watcher.close()
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert events.get(0) is None


def test_a_guest_that_writes_all_the_time(xen: XenHost, watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    xen.create(7, "d7")
    looks: list[float] = []

    def look() -> list[DomainInfo]:
        looks.append(time.monotonic())
        return xen.look()

    monkeypatch.setattr(watcher, "_look", look)
    with read(watcher) as events:
        looks.clear()
        began = time.monotonic()
        for number in range(2000):
            xen.server.write("/local/domain/7/control/shutdown", f"\x1b\n{number}" + "x" * 1000)
        xen.rename(7, "other")
        assert told(events, 1) == ["DomainRenamed 7 other d7->other"]
        took = time.monotonic() - began
    assert len(looks) <= 3 + took / 0.04


def test_in_the_child_of_a_fork_nobody_waits_for_the_gate(watcher: Watcher) -> None:
    reader = read(watcher)
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with watcher._gate.entered():
            inside.set()
            go_on.wait(SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(SECONDS)
    assert told_by_a_child([lambda: read(watcher), reader.close, watcher.close]) == ["HostClosed", "None", "None"]
    go_on.set()
    join(thread)
    reader.close()


@pytest.mark.parametrize("is_started", [False, True])
def test_nobody_waits_for_a_thread_that_ctrl_c_kept_from_starting(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch, *, is_started: bool
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        monkeypatch.undo()
        if is_started:
            real(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        read(watcher)
    read(watcher).close()


# Whoever joins is not left waiting


@pytest.mark.parametrize("error", [MemoryError("none left"), SystemExit(1), KeyError("broken")], ids=repr)
def test_nobody_waits_for_a_thread_that_fails_as_he_joins(
    xen: XenHost, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def look() -> list[DomainInfo]:
        raise error

    monkeypatch.setattr(joining, "TO_JOIN", SECONDS)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    watcher = Watcher(look, xen.connect)
    with pytest.raises(OperationFailed, match=r"its thread has ended: .*: open the host again") as caught:
        read(watcher)
    assert caught.value.__cause__ is error
    wait_until(lambda: not watchers_threads())
    with pytest.raises(OperationFailed, match=r"^events: its thread has ended: .*: open the host again"):
        read(watcher)
    watcher.close()


def test_nobody_waits_for_ever_for_a_callback_that_does_not_return(
    xen: XenHost, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def hang(_: Event) -> None:
        busy.set()
        go_on.wait(SECONDS)

    leave = watcher.subscribe(hang, lambda: None)
    try:
        xen.rename(0, "dom0")
        assert busy.wait(SECONDS)
        monkeypatch.setattr(joining, "TO_JOIN", 0.05)
        with pytest.raises(OperationTimeout, match="look for a callback that does not return"):
            read(watcher)
        monkeypatch.undo()
    finally:
        go_on.set()
    leave()
    read(watcher).close()
    wait_until(lambda: xen.server.clients() == 0 and not watchers_threads())
