"""Guests that stop and go on."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Any
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
    Operation,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    ParseError,
    ShutdownReason,
    ValidationError,
)
from tests.backends.differences import differs
from tests.backends.files import Files
from tests.backends.support import SECONDS, Guest, Make, goes_on, supporting

STREAM_SECONDS = 240
"""How long a guest's memory may take over a link, which an emulated machine encrypts."""


def test_suspend_and_resume(host: Host, willing: Guest) -> None:
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


async def _never(_: object) -> bool:
    """Do what nobody awaits."""
    raise AssertionError


def _yields(_: object) -> Any:
    """Do what nobody iterates over."""
    yield False


def test_save_and_restore(host: Host, willing: Guest, files: Files, folder: str) -> None:
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
        with pytest.raises(DomainExists, match=r"destroy it, or restore with|already exists|already active"):
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
            host.restore(file, allow=lambda _: bool(1 // 0))
        wrong: list[Any] = [_never, lambda _: _never(None), _yields, lambda _: Operation("allow")]
        for undecided in wrong:
            with pytest.raises(InvalidArgument, match=r"plain function as allow|decides nothing"):
                host.restore(file, allow=undecided)
        assert (seen, host.domains.get(uuid)) == ([name], None)
        again = host.restore(file, paused=True, allow=lambda config: config.uuid == uuid, timeout=120)
        other = again.config().replace(name="elsewhere", uuid=uuid4())
        again.destroy()
        moved = host.restore(file, other, timeout=120)
        assert (moved.info().name, moved.uuid) == ("elsewhere", other.uuid)
        goes_on(moved)


@pytest.mark.long
def test_a_save_with_another_configuration(host: Host, willing: Guest, folder: str) -> None:
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


def test_checkpoints(host: Host, willing: Guest, folder: str) -> None:
    domain = willing()
    with supporting(host, Feature.SAVE, Feature.CHECKPOINT):
        domain.save(f"{folder}/one", checkpoint=True, timeout=120)
        assert domain.info().state in {DomainState.RUNNING, DomainState.BLOCKED}
        goes_on(domain)
        domain.save(f"{folder}/two", leave_paused=True, timeout=120)
        assert domain.info().state is DomainState.PAUSED
        domain.unpause()
        goes_on(domain)


def test_a_save_that_cannot_be_written(host: Host, willing: Guest, files: Files, folder: str) -> None:
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
        assert (missing.value.operation, missing.value.domain) == ("restore", None)
        files.zeros(f"{folder}/file", 1000)
        with pytest.raises(ParseError):
            host.restore(f"{folder}/file")


def test_a_paused_guest_cannot_be_saved(host: Host, make: Make, files: Files, folder: str) -> None:
    domain = make("web1", paused=True)
    with supporting(host, Feature.SAVE):
        with pytest.raises(InvalidState, match="unpause it first"):
            domain.save(f"{folder}/file")
        assert files.names(folder) == []


@pytest.mark.long
def test_core_dump(host: Host, willing: Guest, files: Files, folder: str) -> None:
    domain = willing()  # of type PV: of a PVH guest libxl writes what is not there too, which takes minutes
    with supporting(host, Feature.CORE_DUMP):
        domain.core_dump(f"{folder}/core")
        assert differs(host, "dumps") or files.head(f"{folder}/core", 4) == b"\x7fELF"
        with pytest.raises(OperationFailed if differs(host, "files") else InvalidArgument):
            domain.core_dump(f"{folder}/nowhere/core")


def test_over_a_pipe_and_a_socket(host: Host, willing: Guest) -> None:
    domain = willing()
    before = domain.config()
    with supporting(host, Feature.SAVE_OVER):
        with pytest.raises(InvalidArgument, match="descriptor"):
            domain.save(987654)
        with pytest.raises(InvalidArgument, match="takes a str, not float, as the path"):
            domain.save(1.5)  # type: ignore[arg-type]  # what a user may give
        read, write = os.pipe()
        with open(read, "rb") as source:
            with open(write, "wb") as sink:
                saving = domain.begin.save(sink, timeout=STREAM_SECONDS)
            data = source.read()
        saving.result(STREAM_SECONDS)
        assert domain not in host.domains
        here, there = socket.socketpair()
        sending = threading.Thread(target=here.sendall, args=[data], daemon=True)
        sending.start()
        with here, there:
            again = host.restore(there, paused=True, timeout=STREAM_SECONDS)  # the sender need not hang up
            sending.join(STREAM_SECONDS)
        assert (again.uuid, again.info().name, again.name) == (domain.uuid, before.name, before.name)
        assert again.config() == before
        again.destroy()


@pytest.mark.long
def test_over_a_descriptor_of_a_file(host: Host, willing: Guest, tmp_path: Path) -> None:
    domain = willing()
    with supporting(host, Feature.SAVE_OVER):
        with open(tmp_path / "saved", "wb+", buffering=0) as file:
            file.write(b"something before")
            domain.save(file.fileno(), checkpoint=True, timeout=STREAM_SECONDS)
            assert domain in host.domains
            assert file.tell() == (tmp_path / "saved").stat().st_size  # it is at the end
            file.seek(len(b"something before"))
            other = domain.config().replace(name="other", uuid=None)
            again = host.restore(file, other, paused=True, timeout=STREAM_SECONDS)
        assert (again.info().name, again.uuid != domain.uuid) == ("other", True)
        again.destroy()
        (tmp_path / "not").write_bytes(b"not a saved domain at all, but it is long enough to be one" * 10)
        (tmp_path / "short").write_bytes((tmp_path / "saved").read_bytes()[len(b"something before") :][:60])
        for name in ("not", "short"):
            with (
                open(tmp_path / name, "rb") as file,
                pytest.raises(ParseError, match=r"not a .*domain"),
            ):
                host.restore(file, timeout=STREAM_SECONDS)
        assert [one.name for one in host.guests] == [domain.info().name]


def test_only_one_operation_suspends_a_guest(host: Host, willing: Guest, folder: str, files: Files) -> None:
    domain = willing()
    with supporting(host, Feature.SAVE_OVER):
        read, write = os.pipe()
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(write, bytes(4096)):
                pass  # nobody reads it: the save does not come to its end
        os.set_blocking(write, True)
        saving = domain.begin.save(write, timeout=STREAM_SECONDS)
        with pytest.raises(InvalidState):
            domain.save(f"{folder}/file", checkpoint=True, timeout=SECONDS)
        with pytest.raises(InvalidState):
            domain.suspend(timeout=SECONDS)
        assert not saving.done()
        saving.cancel()
        with pytest.raises(OperationCancelled):
            saving.result(STREAM_SECONDS)
        os.close(read)
        os.close(write)
        assert files.names(folder) == []
        assert domain.info().is_running
        goes_on(domain)


def test_a_reader_that_goes_away(host: Host, willing: Guest) -> None:
    domain = willing()
    with supporting(host, Feature.SAVE_OVER):
        read, write = os.pipe()
        os.close(read)
        with pytest.raises(OperationFailed, match=r"cannot write to the descriptor: .*Broken pipe"):
            domain.save(write, timeout=SECONDS)
        os.close(write)
        assert domain.info().is_running


def test_a_writer_that_says_nothing(host: Host) -> None:
    with supporting(host, Feature.SAVE_OVER):
        read, write = os.pipe()
        restoring = host.begin.restore(read)
        restoring.cancel()
        with pytest.raises(OperationCancelled):
            restoring.result(SECONDS)
        with pytest.raises(OperationTimeout):
            host.restore(read, timeout=0.2)
        os.close(write)
        with pytest.raises(ParseError, match="not a saved domain, or truncated"):
            host.restore(read, timeout=SECONDS)
        os.close(read)
