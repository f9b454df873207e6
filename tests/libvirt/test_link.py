"""Each connection to libvirt's daemon has one caller at a time. The test driver stands for the daemon."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from pyxen import ConnectFailed
from pyxen.backends.libvirt import connection, link
from pyxen.backends.libvirt.binding import Connection, open_connection
from pyxen.backends.libvirt.connection import Connected
from pyxen.backends.libvirt.link import Link
from tests.xen.support import wait_until


@pytest.fixture
def daemons(monkeypatch: pytest.MonkeyPatch, uri: str) -> Iterator[Link]:
    """A link that takes the test driver for one with a daemon."""
    monkeypatch.setattr(link, "is_in_this_process", lambda _: False)
    monkeypatch.setattr(connection, "is_in_this_process", lambda _: False)
    found = Link(uri, lambda _: None)
    yield found
    found.close()


class Users:
    """Threads that each hold what they get until they are told to go."""

    def __init__(self) -> None:
        self.held: Counter[Connection] = Counter()
        self.go = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def hold(self, take: Callable[[], AbstractContextManager[Connection]], number: int) -> None:
        def use() -> None:
            with take() as found:
                with self._lock:
                    self.held[found] += 1
                assert self.go.wait(200)

        self._threads += [threading.Thread(target=use) for _ in range(number)]
        for thread in self._threads[-number:]:
            thread.start()

    def end(self) -> None:
        self.go.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.parametrize(("kind", "most"), [("look", 1 + link._QUERIES), ("work", link._LANES)])
def test_each_caller_has_a_connection_for_itself(daemons: Link, kind: str, most: int) -> None:
    users = Users()
    try:
        users.hold(getattr(daemons, kind), most + 4)
        wait_until(lambda: len(users.held) == most)
        assert set(users.held.values()) == {1}
    finally:
        users.end()
    assert len(users.held) == most  # the others had the same ones
    assert sum(users.held.values()) == most + 4


def test_one_caller_after_the_other_has_the_main_one(daemons: Link) -> None:
    with daemons._main.use() as main:
        pass
    for _ in range(3):
        with daemons.look() as found:
            assert found is main


def test_who_waits_gets_whichever_is_free_first(daemons: Link) -> None:
    """Also the main one: queries of domains that do not answer may keep the others for long."""
    first, others, late = Users(), Users(), Users()
    try:
        first.hold(daemons.look, 1)
        wait_until(lambda: len(first.held) == 1)
        others.hold(daemons.look, link._QUERIES)
        wait_until(lambda: len(others.held) == link._QUERIES)
        late.hold(daemons.look, 1)
        first.end()
        wait_until(lambda: late.held == first.held)
    finally:
        for users in (first, others, late):
            users.end()


def test_a_look_within_a_look_has_the_same(daemons: Link) -> None:
    users = Users()
    try:
        users.hold(daemons.look, link._QUERIES)
        wait_until(lambda: len(users.held) == link._QUERIES)
        with daemons.look() as outer, daemons.look() as inner:  # it has the last one
            assert outer is inner
            assert outer not in users.held
    finally:
        users.end()


def test_events_are_registered_for_while_no_query_uses_the_main_one(daemons: Link) -> None:
    registered = threading.Event()

    def listen() -> None:
        with daemons.listening():
            registered.set()

    thread = threading.Thread(target=listen)
    with daemons.look():
        thread.start()
        assert not registered.wait(0.1)
    thread.join(20)
    assert registered.is_set()


def test_several_who_open_connections_at_once_get_one_each(daemons: Link) -> None:
    opened: list[Connected] = []
    threads = [threading.Thread(target=lambda: opened.append(daemons.apart())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({id(each) for each in opened}) == 8
    for each in opened:
        each.close()


def test_who_opens_connections_at_once_waits_for_one_that_hangs(daemons: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    answered, attempts = threading.Event(), []
    real = open_connection

    def open_slowly(uri: str) -> Connection:
        attempts.append(uri)
        assert answered.wait(200)
        return real(uri)

    monkeypatch.setattr(connection, "open_connection", open_slowly)
    monkeypatch.setattr(connection, "_LONGEST", 0.1)
    failed: list[Exception] = []

    def ask() -> None:
        try:
            daemons.apart().close()
        except ConnectFailed as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        wait_until(lambda: len(attempts) > 0)
        assert (len(failed), len(attempts)) == (6, 1)
    finally:
        answered.set()


def test_who_waits_for_a_turn_waits_as_long_as_the_daemon_answers(
    daemons: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = open_connection

    def open_slowly(uri: str) -> Connection:
        threading.Event().wait(0.5)
        return real(uri)

    monkeypatch.setattr(connection, "open_connection", open_slowly)
    monkeypatch.setattr(connection, "_LONGEST", 5.0)  # each of them opens within it, on a busy machine, too
    opened: list[Connected] = []
    threads = [threading.Thread(target=lambda: opened.append(daemons.apart())) for _ in range(12)]  # in 6 s or more
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(opened) == 12
    for each in opened:
        each.close()
