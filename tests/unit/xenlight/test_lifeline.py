"""libxl's own connection to xenstored, told from all others of this process."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from pyxen.backends.xenlight.libxl.hung_xenstored import Lifeline, _Watch
from pyxen.backends.xenlight.libxl.sockets import connections, sockets
from pyxen.backends.xenlight.xenstore.connection import Connection
from pyxen.errors import ConnectFailed
from tests.forks import told_by_a_child
from tests.waiting import join, until


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[str]:
    """The address of what stands for xenstored: it accepts nobody, and has room for all."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen(200)
        yield listener.getsockname()


@contextlib.contextmanager
def libxls(peer: str, devices: int) -> Iterator[socket.socket]:
    """Open descriptors as libxl does: a pipe, devices, the connection to xenstored, and another pipe."""
    with contextlib.ExitStack() as opened:
        fds = [*os.pipe(), *(os.open("/dev/null", os.O_RDWR) for _ in range(devices))]
        connection = opened.enter_context(socket.socket(socket.AF_UNIX))
        connection.connect(peer)
        for fd in [*fds, *os.pipe()]:
            opened.callback(os.close, fd)
        yield connection


def opened(lifeline: Lifeline, peer: str, stack: contextlib.ExitStack, devices: int = 5) -> socket.socket:
    """Have the lifeline find a connection as libxl opens it."""
    with lifeline.found(peer):
        connection = stack.enter_context(libxls(peer, devices))
    stack.callback(lifeline.close)
    return connection


def is_for(lifeline: Lifeline, connection: socket.socket) -> bool:
    found = lifeline._socket
    return found is not None and os.path.sameopenfile(found.fileno(), connection.fileno())


@pytest.mark.parametrize("devices", [4, 5, 6])
def test_it_is_found_whatever_descriptors_are_open(peer: str, devices: int) -> None:
    missed = []
    with contextlib.ExitStack() as others:
        for more in range(72):
            with contextlib.ExitStack() as stack:
                lifeline = Lifeline()
                if not is_for(lifeline, opened(lifeline, peer, stack, devices)):
                    missed.append(more)
            others.callback(os.close, os.open("/dev/null", os.O_RDONLY))
    assert missed == []


def test_other_connections_are_not_taken_for_it(peer: str) -> None:
    with contextlib.ExitStack() as stack:
        earlier = stack.enter_context(socket.socket(socket.AF_UNIX))
        earlier.connect(peer)
        lifeline = Lifeline()
        with lifeline.found(peer):
            fd = os.dup(earlier.fileno())  # of another thread, as all that follow
            stack.callback(os.close, fd)
            stack.callback(Connection([peer], ()).close)
            earlier.close()
            connection = stack.enter_context(libxls(peer, 5))
            stack.callback(Connection([peer], ()).close)
        assert is_for(lifeline, connection)
        lifeline.close()


def test_many_threads_that_open_at_once(peer: str) -> None:
    begin = threading.Barrier(8)

    def open_several(_: int) -> int:
        begin.wait(60)
        found = 0
        for _ in range(5):
            with contextlib.ExitStack() as stack:
                stack.callback(Connection([peer], ()).close)
                lifeline = Lifeline()
                found += is_for(lifeline, opened(lifeline, peer, stack))
        return found

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(open_several, range(8))) == [5] * 8


def test_a_thread_opens_one_while_it_opens_another(peer: str) -> None:
    """As a signal handler does that opens a host of its own: nothing waits for itself."""
    inner, outer = Lifeline(), Lifeline()
    with contextlib.ExitStack() as stack:
        with outer.found(peer):
            assert is_for(inner, opened(inner, peer, stack))
        stack.callback(outer.close)


def test_a_timeout_of_the_applications_sockets_is_not_for_libxls(peer: str) -> None:
    socket.setdefaulttimeout(5)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(None)
            connection.connect(peer)
            for found in connections(lambda address: address == peer):
                found.close()
            assert os.get_blocking(connection.fileno())
    finally:
        socket.setdefaulttimeout(None)


