"""How many worker processes there are, when nobody says how many."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyxen
from pyxen import DomainConfig
from tests.offhost.host import OffHost, children

Configure = Callable[..., DomainConfig]


def pids() -> list[int]:
    """Return the workers of this process."""
    return [pid for pid in children(os.getpid()) if b"/pyxen-worker-" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def workers() -> int:
    """Return the number of workers of this process."""
    return len(pids())


@pytest.fixture
def cpus() -> Iterator[Callable[[int], None]]:
    """Let this process use so many of its CPUs."""
    before = os.sched_getaffinity(0)
    yield lambda count: os.sched_setaffinity(0, set(sorted(before)[:count]))
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize("count", range(1, 1 + min(2, len(os.sched_getaffinity(0)))))
def test_creates_at_once_have_one_for_each_cpu(
    offhost: OffHost, config: Configure, cpus: Callable[[int], None], count: int
) -> None:
    cpus(count)
    with pyxen.connect() as host:
        assert workers() == 0
        created = [host.begin.create(config(name=f"web{number}")) for number in range(8)]
        domains = [operation.result(timeout=60) for operation in created]
        assert workers() == count
        for destroyed in [domain.begin.destroy() for domain in domains]:
            destroyed.result(timeout=60)
        assert workers() == count
    assert workers() == 0
    assert offhost.left() == []


def test_one_is_enough_for_one_after_the_other(host: pyxen.Host, config: Configure) -> None:
    for _ in range(3):
        host.create(config(), timeout=60).destroy(timeout=60)
        assert workers() == 1


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ], ids=lambda number: number.name
)
def test_signals_that_do_not_end_one(host: pyxen.Host, config: Configure, number: signal.Signals) -> None:
    host.create(config(), paused=True).destroy()
    before = pids()
    assert len(before) == 1
    os.kill(before[0], number)
    host.create(config(), paused=True).destroy()
    assert pids() == before


class Slow(logging.Handler):
    """Takes long for each line, so that those of a worker fill its socket."""

    def emit(self, _record: logging.LogRecord) -> None:
        time.sleep(0.004)


@pytest.fixture
def slow_log() -> Iterator[None]:
    """Log all that libxl says, slowly."""
    log, handler = logging.getLogger("pyxen.libxl"), Slow()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield
    log.setLevel(before)
    log.removeHandler(handler)


@pytest.fixture
def sockets_of_this_process_time_out() -> Iterator[None]:
    """As many an application wants it."""
    socket.setdefaulttimeout(60)
    yield
    socket.setdefaulttimeout(None)


@pytest.mark.usefixtures("slow_log", "sockets_of_this_process_time_out")
def test_one_that_says_much_waits_for_us(offhost: OffHost, config: Configure) -> None:
    with pyxen.connect(workers=1) as host:
        host.create(config(), paused=True).destroy()
        before = pids()
        created = [host.begin.create(config(name=f"web{number}"), paused=True) for number in range(8)]
        for domain in [operation.result(timeout=60) for operation in created]:
            domain.destroy()
        assert pids() == before
    assert offhost.left() == []


def test_one_ends_at_once_though_a_fork_has_our_end_of_its_socket(
    offhost: OffHost, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python is not told of that fork, as of those that libxl makes in this process."""
    monkeypatch.setattr("pyxen.backends.xenlight.libxl.process_workers._TO_END", 120.0)
    libc = ctypes.PyDLL(None)
    with pyxen.connect(workers=1) as host:
        host.create(config(), paused=True).destroy()
        child = libc.fork()
        if child == 0:
            while True:
                libc.pause()
        begin = time.monotonic()
    took = time.monotonic() - begin
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert took < 60  # after 120 it would be killed
    assert offhost.left() == []


def test_another_folder_has_taken_the_place_of_ours(
    host: pyxen.Host, config: Configure, kernels: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = config(kernel="kernel")
    for number in range(2):
        folder = tmp_path / "current"
        folder.mkdir()
        (folder / "kernel").write_bytes(Path(kernels["pvh"]).read_bytes())
        monkeypatch.chdir(folder)
        host.create(here, paused=True).destroy()
        (folder / "kernel").unlink()
        folder.rename(tmp_path / f"old{number}")


def test_our_folder_is_removed(
    host: pyxen.Host, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    host.create(config(), paused=True).destroy()
    assert workers() == 1
