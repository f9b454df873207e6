"""Which of libvirt's names a console has, from the XML of a running domain, and the bridge to its stream."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyxen import ConsoleType, NotFound
from pyxen.backends.libvirt import console, event_loop
from pyxen.backends.libvirt.binding import api
from pyxen.backends.libvirt.connection import Connected
from pyxen.backends.libvirt.console import console_name
from tests.xen.support import wait_until

HVM = """
<domain type='xen'><name>a</name><os><type>hvm</type></os><devices>
  <serial type='pty'><source path='/dev/pts/1'/><target port='0'/><alias name='serial0'/></serial>
  <serial type='pty'><source path='/dev/pts/2'/><target port='2'/><alias name='serial2'/></serial>
  <serial type='pty'><target port='3'/></serial>
  <console type='pty'><source path='/dev/pts/1'/><target type='serial' port='0'/><alias name='serial0'/></console>
</devices></domain>
"""
PVH = """
<domain type='xen'><name>a</name><os><type>xenpvh</type></os><devices>
  <console type='pty'><source path='/dev/pts/1'/><target type='xen' port='0'/><alias name='console0'/></console>
</devices></domain>
"""


@pytest.mark.parametrize(
    ("xml", "kind", "number", "name"),
    [
        (HVM, None, 0, "serial0"),
        (HVM, ConsoleType.SERIAL, 2, "serial2"),
        (HVM, None, 2, "serial2"),
        (PVH, None, 0, None),
        (PVH, ConsoleType.PV, 0, None),
    ],
)
def test_a_console_that_libvirt_can_open(xml: str, kind: ConsoleType | None, number: int, name: str | None) -> None:
    assert console_name(xml, kind, number) == name


@pytest.mark.parametrize(
    ("xml", "kind", "number"),
    [
        (HVM, ConsoleType.PV, 0),
        (HVM, ConsoleType.SERIAL, 1),
        (HVM, ConsoleType.SERIAL, 3),
        (PVH, ConsoleType.SERIAL, 0),
        (PVH, ConsoleType.PV, 1),
        (PVH, None, 1),
    ],
)
def test_a_console_that_is_not_there(xml: str, kind: ConsoleType | None, number: int) -> None:
    with pytest.raises(NotFound, match="libvirt has no console"):
        console_name(xml, kind, number)


class Bare:
    """As much of a connection as its closing uses."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def unregisterCloseCallback(self) -> None:  # noqa: N802 (it is libvirt's name)
        pass

    def close(self) -> int:
        self.closed.set()
        return 0


class Guest:
    """A stream to a guest, on libvirt's real loop, which a pipe stands for."""

    def __init__(self) -> None:
        self.heard = b""
        self.takes = True  # whether it reads what is written
        self.aborted_on: threading.Thread | None = None
        self.abort_may_end = threading.Event()
        self.connection = Bare()
        self.connected = Connected(self.connection)  # type: ignore[arg-type]
        self._says, self._speaks = os.pipe()
        os.set_blocking(self._says, False)
        self._watch: int | None = None
        self._tick: int | None = None

    def says(self, text: bytes) -> None:
        os.write(self._speaks, text)

    def powers_off(self) -> None:
        os.close(self._speaks)

    def close(self) -> None:
        self.abort_may_end.set()
        os.close(self._says)

    # What libvirt's stream has

    def eventAddCallback(self, events: int, call: Callable[..., None], opaque: Any) -> None:  # noqa: N802 (it is libvirt's name)
        self._call = call
        self._watch = api.virEventAddHandle(self._says, events, lambda *_: call(self, console._READABLE, opaque), None)
        self._tick = api.virEventAddTimeout(-1, lambda *_: call(self, console._WRITABLE, opaque), None)

    def eventUpdateCallback(self, events: int) -> None:  # noqa: N802 (it is libvirt's name)
        readable = console._FD_READABLE if events & console._READABLE else 0
        api.virEventUpdateHandle(self._watch, readable)
        api.virEventUpdateTimeout(self._tick, 10 if events & console._WRITABLE else -1)

    def eventRemoveCallback(self) -> None:  # noqa: N802 (it is libvirt's name)
        api.virEventRemoveHandle(self._watch)
        api.virEventRemoveTimeout(self._tick)

    def recv(self, most: int) -> bytes | int:
        try:
            return os.read(self._says, most)
        except BlockingIOError:
            return -2

    def send(self, data: bytes) -> int:
        if not self.takes:
            return -2
        self.heard += data[:1000]
        return len(data[:1000])

    def __del__(self) -> None:
        """Nothing is to be freed."""

    def abort(self) -> None:
        self.aborted_on = threading.current_thread()
        assert self.abort_may_end.wait(20)


