"""Guests that stop and go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from pyxen import (
    DomainExists,
    DomainState,
    Feature,
    FileMissing,
    Host,
    InvalidArgument,
    InvalidState,
    ParseError,
    ShutdownReason,
)
from tests.backends.differences import differs
from tests.backends.support import Make, supporting


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on a disk: guests are too large for a dom0's memory."""
    with TemporaryDirectory(dir="/var/tmp") as path:
        yield Path(path)


def test_suspend_and_resume(host: Host, willing: Make) -> None:
    domain = willing()
    with supporting(host, Feature.SUSPEND):
        domain.suspend(timeout=60)
        info = domain.info()
        assert (info.state, info.shutdown_reason) == (DomainState.SHUTDOWN, ShutdownReason.SUSPEND)
        with pytest.raises(InvalidState):
            domain.suspend()
        domain.resume()
        assert domain.info().shutdown_reason is None
        with pytest.raises(InvalidState, match="not suspended"):
            domain.resume()


def test_save_and_restore(host: Host, willing: Make, folder: Path) -> None:
    domain = willing()
    name, uuid, file = domain.info().name, domain.uuid, folder / "file"
    with supporting(host, Feature.SAVE):
        domain.save(file, timeout=120)
        assert host.domains.get(uuid) is None
        assert file.stat().st_mode & 0o777 == 0o600
        assert list(folder.iterdir()) == [file]
        again = host.restore(file, paused=True, timeout=120)
        assert (again.info().name, again.uuid) == (name, uuid)
        assert again.info().state is DomainState.PAUSED
        with pytest.raises(DomainExists):
            host.restore(file)
        if differs(host, "moved"):
            return
        other = again.config().replace(name="elsewhere", uuid=uuid4())
        again.destroy()
        moved = host.restore(file, other, timeout=120)
        assert (moved.info().name, moved.uuid) == ("elsewhere", other.uuid)


def test_checkpoints(host: Host, willing: Make, folder: Path) -> None:
    domain = willing()
    with supporting(host, Feature.SAVE, Feature.CHECKPOINT):
        domain.save(folder / "one", checkpoint=True, timeout=120)
        assert domain.info().state in {DomainState.RUNNING, DomainState.BLOCKED}
        domain.save(folder / "two", leave_paused=True, timeout=120)
        assert domain.info().state is DomainState.PAUSED


def test_a_save_that_cannot_be_written(host: Host, willing: Make, folder: Path) -> None:
    domain = willing()
    with supporting(host, Feature.SAVE):
        with pytest.raises(InvalidArgument):
            domain.save(folder / "nowhere" / "file", timeout=120)
        assert list(folder.iterdir()) == []
        assert domain.info().state in {DomainState.RUNNING, DomainState.BLOCKED}


def test_what_is_no_saved_domain(host: Host, folder: Path) -> None:
    with supporting(host, Feature.SAVE):
        with pytest.raises(FileMissing) as missing:
            host.restore(folder / "file")
        assert missing.value.filename == str(folder / "file")
        (folder / "file").write_bytes(bytes(1000))
        with pytest.raises(ParseError):
            host.restore(folder / "file")


def test_a_paused_guest_cannot_be_saved(host: Host, make: Make, folder: Path) -> None:
    domain = make("web1", paused=True)
    with supporting(host, Feature.SAVE):
        with pytest.raises(InvalidState, match="unpause it first"):
            domain.save(folder / "file")
        assert list(folder.iterdir()) == []


def test_core_dump(host: Host, willing: Make, folder: Path) -> None:
    domain = willing(type="pv")
    with supporting(host, Feature.CORE_DUMP):
        domain.core_dump(folder / "core")
        assert differs(host, "dumps") or (folder / "core").read_bytes()[:4] == b"\x7fELF"
        with pytest.raises(InvalidArgument):
            domain.core_dump(folder / "nowhere" / "core")
