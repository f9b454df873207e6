"""A process that may have no more descriptors is told so: what it cannot look at does not count as missing."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from pyxen import DomainState
from pyxen._autostart_files import is_saved
from pyxen._common.claims import abandoned
from pyxen._common.duplicates import duplicated
from pyxen.backends.libvirt.save import uuid_in
from pyxen.backends.xenlight import sysfs, topology
from pyxen.backends.xenlight.libxl import loader
from pyxen.backends.xenlight.operations import qmp
from pyxen.backends.xenlight.xenstore.connection import Connection
from pyxen.doctor import examine
from pyxen.errors import ConnectFailed, Error, InvalidArgument, NotReady, OperationFailed
from pyxen.supervisor.watchers import Watchers
from tests.unit.infos import domain_info

_UNREAD: Final = r"cannot read the .* devices: .*Too many open files"
_UNSEEN: Final = r"cannot look who watches the domain: .*Too many open files"


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Give this process no more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # the standard ones are there
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _abandoned(folder: Path) -> object:
    with abandoned(str(folder)) as found:
        return found


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (OperationFailed, _abandoned),
        (OperationFailed, lambda folder: is_saved(str(folder / "file"))),
        (OperationFailed, lambda folder: uuid_in(str(folder / "file"), "xen:///system")),
        (OperationFailed, lambda _: duplicated("save", 0)),
        (ConnectFailed, loader.running_version),
        (ConnectFailed, lambda folder: Connection((str(folder / "socket"),), ())),
    ],
)
def test_it_is_an_error(tmp_path: Path, kind: type[Error], call: Callable[[Path], object]) -> None:
    (tmp_path / "file").write_bytes(b"Xen saved domain")
    (tmp_path / "type").write_text("xen\n")
    with no_descriptors(), pytest.raises(kind, match=r"Too many open files.*raise its limits"):
        call(tmp_path)


def test_the_devices_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((sysfs, "PCI_DEVICES"), (sysfs, "USB_DEVICES"), (topology, "PCI_DEVICES")):
        monkeypatch.setattr(module, name, str(tmp_path))
    looks: list[Callable[[], Any]] = [sysfs.pci_devices, sysfs.usb_devices, topology._pci_addresses]
    (tmp_path / "0000:00:1f.0").mkdir()
    assert [len(look()) for look in looks] == [1, 0, 1]
    for look in looks:
        with no_descriptors(), pytest.raises(OperationFailed, match=_UNREAD):
            look()
    listed = os.listdir(tmp_path)
    monkeypatch.setattr(os, "listdir", lambda _: listed)  # it is the files that cannot be opened
    for look in looks[:2]:
        with no_descriptors(), pytest.raises(OperationFailed, match=_UNREAD):
            look()


def test_who_watches_a_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "cmdline").write_bytes(b"xl\0create\0web.cfg\0")
    watchers, web = Watchers(proc=str(tmp_path), uid=os.getuid()), domain_info(1, "web", uuid4(), DomainState.SHUTDOWN)
    assert watchers.of(web) is None
    with no_descriptors(), pytest.raises(NotReady, match=_UNSEEN):
        watchers.of(web)
    monkeypatch.setattr(os, "listdir", lambda _: ["17"])
    with no_descriptors(), pytest.raises(NotReady, match=_UNSEEN):
        watchers.of(web)


def test_an_examination_says_what_it_could_not_see() -> None:
    examine(timeout=60)  # what is imported late needs descriptors, too
    with no_descriptors():
        report = examine(timeout=60)
    said = [finding.found for finding in report.findings]
    assert any("was not made" in message and "Too many open files" in message for message in said)
    assert not any("fault of pyxen" in (finding.remedy or "") for finding in report.findings)


def test_a_qemu_that_cannot_be_asked_has_not_ended() -> None:
    with no_descriptors():
        assert not qmp.has_ended(1)


def test_descriptors_that_are_not_valid_are_the_callers_fault() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InvalidArgument, match=f"descriptor 1048576: .*{os.strerror(errno.EBADF)}"):
        duplicated("save", 0, 1 << 20)
    assert len(os.listdir("/proc/self/fd")) == before