@pytest.fixture
def guest() -> Iterator[Guest]:
    event_loop.begin()
    guest = Guest()
    yield guest
    guest.close()


@pytest.fixture
def user(guest: Guest) -> Iterator[socket.socket]:
    """The user's end of a bridge to the guest."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(10)
    console._Bridge(guest, ours, guest.connected)  # type: ignore[arg-type]  # as much of a stream as the bridge uses
    with theirs:
        yield theirs


def the_loop_goes_round() -> None:
    turned = threading.Event()
    timer = api.virEventAddTimeout(0, lambda *_: turned.set(), None)
    assert turned.wait(10)
    api.virEventRemoveTimeout(timer)


def test_the_bridge_copies_both_ways(guest: Guest, user: socket.socket) -> None:
    guest.says(b"login: ")
    assert user.recv(100) == b"login: "
    user.sendall(b"root\n")
    wait_until(lambda: guest.heard == b"root\n")


def test_the_loop_does_not_wait_for_the_end_of_a_stream(guest: Guest, user: socket.socket) -> None:
    user.close()
    wait_until(lambda: guest.aborted_on is not None)
    the_loop_goes_round()
    assert not guest.abort_may_end.is_set()
    assert not guest.connection.closed.is_set()  # it has one call at a time
    guest.abort_may_end.set()
    assert guest.connection.closed.wait(10)


def test_a_stream_for_whose_end_there_is_no_thread_is_ended_later(
    guest: Guest, user: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_BETWEEN", 1)
    refused: list[threading.Thread] = []
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "pyxen-libvirt-console" and len(refused) < 2:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    guest.abort_may_end.set()
    user.close()
    assert guest.connection.closed.wait(10)
    assert len(refused) == 2


def test_what_the_user_wrote_last_reaches_the_guest(guest: Guest, user: socket.socket) -> None:
    guest.takes = False
    user.setblocking(False)
    written = 0
    guest.says(b"unread")
    while True:  # more than the bridge keeps, and the socket is full as well
        try:
            written += user.send(b"x" * 1000)
        except BlockingIOError:
            the_loop_goes_round()
            try:
                written += user.send(b"x" * 1000)
            except BlockingIOError:
                break
    assert written > console._MOST_KEPT
    user.close()
    the_loop_goes_round()
    assert guest.aborted_on is None
    guest.takes = True
    wait_until(lambda: guest.aborted_on is not None)
    assert len(guest.heard) == written


def test_what_the_user_wrote_before_he_closed_it_waits_for_the_guest(guest: Guest, user: socket.socket) -> None:
    guest.takes = False
    user.sendall(b"exit\n")
    user.close()
    the_loop_goes_round()
    the_loop_goes_round()
    assert guest.aborted_on is None
    guest.takes = True
    wait_until(lambda: guest.aborted_on is not None)
    assert guest.heard == b"exit\n"


def test_what_the_guest_wrote_last_reaches_the_user(guest: Guest, user: socket.socket) -> None:
    user.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    written = 0
    os.set_blocking(guest._speaks, False)
    while written < console._MOST_KEPT - 5000:
        guest.says(b"y" * 1000)
        written += 1000
        the_loop_goes_round()
    guest.powers_off()
    wait_until(lambda: guest.aborted_on is not None)
    found = b""
    while piece := user.recv(4096):
        found += piece
    assert len(found) == written


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_guest_that_takes_nothing_keeps_no_console_open(
    guest: Guest, user: socket.socket, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(console, "_TO_TAKE", 50)
    guest.takes = False
    user.sendall(b"x" * size)
    user.close()
    wait_until(lambda: guest.aborted_on is not None)


def test_a_guest_that_speaks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop may call back before the bridge is complete."""
    event_loop.begin()
    guest = Guest()
    guest.says(b"welcome")
    real = Guest.eventAddCallback

    def add(stream: Guest, events: int, call: Callable[..., None], opaque: Any) -> None:
        real(stream, events, call, opaque)
        call(stream, console._READABLE, opaque)

    monkeypatch.setattr(Guest, "eventAddCallback", add)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(10)
    with theirs:
        console._Bridge(guest, ours, guest.connected)  # type: ignore[arg-type]  # as much of a stream as the bridge uses
        assert theirs.recv(100) == b"welcome"
    wait_until(lambda: guest.aborted_on is not None)
    guest.close()
