"""Streams of consoles whose guests, and terminals, do what they like."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import threading
import tty
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast
from uuid import UUID

import pytest

from pyxen.aio._calls import Calls as AioCalls
from pyxen.aio.readers.console import ConsoleStream as AioConsoleStream
from pyxen.backends.base import DomainRef
from pyxen.errors import DomainNotFound, HostClosed, InvalidArgument, NotFound, OperationTimeout
from pyxen.operation import Calls
from pyxen.readers import _consoletext
from pyxen.readers.console import ConsoleStream
from tests.descriptors import opened
from tests.interrupts import interrupted
from tests.waiting import join, until

REF = DomainRef(7, UUID(int=7))
PATIENCE = 60.0
SOON = 0.05


class Terminal:
    """A domain whose console is a terminal of this machine; the test holds the other end.

    Attributes:
        exists: Whether the domain exists.
        there: Whether it has a console now.
    """

    def __init__(self) -> None:
        self.exists = self.there = True
        self.opened = 0
        self.master = self.slave = -1
        self.plug()

    def plug(self) -> None:
        """Give it a new terminal."""
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.there = True

    def unplug(self) -> None:
        """Take its terminal away."""
        self.there = False
        os.close(self.master)
        os.close(self.slave)
        self.master = self.slave = -1

    def says(self, data: bytes) -> None:
        """Print."""
        while data:
            data = data[os.write(self.master, data) :]

    def arrives(self) -> None:
        """Wait until what it has printed can be read: the kernel hands it over a moment later."""
        assert select.select([self.slave], [], [], PATIENCE)[0]

    def domain_info(self, domain: DomainRef) -> None:
        """Look whether it exists."""
        if not self.exists:
            raise DomainNotFound("it is gone", domain=domain.domid)

    def console(self, domain: DomainRef, kind: object, number: int) -> int:  # noqa: ARG002 (as of a backend)
        """Open it."""
        self.domain_info(domain)
        if not self.there:
            raise NotFound("no terminal", operation="console")
        self.opened += 1
        return os.open(os.ttyname(self.slave), os.O_RDWR | os.O_NOCTTY)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A domain with a console; afterwards, no descriptor is left."""
    before = opened()
    found = Terminal()
    yield found
    if found.master >= 0:
        found.unplug()
    until(lambda: opened() <= before, "its descriptors are closed")


def stream_of(terminal: Any, timeout: float | None = PATIENCE) -> ConsoleStream:
    """Open a stream."""
    return ConsoleStream(terminal, Calls(), REF, None, 0, timeout)


def awaited(
    terminal: Any, use: Callable[[AioConsoleStream], Awaitable[None]], timeout: float | None = PATIENCE
) -> None:
    """Use a stream in an event loop."""

    async def main() -> None:
        calls = AioCalls()
        async with asyncio.timeout(PATIENCE):
            async with AioConsoleStream(terminal, calls, REF, None, 0, timeout) as stream:
                await use(stream)
            await calls.close(lambda: None)

    asyncio.run(main())


def test_lines(terminal: Terminal) -> None:
    terminal.says(b"one\r\ntwo\n\n\xff\x00\xc3\xa4\r\nlogin: ")
    with stream_of(terminal) as stream:
        assert stream.path == os.ttyname(terminal.slave)
        assert [stream.get() for _ in range(4)] == ["one", "two", "", "\\xff\0ä"]
        assert stream.get(SOON) is None
        assert stream.read() == b"login: "
        assert stream.read(0) is None
        stream.write("root\r")
        assert os.read(terminal.master, 100) == b"root\r"
        terminal.says(b"last words")
        assert stream.get(SOON) is None
        terminal.exists = False
        terminal.unplug()
        assert list(stream) == ["last words"]
        assert stream.read() == b""
        assert stream.get() is None
        with pytest.raises(NotFound, match="has ended; 0 bytes"):
            stream.write(b"x")
    assert stream.path is None


