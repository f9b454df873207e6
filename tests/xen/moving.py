"""What tests of domains that move between hosts need: receivers, and a look at what has come of it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator

from pyxen import Domain, Host
from pyxen.errors import Error
from tests.xen.support import wait_until

__all__ = ["PYXEN_RECEIVES", "PYXEN_RECEIVES_BACKUP", "Receiving", "check_alone", "check_runs", "nothing_open"]

# Without typer, which is too old in Debian 12's dom0.
_RECEIVE = """
from click.exceptions import Exit
from pyxen.cli.migrate_receive import migrate_receive
try:
    migrate_receive(remus={})
except Exit as error:
    raise SystemExit(error.exit_code)
"""
PYXEN_RECEIVES = [sys.executable, "-c", _RECEIVE.format(False)]
PYXEN_RECEIVES_BACKUP = [sys.executable, "-c", _RECEIVE.format(True)]


class Receiving(threading.Thread):
    """A host that receives a domain at one end of a connection, which it closes."""

    def __init__(self, host: Host, end: socket.socket, *, remus: bool = False, paused: bool = False) -> None:
        super().__init__()
        self.domain: Domain | None = None
        self.error: Error | None = None
        self._host = host
        self._end = end
        self._remus, self._paused = remus, paused
        self.start()

    def run(self) -> None:
        fd = self._end.fileno()
        try:
            self.domain = self._host.receive_migration(fd, fd, remus=self._remus, paused=self._paused)
        except Error as error:
            self.error = error
        finally:
            self._end.close()


def check_runs(guest: Domain) -> None:
    """Check that a guest's vCPU does something: it wakes up now and then, even if it is idle."""
    before = guest.info().cpu_time_ns
    wait_until(lambda: guest.info().shutdown_reason is not None or guest.info().cpu_time_ns > before)
    assert guest.info().shutdown_reason is None


def check_alone(host: Host, guest: Domain, name: str | None) -> None:
    """Check that a domain runs under its name, and is the only one of its uuid."""
    wait_until(lambda: [info.domid for info in host.list() if info.uuid == guest.uuid] == [guest.domid])
    check_runs(guest)
    assert guest.info().name == name


def descriptors() -> dict[str, str]:
    """Return what this process has open."""
    with os.scandir("/proc/self/fd") as entries:
        links = [(entry.name, os.readlink(entry)) for entry in entries]
    return {number: target for number, target in links if not target.endswith("/fd")}


@contextlib.contextmanager
def nothing_open() -> Iterator[None]:
    """Check that no descriptor and no thread is left."""
    threads, before = threading.enumerate(), descriptors()
    yield
    wait_until(lambda: threading.enumerate() == threads)  # one may still wait for the end of a command
    assert descriptors() == before
