"""Descriptors are closed once, wherever Ctrl-C comes, and however often and by however many threads they are closed.

Another thread may have the number by the time of a second close.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from pyxen import DomainConfig, attach_terminal
from pyxen._common.atomic_file import place
from pyxen._common.child import Child
from pyxen._common.claims import Claim, Claims
from pyxen._common.owner_thread import OwnerThread
from pyxen._common.piped_program import PipedProgram
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.messages import FromClient
from pyxen.backends.remote.streams import Stream, pair
from pyxen.backends.xenlight.libxl.journal import Journal
from pyxen.backends.xenlight.migration.peer_channel import PeerChannel
from pyxen.errors import ConnectFailed, HostClosed, InvalidArgument, OperationFailed
from pyxen.operation import Operation
from pyxen.serve.claims import ServedClaims
from pyxen.testing import FakeHost
from tests.descriptors import opened
from tests.interrupts import interrupted
from tests.waiting import join, until

START: Final = threading.Thread.start
CLOSE: Final = os.close


def ctrl_c() -> None:
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def wrong(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers that were closed and not open; a test fails where there is one."""
    found: list[int] = []

    def close(fd: int) -> None:
        try:
            CLOSE(fd)
        except OSError as error:
            if error.errno == errno.EBADF:
                found.append(fd)
            raise

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        yield found
    assert found == []


def close_leaks(before: set[tuple[str, str]], thread: str) -> None:
    """Close what Ctrl-C has left open between two lines, and wait for the end of the threads of a name.

    The ends for writing come first: a thread may read up to the end.
    """
    for fd, _ in opened() - before:
        with contextlib.suppress(OSError):
            if fcntl.fcntl(int(fd), fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                CLOSE(int(fd))
    settled(thread)
    for fd, _ in opened() - before:
        with contextlib.suppress(OSError):
            CLOSE(int(fd))


EARLIER: set[threading.Thread] = set()
"""Threads that were there before the test: of programs of earlier tests, which hold their pipes open for a while."""


@pytest.fixture(autouse=True)
def earlier() -> Iterator[None]:
    """Note which threads are there."""
    EARLIER.update(threading.enumerate())
    yield
    EARLIER.clear()


def settled(name: str) -> None:
    """Wait for the end of the threads of a name that the test has begun."""
    until(lambda: all(each.name != name for each in {*threading.enumerate()} - EARLIER), f"{name} ends")


# Ctrl-C between any two lines of a close, which comes again later, e.g. at exit


def journal(folder: Path) -> Callable[[], object]:
    made = Journal(str(folder))
    with made.noting(uuid4()):
        pass
    return made.close


def claims(folder: Path) -> Callable[[], object]:
    made = Claims(str(folder))
    made.add(Claim(uuid4()))
    return made.close


def dropped_claims(folder: Path) -> Callable[[], object]:
    made = Claims(str(folder))
    made.add(Claim(uuid4()))
    return made.drop_all


def child(_: Path) -> Callable[[], object]:
    return Child(os.posix_spawn("/bin/true", ["true"], os.environ)).end


def channel(_: Path) -> Callable[[], object]:
    ends = os.pipe()
    try:
        return PeerChannel(Operation("migrate"), *ends, peer="the peer").close
    finally:
        for fd in ends:
            os.close(fd)


def program(_: Path) -> Callable[[], object]:
    return PipedProgram(["true"], no_pipes=ConnectFailed).hang_up


CLOSED: Final[dict[str, tuple[Callable[[Path], Callable[[], object]], str]]] = {
    "journal": (journal, "libxl/journal.py"),
    "claims": (claims, "_common/claims.py"),
    "dropped claims": (dropped_claims, "_common/claims.py"),
    "child": (child, "_common/child.py"),
    "channel": (channel, "migration/peer_channel.py"),
    "program": (program, "_common/piped_program.py"),
}


@pytest.mark.parametrize("kind", CLOSED)
def test_a_close_that_was_interrupted_is_made_again(tmp_path: Path, wrong: list[int], kind: str) -> None:
    make, module = CLOSED[kind]
    made: list[Callable[[], object]] = []
    found, calls = [], 0
    for call in interrupted(lambda: made[-1](), ctrl_c, module):  # noqa: PLW0108 (another one each time)
        made.append(make(tmp_path))
        with contextlib.suppress(KeyboardInterrupt):
            call()
        made.pop()()
        calls += 1
        if wrong:
            found.append(calls)
            wrong.clear()
    assert found == [], "the lines before which Ctrl-C has come"
    assert calls > 4


@pytest.mark.parametrize("kind", CLOSED)
def test_ctrl_c_comes_out_of_the_close_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[int], kind: str
) -> None:
    """As a signal does that comes while the kernel closes it."""
    close = CLOSED[kind][0](tmp_path)
    real = os.close

    def closing(fd: int) -> None:
        real(fd)
        monkeypatch.setattr(os, "close", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "close", closing)
    with contextlib.suppress(KeyboardInterrupt):
        close()
    monkeypatch.setattr(os, "close", real)
    close()
    assert wrong == []


