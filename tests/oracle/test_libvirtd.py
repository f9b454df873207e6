"""libvirt's daemon hangs for longer than keepalives may go unanswered, and goes on: what it does then, and to whom."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

import pyxen
from pyxen import ConnectFailed, DomainConfig, Error, Host, OperationTimeout
from pyxen.backends.libvirt import connection, console, save, unanswered
from pyxen.backends.libvirt.backend import LibvirtBackend
from tests.oracle import libvirtd
from tests.oracle.libvirtd import Daemon
from tests.xen.support import wait_until

THERE = {"test"}
"""The domain that the test driver has from the beginning."""

PATIENT = (5, 3)
"""Keepalives with which who waits for a daemon that hangs waits for 20 s: as pyxen has them."""

AT_ONCE = 10
"""Seconds: far less than that, and enough for a machine with much else to do."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the daemon's user can reach."""
    with tempfile.TemporaryDirectory(prefix="pyxen-libvirtd-") as made:
        yield Path(made)


@pytest.fixture
def daemon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setattr(connection, "_KEEPALIVE", (1, 1))  # a dead link is noticed after 2 s
    monkeypatch.setattr(unanswered, "_ENOUGH", 3.0)
    with libvirtd.running(folder) as daemon:
        yield daemon


@pytest.fixture
def host(daemon: Daemon) -> Iterator[Host]:
    with pyxen.connect(daemon.uri) as host:
        host.create(hvm("before")).destroy()  # opens the connection for work
        yield host


def hvm(name: str) -> DomainConfig:
    return DomainConfig(name, type="hvm", memory=64)


def names(host: Host) -> set[str | None]:
    return {info.name for info in host.list()}


def is_broken(host: Host) -> bool:
    try:
        host.list()
    except ConnectFailed:
        return True
    return False


def is_settled(host: Host) -> bool:
    """Tell whether the link is back, and nothing is looked for any more."""
    assert isinstance(host._backend, LibvirtBackend)
    workers = host._backend._workers
    return not is_broken(host) and workers is not None and not workers.unanswered._lost


@pytest.mark.parametrize("timeout", [0.5, None])
def test_a_create_that_it_carries_out_afterwards_is_undone(daemon: Daemon, host: Host, timeout: float | None) -> None:
    with daemon.hanging():
        if timeout is None:
            with pytest.raises(ConnectFailed, match="may still create it; pyxen undoes it once libvirt answers again"):
                host.create(hvm("late"))
        else:
            with pytest.raises(OperationTimeout, match="destroys it as soon as it exists"):
                host.create(hvm("late"), timeout=timeout)
        wait_until(lambda: is_broken(host), 30)
    wait_until(lambda: is_settled(host), 60)
    assert names(host) == THERE
    host.create(hvm("late")).destroy()


