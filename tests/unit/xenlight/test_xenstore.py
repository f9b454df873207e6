"""The connection to xenstore and the names read over it, against a xenstored in this process."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyxen.backends.xenlight.xenstore import connection as connection_module
from pyxen.backends.xenlight.xenstore.connection import Connection, Request, Verb
from pyxen.backends.xenlight.xenstore.names import Key, Names
from pyxen.errors import ConnectFailed, NotPrivileged
from tests.unit.xenstored import HEADER, Xenstored
from tests.waiting import join


def read_request(path: str) -> Request:
    return Verb.READ, f"{path}\0".encode()


# Asking


def test_read_and_directory(server: Xenstored, connection: Connection) -> None:
    server.write("/local/domain/0/name", "Domain-0")
    server.write("/local/domain/7/name", "wéb1")
    server.write("/empty", "")
    assert connection.read("/local/domain/7/name") == "wéb1"
    assert connection.read("/empty") == ""
    assert connection.read("/local/domain/8/name") is None
    assert connection.directory("/local/domain") == ["0", "7"]
    assert connection.directory("/local/domain/0/name") == []
    assert connection.directory("/nowhere") == []


def test_a_value_that_is_no_text_is_shown_as_far_as_it_goes(server: Xenstored, connection: Connection) -> None:
    server.answer_raw = lambda verb, _: HEADER.pack(verb, 0, 0, 3) + b"a\xffb"
    assert connection.read("/x") == "a\N{REPLACEMENT CHARACTER}b"


def test_a_batch_is_answered_in_its_order(server: Xenstored, connection: Connection) -> None:
    for number in range(0, 300, 3):
        server.write(f"/{number}", str(number))
    answers = connection.batch([read_request(f"/{number}") for number in range(300)])
    assert [answer for answer in answers if isinstance(answer, bytes)] == [b"%d" % n for n in range(0, 300, 3)]
    refused = [answer for answer in answers if isinstance(answer, OSError)]
    assert len(refused) == 200
    assert {answer.errno for answer in refused} == {errno.ENOENT}


def test_nothing_asked_nothing_sent(server: Xenstored, connection: Connection) -> None:
    assert connection.batch([]) == []
    assert server.requests == []


def test_requests_are_sent_in_windows_and_not_one_by_one(tmp_path: Path) -> None:
    requests = [read_request("/a")] * 130
    size = HEADER.size + len("/a\0")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{tmp_path}/socket")
    listener.listen()
    received: list[int] = []

    def serve() -> None:
        end = listener.accept()[0]
        end.settimeout(60)  # for one who waits for an answer before all of a window is sent
        with end, end.makefile("rb") as stream, contextlib.suppress(TimeoutError):
            for window in (64, 64, 2):
                received.append(len(stream.read(window * size)) // size)
                end.sendall((HEADER.pack(Verb.READ, 0, 0, 1) + b"x") * window)

    thread = threading.Thread(target=serve)
    thread.start()
    connection = Connection(sockets=[f"{tmp_path}/socket"], devices=())
    assert connection.batch(requests) == [b"x"] * 130
    join(thread)
    connection.close()
    listener.close()
    assert received == [64, 64, 2]


@pytest.mark.parametrize("piece", [1, 3, 15, 17])
def test_answers_may_come_in_pieces(server: Xenstored, connection: Connection, piece: int) -> None:
    server.piece = piece
    server.write("/a", "x" * 100)
    server.write("/b", "")
    connection.batch([(Verb.WATCH, b"/b\0token\0")])
    assert connection.batch([read_request("/a"), read_request("/b"), read_request("/a")]) == [
        b"x" * 100,
        b"",
        b"x" * 100,
    ]
    assert list(connection.events) == [("/b", "token")]


def test_events_between_answers_are_kept_apart(server: Xenstored, connection: Connection) -> None:
    server.write("/a", "1")
    connection.batch([(Verb.WATCH, b"/a\0one\0"), (Verb.WATCH, b"/\0all\0")])
    connection.events.clear()
    server.before_answer = lambda _, path: server.write("/a", "2") if path == "/middle" else None
    answers = connection.batch([read_request("/a"), read_request("/middle"), read_request("/a")])
    assert answers[0] == b"1"
    assert isinstance(answers[1], OSError)
    assert answers[2] == b"2"
    assert ("/a", "one") in connection.events


def test_an_event_that_comes_with_the_last_answer_is_not_left_lying(server: Xenstored, connection: Connection) -> None:
    event = HEADER.pack(Verb.WATCH_EVENT, 0, 0, 9) + b"/a\0token\0"
    server.answer_raw = lambda verb, _: HEADER.pack(verb, 0, 0, 1) + b"x" + event
    assert connection.read("/a") == "x"
    assert list(connection.events) == [("/a", "token")]


def test_events_are_taken_in_without_a_question(server: Xenstored, connection: Connection) -> None:
    connection.batch([(Verb.WATCH, b"/a\0token\0")])
    if not connection.events:  # a watch sends one at its beginning
        connection.receive()
    connection.events.clear()
    server.write("/a", "1")
    assert select.select([connection], [], [], 60)[0] == [connection]
    connection.receive()
    assert list(connection.events) == [("/a", "token")]
    server.close()
    with pytest.raises(ConnectFailed, match="closed the connection"):
        connection.receive()


# What must not happen, and does


@pytest.mark.parametrize("length", [4097, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_that_no_message_has(server: Xenstored, connection: Connection, length: int) -> None:
    server.answer_raw = lambda verb, _: HEADER.pack(verb, 0, 0, length) + b"x" * 5000
    with pytest.raises(ConnectFailed, match=f"{length} bytes"):
        connection.read("/a")


def test_the_longest_message(server: Xenstored, connection: Connection) -> None:
    server.write("/a", "x" * 4096)
    assert connection.read("/a") == "x" * 4096


@pytest.mark.parametrize(
    "sent", [b"", b"\x02", HEADER.pack(Verb.READ, 0, 0, 8), HEADER.pack(Verb.READ, 0, 0, 8) + b"abc"]
)
def test_the_connection_is_closed_amid_an_answer(server: Xenstored, connection: Connection, sent: bytes) -> None:
    server.answer_raw = lambda *_: sent
    with pytest.raises(ConnectFailed, match="closed the connection"):
        connection.read("/a")


@pytest.mark.parametrize("body", [b"", b"\0", b"/a", b"/a\0", b"/a\0token", b"/a\0token\0more\0", b"\xff\0\xfe\0"])
def test_an_event_that_is_none(server: Xenstored, connection: Connection, body: bytes) -> None:
    event = HEADER.pack(Verb.WATCH_EVENT, 0, 0, len(body)) + body
    server.answer_raw = lambda verb, _: event + HEADER.pack(verb, 0, 0, 2) + b"ok"
    assert connection.read("/a") == "ok"
    assert len(connection.events) == 1


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_whatever_is_sent_ends_in_an_answer_or_in_an_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Xenstored(Path(folder))
        server.answer_raw = lambda *_: data
        connection = Connection(sockets=[server.path], devices=())
        try:
            answer = connection.batch([read_request("/a")])[0]
        except ConnectFailed:
            pass
        else:
            assert isinstance(answer, OSError) or answer in data
        connection.close()
        server.close()


def test_a_broken_connection_is_opened_anew(server: Xenstored, connection: Connection) -> None:
    server.write("/a", "1")
    server.answer_raw = lambda verb, _: HEADER.pack(verb, 0, 0, 8) + b"abc"
    with pytest.raises(ConnectFailed):
        connection.read("/a")
    server.answer_raw = lambda *_: None
    assert connection.read("/a") == "1"
    assert connection.generation == 2


def test_xenstored_is_stopped_and_started(server: Xenstored, connection: Connection, tmp_path: Path) -> None:
    server.write("/a", "1")
    assert connection.read("/a") == "1"
    server.close()
    for _ in range(2):
        with pytest.raises(ConnectFailed):
            connection.read("/a")
    other = Xenstored(tmp_path)
    other.write("/a", "2")
    assert connection.read("/a") == "2"
    other.close()


def test_after_ctrl_c_no_answer_is_taken_for_another(server: Xenstored, connection: Connection) -> None:
    interrupted = threading.Event()

    def interrupt(_verb: Verb, path: str) -> None:
        if path == "/b" and not interrupted.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            interrupted.wait(5)

    for name in "abc":
        server.write(f"/{name}", name)
    server.before_answer = interrupt
    with pytest.raises(KeyboardInterrupt):
        connection.batch([read_request("/a"), read_request("/b"), read_request("/c")])
    interrupted.set()
    assert connection.read("/a") == "a"


# Finding it


def test_the_first_that_is_there_is_taken(server: Xenstored, tmp_path: Path) -> None:
    server.write("/a", "1")
    connection = Connection(sockets=[str(tmp_path / "none"), server.path], devices=())
    assert connection.read("/a") == "1"
    connection.close()


def test_none_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match=rf"no xenstore at {tmp_path}/a, {tmp_path}/b: is xenstored running\?"):
        Connection(sockets=[f"{tmp_path}/a"], devices=[f"{tmp_path}/b"])


def test_the_environment_decides(server: Xenstored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.write("/a", "1")
    monkeypatch.setenv("XENSTORED_PATH", server.path)
    connection = Connection(sockets=[str(tmp_path / "other")], devices=())
    assert connection.read("/a") == "1"
    connection.close()


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, f"{flags}", path)

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(NotPrivileged, match=f"no permission for {tmp_path}: run this as root"):
        Connection(sockets=(), devices=[str(tmp_path)])


# Names


def test_names_are_read_once_and_then_watched(server: Xenstored, connection: Connection) -> None:
    names = Names(connection)
    keys = [(number, uuid4()) for number in range(200)]
    for domid, _ in keys:
        server.write(f"/local/domain/{domid}/name", f"d{domid}")
    expected = {key: f"d{key[0]}" for key in keys}
    for _ in range(6):
        server.requests.clear()
        assert names.of(keys) == expected
        # A watch counts twice, for its event. No look is longer than the first.
        assert server.count(Verb.READ) + 2 * server.count(Verb.WATCH) <= 250
    assert sum(len(client.watches) for client in server._clients) == 200
    server.requests.clear()
    for _ in range(3):
        assert names.of(keys) == expected
    assert server.requests == [(Verb.GET_DOMAIN_PATH, b"0\0")] * 3


def test_the_first_look_watches_some(server: Xenstored, connection: Connection) -> None:
    Names(connection).of([(number, uuid4()) for number in range(200)])
    assert server.count(Verb.READ) == 200
    assert server.count(Verb.WATCH) == 25


def test_a_rename_is_seen(server: Xenstored, connection: Connection) -> None:
    names, key = Names(connection), (7, uuid4())
    for name in ("web1", "web2", "web2", "web1", "wéb3"):
        server.write("/local/domain/7/name", name)
        assert names.of([key]) == {key: name}
        assert names.of([key]) == {key: name}
        assert not connection.events


def test_a_rename_between_watch_and_read_is_seen(server: Xenstored, connection: Connection) -> None:
    names, key = Names(connection), (7, uuid4())
    server.write("/local/domain/7/name", "before")

    def rename(verb: Verb, _path: str) -> None:
        if verb == Verb.READ:
            server.before_answer = lambda *_: None
            server.write("/local/domain/7/name", "between")

    server.before_answer = rename
    assert names.of([key]) == {key: "between"}
    server.write("/local/domain/7/name", "after")
    assert names.of([key]) == {key: "after"}


def test_a_rename_just_after_the_read_is_seen(server: Xenstored, connection: Connection) -> None:
    names, first, second = Names(connection), (7, uuid4()), (8, uuid4())
    server.write("/local/domain/7/name", "before")

    def rename(verb: Verb, path: str) -> None:
        if verb == Verb.READ and path == "/local/domain/8/name":
            server.before_answer = lambda *_: None
            server.write("/local/domain/7/name", "after")

    server.before_answer = rename
    assert names.of([first, second])[first] in {"before", "after"}
    assert names.of([first, second])[first] == "after"


def test_a_rename_while_the_first_event_of_the_watch_waits_is_seen(server: Xenstored, connection: Connection) -> None:
    """The event of the watch itself stands for both: xenstored sends no equal one meanwhile."""
    names, key = Names(connection), (7, uuid4())

    def rename(verb: Verb, _path: str) -> None:
        if server.count(Verb.WATCH) and verb == Verb.READ:
            server.after_answer = lambda *_: None
            server.write("/local/domain/7/name", "web1")

    server.after_answer = rename
    assert names.of([key])[key] in {None, "web1"}
    assert names.of([key]) == {key: "web1"}


def test_a_name_that_comes_later_and_goes_earlier(server: Xenstored, connection: Connection) -> None:
    names, key = Names(connection), (7, uuid4())
    for _ in range(3):
        assert names.of([key]) == {key: None}
    server.write("/local/domain/7/name", "web1")
    assert names.of([key]) == {key: "web1"}
    server.remove("/local/domain/7")
    assert names.of([key]) == {key: None}


def test_a_domid_that_is_reused_has_the_new_domains_name(server: Xenstored, connection: Connection) -> None:
    names, old, new = Names(connection), (7, uuid4()), (7, uuid4())
    server.write("/local/domain/7/name", "old")
    for _ in range(3):
        assert names.of([old]) == {old: "old"}
    server.remove("/local/domain/7")
    server.write("/local/domain/7/name", "new")
    for _ in range(3):
        assert names.of([new]) == {new: "new"}
    server.write("/local/domain/7/name", "newer")
    assert names.of([new]) == {new: "newer"}


def test_watches_of_domains_that_are_gone_are_given_back(server: Xenstored, connection: Connection) -> None:
    names = Names(connection)
    for number in range(10):
        for _ in range(2):
            names.of([(number, uuid4())] * 2)
        key = (number, uuid4())
        for _ in range(3):
            names.of([key])
    names.of([])
    assert server.count(Verb.WATCH) == server.count(Verb.UNWATCH) == 30


def test_without_watches_each_name_is_read_each_time(server: Xenstored, connection: Connection) -> None:
    server.most_watches = 1
    names, keys = Names(connection), [(7, uuid4()), (8, uuid4())]
    for name in ("a", "b", "c", "d"):
        for domid, _ in keys:
            server.write(f"/local/domain/{domid}/name", f"{name}{domid}")
        assert names.of(keys) == {key: f"{name}{key[0]}" for key in keys}


def test_names_after_the_connection_broke(server: Xenstored, connection: Connection) -> None:
    names, key = Names(connection), (7, uuid4())
    server.write("/local/domain/7/name", "before")
    for _ in range(3):
        names.of([key])
    server.answer_raw = lambda *_: b""
    with pytest.raises(ConnectFailed):
        names.of([key])
    server.answer_raw = lambda *_: None
    server.write("/local/domain/7/name", "after")
    for _ in range(3):
        assert names.of([key]) == {key: "after"}
    server.write("/local/domain/7/name", "later")
    assert names.of([key]) == {key: "later"}


class NamesAreRight(RuleBasedStateMachine):
    """Domains come, go, get names and others' domids; whatever happened, a list has the names of that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.server = Xenstored(Path(self.folder.name))
        self.connection = Connection(sockets=[self.server.path], devices=())
        self.names = Names(self.connection)
        self.domains: dict[int, UUID] = {}
        self.truth: dict[int, str] = {}
        self.count = 0

    domids = st.integers(0, 2)

    @rule(domid=domids)
    def appear(self, domid: int) -> None:
        """A new domain, in place of another that may have had its domid."""
        self.disappear(domid)
        self.count += 1
        self.domains[domid] = UUID(int=self.count)

    @rule(domid=domids)
    def disappear(self, domid: int) -> None:
        self.domains.pop(domid, None)
        self.truth.pop(domid, None)
        self.server.remove(f"/local/domain/{domid}")

    @rule(domid=domids, name=st.sampled_from(["a", "b", ""]))
    def rename(self, domid: int, name: str) -> None:
        if domid in self.domains:
            self.truth[domid] = name
            self.server.write(f"/local/domain/{domid}/name", name)

    @rule()
    def break_connection(self) -> None:
        self.server.answer_raw = lambda *_: b""
        with pytest.raises(ConnectFailed):
            self.connection.read("/")
        self.server.answer_raw = lambda *_: None

    @rule(times=st.integers(1, 2))
    def look(self, times: int) -> None:
        keys: list[Key] = list(self.domains.items())
        for _ in range(times):
            assert self.names.of(keys) == {key: self.truth.get(key[0]) for key in keys}

    @invariant()
    def nothing_is_watched_twice(self) -> None:
        for client in self.server._clients:
            assert len(client.watches) == len(set(client.watches)) <= 4

    def teardown(self) -> None:
        self.connection.close()
        self.server.close()
        self.folder.cleanup()


