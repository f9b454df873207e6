"""Byte streams whose other end means no good, or is slow: what waits for it is bounded."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest

from pyxen.backends.remote import link, pending, streams
from pyxen.backends.remote.messages import CHUNK, WINDOW, Credit, Data, End, FromClient, Item, Ping
from pyxen.backends.remote.streams import Stream, pair
from pyxen.backends.remote.values import Malformed, codec_of
from tests.unit.remote.ends import SECONDS, Far, until

MIB: Final = 1 << 20


class Unread:
    """A link whose peer reads nothing, or only what a test reads of it."""

    def __init__(self) -> None:
        ours, theirs = pair()
        self.link = link.Link(os.dup(ours), ours, FromClient)
        self.far = Far(theirs, theirs, FromClient)

    def start(self) -> None:
        self.link.start(lambda _: None, lambda _: None, "test-link")

    def close(self) -> None:
        self.link.close()
        self.far.close()


@pytest.fixture
def unread() -> Iterator[Unread]:
    found = Unread()
    yield found
    found.close()


def give(stream: Stream, *messages: Any) -> None:
    for message in messages:
        stream.take(message)


def write_slowly(fd: int, is_enough: Callable[[], bool]) -> None:
    """Write byte by byte until it is enough and no more is taken."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            os.write(fd, b"x")
        except BlockingIOError:  # also for a moment, where who reads has not run
            if is_enough():
                return
        assert time.monotonic() < end
        time.sleep(0.001)


def test_parts_of_one_byte_cost_what_they_carry(unread: Unread) -> None:
    """The window counts bytes; kept one by one, each would cost forty times its own."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:  # a sink that takes nothing more
        try:
            os.write(writer, bytes(4096))
        except BlockingIOError:
            break
    stream = Stream(unread.link, 1, sink=writer, serves=True, own=True)
    parts = [Data(1, bytes([number % 7, 1])) for number in range(1000)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(500):
            for part in parts:
                stream.take(part)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 2 * MIB, f"{grown} bytes are kept of {500 * 1000 * 2} that came"
    stream.close()
    os.close(reader)


def test_no_more_is_granted_to_a_peer_that_does_not_read(unread: Unread, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends, and never reads: what grants it more waits, so it runs out of what it may send."""
    monkeypatch.setattr(streams, "BACKLOG", 1 << 10)
    stream = Stream(unread.link, 1, sink=os.open(os.devnull, os.O_WRONLY), serves=True)  # the link is not started
    end = time.monotonic() + SECONDS
    more = 300
    while more:  # some more when it is full
        assert time.monotonic() < end
        more -= unread.link.backlog >= 1 << 10
        stream.take(Data(1, b"x"))
        time.sleep(0.001)
    assert 0 < unread.link.backlog < 2 << 10
    with pytest.raises(Malformed, match="more of a stream was sent than was granted"):
        give(stream, *[Data(1, bytes(CHUNK))] * (WINDOW // CHUNK + 1))
    stream.close()


def test_what_is_sent_byte_by_byte_to_a_peer_that_does_not_read(
    unread: Unread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes in small pieces, as from a console, is not read while much of it waits to be sent."""
    monkeypatch.setattr(streams, "BACKLOG", 8 << 10)
    source, typed = pair()
    os.set_blocking(typed, False)
    stream = Stream(unread.link, 1, source=source, serves=True, own=True)
    write_slowly(typed, lambda: unread.link._waiting_later > 1 << 10)
    assert unread.link._waiting_later < 10 << 10
    stream.join()
    assert not stream._running, "a stream that waits for room can be closed"
    os.close(typed)


def test_items_do_not_wait_for_streams(unread: Unread) -> None:
    """The bytes of a save that wait to be sent do not make the events beside it get lost."""
    for _ in range(100):
        unread.link.send(Data(1, bytes(CHUNK)))
    assert unread.link.backlog == 0
    unread.link.send(Ping())
    assert 0 < unread.link.backlog < 200
    unread.start()
    heard = [unread.far.hear() for _ in range(101)]
    assert isinstance(heard[0], Ping)
    until(lambda: unread.link._waiting == unread.link._waiting_later == 0)


def test_a_flood_of_items_counts_as_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "_MOST_UNREAD", 100 << 10)
    waiting: list[object] = []
    found = pending.Subscription(codec_of(int), lambda _: None, lambda _: None, lambda _: ())
    for _ in range(10_000):
        found.come(Item(1, msgspec.Raw(b"\1")), waiting.append)
    assert len(waiting) < 300


def test_small_parts_arrive_whole(unread: Unread) -> None:
    reader, writer = os.pipe()
    stream = Stream(unread.link, 1, sink=writer, serves=True)
    sent = bytes(range(256)) * 40
    for byte in sent:
        stream.take(Data(1, bytes([byte])))
    stream.take(End(1))
    with open(reader, "rb") as file:
        assert file.read() == sent
    unread.start()
    granted = 0
    while granted < WINDOW + len(sent):
        message = unread.far.hear()
        assert isinstance(message, Credit)
        granted += message.count
    assert granted == WINDOW + len(sent)


def test_more_is_granted_than_was_sent(unread: Unread) -> None:
    source, _ = os.pipe()
    stream = Stream(unread.link, 1, source=source)
    with pytest.raises(Malformed, match="more of a stream was granted than was sent"):
        give(stream, Credit(1, WINDOW), Credit(1, WINDOW))
    stream.join()
