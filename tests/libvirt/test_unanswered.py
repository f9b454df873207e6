"""A link that breaks before libvirt has answered: libvirt may do it all the same, and nobody hears of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import libvirt
import pytest

from pyxen import (
    ConnectFailed,
    Disk,
    DomainConfig,
    Host,
    Operation,
    OperationCancelled,
    OperationTimeout,
    Vif,
)
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt import devices, lifecycle, unanswered
from pyxen.backends.libvirt.backend import LibvirtBackend
from pyxen.backends.libvirt.threaded_operations import ThreadedOperation, ThreadedOperations
from tests.xen.support import wait_until

UNDOES = "may still .* it; pyxen undoes it once libvirt answers again"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than a user's host does."""
    monkeypatch.setattr(unanswered, "_BETWEEN", 0.02)
    monkeypatch.setattr(unanswered, "_ENOUGH", 0.5)


def broken() -> libvirt.libvirtError:
    """Return what libvirt raises when keepalives go unanswered."""
    text = "internal error: connection closed due to keepalive timeout"
    error = libvirt.libvirtError(text)
    error.args = (text,)
    error.err = (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC, text, 2, None, None, None, -1, -1)
    return error


def loses_the_answer(monkeypatch: pytest.MonkeyPatch, cls: type, name: str, *, does_it: bool = True) -> None:
    """Let a call of libvirt's do its work and then break the link; only the first one."""
    real = getattr(cls, name)

    def call(*arguments: Any) -> Any:
        monkeypatch.setattr(cls, name, real)
        if does_it:
            real(*arguments)
        raise broken()

    monkeypatch.setattr(cls, name, call)


def requests(link: LibvirtBackend) -> unanswered.Unanswered:
    assert link._workers is not None
    return link._workers.unanswered


def wait_until_none_is_looked_for(link: LibvirtBackend) -> None:
    wait_until(lambda: not requests(link)._lost)


