"""Domains that stop and go on: suspend, save, restore, and the same with xl at the other end."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest

from pyxen import Domain, DomainState, Host, Operation, ShutdownReason
from pyxen.errors import (
    DomainExists,
    FileMissing,
    InvalidArgument,
    InvalidState,
    OperationFailed,
    OperationTimeout,
    ParseError,
)
from tests.xen.support import MakeConfig, runs, wait_for_linux, wait_until, xl, xl_domids

T = TypeVar("T")


@pytest.fixture
def guest(host: Host, booted: Path) -> Domain:
    """A Linux guest, up and running."""
    return host.restore(booted, timeout=120)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on a disk: guests are too large for a dom0's memory."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        yield Path(path)


def rises(operation: Operation[T]) -> T:
    """Watch the progress of an operation: it rises, and not only at the end; return its result."""
    seen = []
    while not operation.done():
        if operation.progress is not None:
            seen.append(operation.progress[1])
        time.sleep(0.01)
    assert seen == sorted(seen)
    assert any(0 < percent < 90 for percent in seen)
    return operation.result()


def test_suspend_and_resume(guest: Domain) -> None:
    guest.suspend(timeout=60)
    info = guest.info()
    assert (info.state, info.shutdown_reason) == (DomainState.SHUTDOWN, ShutdownReason.SUSPEND)
    with pytest.raises(InvalidState):
        guest.suspend()
    guest.resume()
    assert runs(guest)
    with pytest.raises(InvalidState, match="not suspended"):
        guest.resume()
    guest.destroy()


def test_save_and_restore(host: Host, guest: Domain, folder: Path) -> None:
    file, name, uuid = folder / "guest.save", guest.info().name, guest.uuid
    rises(guest.begin.save(file, timeout=120))
    assert host.domains.get(uuid) is None
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == [file]
    again = rises(host.begin.restore(file, timeout=120))
    assert (again.info().name, again.uuid) == (name, uuid)
    assert runs(again)
    with pytest.raises(DomainExists):
        host.restore(file)
    again.destroy()


def test_a_checkpoint_goes_on_and_one_left_paused_waits(guest: Domain, folder: Path) -> None:
    guest.save(folder / "one", checkpoint=True, timeout=120)
    assert runs(guest)
    guest.save(folder / "two", leave_paused=True, timeout=120)
    assert guest.info().state is DomainState.PAUSED
    guest.unpause()
    assert runs(guest)
    guest.destroy()


def test_xl_restores_what_we_saved_and_we_what_xl_saved(host: Host, guest: Domain, folder: Path) -> None:
    name, uuid = guest.info().name, guest.uuid
    assert name is not None
    guest.save(folder / "ours", timeout=120)
    xl("restore", str(folder / "ours"))
    restored = host.domains[name]
    assert restored.uuid == uuid
    assert runs(restored)
    xl("save", name, str(folder / "theirs"))
    wait_until(lambda: name not in xl_domids())
    again = host.restore(folder / "theirs", paused=True, timeout=120)
    assert again.info().state is DomainState.PAUSED
    again.unpause()
    assert runs(again)
    again.destroy()


def test_another_configuration_for_the_restore(host: Host, guest: Domain, folder: Path) -> None:
    config = guest.config().replace(name="elsewhere", uuid=UUID(int=7))
    guest.save(folder / "file", timeout=120)
    again = host.restore(folder / "file", config, timeout=120)
    assert (again.info().name, again.uuid) == ("elsewhere", UUID(int=7))
    assert runs(again)
    again.destroy()


def test_a_save_that_cannot_be_written(guest: Domain, folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="No such file or directory"):
        guest.save(folder / "nowhere" / "file")
    (folder / "folder").mkdir()
    with pytest.raises(InvalidArgument, match="not a regular file"):
        guest.save(folder / "folder", timeout=120)
    assert [path.name for path in folder.iterdir()] == ["folder"]
    assert runs(guest)
    guest.destroy()


def test_a_full_disk(guest: Domain, folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "full", str(folder)], check=True)
    try:
        with pytest.raises(OperationFailed) as caught:
            guest.save(folder / "file", timeout=120)
        assert "No space left on device" in str(caught.value)
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert runs(guest)
    guest.destroy()


def test_a_guest_that_does_not_suspend(host: Host, tiny: MakeConfig, folder: Path) -> None:
    domain = host.create(tiny("pvh"))
    with pytest.raises(OperationTimeout):
        domain.suspend(timeout=2)
    with pytest.raises(OperationTimeout):
        domain.save(folder / "file", timeout=2)
    assert list(folder.iterdir()) == []
    assert domain.info().state is not DomainState.SHUTDOWN
    domain.destroy()


def test_what_is_no_saved_domain(host: Host, folder: Path) -> None:
    with pytest.raises(FileMissing) as missing:
        host.restore(folder / "file")
    assert missing.value.filename == str(folder / "file")
    (folder / "file").write_bytes(bytes(1000))
    with pytest.raises(ParseError, match="not a domain"):
        host.restore(folder / "file")


def test_a_saved_domain_that_is_cut_short(host: Host, guest: Domain, folder: Path) -> None:
    file = folder / "file"
    guest.save(file, timeout=120)
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)
    with pytest.raises(OperationFailed) as caught:
        host.restore(file, timeout=120)
    assert caught.value.log
    assert host.domains.get(guest.uuid) is None


def test_core_dump(host: Host, linux: MakeConfig, tiny: MakeConfig, folder: Path) -> None:
    # Not PVH: libxl looks at each page below 4 GiB, which takes minutes here.
    domain = host.create(linux("pv"))
    wait_for_linux(domain)
    (folder / "core").write_text("an older one")
    domain.core_dump(folder / "core")
    assert (folder / "core").read_bytes()[:4] == b"\x7fELF"
    with pytest.raises(InvalidArgument, match="No such file or directory"):
        domain.core_dump(folder / "nowhere" / "core")
    domain.destroy()
    without_a_map = host.create(tiny("pv"))
    with pytest.raises(OperationFailed, match="p2m_size"):
        without_a_map.core_dump(folder / "core")
    assert [(path.name, path.stat().st_size > 1000) for path in folder.iterdir()] == [("core", True)]
    without_a_map.destroy()
