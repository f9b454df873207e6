"""Calls that fail, one after the other: whatever fails, the operation ends with an error, and nothing is left."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import pyxen
from pyxen import DomainConfig, ShutdownReason, Vif
from pyxen.errors import Error, OperationFailed
from tests.offhost import moves
from tests.offhost.host import OffHost, until
from tests.offhost.internals import expect_quick_guests, refused_watches
from tests.offhost.sweep import FAULTS, VERBS, Sweep, bounded
from tests.offhost.world import How, Kind

Configure = Callable[..., DomainConfig]

MOST: Final = 200  # requests to xenstored that a verb makes
LAST: Final = 24  # those of a save that surely destroy the domain, and come after all others
AFTER: Final = 8  # hypercalls at the end of a save that lets the guest go on, and of a look at it


@pytest.mark.parametrize(
    "name",
    [
        "domctl.createdomain",
        "domctl.max_vcpus",
        "domctl.max_mem",
        "domctl.set_cpu_policy",
        "domctl.sethvmcontext",
        "memory.populate_physmap",
        "hvm.set_param",
        "device.map_batch",
        "device.map_resource",
    ],
)
def test_a_create_whose_hypercall_fails(offhost: OffHost, host: pyxen.Host, config: Configure, name: str) -> None:
    host.create(config()).destroy()  # the worker is there, and xenstore has all that stays
    with offhost.world.failing(name, errno.EIO), pytest.raises(Error):
        host.create(config(), timeout=20)
    assert offhost.left() == []
    host.create(config()).destroy()


def test_every_call_of_a_create_is_seen(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    with offhost.world.recording() as calls:
        host.create(config()).destroy()
    names = {call.name for call in calls}
    assert {"domctl.createdomain", "memory.populate_physmap", "domctl.unpausedomain", "domctl.destroydomain"} <= names
    assert {"device.map_batch", "device.grant_map", "device.bind_interdomain", "xenstore.send"} <= names


def test_a_destroy_whose_hypercall_fails_can_be_tried_again(
    offhost: OffHost, host: pyxen.Host, config: Configure
) -> None:
    web = host.create(config())
    with offhost.world.failing("domctl.destroydomain", errno.EPERM), pytest.raises(Error):
        web.destroy(timeout=20)
    assert [info.domid for info in host.list()] == [0, web.domid]
    web.destroy()
    assert offhost.left() == []


def test_a_list_that_fails(offhost: OffHost, host: pyxen.Host) -> None:
    with offhost.world.failing("sysctl.getdomaininfolist", errno.EPERM), pytest.raises(Error, match="does not list"):
        host.list()
    assert [info.domid for info in host.list()] == [0]


@pytest.mark.parametrize("verb", ["shutdown", "reboot", "suspend"])
def test_no_watch_for_a_guests_answer(offhost: OffHost, host: pyxen.Host, config: Configure, verb: str) -> None:
    # libxl gives up a watch then that it does not have, and crashes on that.
    web = host.create(config())
    offhost.guest(web.domid)  # it can be asked, and does not obey
    for nth in range(1, MOST):
        with (
            offhost.world.sweeping(Kind.REQUESTS, nth, errno.ENOSPC, How.DENY) as swept,
            pytest.raises(Error) as failed,
        ):
            getattr(web, verb)(timeout=0.3)
        assert swept.pid, "each request was refused once, and none of them is the watch"
        if "refuses a watch for the guest's answer" in str(failed.value):
            break
    assert swept.what == "request 4"  # XS_WATCH
    web.destroy()
    assert offhost.left() == []


def test_an_attach_that_is_not_told_where_a_domain_is(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    # libxl notes (null)/backend/vif/5/0 as the backend then.
    web = host.create(config(), paused=True)
    folders = [f"{top}/{web.domid}/device/vif" for top in ("/local/domain", "/libxl")]
    refused = 0
    for nth in range(1, MOST):
        attached = False
        with offhost.world.sweeping(Kind.REQUESTS, nth, errno.EAGAIN, How.DENY) as swept, contextlib.suppress(Error):
            attached = bool(web.attach(Vif(bridge="xenbr0"), timeout=4))
        if attached:
            web.detach(Vif(devid=0), force=True)
        if not swept.pid:
            break
        refused += swept.what == "request 10"  # XS_GET_DOMAIN_PATH
        left = [folder for folder in folders if offhost.store.exists(folder) and offhost.store.directory(folder)]
        assert left == [], f"{swept.what}, number {nth}"
    assert refused > 1
    web.destroy()
    assert offhost.left() == []


@pytest.mark.usefixtures("offhost")
def test_all_watches_that_are_refused_at_once_are_told_of() -> None:
    assert sorted(refused_watches([5, 6, 7])) == [(domid, errno.EEXIST) for domid in (5, 6, 7)]


def test_a_shutdown_after_which_the_configuration_cannot_be_read(
    offhost: OffHost, host: pyxen.Host, config: Configure
) -> None:
    web = host.create(config())
    offhost.guest(web.domid).obey()
    [record] = offhost.folder.rglob(f"userdata-d.*.{web.uuid}.libxl-json")
    record.write_bytes(b"{\0")  # libxl takes its end for granted
    with pytest.raises(pyxen.OperationFailed, match="the guest has shut down, but it is not known whether"):
        web.shutdown(timeout=20)
    assert web.info().state is pyxen.DomainState.SHUTDOWN
    web.destroy()
    assert offhost.left() == []


@pytest.mark.parametrize("verb", ["save", pytest.param("replicate to nobody", marks=pytest.mark.long)])
def test_no_watch_for_the_answer_of_a_guest_that_is_asked_later(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path, verb: str
) -> None:
    # libxl asks it some time after the verb has begun. Without the watch, the guest would stay suspended for a minute.
    web = host.create(config())
    offhost.guest(web.domid).obey()
    for nth in range(1, MOST):
        failed, begin = "", time.monotonic()
        try:
            with offhost.world.sweeping(Kind.REQUESTS, nth, errno.ENOSPC, How.DENY) as swept:
                if verb == "save":
                    web.save(tmp_path / "saved", checkpoint=True, timeout=30)
                else:
                    moves.replicate_to_nobody(web, timeout=3)
        except Error as error:
            failed = str(error)
        assert swept.pid, "each request was refused once, and none of them is the watch"
        if "refuses a watch for the guest's answer" in failed:
            break
    assert time.monotonic() - begin < 15
    assert web.info().state is not pyxen.DomainState.SHUTDOWN
    web.destroy()
    assert offhost.left() == []


@pytest.mark.long  # both ends send requests, so that the number of the watch's differs, and many tries may be needed
def test_no_watch_for_the_answer_of_a_guest_that_migrates(
    offhost: OffHost, host: pyxen.Host, config: Configure
) -> None:
    web = host.create(config())
    guest = offhost.guest(web.domid)  # it can be asked, and does not obey

    def migrate() -> None:
        moves.migrate(host, web, socket.socketpair(), timeout=5)

    outcome = bounded(migrate, begin := threading.Event())
    with offhost.world.sweeping(Kind.REQUESTS, 0, errno.ENOSPC, How.DENY) as swept:
        begin.set()
        until(lambda: guest.store.read("control/shutdown") == "suspend", "it is not asked")
    outcome()
    for nth in range(swept.count, 0, -1):  # libxl has its watch before it asks
        with (
            offhost.world.sweeping(Kind.REQUESTS, nth, errno.ENOSPC, How.DENY) as swept,
            pytest.raises(Error) as failed,
        ):
            migrate()
        if "refuses a watch for the guest's answer" in str(failed.value):
            break
    assert swept.what == "request 4"  # XS_WATCH
    info = web.info()
    assert (info.name, info.shutdown_reason) == ("web", None)
    web.destroy()
    assert offhost.left() == []


def test_a_save_whose_beginning_cannot_be_written(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    # libxl would crash: it begins a stream in this process, and does not expect that to fail.
    web = host.create(config())
    offhost.guest(web.domid).obey()
    told: dict[str, Error | None] = {}
    for nth in range(1, MOST):
        failed: Error | None = None
        with offhost.world.sweeping(Kind.FILES, nth, errno.EIO) as swept:
            try:
                web.save(offhost.folder / "saved", checkpoint=True, timeout=20)
            except Error as error:
                failed = error
        if swept.what.startswith("execvp"):  # the process that writes the rest
            break
        if swept.what.startswith("write /.pyxen-"):
            told[f"{nth} {swept.what}"] = failed
    assert len(told) > 1, "the head, which pyxen writes, and libxl's beginning"
    assert all("Input/output error" in str(error) for error in told.values()), told
    web.destroy()
    (offhost.folder / "saved").unlink(missing_ok=True)
    assert offhost.left() == []


@pytest.mark.parametrize("verb", ["set_memory", "set_maxmem"])
def test_memory_that_is_not_set_leaves_xens_limit(
    offhost: OffHost, host: pyxen.Host, config: Configure, verb: str
) -> None:
    for nth in range(1, MOST):
        domain = host.create(config(name=f"web{nth}"))
        before = memory_of(domain)
        act = {"set_memory": lambda: domain.set_memory(12), "set_maxmem": lambda: domain.set_maxmem(32)}[verb]  # noqa: B023 (called here)
        with offhost.world.sweeping(Kind.REQUESTS, nth, errno.ENOSPC, How.DENY) as swept:
            outcome = bounded(act)()
        after = memory_of(domain)
        assert outcome.error is None or after in {before, (before[0] - 4096, before[1] - 4096)}, f"request {nth}"
        domain.destroy()
        if not swept.pid:
            return
    raise AssertionError("it makes more requests")


def memory_of(domain: pyxen.Domain) -> tuple[int, int]:
    """Return the target of a domain and Xen's limit on it."""
    return domain.memory().target_kib or 0, domain.info().maxmem_kib


