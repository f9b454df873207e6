"""Domains that are replicated, from this host to itself, with pyxen or xl at either end."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from pathlib import Path

import pytest

from pyxen import Disk, Domain, DomainState, Host, Operation, RemusOptions, ShutdownReason
from pyxen._common import savefile
from pyxen.backends.xenlight.migration.remus_stream import CheckpointedStream
from pyxen.errors import (
    BackupLost,
    FileMissing,
    InvalidArgument,
    MigrationFailed,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    ParseError,
    UnsupportedFeature,
)
from tests.xen.moving import PYXEN_RECEIVES_BACKUP, Receiving, check_alone, check_runs
from tests.xen.support import GUESTS, MakeConfig, MakeDomain, joined, wait_until, xl_domids

XL_RECEIVES_BACKUP = ["xl", "migrate-receive", "-r"]
UNSAFE = RemusOptions(interval=0.5, netbuf=False, allow_unsafe=True)  # Debian's libxl has no network buffering


@pytest.fixture
def guest(moving_linux: MakeDomain) -> Domain:
    """A Linux guest without disks and vifs."""
    return moving_linux()


def wait_for_checkpoints(guest: Domain, operation: Operation[None], count: int) -> None:
    """Wait until so many checkpoints of a guest have been sent."""

    def there() -> bool:
        assert not operation.done() or operation.exception() is None
        assert guest.info().shutdown_reason in {None, ShutdownReason.SUSPEND}
        return operation.progress is not None and int(operation.progress[0].split()[1]) >= count

    wait_until(there, seconds=150)


def copies(host: Host, domain: Domain) -> list[Domain]:
    """Return the other domains of its uuid."""
    return [other for other in host.domains if other.uuid == domain.uuid and other.domid != domain.domid]


def test_to_nobody(host: Host, guest: Domain) -> None:
    name = guest.info().name
    operation = guest.begin.remus(None, UNSAFE)
    wait_for_checkpoints(guest, operation, 3)
    assert operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result()
    check_alone(host, guest, name)
    with pytest.raises(OperationTimeout):
        guest.remus(None, UNSAFE, timeout=2)
    check_alone(host, guest, name)
    guest.destroy()


@pytest.mark.parametrize(
    "receiver",
    [
        pytest.param(PYXEN_RECEIVES_BACKUP, id="pyxen"),
        pytest.param(XL_RECEIVES_BACKUP, id="xl", marks=pytest.mark.long),
    ],
)
def test_who_ends_the_replication_calls_the_backup_off(host: Host, guest: Domain, receiver: list[str]) -> None:
    name = guest.info().name
    operation = guest.begin.remus(receiver, UNSAFE)
    wait_for_checkpoints(guest, operation, 3)
    [copy] = copies(host, guest)
    info = copy.info()
    assert (info.name, info.state) == (f"{name}--incoming", DomainState.PAUSED)
    operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result()
    check_alone(host, guest, name)
    guest.destroy()


def test_before_the_first_checkpoint(host: Host, guest: Domain) -> None:
    name = guest.info().name
    with pytest.raises(MigrationFailed, match="false ended with status 1"):
        guest.remus(["false"], UNSAFE)
    here, there = socket.socketpair()
    receiving = Receiving(host, there, remus=True)
    with here:
        operation = guest.begin.remus_over(here.fileno(), here.fileno(), UNSAFE)
        wait_until(lambda: bool(copies(host, guest)))
        operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result()
    joined(receiving)
    assert isinstance(receiving.error, MigrationFailed)
    check_alone(host, guest, name)
    guest.destroy()


def test_a_connection_that_is_lost(host: Host, guest: Domain) -> None:
    name = guest.info().name
    here, there = socket.socketpair()
    receiving = Receiving(host, there, remus=True)
    with here:
        operation = guest.begin.remus_over(here.fileno(), here.fileno(), UNSAFE)
        wait_for_checkpoints(guest, operation, 2)
        here.shutdown(socket.SHUT_RDWR)
    with pytest.raises(BackupLost, match="may run there too"):
        operation.result()
    joined(receiving)
    backup = receiving.domain
    assert backup is not None
    assert backup.info().name == f"{name}--incoming"  # for the source has the name
    check_runs(backup)
    backup.destroy()
    check_alone(host, guest, name)
    guest.destroy()


@pytest.mark.long
def test_a_source_that_is_destroyed(host: Host, guest: Domain) -> None:
    name = guest.info().name
    assert name is not None
    operation = guest.begin.remus(PYXEN_RECEIVES_BACKUP, UNSAFE)
    wait_for_checkpoints(guest, operation, 2)
    guest.destroy()
    operation.result()
    wait_until(lambda: xl_domids().keys() - {"Domain-0"} == {name})
    backup = host.domains[name]
    check_alone(host, backup, name)
    backup.destroy()


@pytest.mark.long
def test_a_source_that_is_xl_and_is_lost(host: Host, guest: Domain, folder: Path) -> None:
    name = guest.info().name
    assert name is not None
    wire = folder / "wire"
    receiver = f"tee {wire} | {shlex.join(PYXEN_RECEIVES_BACKUP)}"
    command = ["xl", "remus", "-F", "-n", "-i", "500", "-s", "", name, receiver]
    source = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    sent = Sent(wire)
    try:
        wait_until(lambda: source.poll() is None and sent.checkpoints() >= 2, seconds=150)
    finally:
        source.kill()
        source.wait()
    wait_until(lambda: all(copy.info().state is not DomainState.PAUSED for copy in copies(host, guest)))
    [backup] = copies(host, guest)
    check_runs(backup)
    guest.destroy()
    backup.destroy()


class Sent:
    """What has been sent of a replication, read from a file that grows."""

    def __init__(self, wire: Path) -> None:
        self._wire = wire
        self._at = 0  # where the checkpoints go on, behind the head
        self._stream = CheckpointedStream()

    def checkpoints(self) -> int:
        """Return how many checkpoints are in the file so far."""
        if not self._wire.exists():
            return 0
        with self._wire.open("rb", buffering=0) as file:
            if self._at == 0:
                try:
                    savefile.read(file.fileno())
                except ParseError:  # its head is not all there yet
                    return 0
            else:
                file.seek(self._at)
            while data := file.read(1 << 20):
                self._stream.feed(data)
            self._at = file.tell()
        return self._stream.checkpoints


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
