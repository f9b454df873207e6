"""A guest's console: only a terminal is opened, whatever xenstore says."""

from __future__ import annotations

import os
import pty
import termios
from typing import Any
from uuid import UUID

import pytest

from pyxen.backends.xenlight.operations.console import open_console
from pyxen.errors import NotFound
from pyxen.records.info import DomainState
from tests.unit.infos import domain_info

INFO = domain_info(7, "web1", UUID(int=7), DomainState.RUNNING)


class Reading:
    """What reads xenstore."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def read(self, _: str) -> str | None:
        return None

    def read_dom0s(self, paths: list[str]) -> list[str | None]:
        return [self._value for _ in paths]


def opened(value: str | None) -> int:
    reading: Any = Reading(value)
    return open_console(reading, INFO)


def test_a_terminal() -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"printed before\n")
    fd = opened(os.ttyname(theirs))
    assert not termios.tcgetattr(fd)[3] & termios.ECHO
    assert os.read(fd, 100) == b"printed before\n"
    for each in (fd, ours, theirs):
        os.close(each)


@pytest.mark.parametrize(
    "path",
    ["/dev/null", "/etc/passwd", "/dev/pts/../null", "/dev/pts/ptmx", "/dev/pts/\u0661", "/dev/pts/1\n", "pty", "a\0b",
     "/dev/pts/" + "9" * 4000, "\x1b[2J"],
)  # fmt: skip
def test_what_is_no_terminal(path: str) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NotFound, match="not a terminal under /dev/pts") as caught:
        opened(path)
    assert "\x1b" not in str(caught.value)
    assert os.listdir("/proc/self/fd") == before


def test_a_terminal_that_is_gone() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotFound, match="does not open"):
        opened("/dev/pts/999999999")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_terminal_that_cannot_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()

    def refuse(*_: int) -> None:
        raise termios.error(5, "Input/output error")

    monkeypatch.setattr("tty.setraw", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotFound, match="does not open: Input/output error"):
        opened(os.ttyname(theirs))
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(ours)
    os.close(theirs)


def test_no_console_yet() -> None:
    with pytest.raises(NotFound, match="has no console"):
        opened(None)
