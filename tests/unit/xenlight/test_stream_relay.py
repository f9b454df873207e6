"""libxl's streams between a pipe and a channel: what passes, and how it ends when either end is lost."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import Any, cast

import pytest

from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.migration.peer_channel import Lost, PeerChannel
from pyxen.backends.xenlight.migration.stream_relay import Passed, relay_from, relay_to
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation, ThreadedOperations
from pyxen.errors import OperationFailed, ParseError
from pyxen.operation import Operation
from tests.waiting import join, until


class Threads:
    """In the place of a context: carries a script that waits for nothing out, on a thread."""

    def run(self, operation: Operation[Any], script: Script[Any]) -> Operation[Any]:

        def carry_out() -> None:
            try:
                next(script)
            except StopIteration as end:
                operation.set_result(end.value)
            except OperationFailed as error:
                operation.set_exception(error)

        thread = threading.Thread(target=carry_out)
        operation.carried_by(lambda _: None, thread)
        thread.start()
        return operation


@pytest.mark.parametrize(("abortable", "ending"), [(True, "told"), (False, "broken")])
def test_a_destination_that_is_lost(abortable: bool, ending: str) -> None:
    endings: list[str] = []
    seen: list[int] = []
    ours, theirs = socket.socketpair()

    def send(operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:
        yield from ()
        assert not passed()
        try:
            while operation.stopped is None:
                os.write(fd, bytes(4096))
            assert passed()
            endings.append("told")
        except BrokenPipeError:
            endings.append("broken")
        raise OperationFailed("it has ended")

    def work(threaded: ThreadedOperation) -> None:
        channel = PeerChannel(threaded.operation, ours.fileno(), ours.fileno(), peer="the peer", wake=threaded.wake)
        try:
            relay_from(threaded, channel, send, lambda data: seen.append(len(data)), abortable=abortable)
        finally:
            channel.close()

    before = os.listdir("/proc/self/fd")
    threaded_operations = ThreadedOperations(cast("Context", Threads()))
    with ours:
        operation = threaded_operations.run(Operation[None]("remus"), work)
        assert theirs.recv(100_000, socket.MSG_WAITALL)
        theirs.close()
        with pytest.raises(Lost):
            operation.result(30)
    threaded_operations.close()
    assert endings == [ending]
    assert sum(seen) >= 100_000
    assert len(os.listdir("/proc/self/fd")) == len(before) - 2  # our own two


def test_what_fails_when_all_is_sent() -> None:
    def send(operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:  # noqa: ARG001 (as MakeStep)
        yield from ()
        os.write(fd, b"all")
        raise OperationFailed("it has ended")

    ours, theirs = socket.socketpair()

    def work(threaded: ThreadedOperation) -> None:
        relay_from(threaded, PeerChannel(threaded.operation, ours.fileno(), ours.fileno(), peer="the peer"), send)

    threaded_operations = ThreadedOperations(cast("Context", Threads()))
    with ours, theirs:
        with pytest.raises(OperationFailed, match="it has ended"):
            threaded_operations.run(Operation[None]("remus"), work).result(30)
        assert theirs.recv(99) == b"all"
    threaded_operations.close()


@pytest.mark.parametrize("abortable", [True, False])
def test_a_destination_that_is_lost_before_the_stream_begins(abortable: bool) -> None:
    lost = threading.Event()
    ours, theirs = socket.socketpair()

    def send(operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:
        yield from ()
        os.write(fd, bytes(4))
        assert lost.wait(30)
        until(lambda: not abortable or operation.stopped is not None, "it is not stopped")
        for _ in range(4):
            assert not passed()
            os.write(fd, bytes(5))  # which would fail if the pipe were closed by now
        until(passed, "the rest does not pass")
        raise OperationFailed("it has ended")

    def work(threaded: ThreadedOperation) -> None:
        channel = PeerChannel(threaded.operation, ours.fileno(), ours.fileno(), peer="the peer", wake=threaded.wake)
        theirs.close()
        lost.set()
        relay_from(threaded, channel, send, abortable=abortable)

    threaded_operations = ThreadedOperations(cast("Context", Threads()))
    with ours, pytest.raises(Lost):
        threaded_operations.run(Operation[None]("remus"), work).result(30)
    threaded_operations.close()


BEGINNING = b"LibxlFmt" + bytes.fromhex("00000002 00000000 01000000 00000000")
MEMORY = os.urandom(3 << 20)  # more than fits into a pipe


class Received:
    """What comes through a pipe when it is relayed to it, as much of it as is wanted."""

    def __init__(self, wanted: int) -> None:
        self.data = b""
        self.passed: list[bool] = []
        self._wanted = wanted

    def script(self, operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:  # noqa: ARG002 (as MakeStep)
        yield from ()
        self.passed.append(passed())
        size = len(BEGINNING) - 1
        while len(self.data) < self._wanted and (more := os.read(fd, min(size, self._wanted - len(self.data)))):
            self.data += more
            self.passed.append(passed())
            size = 1 if len(self.data) < len(BEGINNING) else 1 << 16

    def relay(self, ours: socket.socket) -> None:
        """Relay what comes at one end of a connection."""

        def work(threaded: ThreadedOperation) -> None:
            channel = PeerChannel(threaded.operation, ours.fileno(), ours.fileno(), peer="the peer", wake=threaded.wake)
            try:
                relay_to(threaded, channel, self.script)
            finally:
                channel.close()

        threaded_operations = ThreadedOperations(cast("Context", Threads()))
        try:
            threaded_operations.run(Operation[None]("receive_migration"), work).result(30)
        finally:
            threaded_operations.close()


@pytest.mark.parametrize("wanted", [1 << 10, 2 << 20, 1 << 30])
def test_a_stream_that_comes(wanted: int) -> None:
    ours, theirs = socket.socketpair()
    stream = BEGINNING + MEMORY

    def source() -> None:
        with theirs, contextlib.suppress(BrokenPipeError):
            theirs.sendall(stream)

    thread = threading.Thread(target=source)
    thread.start()
    received = Received(wanted)
    with ours:
        before = set(os.listdir("/proc/self/fd"))
        received.relay(ours)
        assert set(os.listdir("/proc/self/fd")) <= before
    join(thread)
    assert received.data == stream[:wanted]
    assert received.passed[:2] == [False, False]
    assert all(received.passed[2:])


def test_a_reader_that_ends_before_anything_more_comes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(BEGINNING)
        received = Received(24)
        received.relay(ours)
    assert received.data == BEGINNING


@pytest.mark.parametrize(("sent", "error"), [(b"", Lost), (BEGINNING[:-1], Lost), (bytes(24), ParseError)])
def test_no_stream(sent: bytes, error: type[Exception]) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(sent)
    theirs.close()
    received = Received(1)
    with ours, pytest.raises(error):
        received.relay(ours)
    assert received.passed == []
