"""Worker processes where there is no Xen: they end at once, and what is said of them is told once."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxen._common import child as child_module
from pyxen._common.child import Child
from pyxen.backends.xenlight.libxl import binding, process_workers
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.process_workers import HUNG, LOST, NO_DOMID, Frame, Worker, Workers
from tests.backends.support import wait_until
from tests.waiting import SECONDS

Lines = list[tuple[int, int, str]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the end of a worker here, and not on a thread: on a busy machine one needs seconds to begin at all."""
    monkeypatch.setattr(process_workers, "_MOMENT", SECONDS)
    monkeypatch.setattr(process_workers, "_PAUSE", 600.0)


@pytest.fixture
def loop() -> Iterator[CData]:
    loop = lib.pyxen_loop_new(-1, ffi.NULL)
    yield loop
    lib.pyxen_loop_free(loop)


@pytest.fixture
def lines() -> Lines:
    return []


@pytest.fixture
def pool(loop: CData, lines: Lines) -> Iterator[Workers]:
    pool = Workers(1, loop, lambda token, level, line: lines.append((token, level, line)))
    yield pool
    pool.close()


_IN_PLACE = "import select; hung_up = select.poll(); hung_up.register(0, 0); hung_up.poll(600_000)"
"""A program that reads nothing, and ends when either end of its socket is shut down."""


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """The workers' ends of the sockets; a program that says nothing runs in place of each worker."""
    ends: list[socket.socket] = []

    def spawn(end: socket.socket, _stream: int | None) -> int:
        ends.append(end.dup())
        command = [sys.executable, "-I", "-S", "-c", _IN_PLACE]
        at_0 = [(os.POSIX_SPAWN_DUP2, end.fileno(), 0)]
        return os.posix_spawn(command[0], command, os.environ, file_actions=at_0)

    monkeypatch.setattr(process_workers, "_spawn", spawn)
    yield ends
    for end in ends:
        end.close()


def frame(kind: int, token: int = 0, domid: int = 0, number: int = 0, text: bytes = b"") -> bytes:
    """Return a frame as it is sent."""
    return struct.pack("=IIQIi", kind, len(text), token, domid, number) + text


HELLO = frame(lib.PYXEN_HELLO, number=lib.PYXEN_PROTOCOL)


def the_one(pool: Workers) -> Worker:
    """Return the worker that has been begun."""
    assert pool.free() is None  # none is ready yet
    (worker,) = pool._workers.values()
    return worker


def until_gone(pool: Workers, worker: Worker) -> list[Frame]:
    """Take what a worker tells, until it is gone."""
    seen: list[Frame] = []
    while worker.fileno() >= 0:
        assert select.select([worker], [], [], 60)[0]
        seen += pool.take(worker.fileno())
    return seen


def test_one_that_cannot_open_libxl_is_given_up(pool: Workers, lines: Lines) -> None:
    worker = the_one(pool)
    assert until_gone(pool, worker) == []
    assert [(token, level, line) for token, level, line in lines if str(worker.pid) in line] == [
        (0, lib.XTL_WARN, f"the worker process {worker.pid} has ended")
    ]
    with pytest.raises(ChildProcessError):
        os.waitpid(worker.pid, 0)
    assert pool.free() is None
    assert pool._workers == {}  # no other is begun


def test_a_conversation(pool: Workers, theirs: list[socket.socket], lines: Lines) -> None:
    worker = the_one(pool)
    theirs[0].sendall(HELLO)
    assert pool.take(worker.fileno()) == []
    assert pool.free() is worker
    worker.set_level(lib.XTL_DEBUG)
    worker.set_level(lib.XTL_DEBUG)
    worker.call(lib.PYXEN_DESTROY, 7, 4242, b"")
    worker.abort(7)
    expected = (
        frame(lib.PYXEN_LOG_LEVEL, number=lib.XTL_DEBUG) + frame(lib.PYXEN_DESTROY, 7, 4242) + frame(lib.PYXEN_ABORT, 7)
    )
    assert theirs[0].recv(1000) == expected
    answer = frame(lib.PYXEN_LOG, 7, 0, lib.XTL_ERROR, "naïve".encode()) + frame(lib.PYXEN_DONE, 7, 4242, -3)
    theirs[0].sendall(answer[:30])  # frames come as the kernel likes
    assert pool.take(worker.fileno()) == []
    theirs[0].sendall(answer[30:])
    assert pool.take(worker.fileno()) == [Frame(lib.PYXEN_DONE, 7, 4242, -3)]
    assert lines == [(7, lib.XTL_ERROR, "naïve")]
    assert worker.running == set()