def test_a_key_that_xenstored_refuses(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    # libxl does not tell that it could not write it.
    web = host.create(config())
    errors = []
    for nth in range(1, MOST):
        with offhost.world.sweeping(Kind.REQUESTS, nth, errno.ENOSPC, How.DENY) as swept:
            try:
                web.send_sysrq("s")
            except pyxen.OperationFailed as error:
                errors.append(str(error))
        if not swept.pid:
            break
    assert any("control/sysrq" in text for text in errors), errors
    web.destroy()


def test_what_is_not_answered_is_named(offhost: OffHost) -> None:
    done = offhost.run_python(
        "import ctypes, fcntl\n"
        "privcmd = open('/dev/xen/privcmd', 'r+b')\n"
        "fcntl.ioctl(privcmd, 0x305000, (ctypes.c_uint64 * 6)(99))\n"
    )
    assert done.returncode < 0
    assert "no answer to a hypercall (99" in done.stderr


def test_a_save_whose_domain_cannot_be_destroyed_says_so(
    offhost: OffHost, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_quick_guests(monkeypatch)
    sweep, fault, told = Sweep(offhost, config, VERBS["save"]), FAULTS["request refused"], 0
    with sweep.open():
        count = sweep.count(fault)
        for back in range(LAST, -1, -1):
            sweep.make()
            with offhost.world.sweeping(fault.kind, count - back, fault.error, fault.how) as swept:
                outcome = bounded(lambda: sweep.domain.save(sweep.path, timeout=20))()
            assert sweep.path.exists()
            if outcome.error is not None:
                assert isinstance(outcome.error, OperationFailed)
                assert "it is saved, but still here, suspended: destroy it" in str(outcome.error)
                assert sweep.domain.info().shutdown_reason is ShutdownReason.SUSPEND
                told += 1
            elif not swept.pid:  # there were fewer
                count = swept.count  # the one that was counted may have asked for something more than once
            sweep.put_away()
            sweep.path.unlink()
    assert told


@pytest.mark.parametrize(("call", "verb"), [("resume", "save and go on"), ("pause", "save and pause")])
def test_a_saved_guest_that_does_not_go_on_as_it_should(
    offhost: OffHost, config: Configure, monkeypatch: pytest.MonkeyPatch, call: str, verb: str
) -> None:
    """It is saved, and suspended; the error says both, and what to do."""
    expect_quick_guests(monkeypatch)
    sweep = Sweep(offhost, config, VERBS[verb])
    with sweep.open():
        sweep.make()
        with offhost.world.failing(f"domctl.{call}domain", errno.EIO), pytest.raises(OperationFailed) as raised:
            VERBS[verb].act(sweep)
        assert f"it is saved, but {'the guest' if call == 'resume' else 'it'} could not be {call}d" in str(raised.value)
        assert "resume it" in str(raised.value)
        assert sweep.domain.info().shutdown_reason is ShutdownReason.SUSPEND
        sweep.domain.resume()
        assert sweep.domain.info().is_running
        sweep.put_away()
        sweep.host.restore(sweep.path, timeout=20).destroy()


@pytest.mark.parametrize("verb", ["save and go on", "save and pause"])
def test_what_comes_after_a_save_fails_and_says_so(
    offhost: OffHost, config: Configure, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    expect_quick_guests(monkeypatch)
    sweep, fault, told = Sweep(offhost, config, VERBS[verb]), FAULTS["hypercall"], 0
    with sweep.open():
        count = sweep.count(fault)
        for nth in range(count - AFTER, count + 1):
            sweep.path.unlink(missing_ok=True)
            sweep.make()
            with offhost.world.sweeping(fault.kind, nth, fault.error, fault.how):
                outcome = bounded(lambda: VERBS[verb].act(sweep))()
            assert isinstance(outcome.error, OperationFailed | None)
            reason, is_saved = sweep.domain.info().shutdown_reason, sweep.path.exists()
            if reason is ShutdownReason.SUSPEND:
                assert "it is saved, but" in str(outcome.error)
                assert is_saved
                told += 1
            elif not is_saved:
                assert outcome.error is not None
            sweep.put_away()
    assert told
