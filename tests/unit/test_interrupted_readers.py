"""Signal handlers that close what they interrupt: the blocking readers end, whenever it comes, and leave nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from pyxen.errors import Error, HostClosed, InvalidState
from pyxen.readers import _unread
from pyxen.readers._unread import Unread
from pyxen.testing import FakeHost
from tests.interrupts import interrupted
from tests.unit.memory.configs import config
from tests.waiting import join, until

Reader = Any
"""One of the readers; they have no type in common."""

_CODE: Final = (
    *("readers/_reader.py", "readers/_unread.py", "readers/_consoletext.py", "readers/console.py"),
    *("readers/events.py", "readers/log.py", "readers/qmp.py", "readers/xenstore.py", "/threading.py"),
)
_BOUND: Final = 30.0

READERS: Final[dict[str, Callable[[FakeHost], Reader]]] = {
    "console": lambda host: host.domains["web1"].console_stream(),
    "events": lambda host: host.events(),
    "log": lambda host: host.follow_log(),
    "qmp": lambda host: host.domains["web1"].qmp.events(),
    "watch": lambda host: host.xenstore.watch("/tool/a"),
}

each_kind = pytest.mark.parametrize("kind", READERS)


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost(time="real") as fake:
        fake.create(config(type="hvm", serial=["pty"]))
        yield fake


@pytest.fixture(autouse=True)
def looks_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_unread, "_LOOK", 0.02)
    monkeypatch.setattr(_unread, "_TO_ENTER", 0.02)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@each_kind
def test_a_signal_handler_closes_the_reader_that_it_interrupts(kind: str, host: FakeHost) -> None:
    reader = READERS[kind](host)
    calls = 0

    def handler(*_: object) -> None:
        nonlocal calls
        calls += 1
        assert calls == 1, "the reader stands still"
        reader.close()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, _BOUND)
        for _ in reader:
            pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert calls == 1
    with pytest.raises(HostClosed):
        reader.get(0)


@each_kind
def test_a_handler_closes_it_between_any_two_lines(kind: str, host: FakeHost) -> None:
    """Also within the locks of Python, where a handler may come as well."""
    reader: Reader = None
    ended: list[object] = []

    def read() -> None:
        for _ in range(2):
            reader.get(0.01)
        if kind == "console":
            reader.write("x")
            reader.read(0)

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except HostClosed as error:
            ended.append(error)

    def close() -> None:
        reader.close()

    before, calls = open_files(), 0
    for call in interrupted(read, close, *_CODE):
        reader = READERS[kind](host)
        thread = threading.Thread(target=run, args=(call,), daemon=True)
        thread.start()
        join(thread, _BOUND)
        reader.close()
        calls += 1
        if kind == "console":
            assert reader._wake.closed, calls
            assert reader._console.closed, calls
    assert calls > 10
    assert ended
    reader = None
    most = before + (kind == "console")  # the guest's end, while it has one
    until(lambda: open_files() <= most, "its descriptors are closed")


class Items(Unread[int]):
    """A queue."""

    def _lose(self, item: int) -> None:
        raise AssertionError(item)


def test_a_handler_that_waits_for_the_thread_that_brings_items() -> None:
    """The thread waits for the lock that the interrupted reader has, until the reader has ended."""
    brings: list[tuple[Items, threading.Thread]] = []

    def close() -> None:
        queue, bringing = brings[-1]
        queue.drop()
        join(bringing, _BOUND)

    def take() -> None:
        queue, bringing = brings[-1]
        with queue._changed:
            bringing.start()
            queue.take(0.02)

    def bring(queue: Items) -> None:
        for number in range(3):
            queue.put(number)
        queue.end()

    calls = 0
    queue = Items(9, "events")
    brings.append((queue, threading.Thread(target=bring, args=(queue,), daemon=True)))
    for call in interrupted(take, close, "readers/_unread.py"):
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        join(thread, 2 * _BOUND)
        join(brings[-1][1], _BOUND)
        calls += 1
        queue = Items(9, "events")
        brings.append((queue, threading.Thread(target=bring, args=(queue,), daemon=True)))
    assert calls > 5


@pytest.mark.parametrize("kind", ["console", "log"])
def test_a_handler_cannot_read_while_it_interrupts_a_read(kind: str, host: FakeHost) -> None:
    """It would wait for itself."""
    reader = READERS[kind](host)
    refused: list[Error] = []

    def handler() -> None:
        try:
            reader.get(0)
        except InvalidState as error:
            refused.append(error)

    for call in interrupted(lambda: reader.get(0.01), handler, *_CODE[:-1]):
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        join(thread, _BOUND)
    assert refused
    assert "read on another thread" in str(refused[0])
    reader.close()


def test_a_closing_that_ctrl_c_interrupts_is_gone_on_with(host: FakeHost) -> None:
    def ctrl_c() -> None:
        raise KeyboardInterrupt

    def close() -> None:
        stream.close()

    stream: Reader = None
    interrupts = 0
    for call in interrupted(close, ctrl_c, "readers/console.py"):
        stream = READERS["console"](host)
        try:
            call()
        except KeyboardInterrupt:
            interrupts += 1
            stream.close()
        assert stream._wake.closed
        assert stream._console.closed
    assert interrupts > 5


def test_ctrl_c_in_a_read_of_a_console_leaves_nothing(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    stream = READERS["console"](host)
    with monkeypatch.context() as patch:
        patch.setattr(stream, "_poll", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            for _ in stream:
                pass
    assert stream.get(0) is None
    stream.close()
    assert stream._wake.closed
    assert stream._console.closed
