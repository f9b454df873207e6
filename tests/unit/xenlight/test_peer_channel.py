"""A channel to another host: what it waits for, and how long."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import pytest

from pyxen.backends.xenlight.migration.peer_channel import Lost, PeerChannel
from pyxen.errors import InvalidArgument
from pyxen.operation import Operation
from tests.unit.peers import End, Pipe, read, silent
from tests.waiting import join


@pytest.mark.parametrize("stopped", [False, True])
def test_an_end_that_is_waited_for(talk: Callable[..., End], stopped: bool) -> None:
    def peer(connection: socket.socket) -> None:
        assert read(connection, 3) == b"end"
        connection.sendall(b"as you like")

    end = talk(peer, grace=30)
    if stopped:
        end.operation.cancel()
    end.channel.conclude()
    end.channel.write(b"end")
    end.channel.expect_end()
    assert end.channel.lost() is not None


def test_an_end_that_does_not_come(talk: Callable[..., End]) -> None:
    end = talk(silent)
    end.channel.conclude()
    with pytest.raises(Lost, match="does not answer"):
        end.channel.expect_end()
    end.channel.close()


def test_what_is_relayed_is_seen(talk: Callable[..., End]) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"a" * 5000)
    os.close(write_end)
    seen = bytearray()
    talk(silent).channel.relay_from(Pipe(read_end), seen.extend)
    os.close(read_end)
    assert seen == b"a" * 5000


def test_descriptors_that_are_none() -> None:
    with pytest.raises(InvalidArgument, match="Bad file descriptor"):
        PeerChannel(Operation("migrate"), 0, 1 << 20, peer="the peer")


def test_an_end_is_lost_when_it_has_closed_and_what_it_said_is_read() -> None:
    ours, theirs = socket.socketpair()
    end = End(ours)
    assert end.channel.lost() is None
    theirs.sendall(b"a")
    theirs.close()
    assert end.channel.lost() is None
    assert "is gone" in str(end.channel.lost())
    end.close()


def test_pipes_and_descriptors_that_do_not_block() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    channel = PeerChannel(Operation("migrate"), read_end, write_end, peer="the peer")
    os.close(read_end)
    os.close(write_end)
    data = os.urandom(1 << 20)
    thread = threading.Thread(target=channel.write, args=[data])
    thread.start()
    assert channel.read(len(data)) == data
    join(thread)
    channel.close()


def test_the_callers_descriptors_are_as_before() -> None:
    ours, theirs = socket.socketpair()
    end = End(ours.dup())
    source, write_end = os.pipe()
    os.write(write_end, b"stream")
    os.close(write_end)
    end.channel.relay_from(Pipe(source))
    assert os.get_blocking(ours.fileno())
    assert theirs.recv(99) == b"stream"
    os.close(source)
    end.close()
    ours.close()
    theirs.close()


def test_what_comes_in_tiny_pieces_is_not_copied_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times as much takes eight times as long, not 64 times."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"a")  # so that it is ready
    channel = PeerChannel(Operation("migrate"), read_end, write_end, peer="the peer")
    piece = bytes(1024)
    monkeypatch.setattr(os, "read", lambda _, size: piece[:size])

    def seconds(size: int) -> float:
        begun = time.thread_time()
        assert channel.read(size) == bytes(size)
        return time.thread_time() - begun

    few, many = (min(seconds(size) for _ in range(3)) for size in (1 << 20, 8 << 20))
    channel.close()
    os.close(read_end)
    os.close(write_end)
    assert many < 24 * few