def test_a_create(link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with pytest.raises(ConnectFailed, match=UNDOES):
        host.create(web1)
    wait_until(lambda: host.list() == [])
    wait_until_none_is_looked_for(link)


def test_a_start(link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = link.define(web1, autostart=None)
    loses_the_answer(monkeypatch, libvirt.virDomain, "createWithFlags")
    with pytest.raises(ConnectFailed, match=UNDOES):
        link.start(kept.uuid, paused=False, timeout=10).wait()
    wait_until(lambda: host.list() == [])
    assert link.defined() == [kept]


def test_a_restore(host: Host, web1: DomainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.create(web1).save(tmp_path / "saved")
    loses_the_answer(monkeypatch, libvirt.virConnect, "restoreFlags")
    with pytest.raises(ConnectFailed, match=UNDOES):
        host.restore(tmp_path / "saved")
    wait_until(lambda: host.list() == [])


def test_a_restore_of_nobody_knows_which_domain(
    link: LibvirtBackend, host: Host, web1: DomainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.create(web1).save(tmp_path / "saved")
    monkeypatch.setattr("pyxen.backends.libvirt.save.uuid_in", lambda *_: None)
    loses_the_answer(monkeypatch, libvirt.virConnect, "restoreFlags")
    with pytest.raises(ConnectFailed, match=r"may still restore it: look for the domain, and destroy it$"):
        host.restore(tmp_path / "saved")
    wait_until_none_is_looked_for(link)
    assert [info.name for info in host.list()] == ["web1"]


def test_a_domain_that_comes_much_later(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unanswered, "_ENOUGH", 60)
    config, looked = web1.replace(uuid=uuid4()), threading.Event()
    real = lifecycle.NewDomain.undo

    def undo(self: lifecycle.NewDomain, connection: Any) -> unanswered.Seen:
        seen = real(self, connection)
        if not looked.is_set():
            looked.set()
            libvirt.virConnect.createXML(connection, lifecycle.as_xml(config, "test"), 0)
        return seen

    monkeypatch.setattr(lifecycle.NewDomain, "undo", undo)
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML", does_it=False)
    with pytest.raises(ConnectFailed, match=UNDOES):
        host.create(config)
    assert looked.wait(20)
    wait_until_none_is_looked_for(link)
    assert host.list() == []


def test_one_that_never_comes_is_not_looked_for_any_longer(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML", does_it=False)
    with pytest.raises(ConnectFailed):
        host.create(web1)
    assert requests(link)._lost
    wait_until_none_is_looked_for(link)


def test_one_that_is_asked_for_again_stays(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unanswered, "_BETWEEN", 1.0)
    config = web1.replace(uuid=uuid4())
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML", does_it=False)
    with pytest.raises(ConnectFailed):
        host.create(config)
    domain = host.create(config)
    assert requests(link)._lost == []
    assert domain in host.domains


def test_one_that_was_there_before_stays(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = host.create(web1)
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML", does_it=False)
    with pytest.raises(ConnectFailed, match=r"it$"):
        host.create(web1.replace(uuid=domain.uuid))
    wait_until_none_is_looked_for(link)
    assert domain in host.domains


def test_an_undo_that_breaks_the_link(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    real = lifecycle.create

    def create(*arguments: Any, **how: Any) -> DomainRef:
        ref = real(*arguments, **how)
        begun.set()
        assert go.wait(20)
        return ref

    monkeypatch.setattr(lifecycle, "create", create)
    loses_the_answer(monkeypatch, libvirt.virDomain, "destroy", does_it=False)
    operation = link.create(web1, paused=False, timeout=None)
    assert begun.wait(20)
    operation.cancel()
    go.set()
    with pytest.raises(OperationCancelled, match=r"could not be undone: .*keepalive.*; pyxen undoes it once"):
        operation.result(20)
    wait_until(lambda: host.list() == [])


def test_a_host_that_is_closed_meanwhile(
    host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unanswered, "_BETWEEN", 60)
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with pytest.raises(ConnectFailed):
        host.create(web1)
    host.close()
    assert "closed before libvirt answered again: what libvirt may have done is not undone" in caplog.text


@pytest.mark.parametrize(
    ("verb", "method", "match"),
    [
        ("save", "save", "may still be writing .*file, and end the domain then$"),
        ("core_dump", "coreDump", "may still be writing .*file$"),
    ],
)
def test_the_file_of_a_save_that_goes_on_stays(
    host: Host, web1: DomainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, method: str, match: str
) -> None:
    domain = host.create(web1)
    loses_the_answer(monkeypatch, libvirt.virDomain, method)
    with pytest.raises(ConnectFailed, match=match):
        getattr(domain, verb)(tmp_path / "file")
    assert (tmp_path / "file").stat().st_size > 0


def test_what_else_may_go_on(host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = host.create(web1)
    calls: list[tuple[str, Callable[[], object], str]] = [
        ("managedSave", lambda: host.libvirt.managed_save("web1"), "may still save it, and end it then"),
        ("migrateToURI3", lambda: host.libvirt.migrate("web1", "xen+ssh://other/"), "check on which host"),
        ("destroy", domain.destroy, "may have done it, or do it yet$"),
        ("XMLDesc", domain.config, "nothing was changed$"),
    ]
    for method, call, match in calls:
        loses_the_answer(monkeypatch, libvirt.virDomain, method, does_it=False)
        with pytest.raises(ConnectFailed, match=match):
            call()


class _Guest:
    """A guest in place of libvirt's, whose test driver attaches nothing."""

    def __init__(self, uuid: UUID) -> None:
        self.xml = "<domain><devices/></domain>"
        self.uuid = uuid

    def lookupByUUIDString(self, _: str) -> _Guest:  # noqa: N802 (libvirt's name)
        return self

    def ID(self) -> int:  # noqa: N802 (libvirt's name)
        return 7

    def XMLDesc(self, _: int) -> str:  # noqa: N802 (libvirt's name)
        return self.xml

    def detachDeviceFlags(self, xml: str, _: int) -> None:  # noqa: N802 (libvirt's name)
        assert xml in self.xml
        self.xml = self.xml.replace(xml, "")


@pytest.mark.parametrize(
    ("device", "xml"),
    [
        (Disk("/a.img", vdev="xvdb"), '<disk type="file"><target dev="xvdb"/></disk>'),
        (Vif(mac="00:16:3e:00:00:01"), '<interface type="bridge"><mac address="00:16:3e:00:00:01"/></interface>'),
    ],
)
def test_a_device(device: Disk | Vif, xml: str) -> None:
    guest: Any = _Guest(uuid4())
    other = xml.replace("xvdb", "xvdc").replace(":01", ":02")
    guest.xml = f"<domain><devices>{other}</devices></domain>"
    request = devices.NewDevice(DomainRef(7, guest.uuid), device, "libvirt (Xen)")
    assert request.undo(guest) == "absent"
    guest.xml = f"<domain><devices>{other}{xml}</devices></domain>"
    assert request.undo(guest) == "undone"
    assert guest.xml == f"<domain><devices>{other}</devices></domain>"
    gone = devices.NewDevice(DomainRef(6, guest.uuid), device, "libvirt (Xen)")
    assert gone.undo(guest) == "undone"
    assert gone.key != request.key


@pytest.mark.parametrize("stop", ["timeout", "cancel"])
def test_what_has_not_begun_is_not_said_to_go_on(stop: str) -> None:
    """It waits for a connection, as for a place or while its lane is opened."""
    threads, waits, go, worked = ThreadedOperations(), threading.Event(), threading.Event(), threading.Event()

    @contextmanager
    def lease() -> Iterator[None]:
        waits.set()
        assert go.wait(20)
        yield

    operation: Operation[None] = Operation("create", "web1", timeout=0.1 if stop == "timeout" else None)
    threaded = ThreadedOperation(
        operation,
        lease,  # type: ignore[arg-type]  # a connection that the work does not use
        lambda _connection, _threaded: worked.set(),
        lambda error: error,
        late="it goes on",
    )
    try:
        threads.start(threaded)
        assert waits.wait(20)
        if stop == "cancel":
            operation.cancel()
        with pytest.raises(
            OperationTimeout if stop == "timeout" else OperationCancelled, match="nothing had been done"
        ):
            operation.result(4)
        go.set()
    finally:
        threads.close()
    assert not worked.is_set()


def test_a_restore_that_waits_for_another_has_not_begun(
    link: LibvirtBackend, host: Host, web1: DomainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.create(web1).save(tmp_path / "saved")
    monkeypatch.setattr("pyxen.backends.libvirt.save.uuid_in", lambda *_: None)
    with link._restoring, pytest.raises(OperationTimeout, match="nothing had been done"):
        host.restore(tmp_path / "saved", timeout=0.1)
    assert host.list() == []
