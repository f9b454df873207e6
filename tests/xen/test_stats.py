"""What a domain has used, and its console."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

import pyxen
from pyxen import Disk, DiskStats, Domain, DomainStats, Host, Vif
from pyxen.backends.xenlight.operations import qemu_disks
from pyxen.config.vdev import vdev_number
from pyxen.errors import InvalidArgument, NotFound, UnsupportedFeature
from tests.xen.support import GUESTS, MakeConfig, MakeDomain, at_rest, in_guest, run, wait_until


def test_counters_and_console(host: Host, running_linux: MakeDomain) -> None:
    domain = running_linux()
    assert (domain.stats().disks, domain.stats().vifs) == ((), ())
    domain.attach(Disk("/dev/vdc", vdev="xvdb"))
    domain.attach(Vif(bridge="xenbr0"))
    in_guest(
        domain,
        "until [ -b /dev/xvdb ] && ip addr add 192.168.77.2/24 dev eth0; do sleep 1; done; ip link set eth0 up",
        "dd if=/dev/xvdb of=/dev/null bs=64k count=16; dd if=/dev/zero of=/dev/xvdb bs=4k count=1",
        "ping -c 2 192.168.77.1",
    )
    stats, info = domain.stats(), domain.info()
    assert 0 < stats.cpu_time_ns <= info.cpu_time_ns
    assert stats.vcpu_times_ns == (stats.cpu_time_ns,)
    assert stats.vcpus_online == (True,)
    assert stats.memory_kib == info.memory_kib
    (of_disk,) = stats.disks
    assert (of_disk.vdev, of_disk.backend, of_disk.state, of_disk.error) == ("xvdb", "phy", "connected", None)
    assert (of_disk.read_bytes or 0) >= 16 * 64 * 1024
    assert (of_disk.read_requests or 0) > 0
    wait_until(lambda: (domain.stats().disks[0].write_bytes or 0) >= 4096)
    (of_vif,) = stats.vifs
    assert of_vif.devid == 0
    assert of_vif.tx_packets >= 2
    assert of_vif.rx_bytes > 0
    as_xentop(host, domain)
    domain.detach("xvdb")
    assert domain.stats().disks == ()
    domain.destroy()


@pytest.mark.long
def test_disks_of_the_kernel_and_of_qemu(
    host: Host, linux: MakeConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_disks, "PATIENCE", 60)  # a busy machine may need more than its usual second
    image = qcow2(folder / "data.qcow2")
    disks = [Disk("/dev/vdc", vdev="xvdb"), Disk(str(image), vdev="xvdc", format="qcow2")]
    domain = at_rest(host.create(linux("pv", vcpus=1, maxvcpus=2, disks=disks, vifs=[Vif(bridge="xenbr0")])))
    sampler = pyxen.Sampler(host)
    assert sampler.sample() == ()
    in_guest(
        domain, "dd if=/dev/xvdb of=/dev/null bs=64k count=4; dd if=/dev/xvdc of=/dev/null bs=64k count=16 && sync"
    )
    in_guest(domain, "dd if=/dev/zero of=/dev/xvdc bs=4k count=8 && sync")
    stats = as_xentop(host, domain)
    by_kernel, by_qemu = stats.disks
    assert (by_kernel.vdev, by_kernel.backend) == ("xvdb", "phy")
    assert (by_qemu.vdev, by_qemu.backend, by_qemu.state) == ("xvdc", "qdisk", "connected")
    assert (by_qemu.read_bytes or 0) >= 16 * 64 * 1024
    assert (by_qemu.write_bytes or 0) >= 8 * 4096
    assert by_qemu.out_of_requests is None
    assert stats.vcpus_online == (True, False)
    assert len(stats.vcpu_times_ns) == 2
    assert abs(sum(stats.vcpu_times_ns) - stats.cpu_time_ns) < 10**9
    [rates] = [rates for rates in sampler.sample() if rates.stats.info.domid == domain.domid]
    assert rates.stats.info.domain == domain
    assert rates.cpu_percent > 0
    assert round(rates.read_bytes_per_s * rates.seconds) >= 20 * 64 * 1024
    assert round(rates.write_bytes_per_s * rates.seconds) >= 8 * 4096
    monkeypatch.setattr(qemu_disks, "PATIENCE", 1)
    (qemu,) = qemu_of(domain.domid)
    os.kill(qemu, signal.SIGSTOP)
    try:
        hung = domain.stats().disks
        assert (hung[1].read_bytes, hung[1].read_requests, hung[1].state) == (None, None, "connected")
        assert hung[0] == by_kernel
    finally:
        os.kill(qemu, signal.SIGCONT)
    wait_until(lambda: domain.stats().disks[1].read_bytes is not None)
    domain.destroy()


def test_emulated_disks(host: Host, tiny: MakeConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_disks, "PATIENCE", 60)
    boot = folder / "boot.qcow2"
    run("qemu-img", "convert", "-O", "qcow2", str(GUESTS / "tiny-hvm.img"), str(boot))
    disks = [
        Disk(str(boot), vdev="hda", format="qcow2"),
        Disk(str(qcow2(folder / "data.qcow2")), vdev="xvdb", format="qcow2"),
        Disk(None, vdev="hdc", format="raw", cdrom=True),
    ]
    vif = Vif(bridge="xenbr0", type="vif")  # a card that QEMU emulates has a ROM, which would run first
    domain = host.create(tiny("hvm", disks=disks, vifs=[vif]), timeout=120)
    wait_until(lambda: (of_disk(domain, "hda").read_bytes or 0) >= 512)  # the BIOS has loaded the boot sector
    stats = as_xentop(host, domain)
    assert [(disk.vdev, disk.backend) for disk in stats.disks] == [(vdev, "qdisk") for vdev in ("hda", "hdc", "xvdb")]
    assert all(disk.read_bytes is not None for disk in stats.disks if disk.vdev != "hdc")
    assert all(disk.state == "init_wait" for disk in stats.disks if disk.vdev != "hdc")  # the guest has no PV drivers
    domain.destroy()


def qcow2(path: Path) -> Path:
    """Make a disk image that QEMU has to serve."""
    run("qemu-img", "create", "-q", "-f", "qcow2", str(path), "4M")
    return path


def qemu_of(domid: int) -> list[int]:
    """Return the processes that serve a domain's disks."""
    processes = Path("/proc").glob("[0-9]*/cmdline")
    return [int(path.parent.name) for path in processes if b"qmp-libxenstat-%d," % domid in path.read_bytes()]


