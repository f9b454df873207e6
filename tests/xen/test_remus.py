"""Domains that are replicated, from this host to itself, with pyxen or xl at the other end."""

from __future__ import annotations

import os
import shlex
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyxen import Disk, Domain, DomainState, Host, Operation, RemusOptions
from pyxen.errors import (
    BackupLost,
    Error,
    FileMissing,
    InvalidArgument,
    MigrationFailed,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    UnsupportedFeature,
)
from tests.xen.support import GUESTS, MakeConfig, runs, wait_until, xl_domids

RECEIVE = """
from click.exceptions import Exit
from pyxen.cli.migrate_receive import migrate_receive
try:
    migrate_receive(remus=True)
except Exit as error:
    raise SystemExit(error.exit_code)
"""  # without typer, which is too old in Debian 12's dom0
PYXEN_RECEIVES = [sys.executable, "-c", RECEIVE]
XL_RECEIVES = ["xl", "migrate-receive", "-r"]
UNSAFE = RemusOptions(interval=0.5, netbuf=False, allow_unsafe=True)  # Debian's libxl has no network buffering


@pytest.fixture(scope="module")
def guest(host: Host, running_linux: Callable[..., Domain]) -> Iterator[Domain]:
    """A Linux guest without disks and vifs, which all tests but the last leave where it is."""
    domain = running_linux()
    yield domain
    if any(info.uuid == domain.uuid and info.domid == domain.domid for info in host.list()):
        domain.destroy()


class Backup(threading.Thread):
    """A host that receives checkpoints at one end of a connection, which it closes."""

    def __init__(self, host: Host, end: socket.socket, **options: Any) -> None:
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
            self.domain = self._host.receive_migration(fd, fd, remus=True, **self._options)
        except Error as error:
            self.error = error
        finally:
            self._end.close()


def wait_for_checkpoints(operation: Operation[None], count: int) -> None:
    """Wait until so many checkpoints have been sent."""

    def there() -> bool:
        assert not operation.done() or operation.exception() is None
        return operation.progress is not None and int(operation.progress[0].split()[1]) >= count

    wait_until(there, seconds=150)


def check_alone(host: Host, domain: Domain, name: str | None) -> None:
    """Check that a domain runs under its name, and is the only one of its uuid."""
    wait_until(lambda: [info.domid for info in host.list() if info.uuid == domain.uuid] == [domain.domid])
    assert domain.info().name == name
    wait_until(lambda: runs(domain))
    assert domain.info().shutdown_reason is None


def copies(host: Host, domain: Domain) -> list[Domain]:
    """Return the other domains of its uuid."""
    return [other for other in host.domains if other.uuid == domain.uuid and other.domid != domain.domid]


def test_to_nobody(host: Host, guest: Domain) -> None:
    name = guest.info().name
    operation = guest.begin.remus(None, UNSAFE)
    wait_for_checkpoints(operation, 4)
    assert operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result()
    check_alone(host, guest, name)
    with pytest.raises(OperationTimeout):
        guest.remus(None, UNSAFE, timeout=5)
    check_alone(host, guest, name)


@pytest.mark.parametrize("receiver", [PYXEN_RECEIVES, XL_RECEIVES], ids=["pyxen", "xl"])
def test_an_end_of_the_replication_calls_the_backup_off(host: Host, guest: Domain, receiver: list[str]) -> None:
    name = guest.info().name
    operation = guest.begin.remus(receiver, UNSAFE)
    wait_for_checkpoints(operation, 3)
    [copy] = copies(host, guest)
    info = copy.info()
    assert (info.name, info.state) == (f"{name}--incoming", DomainState.PAUSED)
    operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result()
    check_alone(host, guest, name)


def test_before_the_first_checkpoint(host: Host, guest: Domain) -> None:
    name = guest.info().name
    with pytest.raises(MigrationFailed, match="false ended with status 1"):
        guest.remus(["false"], UNSAFE)
    here, there = socket.socketpair()
    backup = Backup(host, there)
    with here:
        operation = guest.begin.remus_over(here.fileno(), here.fileno(), UNSAFE)
        wait_until(lambda: bool(copies(host, guest)))
        operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result()
    backup.join()
    assert isinstance(backup.error, MigrationFailed)
    check_alone(host, guest, name)


def test_a_connection_that_is_lost_and_a_source_that_is_lost(host: Host, guest: Domain) -> None:
    name = guest.info().name
    assert name is not None
    here, there = socket.socketpair()
    backup = Backup(host, there)
    with here:
        operation = guest.begin.remus_over(here.fileno(), here.fileno(), UNSAFE)
        wait_for_checkpoints(operation, 2)
        here.shutdown(socket.SHUT_RDWR)
    with pytest.raises(BackupLost, match="may run there too"):
        operation.result()
    backup.join()
    assert backup.domain is not None
    assert backup.domain.info().name == f"{name}--incoming"  # for the source has the name
    wait_until(lambda: backup.domain is not None and runs(backup.domain))
    backup.domain.destroy()
    check_alone(host, guest, name)

    # A source that is destroyed: its backup takes its place.
    second = guest.begin.remus(["sh", "-c", f"{shlex.join(PYXEN_RECEIVES)} || echo failed >&2"], UNSAFE)
    wait_for_checkpoints(second, 2)
    guest.destroy()
    assert second.result() is None
    wait_until(lambda: xl_domids().keys() - {"Domain-0"} == {name})
    copy = host.domains[name]
    check_alone(host, copy, name)
    copy.destroy()


def test_what_cannot_be(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    guest = host.create(tiny("pvh"))
    with pytest.raises(FileMissing, match="no such file"):
        guest.remus(["false"], RemusOptions(netbufscript=tmp_path / "nowhere"))
    with pytest.raises(InvalidArgument):
        guest.remus_over(-1, -1)
    with pytest.raises(InvalidArgument, match="cannot run"):
        guest.remus([str(tmp_path / "nowhere")])
    with pytest.raises(UnsupportedFeature, match="without network buffering; netbuf=False with"):
        guest.remus(None, RemusOptions(allow_unsafe=True))
    guest.attach(Disk(os.fspath(GUESTS / "tiny-hvm.img"), vdev="xvdb"))
    with pytest.raises(OperationFailed, match="diskbuf=False with allow_unsafe=True"):
        guest.remus(None, UNSAFE)
    assert guest.info().shutdown_reason is None
    guest.destroy()
    guest = host.create(tiny("pv"))
    with pytest.raises(UnsupportedFeature, match="shadow paging"):
        guest.remus(["touch", os.fspath(tmp_path / "called")])
    assert not (tmp_path / "called").exists()
    guest.destroy()