def test_awaited_lines(terminal: Terminal) -> None:
    terminal.says(b"one\r\ntwo\n\xff\nlogin: ")

    async def use(stream: AioConsoleStream) -> None:
        assert stream.path == os.ttyname(terminal.slave)
        assert [await stream.get() for _ in range(3)] == ["one", "two", "\\xff"]
        assert await stream.get(SOON) is None
        assert await stream.read() == b"login: "
        assert await stream.read(0) is None
        await stream.write("root\r")
        assert os.read(terminal.master, 100) == b"root\r"
        waiting = asyncio.create_task(stream.get())
        await asyncio.sleep(0)
        terminal.says(b"later\nlast")
        assert await waiting == "later"
        terminal.exists = False
        terminal.unplug()
        assert [line async for line in stream] == ["last"]
        assert await stream.read() == b""
        with pytest.raises(NotFound, match="has ended"):
            await stream.write(b"x")

    awaited(terminal, use)


class Flood:
    """A guest that prints at full speed, until its terminal goes."""

    def __init__(self, terminal: Terminal, data: bytes) -> None:
        self._fd = os.dup(terminal.master)
        self._data = data
        self._ends = False
        self._thread = threading.Thread(target=self._print)
        self._thread.start()

    def _print(self) -> None:
        os.set_blocking(self._fd, False)
        while not self._ends:
            try:
                os.write(self._fd, self._data)
            except BlockingIOError:
                threading.Event().wait(0.001)

    def end(self) -> None:
        """Stop."""
        self._ends = True
        self._thread.join(PATIENCE)
        os.close(self._fd)


@pytest.fixture(params=[b"x" * 4096, bytes(range(1, 10)) * 500, b"\n" * 4096, b"\xff" * 4096], ids=str)
def flood(terminal: Terminal, request: pytest.FixtureRequest) -> Iterator[bytes]:
    """A guest that does not stop."""
    guest = Flood(terminal, request.param)
    yield request.param
    guest.end()


def test_a_guest_that_does_not_stop(terminal: Terminal, flood: bytes) -> None:
    def read_all(stream: ConsoleStream) -> None:
        for line in stream:
            assert len(line) <= 4 * _consoletext.PIECE, flood  # each byte is escaped with four characters at most

    with stream_of(terminal, timeout=0.5) as stream:
        with pytest.raises(OperationTimeout, match="the deadline of 0"):
            read_all(stream)
        assert len(stream._text._unread) <= 2 * _consoletext.PIECE


def test_a_loop_gives_what_had_come_by_its_deadline(terminal: Terminal) -> None:
    async def read_all(stream: AioConsoleStream) -> None:
        assert await anext(stream) == "three"
        with pytest.raises(OperationTimeout):
            await anext(stream)

    terminal.says(b"one\ntwo\nlogin: ")
    terminal.arrives()
    with stream_of(terminal, timeout=0) as stream:
        assert [next(stream), next(stream)] == ["one", "two"]
        for _ in range(2):
            with pytest.raises(OperationTimeout, match="the deadline of 0"):
                next(stream)
        terminal.says(b"root\n")
        assert stream.get(PATIENCE) == "login: root"  # whatever the deadline of the loop
    with pytest.raises(StopIteration):
        next(stream)
    terminal.says(b"three\n")
    terminal.arrives()
    awaited(terminal, read_all, timeout=0)


def test_a_guest_that_does_not_stop_does_not_stop_the_loop(terminal: Terminal, flood: bytes) -> None:
    async def read_while_others_run(stream: AioConsoleStream) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async for line in stream:
            assert len(line) <= 4 * _consoletext.PIECE, flood
            if ticks > 9:
                break
        ticking.cancel()
        assert ticks > 9

    async def read_all(stream: AioConsoleStream) -> None:
        with pytest.raises(OperationTimeout):
            async for _ in stream:
                pass
        assert len(stream._text._unread) <= 2 * _consoletext.PIECE

    awaited(terminal, read_while_others_run)
    awaited(terminal, read_all, timeout=0.5)


def test_a_line_without_an_end_comes_in_parts(terminal: Terminal) -> None:
    guest = Flood(terminal, b"x" * 4096)
    try:
        with stream_of(terminal) as stream:
            assert stream.get() == "x" * 65536
            assert len(stream.read() or b"") <= 65536 + 4096
    finally:
        guest.end()


