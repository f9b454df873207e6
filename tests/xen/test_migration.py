"""Domains that migrate, from this host to itself as xl can too, with pyxen or xl at either end."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pyxen import Domain, DomainState, Host, ShutdownReason
from pyxen.errors import Error, MigrationFailed, MigrationInDoubt, OperationTimeout, UnsupportedFeature
from tests.xen.support import MakeConfig, wait_for_linux, wait_until, xl, xl_domids

XL_RECEIVES = ["xl", "migrate-receive", "-e"]
PYXEN_RECEIVES = [sys.executable, "-c", "from pyxen.cli import main; main()", "migrate-receive"]
BANNER = b"xl migration receiver ready, send binary domain data.\n"
RECEIVED = b"domain received, ready to unpause\0"
GO = b"domain is yours, you are cleared to unpause\0"
REPORT = b"my copy unpause results are as follows\0"


@pytest.fixture
def guest(host: Host, linux: MakeConfig) -> Domain:
    """A Linux guest, up and running."""
    domain = host.create(linux())
    wait_for_linux(domain)
    return domain


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection."""
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def runs(domain: Domain) -> bool:
    """Tell whether a guest's vCPU does anything: its idle loop wakes up many times a second."""
    before = domain.info().cpu_time_ns
    time.sleep(0.5)
    return domain.info().cpu_time_ns > before


def unharmed(host: Host, guest: Domain, name: str | None) -> bool:
    """Tell whether a domain runs under its own name, and nothing else has come of it."""
    wait_until(lambda: [info.domid for info in host.list() if info.uuid == guest.uuid] == [guest.domid])
    return runs(guest) and guest.info().name == name


class Receiving(threading.Thread):
    """A host that receives a domain at one end of a connection."""

    def __init__(self, host: Host, end: socket.socket, **options: bool) -> None:
        super().__init__()
        self.domain: Domain | None = None
        self.error: Error | None = None
        self._host = host
        self._end = end
        self._options = options
        self.start()

    def run(self) -> None:
        fd = self._end.fileno()
        try:
            self.domain = self._host.receive_migration(fd, fd, **self._options)
        except Error as error:
            self.error = error
            print(f"The receiver: {error}")
        finally:
            self._end.close()


def test_over_a_connection(host: Host, guest: Domain, ends: tuple[socket.socket, socket.socket]) -> None:
    name, uuid = guest.info().name, guest.uuid
    here, there = ends
    receiving = Receiving(host, there, paused=True)
    guest.migrate_over(here.fileno(), here.fileno(), timeout=200)
    receiving.join()
    moved = receiving.domain
    assert moved is not None
    assert (moved.info().name, moved.uuid, moved.info().state) == (name, uuid, DomainState.PAUSED)
    wait_until(lambda: [info.domid for info in host.list() if info.uuid == uuid] == [moved.domid])
    moved.unpause()
    assert runs(moved)
    moved.shutdown(timeout=60)


def test_there_and_back_with_xl(host: Host, guest: Domain) -> None:
    name, uuid = guest.info().name, guest.uuid
    assert name is not None
    guest.migrate(XL_RECEIVES, timeout=200)
    moved = host.domains[name]
    assert moved.uuid == uuid
    assert moved != guest
    assert runs(moved)
    xl("migrate", "-s", "", name, shlex.join(PYXEN_RECEIVES))
    again = host.domains[name]
    assert again not in {guest, moved}
    assert runs(again)
    assert [other for other in xl_domids() if other.startswith(name)] == [name]
    again.shutdown(timeout=60)


def test_a_destination_that_is_lost(host: Host, guest: Domain, ends: tuple[socket.socket, socket.socket]) -> None:
    name = guest.info().name
    with pytest.raises(MigrationFailed, match=r"is gone; the domain goes on here; false ended with status 1"):
        guest.migrate(["false"])
    with pytest.raises(MigrationFailed, match="instead of the banner"):
        guest.migrate(["echo", "Welcome"])
    here, there = ends
    receiver = subprocess.Popen(
        ["head", "-c", "20000000"], stdin=there.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    there.sendall(BANNER)
    there.close()
    with pytest.raises(MigrationFailed, match="the destination is gone"):
        guest.migrate_over(here.fileno(), here.fileno())
    receiver.wait()
    assert unharmed(host, guest, name)
    guest.destroy()


def answering(*answers: bytes) -> tuple[socket.socket, threading.Thread]:
    """Return a connection to a destination that says these things, and closes when it has leave to start the domain."""
    here, there = socket.socketpair()
    there.sendall(b"".join(answers))  # before they are due: the source hears each in its time

    def listen() -> None:
        last = b""
        while not last.endswith(GO) and (data := there.recv(1 << 20)):
            last = (last + data)[-len(GO) :]
        there.close()

    thread = threading.Thread(target=listen)
    thread.start()
    return here, thread


def test_a_destination_that_cannot_start_it_and_one_that_does_not_say(host: Host, guest: Domain) -> None:
    name = guest.info().name
    assert name is not None
    here, thread = answering(BANNER, RECEIVED, REPORT + b"\3" + GO)
    with here, pytest.raises(MigrationFailed, match="could not start it"):
        guest.migrate_over(here.fileno(), here.fileno(), timeout=200)
    thread.join()
    assert unharmed(host, guest, name)
    here, thread = answering(BANNER, RECEIVED)
    with here, pytest.raises(MigrationInDoubt, match=f"{name}--migratedaway"):
        guest.migrate_over(here.fileno(), here.fileno(), timeout=200)
    thread.join()
    info = guest.info()
    assert (info.name, info.shutdown_reason) == (f"{name}--migratedaway", ShutdownReason.SUSPEND)
    guest.rename(name)  # as the error says for when nothing of it is at the destination
    guest.resume()
    assert unharmed(host, guest, name)
    guest.destroy()


def test_deadlines(host: Host, guest: Domain, ends: tuple[socket.socket, socket.socket]) -> None:
    name = guest.info().name
    here, there = ends
    there.sendall(BANNER)
    with pytest.raises(OperationTimeout):
        guest.migrate_over(here.fileno(), here.fileno(), timeout=3)  # nobody reads
    assert unharmed(host, guest, name)
    with pytest.raises(OperationTimeout):
        guest.migrate(PYXEN_RECEIVES, timeout=4)
    assert unharmed(host, guest, name)
    guest.destroy()


def test_a_source_that_is_lost(host: Host, guest: Domain) -> None:
    name = guest.info().name
    for receiver in (XL_RECEIVES, PYXEN_RECEIVES):
        command = f"head -c 20000000 | {shlex.join(receiver)}"
        with pytest.raises(MigrationFailed):
            guest.migrate(["sh", "-c", command], timeout=200)
        assert unharmed(host, guest, name)
    guest.destroy()


def test_a_pv_guest(host: Host, linux: MakeConfig) -> None:
    guest = host.create(linux("pv"))
    wait_for_linux(guest)
    name = guest.info().name
    with pytest.raises(UnsupportedFeature, match="shadow paging"):
        guest.migrate(PYXEN_RECEIVES, timeout=200)
    assert unharmed(host, guest, name)
    guest.destroy()
