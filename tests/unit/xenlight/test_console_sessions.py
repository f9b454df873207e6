"""A guest's console: a terminal that has become another program's is left as it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pyxen.backends.xenlight.operations.console import open_console
from pyxen.errors import NotFound
from pyxen.records.info import DomainState
from tests.unit.infos import domain_info

INFO = domain_info(7, "web1", UUID(int=7), DomainState.RUNNING)

LOGIN = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
os.write(1, b"in\\n")
os.read(0, 1)
"""


class Reading:
    """What reads xenstore: each look finds the next of some paths, and then the last one."""

    def __init__(self, *paths: str) -> None:
        self._paths = list(paths)

    def read(self, _: str) -> str | None:
        return None

    def read_dom0s(self, _: list[str]) -> list[str | None]:
        return [self._paths.pop(0) if len(self._paths) > 1 else self._paths[0]]


def opened(*paths: str) -> int:
    reading: Any = Reading(*paths)
    return open_console(reading, INFO)


def is_raw(fd: int) -> bool:
    return not termios.tcgetattr(fd)[3] & termios.ECHO


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A terminal, as it is at first, and its path."""
    ours, theirs = pty.openpty()
    yield theirs, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


@contextlib.contextmanager
def logged_in(terminal: int) -> Iterator[int]:
    """Let a session have a terminal, as a login; yields its pid."""
    with subprocess.Popen(
        [sys.executable, "-c", LOGIN, str(terminal)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[terminal],
    ) as login:  # fmt: skip
        try:
            assert login.stdout is not None
            assert login.stdout.readline() == b"in\n"
            yield login.pid
        finally:
            login.send_signal(signal.SIGKILL)


def test_somebody_has_logged_in_on_it(terminal: tuple[int, str]) -> None:
    theirs, path = terminal
    before = len(os.listdir("/proc/self/fd"))
    with logged_in(theirs) as pid:
        with pytest.raises(NotFound, match=rf"{path} is no console, .* process {pid}'s session"):
            opened(path)
        assert not is_raw(theirs)
    assert len(os.listdir("/proc/self/fd")) == before


def test_it_moves_while_it_is_opened(terminal: tuple[int, str]) -> None:
    theirs, path = terminal
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotFound, match=f"has moved from {path} while it was opened"):
        opened(path, "/dev/pts/999999999")
    assert not is_raw(theirs)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_terminal_of_a_container_has_the_same_number(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes have another /dev/pts, whose terminals are numbered anew: they are not ours."""
    theirs, path = terminal
    with logged_in(theirs) as pid:
        stat, root = os.stat, f"/proc/{pid}/root/dev/pts"
        monkeypatch.setattr(os, "stat", lambda asked, **how: stat("/proc" if asked == root else asked, **how))
        fd = opened(path)
    assert is_raw(theirs)
    os.close(fd)


def test_a_process_that_ends_meanwhile(terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, path = terminal
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: ["999999999", *listdir(folder)])
    fd = opened(path)
    assert is_raw(theirs)
    os.close(fd)


def test_a_process_that_cannot_be_looked_at(terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be anybody's terminal then."""
    theirs, path = terminal

    def refuse(_: Path) -> bytes:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(NotFound, match="does not open: Too many open files"):
        opened(path)
    assert not is_raw(theirs)


def test_who_opens_a_terminal_does_not_have_it(terminal: tuple[int, str]) -> None:
    """The console of a guest stays one for a second reader, whatever session that is in."""
    theirs, path = terminal
    first, second = opened(path), opened(path)
    assert fcntl.fcntl(second, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert is_raw(theirs)
    os.close(first)
    os.close(second)