def test_a_guest_that_does_not_read(terminal: Terminal) -> None:
    with stream_of(terminal) as stream:
        with pytest.raises(OperationTimeout, match=r"the guest took \d+ of 1000000 bytes"):
            stream.write(b"x" * 1_000_000, timeout=SOON)
        assert stream.write_some(b"x") == 0
        with pytest.raises(InvalidArgument, match="text that is UTF-8"):
            stream.write("\ud800")
        with pytest.raises(InvalidArgument, match="bytes or text"):
            stream.write(7)  # type: ignore[arg-type]  # on purpose
        assert stream.write_some(b"") == 0

    async def use(stream: AioConsoleStream) -> None:
        with pytest.raises(OperationTimeout, match=r"the guest took \d+ of 1000000 bytes"):
            await stream.write(b"x" * 1_000_000, timeout=SOON)
        assert await stream.write_some(b"x") == 0

    awaited(terminal, use)


def test_what_the_guest_reads_late_comes_whole(terminal: Terminal) -> None:
    data = os.urandom(200_000)
    got = bytearray()

    def read() -> None:
        while len(got) < len(data):
            got.extend(os.read(terminal.master, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    with stream_of(terminal) as stream:
        stream.write(data, PATIENCE)
        reader.join(PATIENCE)
    assert got == data


def test_a_time_that_is_up_in_the_clean_up_of_a_cancelled_task(terminal: Terminal) -> None:
    """It is no cancel: Python 3.11 takes what `asyncio.timeout` does there for one."""

    async def use(stream: AioConsoleStream) -> None:
        async def work() -> None:
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                assert await stream.read(SOON) is None
                assert await stream.get(SOON) is None
                with pytest.raises(OperationTimeout, match="the guest took"):
                    await stream.write(b"x" * 1_000_000, timeout=SOON)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await task

    awaited(terminal, use)


def test_a_terminal_that_comes_back(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_consoletext, "_COMES_BACK", PATIENCE)
    terminal.says(b"menu\nPress")
    with stream_of(terminal) as stream:
        assert stream.get() == "menu"
        terminal.unplug()
        assert stream.get(SOON) is None
        terminal.plug()
        terminal.says(b" a key\n")
        assert stream.get() == "Press a key"
        assert terminal.opened == 2
        terminal.unplug()
        terminal.plug()
        stream.write(b"k")
        assert os.read(terminal.master, 10) == b"k"
        assert terminal.opened == 3

    async def use(stream: AioConsoleStream) -> None:
        terminal.says(b"menu\nPress")
        assert await stream.get() == "menu"
        waiting = asyncio.create_task(stream.get())
        terminal.unplug()
        await asyncio.sleep(SOON)
        terminal.plug()
        terminal.says(b" a key\n")
        assert await waiting == "Press a key"

    awaited(terminal, use)


def test_a_terminal_that_does_not_come_back(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_consoletext, "_COMES_BACK", 0.1)
    with stream_of(terminal) as stream:
        terminal.unplug()
        with pytest.raises(NotFound, match="did not come back: no terminal"):
            stream.get()

    async def use(stream: AioConsoleStream) -> None:
        terminal.unplug()
        with pytest.raises(NotFound, match="did not come back"):
            await stream.get()

    terminal.plug()
    awaited(terminal, use)


def test_a_domain_that_goes_while_its_terminal_stays(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyxen.readers.console.LOOK", SOON)
    monkeypatch.setattr("pyxen.aio.readers.console.LOOK", SOON)
    with stream_of(terminal) as stream:
        assert stream.get(4 * SOON) is None
        terminal.exists = False
        assert list(stream) == []
    terminal.exists = True

    async def use(stream: AioConsoleStream) -> None:
        assert await stream.get(4 * SOON) is None
        terminal.exists = False
        assert [line async for line in stream] == []

    awaited(terminal, use)


def test_close_wakes_who_waits(terminal: Terminal) -> None:
    stream = stream_of(terminal)
    ends: list[object] = []

    def read() -> None:
        ends.append(list(stream))

    def write() -> None:
        try:
            stream.write(b"x" * 1_000_000, None)
        except HostClosed as error:
            ends.append(error)

    threads = [threading.Thread(target=read), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    threading.Event().wait(SOON)
    stream.close()
    stream.close()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert len(ends) == 2
    for call in (stream.get, stream.read, lambda: stream.write(b"x")):
        with pytest.raises(HostClosed):
            call()

    async def use(stream: AioConsoleStream) -> None:
        waiting = [asyncio.create_task(stream.read()), asyncio.create_task(stream.write(b"x" * 1_000_000, None))]
        await asyncio.sleep(SOON)
        await stream.close()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in found] == [HostClosed, HostClosed]

    awaited(terminal, use)


def test_who_reads_holds_up_nobody_longer_than_he_says(terminal: Terminal) -> None:
    stream = stream_of(terminal)
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    until(lambda: stream._users, "it does not read")
    assert stream.get(0) is None
    assert stream.read(SOON) is None
    stream.close()
    join(reader)


def test_a_close_again_beside_those_who_use_it(terminal: Terminal) -> None:
    """They hear that it was closed, and are users until then."""
    stream = stream_of(terminal)
    stream.close()
    stream._users.add(object())
    stream.close()


def test_a_cancelled_read_loses_nothing(terminal: Terminal) -> None:
    async def use(stream: AioConsoleStream) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.get(), SOON)
        terminal.says(b"line\n")
        assert await stream.get() == "line"

    awaited(terminal, use)


def test_a_read_that_is_cancelled_at_any_turn_loses_nothing(terminal: Terminal) -> None:
    async def use(stream: AioConsoleStream) -> None:
        for number in range(12):
            terminal.says(b"line\n")
            reading = asyncio.create_task(stream.get())
            for _ in range(number):
                await asyncio.sleep(0)
            reading.cancel()
            found = (await asyncio.gather(reading, return_exceptions=True))[0]
            if isinstance(found, asyncio.CancelledError):
                found = await stream.get()
            assert found == "line", number
            assert await stream.get(0) is None

    awaited(terminal, use)


def test_another_loop_closes_it(terminal: Terminal) -> None:
    async def use(stream: AioConsoleStream) -> None:
        waiting = [asyncio.create_task(stream.read()), asyncio.create_task(stream.write(b"x" * 1_000_000, None))]
        await asyncio.sleep(SOON)
        await asyncio.to_thread(asyncio.run, stream.close())
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in found] == [HostClosed, HostClosed]

    awaited(terminal, use)


def test_a_collection_closes_it_between_any_two_lines(terminal: Terminal) -> None:
    """It ends a forgotten task within ``async with stream``, on the thread that uses the stream just then."""
    calls, backend = AioCalls(), cast("Any", terminal)
    streams: list[AioConsoleStream] = []

    def collected() -> None:
        closing = streams[-1].close()  # as far as it comes without waiting: `GeneratorExit` ends it there
        with contextlib.suppress(StopIteration):
            closing.send(None)
        closing.close()

    async def use() -> None:
        stream = streams[-1]
        with contextlib.suppress(HostClosed):
            await stream.write(b"x")
            terminal.says(b"line\nlogin: ")
            assert str(await stream.get(PATIENCE)).endswith("line")
            assert await stream.read(PATIENCE)
            assert stream.path in {None, os.ttyname(terminal.slave)}
            assert await stream.read(0.002) is None
        await stream.close()
        assert stream._console is None
        assert not stream._waiters

    ends = 0
    for call in interrupted(lambda: asyncio.run(use()), collected, "aio/readers/console.py", "_consoletext.py"):
        streams.append(AioConsoleStream(backend, calls, REF, None, 0, PATIENCE))
        failed: list[BaseException] = []

        def run(call: Callable[[], None], failed: list[BaseException]) -> None:
            try:
                call()
            except BaseException as error:
                failed.append(error)
                raise

        thread = threading.Thread(target=run, args=(call, failed), daemon=True)
        thread.start()
        join(thread, PATIENCE)
        assert not failed
        ends += 1
    assert ends > 50
    asyncio.run(calls.close(lambda: None))


def test_a_stream_that_is_forgotten_is_closed(terminal: Terminal) -> None:
    stream_of(terminal).get(0)
    terminal.there = False
    with pytest.raises(NotFound):
        stream_of(terminal)
    for timeout in (-1, "x"):
        with pytest.raises(InvalidArgument):
            stream_of(terminal, timeout)  # type: ignore[arg-type]  # on purpose
