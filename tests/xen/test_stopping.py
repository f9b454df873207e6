"""Operations that are stopped on the way, in each of the three ways: nothing half-made is left, and the guest is well.

A migration's are in test_migration.py.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyxen import Domain, Host, Operation, Vif
from pyxen.errors import MigrationFailed, OperationCancelled, OperationTimeout
from tests.xen.moving import Receiving
from tests.xen.support import MakeConfig, MakeDomain, joined, runs, xenstore_entries

Begin = Callable[[float | None], Operation[Any]]
"""Begins an operation, given its deadline."""


def by_its_deadline(begin: Begin, after: float) -> None:
    with pytest.raises(OperationTimeout):
        begin(after).wait()


def by_a_cancel(begin: Begin, after: float) -> None:
    operation = begin(None)
    time.sleep(after)
    assert operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result(60)


def by_ctrl_c(begin: Begin, after: float) -> None:
    operation = begin(None)
    timer = threading.Timer(after, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        operation.wait()
    joined(timer)
    assert operation.done()


@pytest.fixture(params=[by_its_deadline, by_a_cancel, by_ctrl_c], ids=lambda way: way.__name__)
def stop(request: pytest.FixtureRequest) -> Callable[[Begin, float], None]:
    """Begin an operation, stop it some seconds later, and check how it ends."""
    way: Callable[[Begin, float], None] = request.param
    return way


@pytest.mark.parametrize(("guest", "after"), [("pv", 0.02), ("pvh", 0.02), ("hvm", 0.4)])
def test_a_create(host: Host, tiny: MakeConfig, stop: Callable[[Begin, float], None], guest: str, after: float) -> None:
    stop(lambda timeout: host.begin.create(tiny(guest), timeout=timeout), after)
    assert [domain.domid for domain in host.domains] == [0]


def test_a_save_and_a_restore(
    host: Host, moving_linux: MakeDomain, booted: Path, stop: Callable[[Begin, float], None], folder: Path
) -> None:
    guest = moving_linux()
    (folder / "file").write_text("an older one")
    stop(lambda timeout: guest.begin.save(folder / "file", timeout=timeout), 0.3)
    assert [path.read_text() for path in folder.iterdir()] == ["an older one"]
    assert runs(guest)
    guest.destroy()
    stop(lambda timeout: host.begin.restore(booted, timeout=timeout), 0.3)
    assert [domain.domid for domain in host.domains] == [0]


EARLY = [milliseconds / 1000 for milliseconds in (0, 1, 2, 5, 10, 15, 20, 30, 40, 60, 80, 120)]
"""When libxl begins a stream, somewhere in between, to abort it would make it crash."""


def test_early_in_a_stream(host: Host, moving_linux: MakeDomain, booted: Path, folder: Path) -> None:
    guest = moving_linux()
    for after in EARLY:
        by_a_cancel(lambda _: guest.begin.save(folder / "file"), after)
        migrating = Migrating(host, guest)
        by_a_cancel(migrating.begin, after)
        migrating.end()
    assert list(folder.iterdir()) == []
    check_goes_on(guest)
    guest.destroy()
    for after in EARLY:
        by_a_cancel(lambda _: host.begin.restore(booted), after)
    assert [domain.domid for domain in host.domains] == [0]


def test_a_guest_that_was_to_suspend(moving_linux: MakeDomain) -> None:
    guest = moving_linux()
    for after in EARLY[::2]:
        operation = guest.begin.suspend()
        time.sleep(after)
        operation.cancel()
        try:
            operation.result(60)
        except OperationCancelled:
            check_goes_on(guest)
        else:
            guest.resume()
    check_goes_on(guest)
    guest.destroy()


def check_goes_on(guest: Domain) -> None:
    """Check that a guest runs, and does not suspend of what it was asked for earlier."""
    time.sleep(0.5)
    assert guest.info().shutdown_reason is None
    assert runs(guest)


class Migrating:
    """A migration of a guest to its own host."""

    def __init__(self, host: Host, guest: Domain) -> None:
        self._guest = guest
        self._here, there = socket.socketpair()
        self._receiving = Receiving(host, there)

    def begin(self, _: float | None) -> Operation[None]:
        return self._guest.begin.migrate_over(self._here.fileno(), self._here.fileno())

    def end(self) -> None:
        self._here.close()
        joined(self._receiving)
        assert isinstance(self._receiving.error, MigrationFailed)


def test_a_shutdown(host: Host, tiny: MakeConfig, stop: Callable[[Begin, float], None]) -> None:
    domain = host.create(tiny(cmdline="ignore"))
    stop(lambda timeout: domain.begin.shutdown(timeout=timeout), 0.5)
    assert domain.info().state == "blocked" or runs(domain)
    domain.destroy()


def test_a_suspend(host: Host, tiny: MakeConfig, stop: Callable[[Begin, float], None]) -> None:
    domain = host.create(tiny(cmdline="ignore"))
    stop(lambda timeout: domain.begin.suspend(timeout=timeout), 0.5)
    assert domain.info().shutdown_reason is None
    domain.destroy()


def test_a_device(host: Host, tiny: MakeConfig, stop: Callable[[Begin, float], None], slow_script: str) -> None:
    domain = host.create(tiny("pv"))
    before = xenstore_entries()
    stop(lambda timeout: domain.begin.attach(Vif(bridge="xenbr0", script=slow_script), timeout=timeout), 0.7)
    assert xenstore_entries() == before
    assert domain.config().vifs == ()
    domain.destroy()
