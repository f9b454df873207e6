"""Ctrl-C, and a signal handler's own requests, between any two lines of a look at xenstore."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from uuid import uuid4

import pytest

from pyxen.backends.xenlight.xenstore.client import StoreClient
from pyxen.backends.xenlight.xenstore.connection import Connection, Verb
from pyxen.backends.xenlight.xenstore.names import Key, Names
from pyxen.backends.xenlight.xenstore.stubdomains import StubDomains
from pyxen.backends.xenlight.xenstore.watches import Watches
from pyxen.errors import HostClosed, OperationFailed
from tests.interrupts import interrupted
from tests.unit.xenstored import Xenstored
from tests.waiting import until

CONNECTION = "xenstore/connection.py"

# A socket that Ctrl-C keeps from being stored anywhere is closed by garbage collection, which warns.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def ctrl_c() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("repeats", [False, True])
def test_names_are_right_after_ctrl_c_in_a_look_over_a_connection_that_broke(
    server: Xenstored, *, repeats: bool
) -> None:
    """The watches are lost with the connection, and so is what they would have told."""
    keys: list[Key] = [(7, uuid4()), (8, uuid4())]
    server.write("/local/domain/8/name", "db")
    connection = Connection(sockets=[server.path], devices=(), repeats=repeats)
    with contextlib.closing(connection):
        names, wrong, count = Names(connection), [], 0

        def look() -> str | None:
            return names.of(keys)[keys[0]]

        for call in interrupted(look, ctrl_c, CONNECTION, "xenstore/names.py"):
            look()
            server.hang_up()
            until(lambda: server.clients() == 0, "the connection is lost")
            connection._broken = not repeats  # as a request would find out, or finds out now
            count += 1
            server.write("/local/domain/7/name", f"web{count}")
            found = []
            with contextlib.suppress(KeyboardInterrupt):
                found.append(call())
            found.append(look())
            if {*found} != {f"web{count}"}:
                wrong.append(count)
    assert wrong == []
    assert count > 50


def test_no_answer_is_taken_for_another_after_a_second_ctrl_c(
    server: Xenstored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has come while an answer was waited for, which arrives later."""
    server.write("/a", "a")
    server.write("/b", "b")
    connection = Connection(sockets=[server.path], devices=())

    def read() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(type(connection._channel), "receive", lambda _: ctrl_c())
            connection.read("/a")

    with contextlib.closing(connection):
        for call in interrupted(read, ctrl_c, CONNECTION, "contextlib.py"):
            with pytest.raises(KeyboardInterrupt):
                call()
            assert connection.read("/b") == "b"


def test_stub_domains_are_right_after_ctrl_c(server: Xenstored, connection: Connection) -> None:
    server.write("/local/domain/8/target", "7")
    guest, stub, other = (7, uuid4()), (8, uuid4()), (9, uuid4())
    stubs = StubDomains(connection)

    def look(*keys: tuple[int, object]) -> int | None:
        return stubs.of(keys, lambda: range(len(keys)), lambda _: True).get(stub)

    for call in interrupted(lambda: look(guest, other), ctrl_c, "xenstore/stubdomains.py"):
        assert look(guest, stub) == 7
        with contextlib.suppress(KeyboardInterrupt):
            call()
        assert look(guest, stub) == 7


@pytest.fixture
def client(server: Xenstored) -> StoreClient:
    return StoreClient(lambda **options: Connection(sockets=[server.path], devices=(), **options))


def test_a_signal_handler_reads_and_writes_in_the_middle_of_a_request(server: Xenstored, client: StoreClient) -> None:
    server.write("/a", "1")
    server.write("/b", "2")

    def handler() -> None:
        assert client.read_many(["/b", "/a"]) == [b"2", b"1"]
        transaction = client.begin()
        transaction.write("/c", b"3")
        assert transaction.commit()
        client.begin().abort()

    with contextlib.closing(client):
        calls = 0
        for call in interrupted(lambda: client.read("/a"), handler, CONNECTION, "client.py", "turns.py"):
            assert call() == b"1"
            calls += 1
        assert calls > 20
        until(lambda: server.clients() == 1, "the handler's connections are closed")
    assert server.read("/c") == "3"


def test_a_handler_that_closes_leaves_no_connection(server: Xenstored, client: StoreClient) -> None:
    server.write("/a", "1")
    for call in interrupted(lambda: client.read("/a"), client.close, CONNECTION, "client.py", "turns.py"):
        client._closed, client._connection = False, None
        with contextlib.suppress(HostClosed):
            assert call() == b"1"
        client.close()
        until(lambda: server.clients() == 0, "the connection is closed")


def test_a_handler_begins_and_ends_a_watch(server: Xenstored) -> None:
    watches = Watches(lambda: Connection(sockets=[server.path], devices=()))

    def watch() -> None:
        watches.watch(["/a"], lambda _: None, lambda: None)()

    def handler() -> None:
        try:
            watch()
        except OperationFailed as error:
            assert "outside of the handler" in str(error)  # noqa: PT017 (it need not be refused)

    with contextlib.closing(watches):
        for call in interrupted(watch, handler, "watches.py", "gate.py"):
            call()


@pytest.mark.parametrize("is_started", [False, True])
def test_no_watch_waits_for_a_thread_that_ctrl_c_kept_from_starting(
    server: Xenstored, monkeypatch: pytest.MonkeyPatch, *, is_started: bool
) -> None:
    watches = Watches(lambda: Connection(sockets=[server.path], devices=()))

    def start(thread: threading.Thread, start: Callable[[threading.Thread], None] = threading.Thread.start) -> None:
        monkeypatch.undo()
        if is_started:
            start(thread)
        raise KeyboardInterrupt

    with contextlib.closing(watches):
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            watches.watch(["/a"], lambda _: None, lambda: None)
        seen = threading.Event()
        watches.watch(["/a"], lambda _: seen.set(), lambda: None)
        assert seen.wait(60)
        assert server.count(Verb.WATCH) == 1


def test_a_connection_ends_though_a_child_of_a_fork_has_a_copy(server: Xenstored) -> None:
    """As one that Python is not told of: it has the descriptor, too."""
    connection = Connection(sockets=[server.path], devices=())
    connection.batch([(Verb.WATCH, b"/a\0token\0")])
    copy = connection._channel._socket.dup()  # type: ignore[union-attr]  # it is a socket here
    with copy:
        connection.close()
        until(lambda: server.clients() == 0, "the connection is lost")