def test_no_other_child_is_ended_or_waited_for_by_one_that_was_closed() -> None:
    gone = Child(os.posix_spawn("/bin/true", ["true"], os.environ))
    gone.end()
    other = Child(os.posix_spawn("/bin/true", ["true"], os.environ))
    assert other.ended(60)
    gone.pid = other.pid  # the kernel has given it the number
    gone.end()
    gone.kill()
    assert gone.ended(0)
    assert gone.status() is None
    assert other.status() == 0


def test_a_place_is_found_or_nothing_stays_open(tmp_path: Path, wrong: list[int]) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "link").symlink_to(deep)
    for call in interrupted(lambda: place(f"{tmp_path}/link/../c/file"), ctrl_c, "_common/atomic_file.py"):
        with contextlib.suppress(KeyboardInterrupt):
            folder, _ = call()
            os.close(folder)
        assert wrong == []


# Ctrl-C while a thread is started that owns descriptors


@pytest.fixture
def interrupt_start(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let Ctrl-C come in the start of the nth thread of a name: before the thread begins, or once it runs."""

    def interrupt(name: str, *, is_begun: bool, nth: int = 1) -> None:
        left = [nth]

        def start(thread: threading.Thread) -> None:
            if thread.name == name:
                left[0] -= 1
                if left[0] == 0:
                    if is_begun:
                        START(thread)
                    raise KeyboardInterrupt
            START(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    return interrupt


begun_or_not = pytest.mark.parametrize("is_begun", [False, True], ids=["before the thread begins", "when it has begun"])


@begun_or_not
def test_what_a_thread_owns_is_released_by_one(interrupt_start: Callable[..., None], *, is_begun: bool) -> None:
    released: list[str] = []
    interrupt_start("test-owner", is_begun=is_begun)
    thread = OwnerThread(lambda: released.append("thread"), lambda: released.append("starter"), name="test-owner")
    with pytest.raises(KeyboardInterrupt):
        thread.start()
    settled("test-owner")
    thread.drop()
    assert len(released) == 1
    if not is_begun:
        assert released == ["starter"]


def test_a_thread_that_comes_too_late_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its work was taken from it: Ctrl-C has interrupted its start before it ran."""
    released: list[str] = []
    thread = OwnerThread(lambda: released.append("thread"), lambda: released.append("starter"), name="test-owner")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _: ctrl_c())
        with pytest.raises(KeyboardInterrupt):
            thread.start()
    START(thread)
    join(thread)
    assert released == ["starter"]


@begun_or_not
def test_a_program_whose_start_is_interrupted(
    interrupt_start: Callable[..., None], wrong: list[int], *, is_begun: bool
) -> None:
    before = opened()
    interrupt_start("pyxen-peer-errors", is_begun=is_begun)
    with pytest.raises(KeyboardInterrupt):
        PipedProgram(["sleep", "0.1"], no_pipes=ConnectFailed)
    settled("pyxen-peer-errors")
    assert wrong == []
    assert opened() <= before


def test_a_program_that_is_interrupted_anywhere(wrong: list[int]) -> None:
    modules, before = ("_common/piped_program.py", "_common/owner_thread.py"), opened()
    for call in interrupted(lambda: PipedProgram(["true"], no_pipes=ConnectFailed), ctrl_c, *modules):
        with contextlib.suppress(KeyboardInterrupt):
            call().hang_up()
        close_leaks(before, "pyxen-peer-errors")
        assert wrong == []


