"""Domains that migrate, from this host to itself as xl can too, with pyxen or xl at either end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shlex
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyxen.aio
from pyxen import Domain, DomainState, Host, ShutdownReason
from pyxen.errors import (
    InvalidState,
    MigrationFailed,
    MigrationInDoubt,
    OperationCancelled,
    OperationTimeout,
    UnsupportedFeature,
)
from tests.xen.moving import PYXEN_RECEIVES, Receiving, check_alone, nothing_open
from tests.xen.support import MakeConfig, MakeDomain, joined, xl, xl_domids

BANNER = b"xl migration receiver ready, send binary domain data.\n"
RECEIVED = b"domain received, ready to unpause\0"
GO = b"domain is yours, you are cleared to unpause\0"
REPORT = b"my copy unpause results are as follows\0"
A_PART = 8_000_000  # bytes of a guest's 112 MiB
CHUNK = 1 << 20


@pytest.fixture
def stays(moving_linux: MakeDomain) -> Iterator[Domain]:
    """A Linux guest that a test leaves where it is, and nothing open beside it."""
    guest = moving_linux()
    with nothing_open():
        yield guest
    guest.destroy()


class Wire(threading.Thread):
    """A connection that carries only a part of a guest, and then stalls until either end closes.

    Args:
        then: Called when it stalls, with its two ends.
    """

    def __init__(self, then: Callable[[socket.socket, socket.socket], object] = lambda *_: None) -> None:
        super().__init__()
        self.source, self._to_source = socket.socketpair()
        self._to_destination, self.destination = socket.socketpair()
        self._then = then
        self.start()

    def run(self) -> None:
        with self._to_source as source, self._to_destination as destination, contextlib.suppress(OSError):
            left = A_PART
            while left:
                for end in select.select([source, destination], [], [], 60)[0]:
                    other = destination if end is source else source
                    data = end.recv(min(left, CHUNK))
                    if not data:
                        return  # one end has given up already
                    other.sendall(data)
                    left -= len(data) if end is source else 0
            self._then(source, destination)
            poller = select.poll()
            poller.register(source, select.POLLRDHUP)
            poller.register(destination, select.POLLRDHUP)
            poller.poll(60_000)


def test_over_a_connection_and_there_and_back_with_xl(host: Host, moving_linux: MakeDomain) -> None:
    guest = moving_linux()
    name = guest.info().name
    assert name is not None
    here, there = socket.socketpair()
    receiving = Receiving(host, there, paused=True)
    with here:
        other = guest.config().replace(on_crash="preserve")
        operation = guest.begin.migrate_over(here.fileno(), here.fileno(), config=other, timeout=200)
        operation.result()
    joined(receiving)
    first = receiving.domain
    assert first is not None
    assert first.info().state is DomainState.PAUSED
    assert first.config().on_crash == "preserve"
    first.unpause()
    check_alone(host, first, name)
    assert operation.progress is not None
    what, percent = operation.progress
    assert (what[:6], percent) == ("Frames", 100)

    xl("migrate", "-s", "", name, shlex.join(PYXEN_RECEIVES))
    second = host.domains[name]
    assert second != first
    check_alone(host, second, name)
    assert [other for other in xl_domids() if other.startswith(name)] == [name]
    second.shutdown(timeout=60)


def test_commands_that_are_no_destination(host: Host, moving_linux: MakeDomain) -> None:
    stays = moving_linux()
    name = stays.info().name
    with pytest.raises(MigrationFailed, match=r"is gone; the domain goes on here; false ended with status 1"):
        stays.migrate(["false"])
    with pytest.raises(MigrationFailed, match="instead of the banner"):
        stays.migrate(["echo", "Welcome"])
    check_alone(host, stays, name)
    stays.destroy()


def answering(*answers: bytes) -> tuple[socket.socket, threading.Thread]:
    """Return a connection to a destination that says these things, and goes when it has leave to start the domain."""
    here, there = socket.socketpair()
    there.sendall(b"".join(answers))  # before they are due: the source hears each in its time

    def listen() -> None:
        last = b""
        with there, contextlib.suppress(OSError):  # of a source that is gone
            while not last.endswith(GO) and (data := there.recv(CHUNK)):
                last = (last + data)[-len(GO) :]

    thread = threading.Thread(target=listen)
    thread.start()
    return here, thread


@pytest.mark.long
def test_a_destination_that_cannot_start_it_and_one_that_does_not_say(
    host: Host, stays: Domain, caplog: pytest.LogCaptureFixture
) -> None:
    name = stays.info().name
    assert name is not None
    here, thread = answering(BANNER, RECEIVED, REPORT + b"\3" + GO)
    with here, pytest.raises(MigrationFailed, match="could not start it"):
        stays.migrate_over(here.fileno(), here.fileno(), timeout=200)
    joined(thread)
    check_alone(host, stays, name)

    here, thread = answering(BANNER, RECEIVED)
    with here, pytest.raises(MigrationInDoubt) as raised:
        stays.migrate_over(here.fileno(), here.fileno(), timeout=200)
    joined(thread)
    assert f"stays suspended here, as {name}--migratedaway" in str(raised.value)
    assert str(raised.value) in caplog.text
    info = stays.info()
    assert (info.name, info.shutdown_reason) == (f"{name}--migratedaway", ShutdownReason.SUSPEND)
    with pytest.raises(InvalidState, match="resume it first"):
        stays.migrate(["false"])
    stays.rename(name)  # as the error says for when nothing of it is at the destination
    stays.resume()
    check_alone(host, stays, name)


def test_an_end_that_is_lost_amid_the_stream(host: Host, stays: Domain) -> None:
    name = stays.info().name

    def hang_up(source: socket.socket, destination: socket.socket) -> None:
        source.shutdown(socket.SHUT_RDWR)
        destination.shutdown(socket.SHUT_RDWR)

    wire = Wire(hang_up)
    receiving = Receiving(host, wire.destination)
    with wire.source as end, pytest.raises(MigrationFailed, match="the destination is gone"):
        stays.migrate_over(end.fileno(), end.fileno(), timeout=200)
    joined(receiving)
    assert isinstance(receiving.error, MigrationFailed)
    assert "the source is gone" in str(receiving.error)
    check_alone(host, stays, name)

    # And in a process of its own, whose last words come back.
    with pytest.raises(MigrationFailed, match=r"the destination is gone.*(?s:.*)the source is gone"):
        stays.migrate(["sh", "-c", f"head -c {A_PART} | {shlex.join(PYXEN_RECEIVES)}"], timeout=200)
    check_alone(host, stays, name)


def test_stopped_amid_the_stream(host: Host, stays: Domain) -> None:
    name = stays.info().name

    def cancelled() -> None:
        stalled = threading.Event()
        wire = Wire(lambda *_: stalled.set())
        receiving = Receiving(host, wire.destination)
        with wire.source as end:
            operation = stays.begin.migrate_over(end.fileno(), end.fileno(), timeout=None)
        assert stalled.wait(200)
        assert operation.progress is not None
        assert operation.cancel()
        with pytest.raises(OperationCancelled):
            operation.result()
        joined(receiving)
        assert isinstance(receiving.error, MigrationFailed)

    def interrupted() -> None:
        wire = Wire(lambda *_: os.kill(os.getpid(), signal.SIGINT))
        receiving = Receiving(host, wire.destination)
        with wire.source as end, pytest.raises(KeyboardInterrupt):
            stays.migrate_over(end.fileno(), end.fileno())
        joined(receiving)

    def late() -> None:
        wire = Wire()
        receiving = Receiving(host, wire.destination)
        with wire.source as end, pytest.raises(OperationTimeout):
            stays.migrate_over(end.fileno(), end.fileno(), timeout=3)
        joined(receiving)

    async def task_cancelled() -> None:
        loop, stalled = asyncio.get_running_loop(), asyncio.Event()
        wire = Wire(lambda *_: loop.call_soon_threadsafe(stalled.set))
        receiving = Receiving(host, wire.destination)
        async with pyxen.aio.connect() as aio:
            domain = await aio.domains[stays.domid]
            with wire.source as end:
                task = asyncio.create_task(domain.migrate_over(end.fileno(), end.fileno()))
                await stalled.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        joined(receiving)

    async def receiving_task_cancelled() -> None:
        loop, stalled = asyncio.get_running_loop(), asyncio.Event()
        wire = Wire(lambda *_: loop.call_soon_threadsafe(stalled.set))
        async with pyxen.aio.connect() as aio:
            with wire.source as end, wire.destination as other:
                operation = stays.begin.migrate_over(end.fileno(), end.fileno(), timeout=None)
                task = asyncio.create_task(aio.receive_migration(other.fileno(), other.fileno()))
                await stalled.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        with pytest.raises(MigrationFailed, match="the destination is gone"):
            operation.result()

    for stop in (cancelled, interrupted, late):
        stop()
        check_alone(host, stays, name)
    asyncio.run(task_cancelled())
    check_alone(host, stays, name)
    asyncio.run(receiving_task_cancelled())
    check_alone(host, stays, name)


def test_a_pv_guest(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    guest = host.create(tiny("pv"))
    with pytest.raises(UnsupportedFeature, match="shadow paging"):
        guest.migrate(["touch", str(tmp_path / "called")])
    assert not (tmp_path / "called").exists()
    assert guest.info().shutdown_reason is None
    guest.destroy()
