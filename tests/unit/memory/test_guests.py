"""What guests do in their time."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import pyxen
from pyxen import (
    Disk,
    DomainConfig,
    DomainState,
    DomainStats,
    GuestTimeout,
    InvalidArgument,
    InvalidState,
    NoGuestDriver,
    NotFound,
    OperationFailed,
    OperationTimeout,
    ShutdownReason,
    Vif,
)
from pyxen.testing import FakeHost
from tests.unit.memory.configs import config
from tests.waiting import until


def test_booting_takes_time_that_nobody_waits_for(fake: FakeHost) -> None:
    domain = fake.create(config(vcpus=2))
    assert domain.info().state is DomainState.RUNNING
    assert domain.info().vcpus == 1
    fake.advance(7.9)
    assert not fake.guest(domain).booted
    fake.advance(0.2)
    assert fake.guest(domain).booted
    assert domain.info().state is DomainState.BLOCKED
    assert domain.info().vcpus == 2


def test_a_paused_guest_stands_still(fake: FakeHost) -> None:
    domain = fake.create(config())
    fake.advance(4)
    domain.pause()
    before = domain.info().cpu_time_ns
    fake.advance(100)
    assert not fake.guest(domain).booted
    assert domain.info().cpu_time_ns == before
    domain.unpause()
    fake.advance(3.9)
    assert not fake.guest(domain).booted
    fake.advance(0.2)
    assert fake.guest(domain).booted


def test_a_request_waits_for_the_end_of_booting(fake: FakeHost) -> None:
    domain = fake.create(config(on_poweroff="preserve"))
    domain.shutdown()
    assert fake.guest(domain).booted
    assert domain.info().shutdown_reason is ShutdownReason.POWEROFF


def test_a_guest_that_hangs(fake: FakeHost) -> None:
    domain = fake.create(config(disks=[Disk("/dev/a", vdev="xvda")], vifs=[Vif(mac="00:16:3e:00:00:01")]))
    fake.guest(domain).answers = False
    for call in (domain.shutdown, domain.reboot):
        with pytest.raises(OperationTimeout):
            call()
    with pytest.raises(GuestTimeout):
        domain.suspend()
    with pytest.raises(GuestTimeout, match="does not release the disk xvda"):
        domain.detach("xvda")
    domain.detach("00:16:3e:00:00:01")  # libxl takes it away in the end
    assert [disk.vdev for disk in domain.config().disks] == ["xvda"]
    assert domain.config().vifs == ()
    assert domain.info().shutdown_reason is None


def test_a_detach_that_is_stopped(fake: FakeHost) -> None:
    domain = fake.create(config(disks=[Disk("/dev/a", vdev="xvda")]))
    fake.guest(domain).boot()
    fake.guest(domain).answers = False
    with pytest.raises(OperationTimeout, match="which it may still do"):
        domain.detach("xvda", timeout=1)
    assert len(domain.config().disks) == 1


def test_a_late_answer(fake: FakeHost) -> None:
    domain = fake.create(config(on_poweroff="preserve"))
    with pytest.raises(OperationTimeout, match="may still shut down"):
        domain.shutdown(timeout=0)  # it still boots
    fake.advance(60)
    assert domain.info().shutdown_reason is ShutdownReason.POWEROFF


@pytest.mark.parametrize(
    ("reason", "setting", "action", "says"),
    [
        ("crash", "on_crash", "preserve", "has crashed instead of powering off; its domain is left to whoever"),
        ("crash", "on_crash", "coredump_destroy", "has crashed .* is left to whoever supervises it"),
        ("crash", "on_crash", "destroy", "has crashed .* its domain is destroyed, as on_crash says"),
        ("reboot", "on_reboot", "restart", "has rebooted .* destroy it if nobody does"),
        ("reboot", "on_reboot", "destroy", "has rebooted .* destroyed, as on_reboot says"),
        ("watchdog", "on_watchdog", "destroy", "was ended by its watchdog .* destroyed, as on_watchdog says"),
        ("soft_reset", "on_soft_reset", "soft_reset", "has asked for a soft reset .* is left"),
    ],
)
def test_a_guest_that_ends_otherwise_than_it_was_asked(
    fake: FakeHost, reason: str, setting: str, action: str, says: str
) -> None:
    domain = fake.create(config(**{setting: action}))
    fake.guest(domain).boot()
    fake.guest(domain).end(ShutdownReason[reason.upper()], after=1)
    with pytest.raises(OperationFailed, match=says) as caught:
        domain.shutdown()
    assert (caught.value.operation, caught.value.domid) == ("shutdown", domain.domid)
    assert (domain in fake.domains) is (action != "destroy")


@pytest.mark.parametrize("verb", ["shutdown", "reboot"])
def test_a_suspend_is_not_the_end_that_was_asked_for(fake: FakeHost, verb: str) -> None:
    domain = fake.create(config(on_poweroff="preserve", on_reboot="preserve"))
    fake.guest(domain).boot()
    fake.guest(domain).end(ShutdownReason.SUSPEND, after=1)
    asked = domain.begin.shutdown() if verb == "shutdown" else domain.begin.reboot(wait=True)
    assert domain.wait("shutdown") is not None
    assert domain.info().shutdown_reason is ShutdownReason.SUSPEND
    domain.resume()
    asked.result(30)
    assert domain.info().shutdown_reason in {ShutdownReason.POWEROFF, ShutdownReason.REBOOT}


def test_a_guest_that_stays_suspended_is_left(fake: FakeHost) -> None:
    domain = fake.create(config())
    fake.guest(domain).boot()
    fake.guest(domain).end(ShutdownReason.SUSPEND, after=1)
    with pytest.raises(OperationTimeout, match="may still shut down"):
        domain.shutdown(timeout=60)
    assert domain.info().shutdown_reason is ShutdownReason.SUSPEND


def test_an_hvm_guest_without_drivers(fake: FakeHost) -> None:
    domain = fake.create(config(type="hvm"))
    fake.guest(domain).drivers = False
    fake.guest(domain).boot()
    with pytest.raises(NoGuestDriver):
        domain.shutdown()
    domain.shutdown(fallback=True)
    assert domain not in fake.domains


def test_triggers(fake: FakeHost) -> None:
    domain = fake.create(config(type="hvm"))
    domain.send_trigger("nmi")
    with pytest.raises(OperationFailed, match="Function not implemented"):
        domain.send_trigger("reset")
    fake.create(config("web2")).send_trigger("power")
    with pytest.raises(OperationFailed, match="Invalid argument"):
        fake.create(config("web3", type="pv")).send_trigger("power")
    with pytest.raises(InvalidArgument, match="no vCPU 7"):
        domain.send_trigger("nmi", vcpu=7)


def test_sysrq(fake: FakeHost) -> None:
    domain = fake.create(config())
    fake.guest(domain).boot()
    domain.send_sysrq("s")
    fake.advance(1)
    assert domain.info().shutdown_reason is None
    domain.send_sysrq("c")
    fake.advance(1)
    assert domain.info().state is DomainState.CRASHED


def test_soft_reset(fake: FakeHost) -> None:
    domain = fake.create(config(type="hvm"))
    fake.guest(domain).boot()
    with pytest.raises(InvalidState, match="has not shut down"):
        domain.soft_reset()
    fake.guest(domain).end(ShutdownReason.SOFT_RESET)
    domain.soft_reset()
    assert domain.info().state is DomainState.RUNNING
    fake.advance(60)
    assert fake.guest(domain).booted


def test_a_suspended_guest_is_not_soft_reset(fake: FakeHost) -> None:
    domain = fake.create(config(type="hvm"))
    fake.guest(domain).boot()
    domain.suspend()
    with pytest.raises(InvalidState, match=r"has not shut down: it is suspended$"):
        domain.soft_reset()
    domain.resume()
    assert domain.info().shutdown_reason is None


def test_an_hvm_guest_needs_a_serial_port_for_a_console(fake: FakeHost) -> None:
    with pytest.raises(NotFound, match="serial="):
        fake.create(config(type="hvm")).console()
    fake.create(config("web2", type="hvm", serial=["pty"])).console().close()


def test_a_guest_that_ends_later(fake: FakeHost) -> None:
    domain = fake.create(config())
    fake.guest(domain).end(ShutdownReason.WATCHDOG, after=30)
    info = domain.wait(timeout=60)
    assert info is not None
    assert info.shutdown_reason is ShutdownReason.WATCHDOG
    with pytest.raises(OperationTimeout):
        fake.create(config("web2")).wait(timeout=60)


def test_memory_follows_when_there_is_room(fake: FakeHost) -> None:
    domain = fake.create(config(memory=64, maxmem=128))
    fake.guest(domain).boot()
    domain.set_memory(100)
    assert domain.info().memory_kib == 64 * 1024
    fake.advance(1)
    assert domain.info().memory_kib == 100 * 1024
    domain.set_memory(32)
    fake.guest(domain).answers = False
    domain.set_memory(48)
    fake.advance(60)
    assert domain.info().memory_kib == 100 * 1024


def test_figures_that_grow(fake: FakeHost) -> None:
    def total(stats: DomainStats) -> list[int]:
        return [stats.cpu_time_ns, stats.disks[0].read_bytes or 0, stats.vifs[0].rx_bytes]

    disks = [Disk("/dev/a", vdev="xvda", readonly=True), Disk("/dev/b", vdev="xvdb")]
    domain = fake.create(config(vcpus=2, disks=disks, vifs=[Vif()]))
    first = total(domain.stats())
    fake.advance(60)
    stats = domain.stats()
    assert all(after > before for before, after in zip(first, total(stats), strict=True))
    assert sum(stats.vcpu_times_ns) == stats.cpu_time_ns
    assert [(disk.vdev, bool(disk.write_bytes)) for disk in stats.disks] == [("xvda", False), ("xvdb", True)]


def test_the_console(fake: FakeHost) -> None:
    domain = fake.create(config())
    fake.guest(domain).say(b"booting\r\n")
    with domain.console() as console:
        assert console.read(100) == b"booting\r\n"
        fake.guest(domain).boot()
        assert console.read(100) == b"\r\nweb1 login: "
        console.write(b"root\r")
        assert console.read(100) == b"root\r\n"
        assert fake.guest(domain).typed == b"root\r"
        threads = threading.active_count()
        domain.destroy()
        assert console.read(100) == b""
    until(lambda: threading.active_count() < threads, "its thread does not end")


def test_a_console_opened_twice_is_one(fake: FakeHost) -> None:
    domain = fake.create(config())
    with domain.console() as first, domain.console() as second:
        assert first.fileno() != second.fileno()
        os.write(first.fileno(), b"x")
        assert second.read(1) == b"x"


def test_a_saved_guest_is_the_same(fake: FakeHost, tmp_path: Path) -> None:
    domain = fake.create(config(vcpus=2, maxmem=128))
    fake.guest(domain).boot()
    domain.set_memory(80)
    fake.advance(1)
    domain.set_userdata("note", b"x")
    before, settings = domain.info(), domain.config()
    domain.save(tmp_path / "file")
    again = fake.restore(tmp_path / "file")
    info = again.info()
    assert (info.memory_kib, info.vcpus, info.state) == (before.memory_kib, 2, DomainState.BLOCKED)
    assert again.config().replace(domid=None) == settings.replace(domid=None)
    assert again.domid != domain.domid
    assert again.userdata("note") is None


@pytest.mark.parametrize("keep", [-1, -30, -80])
def test_a_file_that_is_cut_short(fake: FakeHost, tmp_path: Path, keep: int) -> None:
    domain = fake.create(config())
    domain.save(tmp_path / "file")
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:keep])
    with pytest.raises(OperationFailed) as caught:
        fake.restore(tmp_path / "file")
    assert caught.value.log
    assert len(fake.domains) == 1


def test_a_save_that_is_late_leaves_the_guest_running(fake: FakeHost, tmp_path: Path) -> None:
    domain = fake.create(config())
    fake.guest(domain).boot()
    (tmp_path / "file").write_text("an older one")
    with pytest.raises(OperationTimeout):
        domain.save(tmp_path / "file", timeout=1)
    assert (tmp_path / "file").read_text() == "an older one"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert domain.info().state is DomainState.BLOCKED


def test_a_disc_is_no_folder(tmp_path: Path) -> None:
    with pyxen.connect("memory:///discs?files=here") as xen:
        kernel = tmp_path / "vmlinuz"
        kernel.touch()
        drive = Disk(None, vdev="hdc", cdrom=True)
        web = xen.create(DomainConfig("web1", type="hvm", kernel=kernel, memory=32, disks=[drive]))
        with pytest.raises(InvalidArgument, match="is a folder: use an image file"):
            web.insert_cdrom("hdc", tmp_path)
        web.insert_cdrom("hdc", kernel)


def test_a_guest_that_is_reset_has_to_boot_again(fake: FakeHost) -> None:
    web = fake.create(config(type="hvm", on_soft_reset="soft_reset"))
    poweroff = f"{web.xenstore_path}/control/feature-poweroff"
    fake.advance(30)
    assert fake.xenstore.read(poweroff) == "1"
    fake.guest(web).end(ShutdownReason.SOFT_RESET)
    web.soft_reset()
    assert (fake.guest(web).booted, fake.xenstore.read(poweroff)) == (False, "")
    fake.advance(30)
    assert (fake.guest(web).booted, fake.xenstore.read(poweroff)) == (True, "1")


def test_a_request_that_another_program_writes_while_it_is_paused(fake: FakeHost) -> None:
    web = fake.create(config())
    fake.advance(30)
    web.pause()
    fake.xenstore.write(f"{web.xenstore_path}/control/shutdown", "poweroff")
    fake.advance(60)
    assert web.info().state is DomainState.PAUSED
    web.unpause()
    fake.advance(60)
    assert web.info().shutdown_reason is ShutdownReason.POWEROFF


def test_a_suspend_that_is_given_up_asks_no_more(fake: FakeHost) -> None:
    web = fake.create(config(cmdline="ignore"))
    with pytest.raises(GuestTimeout):
        web.suspend()
    assert fake.xenstore.read(f"{web.xenstore_path}/control/shutdown") == ""


def test_the_memory_of_a_graphics_card(fake: FakeHost) -> None:
    web = fake.create(config(type="hvm", memory=64))
    target = f"{web.xenstore_path}/memory/target"
    assert (web.memory().videoram_kib, web.memory().target_kib) == (8 * 1024, 64 * 1024)
    assert fake.xenstore.read(target) == str(56 * 1024)
    assert fake.xenstore.read(f"{web.xenstore_path}/memory/videoram") == str(8 * 1024)
    fake.xenstore.write(target, str(40 * 1024))
    assert web.memory().target_kib == 48 * 1024
    web.set_memory(32)
    assert fake.xenstore.read(target) == str(24 * 1024)
    given = fake.create(config("web2", type="hvm", memory=64, vga="std", videoram=32))
    assert given.memory().videoram_kib == 32 * 1024
    assert fake.create(config("web3")).memory().videoram_kib == 0


def test_a_sysrq_key_stands_in_xenstore_until_it_is_taken(fake: FakeHost) -> None:
    web = fake.create(config())
    node = f"{web.xenstore_path}/control/sysrq"
    fake.advance(30)
    web.send_sysrq("s")
    assert fake.xenstore.read(node) == "s"
    fake.advance(1)
    assert fake.xenstore.read(node) == ""
    fake.guest(web).answers = False
    web.send_sysrq("s")
    fake.advance(60)
    assert fake.xenstore.read(node) == "s"
