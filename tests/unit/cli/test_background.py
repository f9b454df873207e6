"""A command that goes on in the background: whatever its caller does with children, and whatever is in its way."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pyxen.cli import background
from tests.waiting import until

PROGRAM = """
import os, signal, sys
from pyxen.cli.background import in_background
{before}

def work(ready):
    print("works", os.getpid(), file=sys.stderr, flush=True)
    ready()
    print("goes on", file=sys.stderr, flush=True)
    signal.pause()

sys.exit(in_background(work, log={log!r}, pidfile={pidfile!r}))
"""


class Begun(NamedTuple):
    status: int
    said: str
    pid: int


def begin(log: Path, pidfile: Path | None, before: str = "") -> Begun:
    """Begin such a command; what it leaves in the background is ended by the caller."""
    program = PROGRAM.format(before=before, log=str(log), pidfile=None if pidfile is None else str(pidfile))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    words = done.stderr.split()
    return Begun(done.returncode, done.stderr, int(words[words.index("works") + 1]) if "works" in words else 0)


def end(pid: int) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{pid}"), "the process does not end")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_caller_that_ignores_its_children(tmp_path: Path, log: Path) -> None:
    begun = begin(log, tmp_path / "pid", "signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    try:
        assert (begun.status, begun.said) == (0, f"works {begun.pid}\n")
        assert (tmp_path / "pid").read_text() == f"{begun.pid}\n"
        until(lambda: log.read_text() == "goes on\n", "nothing is logged")
    finally:
        end(begun.pid)


@pytest.mark.parametrize("which", ["pid", "log"])
@pytest.mark.parametrize("kind", ["link", "pipe", "other name", "foreign"])
def test_what_somebody_has_put_there_is_not_written(tmp_path: Path, log: Path, which: str, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    there = tmp_path / which
    if kind == "link":
        there.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(there)
    elif kind == "other name":
        there.hardlink_to(victim)
    elif os.geteuid() == 0:
        there.write_text("precious")
        os.chown(there, 65534, 65534)
    else:
        pytest.skip("only root can make a file of another user")
    begun = begin(log, tmp_path / "pid")
    try:
        assert begun.status == 2
        assert begun.said.startswith(f"error: {there}: it ")
    finally:
        end(begun.pid)
    assert victim.read_text() == "precious"
    assert os.path.lexists(there)


def test_messages_may_go_nowhere(tmp_path: Path) -> None:
    begun = begin(Path(os.devnull), tmp_path / "pid")
    end(begun.pid)
    assert begun.status == 0


def test_the_file_is_removed_by_the_process_that_had_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who ends removes the file between the moments when the next one opens it and locks it."""
    path = tmp_path / "pid"
    path.touch()
    real = fcntl.lockf

    def late(fd: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "lockf", real)
        path.unlink()
        real(fd, how)

    monkeypatch.setattr(fcntl, "lockf", late)
    held = background._held(str(path))
    assert held is not None
    os.close(held)
    assert path.read_text() == f"{os.getpid()}\n"
