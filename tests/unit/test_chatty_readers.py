"""Readers whose source does not stop, in both faces: a loop over one ends in time, and does not stop the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import pytest

from pyxen import NodeChange, OperationTimeout
from pyxen.backends.base import LogChunk
from pyxen.events import DomainPaused
from pyxen.records.qmp_event import QmpEvent
from pyxen.testing import FakeHost
from tests.unit.aio.fakehost import run
from tests.unit.memory.configs import config

TIMEOUT: Final = 0.1
BOUND: Final = 20.0

ITEMS: Final[dict[str, object]] = {
    "events": DomainPaused(time=datetime.now(UTC), domid=1, uuid=UUID(int=1), name=None),
    "qmp": QmpEvent(time=datetime.now(UTC), name="RESET", data={}),
    "xenstore": NodeChange("/tool/a", "/tool/a"),
}

READERS: Final[dict[str, Callable[[Any, Any, float | None], Any]]] = {
    "events": lambda host, _, timeout: host.events(),  # noqa: ARG005 (a loop over events has no deadline)
    "qmp": lambda _, web, timeout: web.qmp.events(timeout=timeout),
    "xenstore": lambda host, _, timeout: host.xenstore.watch("/tool/a", timeout=timeout),
    "log": lambda host, _, timeout: host.follow_log(timeout=timeout),
}


def chatty(kind: str, reader: Any, seconds: float | None = None) -> Any:
    """Return a reader for which there is always something to read.

    Args:
        kind: What it reads.
        reader: The reader.
        seconds: The time of a reader of the log, from its first look after its beginning.
    """
    if kind == "log":
        lines = b"".join(b"line %d\n" % number for number in range(100))

        def log(position: int | None, *, clear: bool) -> LogChunk:  # noqa: ARG001 (as it is)
            if position is not None and seconds is not None and reader._lines.deadline is None:
                reader._lines.deadline = time.monotonic() + seconds
            return LogChunk(lines, position or 1, 0)

        reader._backend.log = log
    else:
        queue = reader._inbox._queue if hasattr(reader, "_inbox") else reader._queue
        queue.take = lambda _: ITEMS[kind]
    return reader


def reading(items: Iterator[object]) -> Iterator[object]:
    """Read until the reader ends; if it does not, fail."""
    end = time.monotonic() + BOUND
    for item in items:
        assert time.monotonic() < end, "it goes on after its time"
        yield item


async def read_all(items: AsyncIterator[object]) -> int:
    """Read until the reader ends; if it does not, fail."""
    end, count = time.monotonic() + BOUND, 0
    async for _ in items:
        assert time.monotonic() < end, "it goes on after its time"
        count += 1
    return count


async def stops(use: Callable[[], Awaitable[object]]) -> None:
    """Make a call again and again, until a timer of the loop ends that."""
    end = time.monotonic() + BOUND
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            while True:
                assert time.monotonic() < end, "the loop's timers do not run"
                await use()


@pytest.mark.parametrize("kind", ["qmp", "xenstore"])
def test_a_loop_ends_at_its_deadline(kind: str) -> None:
    with FakeHost() as fake:
        web = fake.create(config(type="hvm"))
        with chatty(kind, READERS[kind](fake, web, TIMEOUT)) as reader:
            with pytest.raises(OperationTimeout, match="deadline"):
                list(reading(reader))
            assert reader.get(timeout=0) is not None  # whatever the deadline of the loop


def late(kind: str, reader: Any, seconds: float, *, aio: bool) -> None:
    """Let the deadline of a reader pass when three more items have come, and one come after each that is taken."""
    queue = reader._inbox._queue if aio else reader._queue
    deadline = reader._until if aio else reader._deadline
    queue._items.clear()
    for _ in range(3):
        queue._items.append(ITEMS[kind])
    take = queue.take

    def taken(timeout: float | None) -> object:
        item = take(timeout)
        queue._items.append(ITEMS[kind])
        return item

    queue.take = taken
    deadline._end = time.monotonic() - seconds


@pytest.mark.parametrize("kind", ["qmp", "xenstore"])
@pytest.mark.parametrize("timeout", [0, TIMEOUT])
def test_a_loop_gives_what_had_come_by_its_deadline(kind: str, timeout: float) -> None:
    with FakeHost() as fake:
        web = fake.create(config(type="hvm"))
        with READERS[kind](fake, web, timeout) as reader:
            late(kind, reader, 1.0, aio=False)
            assert [next(reader) for _ in range(3)] == [ITEMS[kind]] * 3
            for _ in range(2):
                with pytest.raises(OperationTimeout, match="deadline"):
                    next(reader)


@pytest.mark.parametrize("kind", ["qmp", "xenstore"])
def test_a_loop_of_asyncio_gives_what_had_come_by_its_deadline(kind: str) -> None:
    async def main() -> None:
        with FakeHost() as fake:
            async with fake.aio() as host:
                web = await host.create(config(type="hvm"))
                async with READERS[kind](host, web, 0) as reader:
                    late(kind, reader, 1.0, aio=True)
                    assert [await anext(reader) for _ in range(3)] == [ITEMS[kind]] * 3
                    for _ in range(2):
                        with pytest.raises(OperationTimeout, match="deadline"):
                            await anext(reader)

    run(main())


@pytest.mark.parametrize("kind", ["qmp", "xenstore"])
def test_a_reader_that_has_ended_gives_all_of_it(kind: str) -> None:
    with FakeHost() as fake:
        web = fake.create(config(type="hvm"))
        with READERS[kind](fake, web, 0) as reader:
            reader._queue._items.clear()
            with pytest.raises(OperationTimeout):
                next(reader)
            reader._queue.put(ITEMS[kind])
            reader._queue.end()
            assert list(reader) == [ITEMS[kind]]


def test_a_loop_over_a_log_ends_at_its_deadline() -> None:
    with FakeHost() as fake, chatty("log", READERS["log"](fake, None, None), TIMEOUT) as reader:
        assert list(reading(reader)) != []
        assert reader.get(timeout=0) == "line 0"


@pytest.mark.parametrize("kind", ["qmp", "xenstore", "log"])
def test_a_loop_of_asyncio_ends_at_its_deadline(kind: str) -> None:
    async def main() -> None:
        with FakeHost() as fake:
            async with fake.aio() as host:
                web = await host.create(config(type="hvm"))
                timeout = None if kind == "log" else TIMEOUT
                async with chatty(kind, READERS[kind](host, web, timeout), TIMEOUT) as reader:
                    if kind == "log":
                        assert await read_all(reader) > 0
                    else:
                        with pytest.raises(OperationTimeout, match="deadline"):
                            await read_all(reader)
                    assert await reader.get(timeout=0) is not None

    run(main())


@pytest.mark.parametrize("kind", [*READERS])
def test_the_event_loop_goes_on(kind: str) -> None:
    async def main() -> None:
        with FakeHost() as fake:
            async with fake.aio() as host:
                web = await host.create(config(type="hvm"))
                async with chatty(kind, READERS[kind](host, web, None)) as reader:
                    if kind == "log":
                        reader._lines.take = lambda: "line"  # what it has read is long
                    await stops(lambda: anext(reader))
                    await stops(lambda: reader.get(timeout=1))

    run(main())


def test_the_event_loop_goes_on_while_a_console_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes come without an end, and it takes all that is typed."""

    async def main() -> None:
        with FakeHost() as fake:
            async with fake.aio() as host:
                web = await host.create(config(type="hvm", serial=["pty"]))
                async with web.console_stream() as console:
                    monkeypatch.setattr("pyxen.aio.readers.console.receive", lambda _: b"x")
                    monkeypatch.setattr("pyxen.aio.readers.console.send", lambda _fd, _data: 1)
                    uses: list[Callable[[], Any]] = [
                        console.read,
                        lambda: console.write(bytes(100)),
                        lambda: console.write_some(b"x"),
                    ]
                    for use in uses:
                        await stops(use)

    run(main())
