"""What the two ends of a migration say: to each other, and to a peer that says something else, or no more."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import pytest

from pyxen._common import savefile
from pyxen.backends.xenlight.migration import protocol
from pyxen.backends.xenlight.migration.peer_channel import Lost, PeerChannel
from pyxen.backends.xenlight.migration.protocol import InDoubt, Refused
from pyxen.errors import OperationCancelled, OperationTimeout, ParseError
from tests.unit.peers import End, PeerCommand, Pipe, read, silent
from tests.waiting import SECONDS, join

BANNER = b"xl migration receiver ready, send binary domain data.\n"
RECEIVED = b"domain received, ready to unpause\0"
GO = b"domain is yours, you are cleared to unpause\0"
REPORT = b"my copy unpause results are as follows\0"
HEAD = savefile.head('{"c_info": {"name": "web1"}}')
STREAM = os.urandom(3 << 20)  # more than fits into a socket


class Source:
    """A domain at the source.

    Attributes:
        done: What was done to it.
        fails_in: What fails, the name of a method.
    """

    def __init__(self, fails_in: str = "") -> None:
        self.done: list[str] = []
        self.fails_in = fails_in

    def head(self) -> bytes:
        self._do("head")
        return HEAD

    def stream(self, channel: PeerChannel) -> None:
        self._do("stream")
        read_end, write_end = os.pipe()

        def write() -> None:
            rest = memoryview(STREAM)
            try:
                while rest:
                    rest = rest[os.write(write_end, rest) :]
            except BrokenPipeError:
                pass
            os.close(write_end)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            channel.relay_from(Pipe(read_end))
        finally:
            os.close(read_end)
            join(thread)

    def set_aside(self) -> None:
        self._do("set_aside")

    def take_back(self) -> None:
        self._do("take_back")

    def end(self) -> None:
        self._do("end")

    def _do(self, what: str) -> None:
        if what == self.fails_in:
            raise OSError(what)
        self.done.append(what)


class Destination:
    """A domain at the destination; see `Source`."""

    def __init__(self, fails_in: str = "") -> None:
        self.done: list[str] = []
        self.fails_in = fails_in

    def restore(self, head: savefile.Head, channel: PeerChannel) -> None:
        self._do("restore")
        assert head == savefile.Head('{"c_info": {"name": "web1"}}')
        channel.read(len(STREAM))

    def start(self) -> str:
        self._do("start")
        return "web1"

    def remove(self) -> None:
        self._do("remove")

    def _do(self, what: str) -> None:
        if what == self.fails_in:
            raise OSError(what)
        self.done.append(what)


def receiver(*answers: bytes) -> PeerCommand:
    """Return a destination that says these things, each after what comes before it, and then closes."""

    def peer(connection: socket.socket) -> None:
        expected = {BANNER: len(HEAD) + len(STREAM), RECEIVED: len(GO)}
        for answer in answers:
            connection.sendall(answer)
            read(connection, expected.get(answer, 0))

    return peer


def silent_after(*answers: bytes, then: Callable[[], object] = lambda: None) -> PeerCommand:
    """Return a destination that says these things, does another, and says nothing until it is hung up on."""

    def peer(connection: socket.socket) -> None:
        receiver(*answers)(connection)
        then()
        silent(connection)

    return peer


# The source


def test_both_ends(talk: Callable[..., End]) -> None:
    destination = Destination()
    started: list[str] = []
    ended = threading.Event()

    def peer(connection: socket.socket) -> None:
        end = End(connection)
        started.append(protocol.receive(end.channel, destination))
        end.close()
        ended.set()

    source = Source()
    protocol.send(talk(peer).channel, source)
    assert source.done == ["head", "stream", "set_aside", "end"]
    assert ended.wait(30)
    assert destination.done == ["restore", "start"]
    assert started == ["web1"]


def test_as_xl_answers(talk: Callable[..., End]) -> None:
    source = Source()
    protocol.send(talk(receiver(BANNER, RECEIVED, REPORT + b"\0")).channel, source)
    assert source.done == ["head", "stream", "set_aside", "end"]


@pytest.mark.parametrize(
    ("answers", "done"),
    [
        ([], []),
        ([BANNER[:20]], []),
        ([b"root@host2's password:"], []),
        ([BANNER], ["head", "stream", "take_back"]),
        ([BANNER, RECEIVED[:5]], ["head", "stream", "take_back"]),
        ([BANNER, b"Killed\n"], ["head", "stream", "take_back"]),
    ],
)
def test_a_destination_lost_before_it_may_start(
    talk: Callable[..., End], answers: list[bytes], done: list[str]
) -> None:
    source = Source()
    with pytest.raises(Lost):
        protocol.send(talk(receiver(*answers)).channel, source)
    assert source.done == done


def test_what_is_said_instead_is_told(talk: Callable[..., End]) -> None:
    with pytest.raises(Lost, match="said b'sh: xl: not found' instead of the banner"):
        protocol.send(talk(receiver(b"sh: xl: not found")).channel, Source())


def test_a_destination_lost_amid_the_stream(talk: Callable[..., End]) -> None:
    def peer(connection: socket.socket) -> None:
        connection.sendall(BANNER)
        read(connection, 1 << 20)

    source = Source()
    with pytest.raises(Lost, match="is gone"):
        protocol.send(talk(peer).channel, source)
    assert source.done == ["head", "stream", "take_back"]


def test_a_destination_lost_when_it_has_received() -> None:
    class Slow(Source):
        def set_aside(self) -> None:
            super().set_aside()
            join(thread)

    def peer(connection: socket.socket) -> None:
        connection.sendall(BANNER)
        read(connection, len(HEAD) + len(STREAM))
        connection.sendall(RECEIVED)
        connection.close()

    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=peer, args=[theirs])
    thread.start()
    end = End(ours)
    source = Slow()
    with pytest.raises(Lost):  # nothing of the permission can have come to it
        protocol.send(end.channel, source)
    assert source.done == ["head", "stream", "set_aside", "take_back"]
    end.close()


@pytest.mark.parametrize(
    "answer", [b"", REPORT[:7], REPORT, b"Killed\n", REPORT + b"\3", REPORT + b"\3" + GO[:9]], ids=repr
)
def test_a_destination_lost_when_it_may_start(talk: Callable[..., End], answer: bytes) -> None:
    source = Source()
    with pytest.raises(InDoubt):
        protocol.send(talk(receiver(BANNER, RECEIVED, answer)).channel, source)
    assert source.done == ["head", "stream", "set_aside"]


def test_a_destination_that_cannot_start_it(talk: Callable[..., End]) -> None:
    source = Source()
    with pytest.raises(Refused, match=r"\(3\)"):
        protocol.send(talk(receiver(BANNER, RECEIVED, REPORT + b"\3" + GO)).channel, source)
    assert source.done == ["head", "stream", "set_aside", "take_back"]


@pytest.mark.parametrize(
    ("fails_in", "done"),
    [
        ("head", []),
        ("stream", ["head", "take_back"]),
        ("set_aside", ["head", "stream", "take_back"]),
        ("end", ["head", "stream", "set_aside"]),
    ],
)
def test_what_fails_at_the_source(talk: Callable[..., End], fails_in: str, done: list[str]) -> None:
    source = Source(fails_in)
    with pytest.raises(OSError, match=fails_in):
        protocol.send(talk(receiver(BANNER, RECEIVED, REPORT + b"\0")).channel, source)
    assert source.done == done


@pytest.mark.parametrize(
    ("answers", "timeout", "done"),
    [([], 0.3, []), ([BANNER[:9]], 0.3, []), ([BANNER, RECEIVED[:9]], SECONDS, ["head", "stream", "take_back"])],
)
def test_a_deadline_at_the_source(
    talk: Callable[..., End], answers: list[bytes], timeout: float, done: list[str]
) -> None:
    class Late(Source):
        def stream(self, channel: PeerChannel) -> None:
            super().stream(channel)
            end.operation.deadline = time.monotonic() + 0.05

    source = Late()
    end = talk(silent_after(*answers), timeout=timeout)
    with pytest.raises(OperationTimeout):
        protocol.send(end.channel, source)
    assert source.done == done
    end.channel.close()


def test_a_deadline_when_nobody_reads(talk: Callable[..., End]) -> None:
    over = threading.Event()

    def peer(connection: socket.socket) -> None:
        connection.sendall(BANNER)
        over.wait(30)

    class Late(Source):
        def stream(self, channel: PeerChannel) -> None:
            end.operation.deadline = time.monotonic() + 0.05
            super().stream(channel)

    source = Late()
    end = talk(peer, timeout=SECONDS)
    with pytest.raises(OperationTimeout):
        protocol.send(end.channel, source)
    assert source.done == ["head", "stream", "take_back"]
    over.set()


def test_a_cancel_at_the_source(talk: Callable[..., End]) -> None:
    def cancel() -> None:
        end.operation.cancel()

    end = talk(silent_after(BANNER, then=cancel))
    source = Source()
    with pytest.raises(OperationCancelled):
        protocol.send(end.channel, source)
    assert source.done == ["head", "stream", "take_back"]
    end.channel.close()


def test_no_answer_in_time_when_it_may_start(talk: Callable[..., End]) -> None:
    def cancel() -> None:
        end.operation.cancel()

    end = talk(silent_after(BANNER, RECEIVED, then=cancel))

    class Stopped(Source):
        def end(self) -> None:
            raise AssertionError

    source = Stopped()
    with pytest.raises(InDoubt, match="does not answer"):
        protocol.send(end.channel, source)
    assert source.done == ["head", "stream", "set_aside"]
    end.channel.close()


def test_an_answer_after_a_cancel_counts(talk: Callable[..., End]) -> None:
    def peer(connection: socket.socket) -> None:
        receiver(BANNER, RECEIVED)(connection)
        end.operation.cancel()
        connection.sendall(REPORT + b"\0")

    end = talk(peer, grace=30)
    source = Source()
    protocol.send(end.channel, source)
    assert source.done == ["head", "stream", "set_aside", "end"]


# The destination


def sender(*said: bytes, then: Callable[[socket.socket], object] = lambda _: None) -> PeerCommand:
    """Return a source that says these things, the first two without waiting for more than the banner."""

    def peer(connection: socket.socket) -> None:
        read(connection, len(BANNER))
        for number, data in enumerate(said):
            if number == 1:
                read(connection, len(RECEIVED))
            connection.sendall(data)
        then(connection)

    return peer


def test_as_xl_sends(talk: Callable[..., End]) -> None:
    heard: list[bytes] = []
    listened = threading.Event()

    def listen(connection: socket.socket) -> None:
        heard.append(read(connection, 99))
        listened.set()

    destination = Destination()
    end = talk(sender(HEAD + STREAM, GO, then=listen))
    assert protocol.receive(end.channel, destination) == "web1"
    assert destination.done == ["restore", "start"]
    end.channel.close()
    assert listened.wait(30)
    assert heard == [REPORT + b"\0"]


@pytest.mark.parametrize(
    ("said", "error", "done"),
    [
        ([], Lost, []),
        ([HEAD[:40]], Lost, []),
        ([bytes(100)], ParseError, []),
        ([HEAD + STREAM[:-1]], Lost, ["restore"]),
        ([HEAD + STREAM], Lost, ["restore", "remove"]),
        ([HEAD + STREAM, GO[:-1]], Lost, ["restore", "remove"]),
        ([HEAD + STREAM, b"no, it is not yours, do not unpause it here!"], Lost, ["restore", "remove"]),
    ],
    ids=range(7),
)
def test_a_source_that_is_lost(
    talk: Callable[..., End], said: list[bytes], error: type[Exception], done: list[str]
) -> None:
    destination = Destination()
    with pytest.raises(error):
        protocol.receive(talk(sender(*said)).channel, destination)
    assert destination.done == done


def test_a_copy_that_does_not_start(talk: Callable[..., End]) -> None:
    heard: list[bytes] = []
    listened = threading.Event()

    def listen(connection: socket.socket) -> None:
        heard.append(read(connection, len(REPORT) + 1 + len(GO)))
        listened.set()

    destination = Destination("start")
    with pytest.raises(OSError, match="start"):
        protocol.receive(talk(sender(HEAD + STREAM, GO, then=listen)).channel, destination)
    assert destination.done == ["restore", "remove"]
    assert listened.wait(30)
    assert heard == [REPORT + b"\3" + GO]


def test_a_copy_that_cannot_be_removed(talk: Callable[..., End]) -> None:
    """The source must not go on then."""
    heard: list[bytes] = []
    listened = threading.Event()

    def listen(connection: socket.socket) -> None:
        heard.append(read(connection, 999))
        listened.set()

    class Stuck(Destination):
        def remove(self) -> None:
            raise OSError("remove")

    end = talk(sender(HEAD + STREAM, GO, then=listen))
    with pytest.raises(OSError, match="remove"):
        protocol.receive(end.channel, Stuck("start"))
    end.channel.close()
    assert listened.wait(30)
    assert heard == [REPORT + b"\3"]


@pytest.mark.parametrize(("said", "timeout", "done"), [([], 0.3, []), ([HEAD + STREAM], 30, ["restore", "remove"])])
def test_a_deadline_at_the_destination(
    talk: Callable[..., End], said: list[bytes], timeout: float, done: list[str]
) -> None:
    class Late(Destination):
        def restore(self, head: savefile.Head, channel: PeerChannel) -> None:
            super().restore(head, channel)
            end.operation.deadline = time.monotonic() + 0.05

    destination = Late()
    end = talk(sender(*said, then=lambda connection: read(connection, 1 << 20)), timeout=timeout)
    with pytest.raises(OperationTimeout):
        protocol.receive(end.channel, destination)
    assert destination.done == done
    end.channel.close()


def test_a_source_lost_when_the_copy_runs(talk: Callable[..., End], caplog: pytest.LogCaptureFixture) -> None:
    peer_gone = threading.Event()

    class Waiting(Destination):
        def start(self) -> str:
            assert peer_gone.wait(30)
            return super().start()

    def go(connection: socket.socket) -> None:
        connection.close()
        peer_gone.set()

    destination = Waiting()
    assert protocol.receive(talk(sender(HEAD + STREAM, GO, then=go)).channel, destination) == "web1"
    assert destination.done == ["restore", "start"]
    assert "the source does not know" in caplog.text


# A backup


def test_a_backup_starts_when_the_stream_ends(talk: Callable[..., End]) -> None:
    destination = Destination()
    end = talk(sender(HEAD + STREAM))
    assert protocol.receive_backup(end.channel, destination) == "web1"
    assert destination.done == ["restore", "start"]


@pytest.mark.parametrize(("fails_in", "done"), [("restore", []), ("start", ["restore"])])
def test_a_backup_that_fails_is_left_as_it_is(talk: Callable[..., End], fails_in: str, done: list[str]) -> None:
    destination = Destination(fails_in)
    with pytest.raises(OSError, match=fails_in):
        protocol.receive_backup(talk(sender(HEAD + STREAM)).channel, destination)
    assert destination.done == done