def test_a_deadline_passes_while_it_hangs(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_KEEPALIVE", PATIENT)
    with pyxen.connect(daemon.uri) as host:
        host.create(hvm("before")).destroy()
        with daemon.hanging():
            begun = time.monotonic()
            with pytest.raises(OperationTimeout, match="destroys it as soon as it exists"):
                host.create(hvm("late"), timeout=0.5)
            assert time.monotonic() - begun < AT_ONCE
        wait_until(lambda: is_settled(host), 60)
        assert names(host) == THERE


@pytest.mark.parametrize("verb", ["core_dump", "abort_job"])
def test_who_keeps_an_error_does_not_wait_for_it(daemon: Daemon, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_KEEPALIVE", PATIENT)
    gc.collect()
    before = sockets()
    with pyxen.connect(daemon.uri) as host:
        domain = host.domains["test"]
        with pytest.raises(Error) as caught:
            domain.core_dump("/nonexistent/file") if verb == "core_dump" else host.libvirt.abort_job("test")
    wait_until(lambda: sockets() == before)
    with daemon.hanging():
        begun = time.monotonic()
        del caught
        gc.collect()
        assert time.monotonic() - begun < AT_ONCE


def sockets() -> int:
    links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if os.path.lexists(path)]
    return sum(link.startswith("socket:") for link in links)


def test_which_domain_a_restore_brought(
    daemon: Daemon, host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is as on another host, and another client creates a domain meanwhile."""
    monkeypatch.setattr(save, "uuid_in", lambda *_: None)
    host.create(hvm("web1")).save(folder / "saved")
    data = (folder / "saved").read_bytes()
    for number in range(4):
        pipe = folder / f"pipe{number}"
        os.mkfifo(pipe)
        pipe.chmod(0o666)
        operation = host.begin.restore(pipe)
        with pipe.open("wb") as end, pyxen.connect(daemon.uri) as other:  # opens when the daemon has opened its own
            other.create(hvm(f"other{number}"))
            end.write(data)
        domain = operation.result(30)
        assert domain.info().name == "web1"
        domain.destroy()


class Screen:
    """A domain whose screenshot stands for its console, which the test driver does not have."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain

    def openConsole(self, _: object, stream: Any, __: int) -> None:  # noqa: N802 (it is libvirt's name)
        self._domain.screenshot(stream, 0, 0)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_console_closes_its_connection(daemon: Daemon, caplog: pytest.LogCaptureFixture, hangs: bool) -> None:
    gc.collect()
    before = sockets()
    connected = connection.connect(daemon.uri)
    end = console.open_console(connected, lambda found: cast(Any, Screen(found.lookupByName("test"))), None, 0)
    del connected
    with open(end, "rb") as stream, daemon.hanging() if hangs else nullcontext():
        if hangs:
            stream.close()
        else:
            assert stream.read(8) == b"\x89PNG\r\n\x1a\n"
            stream.close()
        wait_until(lambda: sockets() == before, 20)
    assert "references are left" not in caplog.text


BUSY = """
import sys, threading, time
import pyxen
from pyxen.backends.libvirt import connection

connection._KEEPALIVE, connection._LONGEST = (1, 1), 5.0
host = pyxen.connect(sys.argv[1])
waits = [host.domains["test"].begin.wait("paused", timeout=20) for _ in range(3)]

def until_done(call):
    try:
        call()
    except pyxen.Error:
        pass

def create(number):
    host.create(pyxen.DomainConfig(f"late{number}", type="hvm", memory=64), timeout=20)

def subscribe(number):
    host.events().close()

def ask(number):
    host.list()
    host.domains["test"].stats()

calls = [ask] * 6 + [create] * 6 + [subscribe] * 2
if sys.argv[2] == "known":  # all connections are open before
    opened = [threading.Thread(target=until_done, args=[lambda: ask(0)]) for _ in range(20)]
    creates = [host.begin.create(pyxen.DomainConfig(f"a{n}", type="hvm", memory=64)) for n in range(16)]
    for thread in opened:
        thread.start()
    for create_ in creates:
        create_.result(20).destroy()
    for thread in opened:
        thread.join(20)
print("ready", flush=True)
sys.stdin.readline()
threads = [
    threading.Thread(target=until_done, args=[lambda call=call, n=n: call(n)], daemon=True)
    for n, call in enumerate(calls)
]
for thread in threads:
    thread.start()
end = time.monotonic() + 60
for thread in threads:
    thread.join(max(0, end - time.monotonic()))
for wait in waits:
    until_done(lambda: wait.result(max(0, end - time.monotonic())))
print("hang:", sum(thread.is_alive() for thread in threads) + sum(not wait.done() for wait in waits), flush=True)
sys.stdin.readline()
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        print("test" in [info.name for info in host.list()], flush=True)
        break
    except pyxen.ConnectFailed:
        time.sleep(0.05)
host.close()
"""
"""Makes many calls at once on one host. It may crash, so it is a process of its own."""


@pytest.mark.parametrize("connections", ["new", "known"])
def test_many_calls_at_once_when_the_connections_break(daemon: Daemon, connections: str) -> None:
    program = [sys.executable, "-W", "ignore", "-c", BUSY, daemon.uri, connections]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            with daemon.hanging():
                process.stdin.write("it hangs\n")
                process.stdin.flush()
                assert process.stdout.readline() == "hang: 0\n"
            left, _ = process.communicate("it goes on\n", 90)
            assert (left, process.returncode) == ("True\n", 0)
        finally:
            process.kill()