def of_disk(domain: Domain, vdev: str) -> DiskStats:
    """Return the statistics of a disk."""
    return next(disk for disk in domain.stats().disks if disk.vdev == vdev)


_NET = re.compile(
    r"Net\d+ RX: *(\d+)bytes *(\d+)pkts *(\d+)err *(\d+)drop +TX: *(\d+)bytes *(\d+)pkts *(\d+)err *(\d+)drop"
)
_VBD = re.compile(r"VBD BlkBack *(\d+) \[.*\] +OO: *(\d+) +RD: *(\d+) +WR: *(\d+)")


def xentop() -> dict[str, tuple[int, ...]]:
    """Return what xentop shows: seconds, KiB, vCPUs, the sums of all networks, and the sums of the kernel's disks."""
    rows: dict[str, list[int]] = {}
    name = ""
    for line in run("xentop", "-b", "-f", "-i", "1", "-n", "-x").splitlines()[1:]:
        if net := _NET.match(line):
            rows[name][2:10] = [a + int(b) for a, b in zip(rows[name][2:10], net.groups(), strict=True)]
        elif vbd := _VBD.match(line):
            rows[name][10:] = [a + int(b) for a, b in zip(rows[name][10:], vbd.groups()[1:], strict=True)]
        elif not line.startswith("VBD "):  # what it has from QEMU it gives to disk 0, whichever that is
            name, _, seconds, _, memory = line.split()[:5]
            rows[name] = [int(seconds), int(memory), *[0] * 11]
    return {name: tuple(row) for name, row in rows.items()}


def shown(stats: DomainStats) -> tuple[int, ...]:
    """Return statistics in the order of `xentop`, which counts networks as the host does."""
    net = [0] * 8
    for vif in stats.vifs:
        sent = [vif.tx_bytes, vif.tx_packets, vif.tx_errors, vif.tx_dropped]
        received = [vif.rx_bytes, vif.rx_packets, vif.rx_errors, vif.rx_dropped]
        net = [a + b for a, b in zip(net, sent + received, strict=True)]
    disks = [disk for disk in stats.disks if disk.backend == "phy"]
    vbd = [[disk.out_of_requests or 0, disk.read_requests or 0, disk.write_requests or 0] for disk in disks]
    return (stats.cpu_time_ns // 10**9, stats.memory_kib, *net, *map(sum, zip([0] * 3, *vbd, strict=True)))


def as_xentop(host: Host, domain: Domain) -> DomainStats:
    """Check all domains against xentop, and return the statistics of one."""
    before = {each.info.name: each for each in host.stats()}
    told = xentop()
    after = {each.info.name: each for each in host.stats()}
    assert told.keys() == before.keys() == after.keys()
    for name, row in told.items():
        bounds = zip(shown(before[name]), row, shown(after[name]), strict=True)
        assert all(least <= value <= most for least, value, most in bounds), f"{name}: {before[name]}, {row}"
        assert before[name].monotonic_ns < after[name].monotonic_ns
        for disk in before[name].disks:
            if disk.backend == "phy":
                folder = (
                    f"/sys/bus/xen-backend/devices/vbd-{before[name].info.domid}-{vdev_number(disk.vdev)}/statistics"
                )
                counters = [
                    int(Path(folder, counter).read_text()) for counter in ("rd_sect", "wr_sect", "f_req", "ds_req")
                ]
                ours = [disk.read_bytes, disk.write_bytes, disk.flush_requests, disk.discard_requests]
                assert ours == [counters[0] * 512, counters[1] * 512, *counters[2:]]
    return next(stats for stats in after.values() if stats.info.domid == domain.domid)


def test_a_domain_without_a_qemu(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny())
    with pytest.raises(UnsupportedFeature, match="no QEMU"):
        domain.monitor_command("info block")
    domain.destroy()


def test_a_domain_without_a_console(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("hvm"))
    with pytest.raises(NotFound, match="serial"):
        domain.console()
    assert domain.stats().vifs == ()
    assert "tiny-hvm.img" in domain.monitor_command("info block")
    assert "unknown command" in domain.monitor_command("dance")
    with pytest.raises(InvalidArgument, match="empty"):
        domain.monitor_command(" ")
    domain.destroy()
