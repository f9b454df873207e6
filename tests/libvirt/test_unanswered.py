"""A link that breaks before libvirt has answered: libvirt may do it all the same, and nobody hears of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import libvirt
import pytest

import pyxen
from pyxen import (
    ConnectFailed,
    Disk,
    DomainConfig,
    DomainExists,
    DomainNotFound,
    Host,
    InvalidState,
    Operation,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    Vif,
)
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt import lifecycle, threaded_operations, unanswered
from pyxen.backends.libvirt.backend import LibvirtBackend
from pyxen.backends.libvirt.threaded_operations import ThreadedOperation, ThreadedOperations
from tests.xen.support import wait_until

UNDOES = "may still create it; pyxen undoes it once libvirt answers again$"
UNKNOWN = "it is not known whether libvirt has {} it, or will yet: look "


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than a user's host does."""
    monkeypatch.setattr(unanswered, "_BETWEEN", 0.02)
    monkeypatch.setattr(threaded_operations, "_GRACE", 120.0)  # what is stopped is still undone, however slow the test
    monkeypatch.setattr(unanswered, "_ENOUGH", 60.0)  # a create that has not come yet still may, however slow the test


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


def names(host: Host) -> list[str | None]:
    return [info.name for info in host.list()]


@contextmanager
def no_looks(link: LibvirtBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing be looked for meanwhile, as if libvirt did not answer."""
    with monkeypatch.context() as patch:
        patch.setattr(unanswered.Unanswered, "_undo", lambda *_: "coming")
        yield
    wait_until_none_is_looked_for(link)


def test_a_create(link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with pytest.raises(ConnectFailed, match=UNDOES):
        host.create(web1)
    wait_until_none_is_looked_for(link)
    assert host.list() == []
    assert not unanswered._unmet


def test_a_create_of_a_uuid_that_others_know(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = uuid4()
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with pytest.raises(ConnectFailed, match=UNKNOWN.format("created") + f"for the domain {uuid}$"):
        host.create(web1.replace(uuid=uuid))
    assert requests(link)._lost == []
    assert names(host) == ["web1"]


@pytest.mark.parametrize("is_saved", [False, True], ids=["fresh", "from a managed save"])
def test_a_start(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch, *, is_saved: bool
) -> None:
    kept = link.define(web1, autostart=None)
    if is_saved:
        host.start("web1")
        host.libvirt.managed_save("web1")
    loses_the_answer(monkeypatch, libvirt.virDomain, "createWithFlags")
    with pytest.raises(ConnectFailed, match=UNKNOWN.format("started") + f"whether the domain {kept.uuid} runs$"):
        host.start("web1")
    assert requests(link)._lost == []
    assert names(host) == ["web1"]


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_restore(
    link: LibvirtBackend,
    host: Host,
    web1: DomainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_readable: bool,
) -> None:
    domain = host.create(web1)
    domain.save(tmp_path / "saved")
    if not is_readable:
        monkeypatch.setattr("pyxen.backends.libvirt.save.uuid_in", lambda *_: None)
    loses_the_answer(monkeypatch, libvirt.virConnect, "restoreFlags")
    what = f"the domain {domain.uuid}" if is_readable else "a new domain"
    with pytest.raises(ConnectFailed, match=UNKNOWN.format("restored") + f"for {what}$"):
        host.restore(tmp_path / "saved")
    assert requests(link)._lost == []
    assert names(host) == ["web1"]


def test_a_domain_that_comes_much_later(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[str] = []
    looked = threading.Event()
    real, real_create = unanswered.Unanswered._undo, libvirt.virConnect.createXML

    def lose(_: object, xml: str, __: int) -> None:
        monkeypatch.setattr(libvirt.virConnect, "createXML", real_create)
        wanted.append(xml)
        raise broken()

    def undo(self: unanswered.Unanswered, create: Any) -> Any:
        seen = real(self, create)
        if not looked.is_set():
            with link._link.work() as connection:
                libvirt.virConnect.createXML(connection, wanted[0], 0)
            looked.set()
        return seen

    monkeypatch.setattr(unanswered.Unanswered, "_undo", undo)
    monkeypatch.setattr(libvirt.virConnect, "createXML", lose)
    with pytest.raises(ConnectFailed, match=UNDOES):
        host.create(web1)
    assert looked.wait(20)
    wait_until_none_is_looked_for(link)
    assert host.list() == []


def test_one_that_never_comes_is_not_looked_for_any_longer(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML", does_it=False)
    with pytest.raises(ConnectFailed):
        host.create(web1)
    (create,) = requests(link)._lost
    wait_until(lambda: create.absent_since is not None)
    assert requests(link)._lost == [create]
    monkeypatch.setattr(unanswered, "_ENOUGH", 0.0)
    wait_until_none_is_looked_for(link)
    assert not unanswered._unmet


def test_one_that_a_retry_meets_stays(
    link: LibvirtBackend,
    host: Host,
    web1: DomainConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "pyxen.libvirt")
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with no_looks(link, monkeypatch):
        with pytest.raises(ConnectFailed, match=UNDOES):
            host.create(web1)
        with pytest.raises(DomainExists):
            host.create(web1)
    assert names(host) == ["web1"]
    assert "which libvirt created after the link broke, stays" in caplog.text


def test_one_that_apply_finds_stays(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with no_looks(link, monkeypatch):
        with pytest.raises(ConnectFailed, match=UNDOES):
            host.create(web1)
        assert not host.apply(web1).created
    assert names(host) == ["web1"]


USES: dict[str, Callable[[Host], object]] = {
    "info": lambda host: host.domains["web1"].info(),
    "pause": lambda host: host.domains["web1"].pause(),
    "libvirt": lambda host: host.libvirt.xml("web1"),
    "define": lambda host: host.define(DomainConfig("web1", type="hvm", memory=64)),
}


@pytest.mark.parametrize("use", USES)
def test_one_that_is_used_stays(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with no_looks(link, monkeypatch):
        with pytest.raises(ConnectFailed, match=UNDOES):
            host.create(web1)
        USES[use](host)
    assert names(host) == ["web1"]


def test_one_that_another_program_defines_stays(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with no_looks(link, monkeypatch):
        with pytest.raises(ConnectFailed, match=UNDOES):
            host.create(web1)
        with link._link.work() as connection:
            connection.defineXML(connection.lookupByName("web1").XMLDesc(0))
    assert names(host) == ["web1"]


def test_one_that_is_met_before_its_answer_is_lost_stays(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, met, go = libvirt.virConnect.createXML, threading.Event(), threading.Event()

    def create(*arguments: Any) -> Any:
        monkeypatch.setattr(libvirt.virConnect, "createXML", real)
        real(*arguments)
        met.set()
        assert go.wait(20)
        raise broken()

    monkeypatch.setattr(libvirt.virConnect, "createXML", create)
    operation = host.begin.create(web1)
    assert met.wait(20)
    with pytest.raises(DomainExists):
        host.create(web1)
    go.set()
    with pytest.raises(ConnectFailed, match=UNKNOWN.format("created")):
        operation.result(20)
    assert requests(link)._lost == []
    assert names(host) == ["web1"]


def test_nobody_is_given_one_that_is_being_destroyed(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked, go = libvirt.virDomain.destroy, threading.Event(), threading.Event()

    def destroy(*arguments: Any) -> Any:
        asked.set()
        assert go.wait(20)
        return real(*arguments)

    monkeypatch.setattr(libvirt.virDomain, "destroy", destroy)
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with pytest.raises(ConnectFailed, match=UNDOES):
        host.create(web1)
    assert asked.wait(20)
    with pytest.raises(DomainExists, match="pyxen destroys it: try again"):
        host.create(web1)
    for call in (lambda: host.apply(web1), lambda: host.libvirt.managed_save("web1")):
        with pytest.raises(InvalidState, match="pyxen destroys it: try again"):
            call()
    destroying = host.domains["web1"].begin.destroy()
    go.set()
    assert isinstance(destroying.exception(20), DomainNotFound | InvalidState | None)
    wait_until_none_is_looked_for(link)
    assert host.create(web1) in host.domains


def test_nobody_is_given_one_that_is_destroyed_as_soon_as_it_exists(
    host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made, go = lifecycle.create, threading.Event(), threading.Event()

    def create(*arguments: Any, **how: Any) -> DomainRef:
        monkeypatch.setattr(lifecycle, "create", real)
        ref = real(*arguments, **how)
        made.set()
        assert go.wait(20)
        return ref

    monkeypatch.setattr(lifecycle, "create", create)
    operation = host.begin.create(web1)
    assert made.wait(20)
    operation.cancel()
    with pytest.raises(DomainExists, match="pyxen destroys it: try again"):
        host.create(web1)
    go.set()
    with pytest.raises(OperationCancelled, match="undone"):
        operation.result(20)
    host.create(web1)


def test_a_look_that_the_end_of_the_host_overtakes(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked, go, seen = libvirt.virDomain.isPersistent, threading.Event(), threading.Event(), threading.Event()
    destroyed: list[object] = []
    undo = unanswered.Unanswered._undo

    def is_persistent(*arguments: Any) -> Any:
        asked.set()
        assert go.wait(20)
        return real(*arguments)

    def look(self: unanswered.Unanswered, create: Any) -> Any:
        try:
            return undo(self, create)
        finally:
            seen.set()

    monkeypatch.setattr(libvirt.virDomain, "isPersistent", is_persistent)
    monkeypatch.setattr(libvirt.virDomain, "destroy", destroyed.append)
    monkeypatch.setattr(unanswered.Unanswered, "_undo", look)
    loses_the_answer(monkeypatch, libvirt.virConnect, "createXML")
    with pytest.raises(ConnectFailed, match=UNDOES):
        host.create(web1)
    assert asked.wait(20)
    requests(link).close()
    go.set()
    assert seen.wait(20)
    assert destroyed == []


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
    with pytest.raises(
        OperationCancelled, match=r"not known whether it was undone: .*keepalive.*; pyxen undoes it once"
    ):
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
    assert "closed before libvirt answered again: look for the domain" in caplog.text
    assert not unanswered._unmet


def test_a_create_that_ends_with_the_host_is_not_said_to_be_undone(
    uri: str, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def create(*_: Any) -> None:
        begun.set()
        assert go.wait(20)
        raise broken()

    monkeypatch.setattr(libvirt.virConnect, "createXML", create)
    host = pyxen.connect(uri)
    operation = host.begin.create(web1)
    assert begun.wait(20)
    closing = threading.Thread(target=host.close)
    closing.start()
    wait_until(lambda: operation.stopped is not None)
    go.set()
    with pytest.raises(OperationCancelled, match=UNKNOWN.format("created") + "for the domain .*$"):
        operation.result(20)
    closing.join(20)


@pytest.mark.parametrize("paused", [False, True])
def test_a_start_that_comes_late_keeps_the_managed_save(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch, *, paused: bool
) -> None:
    link.define(web1, autostart=None)
    host.start("web1")
    host.libvirt.managed_save("web1")
    real, begun, go = lifecycle.start, threading.Event(), threading.Event()

    def start(*arguments: Any, **how: Any) -> DomainRef:
        ref = real(*arguments, **how)
        begun.set()
        assert go.wait(20)
        return ref

    monkeypatch.setattr(lifecycle, "start", start)
    operation = host.begin.start("web1", paused=paused)
    assert begun.wait(20)
    assert not host.libvirt.has_managed_save("web1")
    operation.cancel()
    go.set()
    with pytest.raises(OperationCancelled, match="undone"):
        operation.result(20)
    assert host.list() == []
    assert host.libvirt.has_managed_save("web1")


def test_a_start_that_cannot_be_paused_keeps_the_managed_save(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    link.define(web1, autostart=None)
    host.start("web1")
    host.libvirt.managed_save("web1")

    def suspend(_: object) -> None:
        text = "it cannot be suspended"
        error = libvirt.libvirtError(text)
        error.err = (libvirt.VIR_ERR_OPERATION_FAILED, libvirt.VIR_FROM_TEST, text, 2, None, None, None, -1, -1)
        raise error

    monkeypatch.setattr(libvirt.virDomain, "suspend", suspend)
    with pytest.raises(OperationFailed, match="cannot be suspended"):
        host.start("web1", paused=True)
    assert host.list() == []
    assert host.libvirt.has_managed_save("web1")


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


@pytest.mark.parametrize(
    ("device", "what"),
    [
        (Disk("/a.img", vdev="xvdb"), "xvdb"),
        (Vif(mac="00:16:3e:00:00:01"), "00:16:3e:00:00:01"),
        (Vif(), "a new Vif"),
    ],
)
def test_a_device(
    link: LibvirtBackend,
    host: Host,
    web1: DomainConfig,
    monkeypatch: pytest.MonkeyPatch,
    device: Disk | Vif,
    what: str,
) -> None:
    domain = host.create(web1)
    monkeypatch.setattr(LibvirtBackend, "_need", lambda *_: None)  # the test driver attaches nothing
    loses_the_answer(monkeypatch, libvirt.virDomain, "attachDeviceFlags", does_it=False)
    which = f"whether the domain {domain.uuid} has {what}$"
    with pytest.raises(ConnectFailed, match=UNKNOWN.format("attached") + which):
        domain.attach(device)
    assert requests(link)._lost == []


@pytest.mark.parametrize("stop", ["timeout", "cancel"])
def test_what_has_not_begun_is_not_said_to_go_on(stop: str) -> None:
    """It waits for a connection, as for a place or while its lane is opened."""
    threads, waits, go, worked = ThreadedOperations(), threading.Event(), threading.Event(), threading.Event()

    @contextmanager
    def lease() -> Iterator[None]:
        waits.set()
        assert go.wait(20)
        yield

    operation: Operation[None] = Operation("create", "web1")
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
        else:  # by the timer, as where the deadline passes now
            threads.timer.at(time.monotonic(), lambda: ThreadedOperations._late(operation))
        with pytest.raises(
            OperationTimeout if stop == "timeout" else OperationCancelled, match="nothing had been done"
        ):
            operation.result(15)
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