def test_calls_are_lost_with_their_worker(pool: Workers, theirs: list[socket.socket], lines: Lines) -> None:
    worker = the_one(pool)
    theirs[0].sendall(HELLO)
    pool.take(worker.fileno())
    worker.call(lib.PYXEN_DESTROY, 1, 10, b"")
    worker.call(lib.PYXEN_DESTROY, 2, 11, b"")
    theirs[0].shutdown(socket.SHUT_RDWR)
    lost = until_gone(pool, worker)
    assert lost == [Frame(LOST, token, NO_DOMID, lib.ERROR_FAIL) for token in (1, 2)]
    assert [token for token, _, _ in lines] == [1, 2]
    assert the_one(pool) is not worker  # another takes its place


def test_as_many_as_there_is_work_for(
    loop: CData, lines: Lines, theirs: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})
    pool = Workers(None, loop, lambda token, level, line: lines.append((token, level, line)))
    try:
        first = the_one(pool)
        assert len(theirs) == 1
        theirs[0].sendall(HELLO)
        pool.take(first.fileno())
        assert pool.free() is first
        first.call(lib.PYXEN_DESTROY, 1, 10, b"")
        for number in (1, 2):  # each has work, so that another comes, one at a time
            assert pool.free() is None
            assert pool.free() is None
            assert len(theirs) == number + 1
            theirs[number].sendall(HELLO)
            worker = list(pool._workers.values())[number]
            pool.take(worker.fileno())
            assert pool.free() is worker
            worker.call(lib.PYXEN_DESTROY, number + 1, 10, b"")
        worker.call(lib.PYXEN_DESTROY, 9, 10, b"")
        assert pool.free() is first  # of three CPUs, all have a worker
        assert len(theirs) == 3
    finally:
        pool.close()


