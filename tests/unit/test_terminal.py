"""A terminal attached to a console."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import pyxen
from pyxen import Domain, DomainConfig, attach_terminal
from pyxen.errors import HostClosed, InvalidArgument, OperationTimeout
from pyxen.testing import FakeHost
from tests.waiting import until

PATIENCE = 60.0
CONFIG = DomainConfig("web1", type="pvh", kernel="/k", memory=16)


class User:
    """A user at a terminal, on whose screen a console is shown by a thread."""

    def __init__(self, domain: Domain, timeout: float | None = None) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.result: object = None
        self._stream = domain.console_stream(timeout=timeout)
        self._thread = threading.Thread(target=self._attach)
        self._thread.start()

    def _attach(self) -> None:
        try:
            self.result = attach_terminal(self._stream, stdin=self.slave, stdout=self.slave)
        except pyxen.Error as error:
            self.result = error

    def types(self, keys: bytes) -> None:
        """Press keys, when the terminal is in raw mode."""
        until(lambda: not termios.tcgetattr(self.slave)[3] & termios.ECHO, "the terminal is not in raw mode")
        os.write(self.master, keys)

    def sees(self, text: bytes) -> None:
        """Wait until the screen shows a text."""
        seen = b""
        while text not in seen:
            seen += os.read(self.master, 4096)

    def ends(self) -> object:
        """Wait for the end, and return what it was."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return self.result


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    """A host in memory."""
    with FakeHost() as fake:
        yield fake


def test_both_ways_until_the_user_leaves(fake: FakeHost) -> None:
    domain = fake.create(CONFIG)
    user = User(domain)
    fake.guest(domain).say(b"login: ")
    user.sees(b"login: ")
    user.types(b"\x03root\r")
    user.sees(b"root\r\n")
    user.types(b"abc\x1dxyz")
    assert user.ends() is False
    assert fake.guest(domain).typed.startswith(b"\x03root\r")
    assert b"xyz" not in fake.guest(domain).typed


def test_the_domain_ends(fake: FakeHost) -> None:
    domain = fake.create(CONFIG)
    user = User(domain)
    fake.guest(domain).say(b"bye")
    user.sees(b"bye")
    domain.destroy()
    assert user.ends() is True


def test_the_deadline(fake: FakeHost) -> None:
    assert isinstance(User(fake.create(CONFIG), timeout=0.1).ends(), OperationTimeout)


def test_a_guest_that_does_not_read_does_not_hold_the_user(fake: FakeHost) -> None:
    domain = fake.create(CONFIG)
    ours, theirs = os.pipe()
    screen, shown = os.pipe()  # nobody looks at it
    left: list[bool] = []

    def attach() -> None:
        left.append(attach_terminal(domain.console_stream(), stdin=ours, stdout=shown))

    thread = threading.Thread(target=attach)
    thread.start()
    os.set_blocking(theirs, False)
    for _ in range(100):
        try:
            os.write(theirs, b"x" * 4096)
        except BlockingIOError:
            threading.Event().wait(0.001)
    os.set_blocking(theirs, True)
    os.write(theirs, b"\x1d")
    thread.join(PATIENCE)
    assert left == [False]
    for fd in (ours, theirs, screen, shown):
        os.close(fd)


def test_what_is_not_a_key(fake: FakeHost) -> None:
    with fake.create(CONFIG).console_stream() as stream:
        for escape in (b"", b"ab", "a"):
            with pytest.raises(InvalidArgument):
                attach_terminal(stream, escape=escape)  # type: ignore[arg-type]  # on purpose


def test_the_keyboard_ends(fake: FakeHost) -> None:
    ours, theirs = os.pipe()
    os.close(theirs)
    with open(os.devnull, "wb") as nothing:
        assert attach_terminal(fake.create(CONFIG).console_stream(), stdin=ours, stdout=nothing.fileno()) is False
    os.close(ours)


@pytest.mark.parametrize("name", ["stdin", "stdout"])
@pytest.mark.parametrize("file", [None, io.StringIO("typed")], ids=["closed", "in memory"])
def test_a_process_without_a_terminal(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch, name: str, file: io.StringIO | None
) -> None:
    stream = fake.create(CONFIG).console_stream()
    monkeypatch.setattr(sys, name, file)
    other: dict[str, Any] = {{"stdin": "stdout", "stdout": "stdin"}[name]: 0}
    with pytest.raises(InvalidArgument, match=f"sys.{name} of this process has no descriptor: give one as {name}="):
        attach_terminal(stream, **other)
    with pytest.raises(HostClosed):
        stream.read()


def test_what_is_no_console(fake: FakeHost) -> None:
    with pytest.raises(InvalidArgument, match=r"domain.console_stream\(\) returns one"):
        attach_terminal(fake.create(CONFIG))  # type: ignore[arg-type]
