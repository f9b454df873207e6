"""libvirt's daemon hangs for longer than keepalives may go unanswered, and goes on: what it does then, and to whom.

Here is one call at a time on a connection: libvirt 9.0 of Debian 12 may crash this process if two wait when it breaks.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyxen
from pyxen import ConnectFailed, DomainConfig, Error, Host, OperationTimeout
from pyxen.backends.libvirt import connection, save, unanswered
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