def test_work_does_not_wait_for_one_that_cannot_start(
    loop: CData, lines: Lines, theirs: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    pool = Workers(None, loop, lambda token, level, line: lines.append((token, level, line)))
    try:
        first = the_one(pool)
        theirs[0].sendall(HELLO)
        pool.take(first.fileno())
        first.call(lib.PYXEN_DESTROY, 1, 10, b"")
        assert pool.free() is None
        second = list(pool._workers.values())[1]
        theirs[1].shutdown(socket.SHUT_RDWR)
        until_gone(pool, second)
        assert pool.free() is first
        assert len(theirs) == 2
    finally:
        pool.close()


def test_nothing_is_said_to_one_that_may_be_of_another_version(pool: Workers, theirs: list[socket.socket]) -> None:
    worker = pool.apart()
    worker.call(lib.PYXEN_RESTORE, 7, NO_DOMID, b"payload")
    theirs[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs[0].recv(1000)
    theirs[0].sendall(HELLO)
    pool.take(worker.fileno())
    assert theirs[0].recv(1000) == frame(lib.PYXEN_RESTORE, 7, NO_DOMID, text=b"payload")


def test_its_end_waits_though_the_sockets_of_the_application_time_out(
    pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[bool] = []

    def spawn(end: socket.socket, _stream: int | None) -> int:
        waits.append(os.get_blocking(end.fileno()))
        return os.posix_spawn("/bin/true", ["true"], os.environ)

    monkeypatch.setattr(process_workers, "_spawn", spawn)
    socket.setdefaulttimeout(5)
    try:
        the_one(pool)
    finally:
        socket.setdefaulttimeout(None)
    assert waits == [True]


@pytest.mark.parametrize("lives", [True, False])
def test_waiting_for_one(lives: bool, pool: Workers, theirs: list[socket.socket]) -> None:
    worker = the_one(pool)
    assert pool.starting()
    with pool.change(5), pool.change(6):
        theirs[0].sendall(HELLO) if lives else theirs[0].shutdown(socket.SHUT_RDWR)
        assert select.select([worker], [], [], 60)[0]
        changed = pool.take(worker.fileno())
    assert changed == [Frame(lib.PYXEN_HELLO, token, NO_DOMID, 0) for token in (5, 6)]
    assert not pool.starting()
    assert pool.free() is (worker if lives else None)


def test_what_does_not_fit_is_sent_later(pool: Workers, theirs: list[socket.socket]) -> None:
    worker = the_one(pool)
    theirs[0].sendall(HELLO)
    pool.take(worker.fileno())
    large = bytes(1 << 22)
    worker.call(lib.PYXEN_CREATE, 1, NO_DOMID, large)
    expected = frame(lib.PYXEN_CREATE, 1, NO_DOMID, text=large)
    theirs[0].setblocking(False)
    got = bytearray()
    while len(got) < len(expected):
        got += theirs[0].recv(1 << 20)
        pool.take(worker.fileno())
    assert got == expected


def test_the_one_with_the_least_to_do(loop: CData, theirs: list[socket.socket]) -> None:
    pool = Workers(2, loop, lambda *_: None)
    assert pool.free() is None
    for worker, end in zip(pool._workers.values(), theirs, strict=True):
        end.sendall(HELLO)
        pool.take(worker.fileno())
    chosen = []
    for token in range(4):
        free = pool.free()
        assert free is not None
        free.call(lib.PYXEN_DESTROY, token, token, b"")
        chosen.append(free)
    assert len(set(chosen)) == 2
    assert chosen[:2] != chosen[1:3]
    pool.close()


def until_told(loop: CData, pool: Workers, worker: Worker) -> list[Frame]:
    """Take what the loop says is there, until a worker is gone."""
    seen: list[Frame] = []
    events = ffi.new("struct pyxen_event[]", 8)
    end = time.monotonic() + SECONDS
    while worker.fileno() >= 0:
        assert time.monotonic() < end, "nothing says that it is gone"
        for event in events[0 : lib.pyxen_loop_wait(loop, ffi.NULL, 1000, events, 8)]:
            seen += pool.take(event.token)
    return seen


@pytest.mark.parametrize("alone", [False, True])
def test_one_whose_child_has_its_socket(
    alone: bool, loop: CData, pool: Workers, theirs: list[socket.socket], lines: Lines
) -> None:
    """Its end is noticed though the socket stays open, and what it has said before counts."""
    worker = pool.apart() if alone else the_one(pool)
    theirs[0].sendall(HELLO)
    pool.take(worker.fileno())
    for token in (1, 2):
        worker.call(lib.PYXEN_DESTROY, token, 10, b"")
    line = b"x" * 3000
    for _ in range(20):
        theirs[0].sendall(frame(lib.PYXEN_LOG, 1, 0, lib.XTL_ERROR, line))
    theirs[0].sendall(frame(lib.PYXEN_DONE, 1, 10, 0))
    os.kill(worker.pid, signal.SIGKILL)
    assert until_told(loop, pool, worker) == [Frame(lib.PYXEN_DONE, 1, 10, 0), Frame(LOST, 2, NO_DOMID, lib.ERROR_FAIL)]
    assert [token for token, _, _ in lines] == [1] * 20 + [2]
    assert "ended in the middle of it" in lines[-1][2]
    with pytest.raises(ChildProcessError):
        os.waitpid(worker.pid, 0)


def test_one_that_has_ended_gets_nothing_more(loop: CData, pool: Workers, theirs: list[socket.socket]) -> None:
    worker = the_one(pool)
    theirs[0].sendall(HELLO)
    pool.take(worker.fileno())
    assert pool.free() is worker
    os.kill(worker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    assert pool.free() is None  # though nobody has been told yet
    assert pool.starting()
    assert len(theirs) == 2
    assert until_told(loop, pool, worker) == []
    assert len(theirs) == 2


def test_one_that_was_killed_gets_nothing_more(pool: Workers, theirs: list[socket.socket]) -> None:
    worker = the_one(pool)
    theirs[0].sendall(HELLO)
    pool.take(worker.fileno())
    worker.call(lib.PYXEN_DESTROY, 1, 10, b"")
    worker.kill()
    assert pool.free() is None
    assert pool.starting()  # what is to be done waits for another one
    assert len(theirs) == 2
    theirs[1].sendall(HELLO)
    [other] = [each for each in pool._workers.values() if each is not worker]
    pool.take(other.fileno())
    assert pool.free() is other
    assert until_gone(pool, worker) == [Frame(HUNG, 1, NO_DOMID, lib.ERROR_FAIL)]


def test_none_for_another_folder(
    pool: Workers, theirs: list[socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = the_one(pool)
    theirs[0].sendall(HELLO)
    pool.take(worker.fileno())
    monkeypatch.chdir(tmp_path)
    assert pool.free() is None


@pytest.mark.parametrize("program", ["", "/usr/sbin/uwsgi"])
def test_an_embedded_interpreter_has_them_too(program: str, pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program)
    worker = the_one(pool)
    assert worker.pid in {*children()}
    assert until_gone(pool, worker) == []


def children() -> list[int]:
    """Return the pids of our children."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_none_where_it_cannot_be_begun(
    pool: Workers, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "worker", str(tmp_path / "pyxen-worker-99.9"))
    assert pool.free() is None
    assert len(lines) == 1
    assert "No such file" in lines[0][2]
    assert pool.free() is None
    assert len(lines) == 1


def test_one_that_nobody_else_gets(pool: Workers, theirs: list[socket.socket]) -> None:
    worker = pool.apart()
    theirs[0].sendall(HELLO)
    pool.take(worker.fileno())
    assert pool.free() is not worker
    assert not pool._workers.keys() & {worker.fileno()}
    worker.call(lib.PYXEN_DEVD, 7, NO_DOMID, b"")
    worker.abort(7)
    expected = frame(lib.PYXEN_DEVD, 7, NO_DOMID) + frame(lib.PYXEN_ABORT, 7)
    assert theirs[0].recv(1000) == expected
    theirs[0].sendall(frame(lib.PYXEN_DONE, 7, NO_DOMID, lib.ERROR_ABORTED))
    assert pool.take(worker.fileno()) == [Frame(lib.PYXEN_DONE, 7, NO_DOMID, lib.ERROR_ABORTED)]
    pool.dismiss(worker)
    assert worker.fileno() == -1
    with pytest.raises(ChildProcessError):
        os.waitpid(worker.pid, 0)
    pool.dismiss(worker)


def test_one_of_its_own_that_is_lost(pool: Workers, theirs: list[socket.socket], lines: Lines) -> None:
    worker = pool.apart()
    theirs[0].sendall(HELLO)
    worker.call(lib.PYXEN_DEVD, 7, NO_DOMID, b"")
    theirs[0].shutdown(socket.SHUT_RDWR)
    assert until_gone(pool, worker) == [Frame(LOST, 7, NO_DOMID, lib.ERROR_FAIL)]
    assert [token for token, _, _ in lines] == [7]
    pool.dismiss(worker)


@pytest.mark.parametrize(("end", "lives"), [("kill -KILL $$", False), ("exit 0", True)])
def test_what_one_has_begun_ends_if_it_was_killed(
    end: str, lives: bool, pool: Workers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    noted = tmp_path / "pid"

    def spawn(_theirs: socket.socket, _stream: int | None) -> int:
        program = f"sleep 600 & echo $! > {noted}; {end}"
        return os.posix_spawn("/bin/sh", ["sh", "-c", program], os.environ, setsid=True)

    monkeypatch.setattr(process_workers, "_spawn", spawn)
    worker = pool.apart()
    pool.dismiss(worker)
    pid = int(noted.read_text())
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        assert not lives
        return
    try:
        assert bool(select.select([fd], [], [], 0 if lives else 60)[0]) is not lives
    finally:
        if lives:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)


def test_none_of_its_own_where_it_cannot_be_begun(
    pool: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pyxen-worker-99.9"
    program.touch(0o644)  # as on a file system that is mounted noexec
    monkeypatch.setattr(binding, "worker", str(program))
    with pytest.raises(PermissionError, match=r"pyxen-worker-99\.9"):
        pool.apart()


def test_one_of_another_version_is_not_used(pool: Workers, theirs: list[socket.socket], lines: Lines) -> None:
    worker = the_one(pool)
    theirs[0].sendall(frame(lib.PYXEN_HELLO, number=lib.PYXEN_PROTOCOL + 1))
    assert pool.take(worker.fileno()) == []
    assert worker.fileno() == -1
    assert [(token, level) for token, level, _ in lines] == [(0, lib.XTL_WARN)]
    assert f"{binding.worker} is of another pyxen: start this process again" in lines[0][2]
    assert pool.free() is None
    assert pool._workers == {}  # no other is begun


def test_its_program_says_what_it_is_for() -> None:
    done = subprocess.run([binding.worker], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (os.EX_USAGE, "")
    assert "pyxen starts this program" in done.stderr


# The process's surroundings


def test_a_number_that_is_anothers_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_TO_END", 0.1)
    ours = os.posix_spawn("/bin/true", ["true"], os.environ)
    os.waitpid(ours, 0)  # the application has waited for any child
    stranger = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    gone = Child(ours)
    gone.pid = stranger  # as if it had got the number
    gone.end()
    gone.end(with_children=True)
    assert os.waitpid(stranger, os.WNOHANG) == (0, 0)
    os.kill(stranger, signal.SIGKILL)
    os.waitpid(stranger, 0)


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_TO_END", 0.1)
    child = Child(os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ))
    child.end()
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, 0)


def test_those_that_do_not_end_do_not_do_so_one_by_one(loop: CData, monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn(_theirs: socket.socket, _stream: int | None) -> int:
        return os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)

    monkeypatch.setattr(process_workers, "_spawn", spawn)
    monkeypatch.setattr(process_workers, "_TO_END", 0.5)
    pool = Workers(4, loop, lambda *_: None)
    assert pool.free() is None
    apart = pool.apart()
    gone = [apart.pid, *(worker.pid for worker in pool._workers.values())]
    begin = time.monotonic()
    pool.close()
    assert time.monotonic() - begin < 30  # one by one, it would be more than 50
    assert len(gone) == 5
    assert not set(gone) & {*children()}


def test_one_that_does_not_end_holds_up_nobody(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hang in the kernel, where nothing can kill it."""
    monkeypatch.setattr(
        process_workers, "_spawn", lambda *_: os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)
    )
    monkeypatch.setattr(process_workers, "_MOMENT", 0.0)
    worker = pool.apart()
    pool.dismiss(worker)
    assert worker.fileno() == -1
    assert worker.pid in {*children()}  # not waited for
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: worker.pid not in {*children()})


def test_a_worker_has_nothing_of_the_application(tmp_path: Path) -> None:
    worker = tmp_path / "worker"
    worker.write_text(
        f"#!{sys.executable}\n"
        "import os, signal\n"
        "link = lambda fd: os.path.exists(f'/proc/self/fd/{fd}')\n"
        "print([fd for fd in range(3, 100) if link(fd)], signal.getsignal(signal.SIGCHLD).name, flush=True)\n"
    )
    worker.chmod(0o755)
    program = (
        "import signal, socket\n"
        "from pyxen.backends.xenlight.libxl import binding, process_workers\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "listener.set_inheritable(True)\n"
        "ours, theirs = socket.socketpair()\n"
        f"binding.worker = {str(worker)!r}\n"
        "process_workers._spawn(theirs, None)\n"
        "theirs.close()\n"
        "print(len(ours.recv(1)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False
    )
    assert done.stdout == "[3] SIG_DFL\n0\n", done.stderr
