"""Domains from their creation to their end: libxl and libxenguest build them whole, frame by frame."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pyxen
from pyxen import Disk, Domain, DomainConfig, Vif
from pyxen.errors import (
    ConnectFailed,
    DomainExists,
    DomainNotFound,
    Error,
    FileMissing,
    InvalidArgument,
    InvalidState,
    NotEnoughMemory,
    NotFound,
    OperationFailed,
    OperationTimeout,
    UnsupportedFeature,
    ValidationError,
)
from pyxen.records.info import DomainState, ShutdownReason
from tests.offhost.host import OffHost, until
from tests.offhost.internals import scripts_asleep
from tests.offhost.world import Reason

KINDS = pytest.mark.parametrize("kind", ["pvh", "pv"])

Configure = Callable[..., DomainConfig]


@KINDS
def test_created_and_destroyed(offhost: OffHost, host: pyxen.Host, config: Configure, kind: str) -> None:
    free = offhost.world.free_kib()
    web = host.create(config(kind, memory=64, vcpus=2))
    info = web.info()
    assert (info.name, info.type, info.maxvcpus, info.uuid) == ("web", kind, 2, web.uuid)
    assert info.state in {DomainState.RUNNING, DomainState.BLOCKED}
    assert offhost.world.free_kib() <= free - 64 * 1024
    web.destroy()
    assert [domain.domid for domain in host.list()] == [0]
    assert offhost.world.free_kib() == free
    assert offhost.left() == []


@KINDS
def test_its_configuration_comes_back(host: pyxen.Host, config: Configure, kind: str) -> None:
    asked = config(kind, vcpus=2, maxvcpus=4, on_crash="preserve", cmdline="quiet")
    found = host.create(asked).config()
    for name in ("name", "type", "memory", "vcpus", "maxvcpus", "on_crash", "cmdline", "kernel"):
        assert getattr(found, name) == getattr(asked, name), name


def test_pause_and_unpause(host: pyxen.Host, config: Configure) -> None:
    web = host.create(config(), paused=True)
    assert web.info().state is DomainState.PAUSED
    web.unpause()
    assert web.info().state is DomainState.BLOCKED
    web.pause()
    assert web.info().state is DomainState.PAUSED


def test_rename(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    web.rename("shop")
    assert host.domains["shop"] == web
    assert offhost.store.read(f"/local/domain/{web.domid}/name") == "shop"
    with pytest.raises(DomainExists):
        host.create(config(name="shop"))


def test_a_name_that_is_not_utf_8_is_not_preserved(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config(on_crash="preserve"))
    offhost.store.write(f"/local/domain/{web.domid}/name", b"we\xffb")
    offhost.world.crash(web.domid)
    with pytest.raises(InvalidState, match=r"not UTF-8.*: rename it first"):
        web.preserve("-old")
    web.rename("web")
    assert web.preserve("-old").info().name == "web-old"


def test_userdata(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    web.set_userdata("note", b"\0\xff")
    assert web.userdata("note") == b"\0\xff"
    web.set_userdata("note", None)
    assert web.userdata("note") is None
    web.set_userdata("note", b"again")
    web.destroy()
    assert offhost.left() == []


@KINDS
def test_a_guest_that_obeys_shuts_down(offhost: OffHost, host: pyxen.Host, config: Configure, kind: str) -> None:
    web = host.create(config(kind))
    offhost.guest(web.domid).obey()
    web.shutdown(timeout=10)
    assert host.list()[1:] == [] or web.info().shutdown_reason is ShutdownReason.POWEROFF


def test_a_reboot_is_waited_for(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config(on_reboot="preserve"))
    offhost.guest(web.domid).obey()
    web.reboot(wait=True, timeout=20)
    assert web.info().shutdown_reason is ShutdownReason.REBOOT


def suspend_and_resume(offhost: OffHost, host: pyxen.Host, web: Domain) -> None:
    """Let a guest suspend by itself while a script waits for it, and let it go on once libxl has reported that."""
    other = web.begin.wait("shutdown", timeout=10)
    until(lambda: scripts_asleep(host) == 2, "the script or the other one does not wait for a report")
    offhost.shut_down(web.domid, Reason.SUSPEND)
    info = other.result(10)
    assert info is not None
    assert info.shutdown_reason is ShutdownReason.SUSPEND
    web.resume()
    assert web.info().shutdown_reason is None


def acknowledge(offhost: OffHost, web: Domain, word: str) -> None:
    """Let a guest read what it is asked for, and do nothing."""
    store = offhost.guest(web.domid).store
    until(lambda: store.read("control/shutdown") == word, "it is not asked")
    store.write("control/shutdown", "")


def test_a_guest_that_is_suspended_meanwhile_is_not_destroyed(
    offhost: OffHost, host: pyxen.Host, config: Configure
) -> None:
    web = host.create(config())
    asked = web.begin.shutdown(timeout=30)
    acknowledge(offhost, web, "poweroff")
    for _ in range(3):
        suspend_and_resume(offhost, host, web)
        assert not asked.done()
    offhost.shut_down(web.domid, Reason.POWEROFF)
    asked.result(10)
    assert web not in host.domains
    assert offhost.left() == []


def test_a_checkpoint_while_a_shutdown_waits(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path
) -> None:
    web = host.create(config())
    asked = web.begin.shutdown(timeout=30)
    acknowledge(offhost, web, "poweroff")
    offhost.guest(web.domid).obey()
    for _ in range(2):
        web.save(tmp_path / "saved", checkpoint=True, timeout=20)
        assert not asked.done()
    offhost.shut_down(web.domid, Reason.POWEROFF)
    asked.result(10)
    assert web not in host.domains


def test_a_suspend_is_not_the_reboot_that_is_waited_for(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config(on_reboot="preserve"))
    asked = web.begin.reboot(wait=True, timeout=30)
    acknowledge(offhost, web, "reboot")
    for _ in range(2):
        suspend_and_resume(offhost, host, web)
        assert not asked.done()
    offhost.shut_down(web.domid, Reason.REBOOT)
    asked.result(10)
    assert web.info().shutdown_reason is ShutdownReason.REBOOT


@pytest.mark.parametrize(
    ("reason", "setting", "action", "says"),
    [
        (Reason.CRASH, "on_crash", "preserve", "has crashed instead of powering off; its domain is left to whoever"),
        (Reason.CRASH, "on_crash", "destroy", "has crashed .* its domain is destroyed, as on_crash says"),
        (Reason.REBOOT, "on_reboot", "restart", "has rebooted .* destroy it if nobody does"),
        (Reason.REBOOT, "on_reboot", "destroy", "has rebooted .* destroyed, as on_reboot says"),
        (Reason.SOFT_RESET, "on_soft_reset", "soft_reset", "has asked for a soft reset .* is left"),
    ],
)
def test_a_guest_that_ends_otherwise_than_it_was_asked(
    offhost: OffHost, host: pyxen.Host, config: Configure, reason: Reason, setting: str, action: str, says: str
) -> None:
    web = host.create(config(**{setting: action}))
    asked = web.begin.shutdown(timeout=30)
    acknowledge(offhost, web, "poweroff")
    offhost.shut_down(web.domid, reason)
    with pytest.raises(OperationFailed, match=says):
        asked.result(10)
    if action == "destroy":
        assert web not in host.domains
    else:
        assert web.info().shutdown_reason == ShutdownReason(reason)


def test_a_crash_is_waited_for_after_a_suspend(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config(on_crash="preserve"))
    waiting = web.begin.wait("crashed", timeout=20)
    for _ in range(2):
        suspend_and_resume(offhost, host, web)
    until(lambda: scripts_asleep(host) == 1, "it looks again and again though the guest runs")
    offhost.world.crash(web.domid)
    info = waiting.result(10)
    assert info is not None
    assert info.state is DomainState.CRASHED


def test_a_guest_that_stays_suspended_keeps_nobody_busy(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    asked = web.begin.shutdown(timeout=60)
    acknowledge(offhost, web, "poweroff")
    until(lambda: scripts_asleep(host) == 1, "it does not wait for a report")
    offhost.shut_down(web.domid, Reason.SUSPEND)
    assert web.wait("shutdown", timeout=10) is not None
    before = offhost.world.count("sysctl.getdomaininfolist")
    for _ in range(300):
        host.list()
    assert offhost.world.count("sysctl.getdomaininfolist") - before <= 300 + 10
    asked.cancel()


def test_a_check_of_what_can_be_created(offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path) -> None:
    free = offhost.world.free_kib()
    checked = host.check_create(config(cpus="all"))
    assert checked.cpus is not None
    for settings, error in (
        ({"kernel": f"{tmp_path}/nothing"}, FileMissing),
        ({"disks": [Disk(f"{tmp_path}/nothing", vdev="xvda")]}, FileMissing),
        ({"memory": 1 << 20}, NotEnoughMemory),
        ({"pool": "nowhere"}, InvalidArgument),
        ({"vifs": [Vif(bridge="nosuchbr0")]}, NotFound),
        ({"memory": 64, "maxmem": 32}, ValidationError),
    ):
        with pytest.raises(error):
            host.check_create(config(**settings))
    web = host.create(config())
    with pytest.raises(DomainExists, match="web"):
        host.check_create(config())
    with pytest.raises(DomainExists, match=str(web.uuid)):
        host.check_create(config(name="other", uuid=web.uuid))
    web.destroy()
    assert (offhost.left(), offhost.world.free_kib()) == ([], free)


def test_a_guest_that_does_not(host: pyxen.Host, config: Configure) -> None:
    web = host.create(config("pv"))
    with pytest.raises(OperationTimeout):
        web.shutdown(timeout=0.3)
    assert web.info().shutdown_reason is None


@pytest.mark.parametrize("reason", list(Reason))
def test_why_it_went_down(offhost: OffHost, host: pyxen.Host, config: Configure, reason: Reason) -> None:
    web = host.create(config())
    with host.events() as events:
        offhost.shut_down(web.domid, reason)
        event = events.get(timeout=10)
        assert isinstance(event, pyxen.DomainShutdown)
        assert (event.domid, event.reason) == (web.domid, ShutdownReason(reason))


def test_events_of_a_whole_life(host: pyxen.Host, config: Configure) -> None:
    with host.events() as events:
        web = host.create(config())
        web.destroy()
        seen = [events.get(timeout=10)]
        while seen[-1] is not None and not isinstance(seen[-1], pyxen.DomainDestroyed):
            seen.append(events.get(timeout=10))
    assert isinstance(seen[0], pyxen.DomainCreated)
    assert isinstance(seen[-1], pyxen.DomainDestroyed)
    assert {getattr(event, "domid", None) for event in seen} == {web.domid}


@KINDS
def test_disks_and_vifs(offhost: OffHost, host: pyxen.Host, config: Configure, kind: str) -> None:
    disk = offhost.folder / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    web = host.create(
        config(kind, disks=[Disk(str(disk), vdev="xvda", backendtype="phy")], vifs=[Vif(bridge="xenbr0")])
    )
    assert [found.vdev for found in web.config().disks] == ["xvda"]
    attached = web.attach(Vif(bridge="xenbr1"))
    assert len(web.config().vifs) == 2
    web.detach(attached)
    web.detach("xvda")
    assert web.config().disks == ()
    web.destroy()
    assert offhost.left() == []


def test_too_large(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    with pytest.raises(NotEnoughMemory):
        host.create(config(memory=20_000))
    assert offhost.left() == []


def test_a_kernel_that_is_none(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    (offhost.folder / "kernel").write_bytes(b"nothing")
    with pytest.raises(Error):
        host.create(config(kernel=str(offhost.folder / "kernel")))
    assert offhost.left() == []


def test_a_domain_that_dies_slowly(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    offhost.world.linger(web.domid)
    web.destroy(timeout=10)
    assert [info.state for info in host.list()[1:]] == [DomainState.DYING]
    offhost.world.remove(web.domid)
    assert host.list()[1:] == []


def test_created_right_after_one_that_dies_slowly(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    offhost.add("other", memory=offhost.world.free_kib() // 1024 - 300)
    web = host.create(config(memory=200))
    offhost.world.linger(web.domid)
    web.destroy(timeout=10)
    going = threading.Timer(0.5, offhost.world.remove, [web.domid])
    going.start()
    assert host.create(config(memory=200), timeout=30).info().memory_kib >= 200 * 1000
    going.join(60)
    assert not going.is_alive()


def test_a_configuration_without_memory(host: pyxen.Host, config: Configure) -> None:
    web = host.create(config().replace(memory=None))
    assert web.config().memory == 32


@pytest.mark.parametrize(("kind", "memory"), [("pv", 4), ("pvh", 2)])
def test_the_least_memory(host: pyxen.Host, config: Configure, kind: str, memory: int) -> None:
    assert host.create(config(kind, memory=memory)).info().name == "web"


def test_without_a_graphics_card(host: pyxen.Host) -> None:
    with pytest.raises(ValidationError, match=r"HVM guests need at least 2 MiB$"):
        host.create(DomainConfig("web", type="hvm", memory=1, vga="none"))


@pytest.mark.parametrize(("kind", "memory"), [("pv", 4), ("pv", 8), ("pvh", 4), ("pvh", 16)])
def test_a_ramdisk_that_has_no_room(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path, kind: str, memory: int
) -> None:
    ramdisk = tmp_path / "ramdisk"
    ramdisk.write_bytes(bytes(memory << 20))
    with pytest.raises(InvalidArgument, match="no room in the guest's memory: give it more"):
        host.create(config(kind, memory=memory, ramdisk=str(ramdisk)))
    assert offhost.left() == []


@pytest.mark.parametrize("cpus", ["all", "all,^0", "nodes:0"])
def test_cpus_by_what_they_are_on_the_host(host: pyxen.Host, config: Configure, cpus: str) -> None:
    web = host.create(config().replace(cpus=cpus))
    assert web.info().state is not DomainState.PAUSED


def test_no_shadow_paging(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    unpaged = config("pvh", hap=False)
    host.create(unpaged).destroy()
    offhost.world.set_shadow_paging(there=False)
    for refused in (host.create, host.check_create):
        with pytest.raises(UnsupportedFeature, match=r"^hap=0 needs shadow paging, .* without it") as caught:
            refused(unpaged)
        assert caught.value.feature == "hap"
    host.create(config("pvh"), paused=True).destroy()
    assert offhost.left() == []


def test_many_after_each_other(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    free = offhost.world.free_kib()
    for _ in range(20):
        host.create(config()).destroy()
    assert offhost.world.free_kib() == free
    assert offhost.left() == []


def test_many_at_once(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    begun = [host.begin.create(config(name=f"web{number}")) for number in range(10)]
    made = [operation.result(30) for operation in begun]
    assert len(host.list()) == 11
    ended = [domain.begin.destroy() for domain in made]
    for operation in ended:
        operation.result(30)
    assert offhost.left() == []


def test_domid_0_comes_never_again(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    offhost.world.next_domid(0x7FEF)
    last = host.create(config(name="last"))
    first = host.create(config(name="first"))
    assert (last.domid, first.domid) == (0x7FEF, 1)


def test_the_domain_that_it_runs_in_is_spared(offhost: OffHost, host: pyxen.Host) -> None:
    domid = offhost.add("toolstack")
    offhost.store.write("/local/domain/0/domid", str(domid))  # as if this process ran there, with dom0's rights
    ours, others = host.domains["toolstack"], host.domains[offhost.add("web")]
    for verb in (ours.destroy, ours.pause, ours.suspend, ours.shutdown, ours.reboot, lambda: ours.send_sysrq("b")):
        with pytest.raises(InvalidState, match=f"this process runs in domain {domid}: do this from dom0"):
            verb()
    others.pause()
    assert ours.info().state is not DomainState.PAUSED
    assert others.info().state is DomainState.PAUSED


def test_the_domain_of_xenstored_is_spared(offhost: OffHost, host: pyxen.Host) -> None:
    domid = offhost.add("store")
    offhost.store.write("/tool/xenstored/domid", str(domid))
    store, others = host.domains["store"], host.domains[offhost.add("web")]
    for verb in (store.destroy, store.pause, store.shutdown):
        with pytest.raises(InvalidState, match=f"domain {domid} runs xenstored, which all domains of the host need"):
            verb()
    assert list(host.guests) == [others]
    assert store in host.domains
    assert store.info().state is not DomainState.PAUSED


def test_a_domain_of_others_goes(offhost: OffHost, host: pyxen.Host) -> None:
    web = host.domains["web"] if offhost.add("web") else None
    assert web is not None
    offhost.world.remove(web.domid)
    with pytest.raises(DomainNotFound):
        web.info()


def test_xenstored_hangs_for_a_moment(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    offhost.signal_xenstored(signal.SIGSTOP)
    begun = host.begin.create(config())
    time.sleep(0.1)
    assert not begun.done()
    offhost.signal_xenstored(signal.SIGCONT)
    assert begun.result(10).info().name == "web"


def test_xenstored_begins_anew(offhost: OffHost, host: pyxen.Host) -> None:
    assert host.list()[0].name == "Domain-0"
    offhost.restart_xenstored()

    def is_back() -> bool:
        try:
            return host.list()[0].name == "Domain-0"
        except ConnectFailed:
            return False

    until(is_back, "the host does not come back")