@pytest.fixture
def link() -> Iterator[Link]:
    """A link to nobody."""
    ours, theirs = pair()
    found = Link(ours, ours, FromClient)
    yield found
    found.close()
    os.close(theirs)


def stream_over(link: Link, ours: int) -> Stream:
    return Stream(link, 1, both=ours, own=True, as_one=True, serves=True)


@pytest.mark.parametrize("nth", [1, 2])
@begun_or_not
def test_a_stream_whose_start_is_interrupted(
    interrupt_start: Callable[..., None], link: Link, wrong: list[int], *, is_begun: bool, nth: int
) -> None:
    before = opened()
    ours, theirs = pair()
    interrupt_start("pyxen-stream", is_begun=is_begun, nth=nth)
    with pytest.raises(KeyboardInterrupt):
        stream_over(link, ours)
    settled("pyxen-stream")  # though nobody closes the other end
    os.close(theirs)
    assert wrong == []
    assert opened() <= before


@pytest.mark.parametrize("nth", [1, 2])
def test_a_stream_for_which_there_is_no_thread(
    monkeypatch: pytest.MonkeyPatch, link: Link, wrong: list[int], *, nth: int
) -> None:
    before = opened()
    left = [nth]

    def start(thread: threading.Thread) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        START(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    ours, theirs = pair()
    with pytest.raises(OperationFailed, match="ulimit"):
        stream_over(link, ours)
    settled("pyxen-stream")
    os.close(theirs)
    assert wrong == []
    assert opened() <= before


def test_a_stream_that_is_interrupted_anywhere(link: Link, wrong: list[int]) -> None:
    before, made = opened(), list[int]()
    modules = ("remote/streams.py", "_common/owner_thread.py")
    for call in interrupted(lambda: stream_over(link, made.pop()), ctrl_c, *modules):
        ours, theirs = pair()
        made.append(ours)
        with contextlib.suppress(KeyboardInterrupt):
            call().close()
        os.close(theirs)
        close_leaks(before, "pyxen-stream")
        assert wrong == []


@begun_or_not
def test_a_save_to_a_full_pipe_whose_thread_is_interrupted(
    interrupt_start: Callable[..., None], wrong: list[int], *, is_begun: bool
) -> None:
    name = "pyxen-memory-descriptor"
    reader, writer = os.pipe()
    with FakeHost() as host, open(reader, "rb", buffering=0) as rest:
        web = host.create(DomainConfig("web", type="pvh", kernel="/k", memory=16))
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        before = opened()
        interrupt_start(name, is_begun=is_begun)
        with pytest.raises(KeyboardInterrupt):
            web.save(writer)

        def ended() -> bool:
            if select.select([rest], [], [], 0)[0]:
                rest.read(1 << 16)
            return all(thread.name != name for thread in threading.enumerate())

        until(ended, "its thread ends")
        assert wrong == []
        assert opened() <= before
        os.close(writer)


@pytest.mark.parametrize("nth", ["writer", "reader"])
@begun_or_not
def test_a_link_whose_start_is_interrupted(
    interrupt_start: Callable[..., None], monkeypatch: pytest.MonkeyPatch, *, is_begun: bool, nth: str
) -> None:
    """Its descriptors are closed when no thread uses them any more."""
    before = opened()
    ours, theirs = pair()
    made = Link(ours, ours, FromClient)
    interrupt_start(f"test-link-{nth}", is_begun=is_begun)
    with pytest.raises(KeyboardInterrupt):
        made.start(lambda _: None, lambda _: None, "test-link")
    used: list[str] = []
    forked = Link.forked

    def closing(link: Link) -> None:
        used.extend(thread.name for thread in threading.enumerate() if thread.name.startswith("test-link"))
        forked(link)

    monkeypatch.setattr(Link, "forked", closing)
    made.close()
    made.close()
    os.close(theirs)
    assert used == []
    assert opened() <= before


# A terminal


def test_a_terminal_whose_start_is_interrupted(interrupt_start: Callable[..., None], wrong: list[int]) -> None:
    """Its thread comes to tell the end when that is not listened for any more."""
    failed: list[Any] = []
    with FakeHost() as host, pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", failed.append)
        web = host.create(DomainConfig("web", type="pvh", kernel="/k", memory=16))
        stream = web.console_stream()
        keys, end = os.pipe()
        os.close(end)
        with open(os.devnull, "wb") as screen, open(keys, "rb"):
            before = opened()
            # `start` was interrupted before the thread has said that it is there.
            patch.setattr(threading.Thread, "is_alive", lambda _: False)
            interrupt_start("pyxen-terminal", is_begun=True)
            with pytest.raises(KeyboardInterrupt):
                attach_terminal(stream, stdin=keys, stdout=screen.fileno())
            patch.undo()
            settled("pyxen-terminal")
            assert opened() <= before
    assert failed == []
    assert wrong == []


# Two clients' calls at once


class Slow:
    """A set of claims whose calls take a while, and which says when two are in it at once."""

    def __init__(self) -> None:
        self.closed = 0
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def add(self, _: Claim) -> None: ...

    def drop(self, _: Any) -> None: ...

    def drop_all(self) -> None: ...

    def close(self) -> None:
        self.closed += 1
        self.entered.set()
        self.go_on.wait(30)


@pytest.mark.parametrize("other", ["claims_close", "close"])
def test_claims_that_two_calls_close_at_once(other: str) -> None:
    claims = Slow()
    served = ServedClaims(lambda: claims)
    served.claims_open(1)
    refused: list[InvalidArgument] = []

    def close(how: str) -> None:
        try:
            served.claims_close(1) if how == "claims_close" else served.close()
        except InvalidArgument as error:
            refused.append(error)

    threads = [threading.Thread(target=close, args=[how], daemon=True) for how in ("claims_close", other)]
    threads[0].start()
    assert claims.entered.wait(30)
    threads[1].start()
    claims.go_on.set()
    for thread in threads:
        join(thread)
    assert claims.closed == 1
    assert len(refused) == (other == "claims_close")


def test_claims_that_are_opened_after_the_end() -> None:
    """Nobody would release them while the server lives."""
    served = ServedClaims(Slow)
    served.close()
    with pytest.raises(HostClosed):
        served.claims_open(1)
    assert not served.has(1)


def test_claims_that_two_calls_look_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have found the set before either closes it."""
    claims = Slow()
    claims.go_on.set()
    served = ServedClaims(lambda: claims)
    served.claims_open(1)
    meet = threading.Barrier(2)
    found = ServedClaims._of

    def of(self: ServedClaims, number: int) -> Any:
        claimed = found(self, number)
        with contextlib.suppress(threading.BrokenBarrierError):
            meet.wait(0.5)
        return claimed

    monkeypatch.setattr(ServedClaims, "_of", of)

    def close() -> None:
        with contextlib.suppress(InvalidArgument):
            served.claims_close(1)

    threads = [threading.Thread(target=close, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert claims.closed == 1


def test_claims_that_two_calls_drop_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[int]) -> None:
    """Both have found the folder before either removes it."""
    claims = Claims(str(tmp_path))
    claims.add(Claim(uuid4()))
    meet, rename = threading.Barrier(2), os.rename
    problems: list[BaseException] = []

    def renamed(*names: Any) -> None:
        meet.wait(30)
        rename(*names)

    def drop() -> None:
        try:
            claims.drop_all()
        except BaseException as error:  # noqa: BLE001 (it is looked at below)
            problems.append(error)

    monkeypatch.setattr(os, "rename", renamed)
    threads = [threading.Thread(target=drop, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert problems == []
    assert wrong == []


def test_a_channel_that_two_threads_close_at_once(wrong: list[int]) -> None:
    ends = os.pipe()
    made = PeerChannel(Operation("migrate"), *ends, peer="the peer")
    meet = threading.Barrier(2)
    inner, entered = os.close, threading.Barrier(2)

    def closing(fd: int) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            entered.wait(0.01)  # both are about to close
        inner(fd)

    def close() -> None:
        meet.wait(30)
        with contextlib.suppress(OSError):
            made.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "close", closing)
        threads = [threading.Thread(target=close, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            join(thread)
    for fd in ends:
        os.close(fd)
    assert wrong == []