def test_a_connection_is_found_once_and_all_descriptors_are_closed(peer: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(peer)
        before, known = os.listdir("/proc/self/fd"), sockets()
        fd = os.dup(connection.fileno())
        found = list(connections(lambda address: address == peer))
        os.close(fd)
        assert len(found) == 1
        assert sockets() == known
        assert list(connections(lambda address: address == peer, known)) == []
        found[0].close()
        assert os.listdir("/proc/self/fd") == before


def test_what_is_being_opened_is_cut_off(peer: str) -> None:
    lifeline = Lifeline()

    def open_it() -> None:
        with lifeline.found(peer), libxls(peer, 5) as connection:
            assert lifeline.busy
            assert list(lifeline.callers()) == [threading.get_ident()]
            lifeline.cut_off()
            assert connection.recv(1) == b""

    with pytest.raises(ConnectFailed, match="has not answered"):
        open_it()
    assert not lifeline.busy
    assert list(lifeline.callers()) == []


def test_those_that_wait_to_open_fail_with_one_that_was_cut_off(peer: str) -> None:
    begun: list[bool] = []

    def open_another() -> None:
        with Lifeline().found(peer):
            begun.append(True)

    with ThreadPoolExecutor(1) as pool:
        others: list[Future[None]] = []

        def open_it() -> None:
            lifeline = Lifeline()
            with lifeline.found(peer):
                others.append(pool.submit(open_another))
                until(_waits_for_its_turn, "it does not come to wait")
                lifeline.cut_off()

        with pytest.raises(ConnectFailed):
            open_it()
        assert isinstance(others[0].exception(60), ConnectFailed)
    assert begun == []


def _waits_for_its_turn() -> bool:
    frames = sys._current_frames()
    return any(frame.f_code.co_name == "_wait" for thread, frame in frames.items() if thread != threading.get_ident())


class Idle:
    """What is looked at, and makes no calls."""

    busy = False

    def callers(self) -> tuple[int, ...]:
        return ()

    def cut_off(self) -> None:
        """Never called."""


def test_others_are_added_and_removed_while_the_thread_looks() -> None:
    watch, over = _Watch(), threading.Event()
    kept = [Idle() for _ in range(200)]
    before = sys.getswitchinterval()

    def change() -> None:
        while not over.is_set():
            for idle in kept:
                watch.add(idle)
            for idle in kept:
                watch.remove(idle)

    changing = threading.Thread(target=change)
    sys.setswitchinterval(1e-6)
    try:
        changing.start()
        for _ in range(2000):
            assert not watch._is_busy()
            watch._look()
    finally:
        sys.setswitchinterval(before)
        over.set()
        join(changing)
    until(lambda: watch._thread is None, "the thread ends with the last that is looked at")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_a_look_that_fails_another_thread_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, idle, other = _Watch(), Idle(), Idle()
    with monkeypatch.context() as patch:
        patch.setattr(watch, "_is_busy", lambda: 1 // 0)
        watch.add(idle)
        first = watch._thread
        watch.begun()
        assert first is not None
        join(first)
    watch.add(other)
    assert watch._thread not in {None, first}
    watch.remove(idle)
    watch.remove(other)
    until(lambda: watch._thread is None, "the thread ends with the last that is looked at")


def test_the_child_of_a_fork_lets_go_of_it(peer: str) -> None:
    with contextlib.ExitStack() as stack:
        lifeline = Lifeline()
        connection = opened(lifeline, peer, stack)
        fd = connection.fileno()
        calls = [lifeline.forked, lambda: os.readlink(f"/proc/self/fd/{fd}"), lambda: lifeline._socket]
        assert told_by_a_child(calls) == ["None", "'/dev/null'", "None"]
        assert is_for(lifeline, connection)


def test_a_connection_that_libxl_has_closed_is_let_go(peer: str) -> None:
    with contextlib.ExitStack() as stack:
        lifeline = Lifeline()
        connection = opened(lifeline, peer, stack)
        assert not lifeline.let_go()
        assert is_for(lifeline, connection)
        os.close(connection.detach())
        assert lifeline.let_go()
        assert lifeline._socket is not None
        assert lifeline._socket.recv(1) == b""
        lifeline.close()
        assert not lifeline.let_go()
