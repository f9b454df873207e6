"""Which domain a restore brought, where the file does not tell: libvirt does not say it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID, uuid4

import libvirt
import pytest

import pyxen
from pyxen import DomainConfig, Host, OperationFailed, OperationTimeout
from pyxen.backends.libvirt import connection, lifecycle, save
from pyxen.backends.libvirt.backend import LibvirtBackend
from tests.xen.support import wait_until


@pytest.fixture
def saved(host: Host, web1: DomainConfig, tmp_path: Path) -> Path:
    """The file of a domain, as one that cannot be read here."""
    host.create(web1).save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file be read, as if it were on another host."""
    monkeypatch.setattr(save, "uuid_in", lambda *_: None)


def meanwhile(monkeypatch: pytest.MonkeyPatch, do: Callable[[Any], object]) -> None:
    """Let something happen on the host while a file is restored."""
    real = libvirt.virConnect.restoreFlags

    def restore(self: Any, *arguments: Any) -> Any:
        result = real(self, *arguments)
        do(self)
        return result

    monkeypatch.setattr(libvirt.virConnect, "restoreFlags", restore)


def made_by_another(there: Any, name: str, uuid: UUID | None = None) -> None:
    xml = lifecycle.as_xml(DomainConfig(name, type="hvm", memory=64, uuid=uuid or uuid4()), "test")
    libvirt.virConnect.createXML(there, xml, 0)


def names(host: Host) -> set[str | None]:
    return {info.name for info in host.list()}


@contextmanager
def given_up(host: Host, pipe: Path) -> Iterator[BinaryIO]:
    """Yield the end of a pipe for the file, from which libvirt goes on to restore after the deadline."""
    operation = host.begin.restore(pipe, timeout=60)
    with pipe.open("wb") as end:  # opens when libvirt has opened its own
        operation.stop("timeout")
        with pytest.raises(OperationTimeout, match="destroys it as soon as it exists"):
            operation.result(20)
        yield end


@pytest.mark.parametrize("first", ["web0", "web2"])
def test_what_this_process_creates_meanwhile_is_another(host: Host, saved: Path, tmp_path: Path, first: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    operation = host.begin.restore(pipe)
    with pipe.open("wb") as end:  # opens when libvirt has opened its own
        host.create(DomainConfig(first, type="hvm", memory=64))
        end.write(saved.read_bytes())
    assert operation.result(20).info().name == "web1"


def test_what_this_process_creates_after_a_timeout_stays(
    link: LibvirtBackend, host: Host, saved: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with given_up(host, pipe) as end:
        host.create(DomainConfig("innocent", type="hvm", memory=64))
        end.write(saved.read_bytes())
    with link._restoring:  # until the restore is over
        pass
    wait_until(lambda: names(host) == {"innocent"})


@pytest.mark.usefixtures("unread")
def test_a_guest_that_reboots_meanwhile_is_not_new(host: Host, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uuid = host.create(DomainConfig("old", type="hvm", memory=64)).uuid

    def reboot(there: Any) -> None:
        there.lookupByName("old").destroy()
        made_by_another(there, "old", uuid)

    meanwhile(monkeypatch, reboot)
    assert host.restore(saved).info().name == "web1"


@pytest.mark.usefixtures("unread")
def test_one_of_several_is_never_guessed(host: Host, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda there: made_by_another(there, "other"))
    with pytest.raises(OperationFailed, match=r"several domains have appeared: .* \(.*\), .* \(.*\)"):
        host.restore(saved)
    assert names(host) == {"web1", "other"}


@pytest.mark.usefixtures("unread")
def test_one_of_several_is_never_destroyed(
    host: Host, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    meanwhile(monkeypatch, lambda there: made_by_another(there, "other"))
    with given_up(host, pipe) as end:
        end.write(saved.read_bytes())
    wait_until(lambda: "several domains have appeared" in caplog.text)
    assert names(host) == {"web1", "other"}


def test_libvirt_reports_which_it_is(uri: str, web1: DomainConfig, tmp_path: Path, monkeypatch: Any) -> None:
    meanwhile(monkeypatch, lambda there: made_by_another(there, "other"))
    file = str(tmp_path / "saved")
    with connection.connect(uri).use() as there:
        ref = lifecycle.create(there, lifecycle.as_xml(web1.replace(uuid=uuid4()), "test"), paused=False)
        there.lookupByUUIDString(str(ref.uuid)).save(file)
        for paused in (False, True):
            found = save.restore(there, file, None, None, (), paused=paused, listen=True)
            assert found.uuid == ref.uuid
            for name in ("web1", "other"):
                there.lookupByName(name).destroy()
    with pyxen.connect(uri) as host:  # whose own connection can still listen
        host.events().close()