TestNamesAreRight = NamesAreRight.TestCase
TestNamesAreRight.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# Replacing


def test_a_node_is_replaced_if_it_has_a_value(server: Xenstored, connection: Connection) -> None:
    server.write("/control/shutdown", "suspend")
    assert connection.replace("/control/shutdown", "suspend", "")
    assert server.read("/control/shutdown") == ""
    assert not connection.replace("/control/shutdown", "suspend", "halt")
    assert server.read("/control/shutdown") == ""
    assert not connection.replace("/nowhere", "suspend", "")
    assert connection.read("/control/shutdown") == ""


@pytest.mark.parametrize("by_another", ["suspend", ""])
def test_a_node_that_changes_meanwhile(server: Xenstored, connection: Connection, by_another: str) -> None:
    server.write("/control/shutdown", "suspend")

    def change(verb: Verb, _: str) -> None:
        if verb == Verb.TRANSACTION_END and server.count(verb) == 1:
            server.write("/control/shutdown", by_another)

    server.before_answer = change
    assert connection.replace("/control/shutdown", "suspend", "other") is None
    assert server.read("/control/shutdown") == by_another
    assert connection.replace("/control/shutdown", "suspend", "other") is (by_another == "suspend")


# A xenstored that hangs


def test_a_xenstored_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PATIENCE", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "socket"))
        silent.listen()
        connection = Connection(sockets=[str(tmp_path / "socket")], devices=())
        for _ in range(2):  # it is opened anew, and hangs as before
            with pytest.raises(ConnectFailed, match=r"has not answered for 0\.1 s"):
                connection.read("/local/domain/0/name")
        connection.close()


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a xenstored that is too busy to accept connections; xenstored lets one wait, as this does."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(tmp_path / "socket"))
        listener.listen(1)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(tmp_path / "socket"))
        yield listener


def test_a_xenstored_that_is_too_busy_to_accept(crowded: socket.socket) -> None:
    def accept() -> None:
        crowded.accept()[0].close()

    accepting = threading.Timer(0.1, accept)
    accepting.start()
    Connection(sockets=[crowded.getsockname()], devices=()).close()
    join(accepting)


def test_a_xenstored_that_accepts_nobody(crowded: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PATIENCE", 0.1)
    with pytest.raises(ConnectFailed, match=r"has not answered for 0\.1 s"):
        Connection(sockets=[crowded.getsockname(), "/nowhere"], devices=())


def test_a_device_that_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PATIENCE", 0.1)
    device = tmp_path / "xenbus"
    os.mkfifo(device)
    connection = Connection(sockets=[], devices=[str(device)])
    with pytest.raises(ConnectFailed, match="has not answered"):
        connection.receive()
    connection.close()
