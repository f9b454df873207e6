"""Guests that stop and go on."""

from __future__ import annotations

from uuid import uuid4

import pytest

from pyxen import (
    DomainConfig,
    DomainExists,
    DomainState,
    Feature,
    FileMissing,
    Host,
    InvalidArgument,
    InvalidState,
    OperationFailed,
    ParseError,
    ShutdownReason,
    ValidationError,
)
from tests.backends.differences import differs
from tests.backends.files import Files
from tests.backends.support import Make, Willing, goes_on, supporting


def test_suspend_and_resume(host: Host, willing: Willing) -> None:
    domain = willing()
    with supporting(host, Feature.SUSPEND):
        domain.suspend(timeout=60)
        info = domain.info()
        assert (info.state, info.shutdown_reason) == (DomainState.SHUTDOWN, ShutdownReason.SUSPEND)
        with pytest.raises(InvalidState):
            domain.suspend()
        domain.resume()
        assert domain.info().shutdown_reason is None
        goes_on(domain)
        with pytest.raises(InvalidState, match="not suspended"):
            domain.resume()


def test_save_and_restore(host: Host, willing: Willing, files: Files, folder: str) -> None:
    domain = willing()
    name, uuid, file = domain.info().name, domain.uuid, f"{folder}/file"
    with supporting(host, Feature.SAVE):
        domain.save(file, timeout=120)
        assert host.domains.get(uuid) is None
        assert files.mode(file) == 0o600
        assert files.names(folder) == ["file"]
        again = host.restore(file, paused=True, timeout=120)
        assert (again.info().name, again.uuid) == (name, uuid)
        assert again.info().state is DomainState.PAUSED
        with pytest.raises(DomainExists):
            host.restore(file)
        if differs(host, "moved"):
            return
        seen: list[str | None] = []

        def refuse(config: DomainConfig) -> bool:
            seen.append(config.name)
            return False

        again.destroy()
        with pytest.raises(InvalidArgument, match="allow refused"):
            host.restore(file, allow=refuse)
        with pytest.raises(ZeroDivisionError):
            host.restore(file, allow=lambda _: 1 // 0)
        assert (seen, host.domains.get(uuid)) == ([name], None)
        again = host.restore(file, paused=True, allow=lambda config: config.uuid == uuid, timeout=120)
        other = again.config().replace(name="elsewhere", uuid=uuid4())
        again.destroy()
        moved = host.restore(file, other, timeout=120)
        assert (moved.info().name, moved.uuid) == ("elsewhere", other.uuid)
        goes_on(moved)


def test_a_save_with_another_configuration(host: Host, willing: Willing, folder: str) -> None:
    domain = willing()
    uuid, file = domain.uuid, f"{folder}/file"
    with supporting(host, Feature.SAVE, Feature.OTHER_CONFIG):
        other = domain.config().replace(name="elsewhere", uuid=None, on_crash="preserve")
        with pytest.raises(ValidationError):
            domain.save(file, config=other.replace(vcpus=4, maxvcpus=2))
        goes_on(domain)
        domain.save(file, config=other, timeout=120)
        again = host.restore(file, timeout=120)
        assert (again.info().name, again.uuid) == ("elsewhere", uuid)
        assert again.config().on_crash == "preserve"
        goes_on(again)
        # libxl gives a domid that was in use a minute ago to nobody.
        wanted = 20_000 + uuid.int % 10_000
        again.save(file, config=again.config().replace(domid=wanted), timeout=120)
        back = host.restore(file, paused=True, timeout=120)
        assert (back.domid, back.uuid) == (wanted, uuid)


def test_checkpoints(host: Host, willing: Willing, folder: str) -> None:
    domain = willing()
    with supporting(host, Feature.SAVE, Feature.CHECKPOINT):
        domain.save(f"{folder}/one", checkpoint=True, timeout=120)
        assert domain.info().state in {DomainState.RUNNING, DomainState.BLOCKED}
        goes_on(domain)
        domain.save(f"{folder}/two", leave_paused=True, timeout=120)
        assert domain.info().state is DomainState.PAUSED
        domain.unpause()
        goes_on(domain)


def test_a_save_that_cannot_be_written(host: Host, willing: Willing, files: Files, folder: str) -> None:
    domain = willing()
    with supporting(host, Feature.SAVE):
        with pytest.raises(InvalidArgument):
            domain.save(f"{folder}/nowhere/file", timeout=120)
        assert files.names(folder) == []
        assert domain.info().state in {DomainState.RUNNING, DomainState.BLOCKED}


def test_what_is_no_saved_domain(host: Host, files: Files, folder: str) -> None:
    with supporting(host, Feature.SAVE):
        with pytest.raises(FileMissing) as missing:
            host.restore(f"{folder}/file")
        assert missing.value.filename == f"{folder}/file"
        files.zeros(f"{folder}/file", 1000)
        with pytest.raises(ParseError):
            host.restore(f"{folder}/file")


def test_a_paused_guest_cannot_be_saved(host: Host, make: Make, files: Files, folder: str) -> None:
    domain = make("web1", paused=True)
    with supporting(host, Feature.SAVE):
        with pytest.raises(InvalidState, match="unpause it first"):
            domain.save(f"{folder}/file")
        assert files.names(folder) == []


def test_core_dump(host: Host, willing: Willing, files: Files, folder: str) -> None:
    domain = willing(type="pv")  # of a PVH guest libxl writes what is not there too, which takes minutes
    with supporting(host, Feature.CORE_DUMP):
        domain.core_dump(f"{folder}/core")
        assert differs(host, "dumps") or files.head(f"{folder}/core", 4) == b"\x7fELF"
        with pytest.raises(OperationFailed if differs(host, "files") else InvalidArgument):
            domain.core_dump(f"{folder}/nowhere/core")
