"""Statistics of all domains at once. sysfs is a folder here: there is no kernel that serves devices."""

from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path

import pytest

import pyxen
from pyxen import DiskStats, DomainStats
from pyxen.backends.xenlight.operations import backend_devices, qemu_disks
from tests.offhost.host import OffHost

BACKEND = "/local/domain/0/backend"
COUNTERS = {"rd_req": 3, "rd_sect": 24, "wr_req": 2, "wr_sect": 16, "f_req": 1, "ds_req": 4, "oo_req": 5}


class Devices:
    """Devices as sysfs and xenstore show them."""

    def __init__(self, offhost: OffHost, folder: Path) -> None:
        self._store = offhost.store
        self._folder = folder

    def add(self, kind: str, domid: int, devid: int, dev: str, *, state: str = "Connected") -> None:
        """Add a disk."""
        path = self._folder / f"{kind}-{domid}-{devid}"
        path.mkdir()
        (path / "state").write_text("Initialising\n" if kind == "qdisk" else f"{state}\n")
        if kind == "vbd" and state == "Connected":
            (path / "statistics").mkdir()
            for name, value in COUNTERS.items():
                (path / "statistics" / name).write_text(f"{value}\n")
        self._store.write(f"{BACKEND}/{kind}/{domid}/{devid}/dev", dev)
        self._store.write(f"{BACKEND}/{kind}/{domid}/{devid}/state", "4" if state == "Connected" else "2")

    def remove(self, kind: str, domid: int, devid: int) -> None:
        """Remove a disk."""
        shutil.rmtree(self._folder / f"{kind}-{domid}-{devid}")
        self._store.remove(f"{BACKEND}/{kind}/{domid}/{devid}")


@pytest.fixture
def devices(offhost: OffHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Devices:
    """The devices that dom0 serves: at first none."""
    for name in ("devices", "qmp", "net"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(backend_devices, "DEVICES", str(tmp_path / "devices"))
    monkeypatch.setattr(backend_devices, "NET", str(tmp_path / "net"))
    monkeypatch.setattr(backend_devices, "INTERFACES", str(tmp_path / "dev"))
    (tmp_path / "dev").write_text("Inter-|   Receive\n face |bytes\n")
    monkeypatch.setattr(qemu_disks, "SOCKETS", tmp_path / "qmp")
    return Devices(offhost, tmp_path / "devices")


def by_name(host: pyxen.Host) -> dict[str | None, DomainStats]:
    """Return the statistics of all domains."""
    return {stats.info.name: stats for stats in host.stats()}


def test_cpu_time(offhost: OffHost, host: pyxen.Host) -> None:
    offhost.add("one")
    offhost.add("three", vcpus=3)
    stats = by_name(host)
    assert list(stats) == ["Domain-0", "one", "three"]
    assert stats["one"].vcpu_times_ns == (stats["one"].info.cpu_time_ns,)
    assert stats["one"].vcpus_online == (True,)
    assert len(stats["three"].vcpu_times_ns) == 3
    assert stats["three"].vcpus_online == (True, True, True)
    assert host.domains["three"].stats().vcpu_times_ns == stats["three"].vcpu_times_ns


def test_a_domain_that_has_no_vcpus_yet(offhost: OffHost, host: pyxen.Host) -> None:
    """Xen says 0xffffffff for its last vCPU."""
    offhost.add("half-made", vcpus=0)
    [info] = [info for info in host.list() if info.domid]
    assert (info.vcpus, info.maxvcpus) == (0, 0)
    assert (by_name(host)["half-made"].vcpu_times_ns, by_name(host)["half-made"].vcpus_online) == ((), ())


def test_disks(offhost: OffHost, host: pyxen.Host, devices: Devices) -> None:
    domid = offhost.add("web")
    devices.add("vbd", domid, 51728, "xvdb")
    devices.add("qdisk", domid, 51712, "xvda")
    devices.add("vbd", domid, 51744, "xvdc", state="InitWait")
    offhost.store.write(f"/local/domain/0/error/backend/vbd/{domid}/51744/error", "2 no such device")
    first, second, third = by_name(host)["web"].disks
    assert first == DiskStats("xvda", None, None, None, None, backend=pyxen.DiskBackend.QDISK, state=first.state)
    assert (second.vdev, second.backend, second.state, second.error) == ("xvdb", "phy", "connected", None)
    assert (second.read_requests, second.read_bytes, second.write_requests, second.write_bytes) == (3, 12288, 2, 8192)
    assert (second.flush_requests, second.discard_requests, second.out_of_requests) == (1, 4, 5)
    assert (third.state, third.error, third.read_bytes) == ("init_wait", "2 no such device", 0)
    assert first.state == "connected"  # QEMU's word in xenstore; the kernel knows nothing of it
    assert host.domains["web"].stats().disks == (first, second, third)


def test_the_name_of_a_disk_that_was_attached_again(offhost: OffHost, host: pyxen.Host, devices: Devices) -> None:
    domid = offhost.add("web")
    names = []
    for name in ("xvda", "d0p0"):
        devices.add("vbd", domid, 51712, name)
        names += [disk.vdev for disk in by_name(host)["web"].disks]
        devices.remove("vbd", domid, 51712)
        assert by_name(host)["web"].disks == ()
    assert names == ["xvda", "d0p0"]


def test_the_disks_of_one_domain_only(offhost: OffHost, host: pyxen.Host, devices: Devices) -> None:
    for number in (1, 2):
        devices.add("vbd", offhost.add(f"web{number}"), 51712, f"xvd{'ab'[number - 1]}")
    assert [disk.vdev for disk in host.domains["web2"].stats().disks] == ["xvdb"]
    assert [disk.vdev for disk in host.domains["web1"].stats().disks] == ["xvda"]


@pytest.mark.usefixtures("devices")
def test_vifs_by_whatever_name(offhost: OffHost, host: pyxen.Host, tmp_path: Path) -> None:
    domid = offhost.add("web")
    usual, stolen = f"vif{domid}.0", f"vif{domid}.1"
    for name, devid in ((usual, 0), ("lan", 1), (stolen, 2)):  # somebody has given the name of the second to the third
        device = tmp_path / "devices" / f"vif-{domid}-{devid}"
        (device / "net" / name).mkdir(parents=True)
        (tmp_path / "net" / name).mkdir()
        (tmp_path / "net" / name / "device").symlink_to(f"../../../{device.name}")
    (tmp_path / "devices" / f"vif-{domid}-3").mkdir()  # its interface is not there yet
    lines = [f"{name}: {number} {' '.join('0' * 15)}" for number, name in enumerate((usual, "lan", stolen), 1)]
    (tmp_path / "dev").write_text("\n".join(["Inter-|   Receive", " face |bytes", *lines]) + "\n")
    assert [(vif.devid, vif.tx_bytes) for vif in by_name(host)["web"].vifs] == [(0, 1), (1, 2), (2, 3), (3, 0)]


@pytest.mark.usefixtures("devices")
def test_what_others_put_into_sysfs(offhost: OffHost, host: pyxen.Host, tmp_path: Path) -> None:
    domid = offhost.add("web")
    for name in (f"vbd-{domid}", f"vbd-{domid}-x", "vbd-99-51712", f"9pfs-{domid}-0", f"vbd-{domid}--1", "strange"):
        (tmp_path / "devices" / name).mkdir()
    (tmp_path / "devices" / f"vbd-{domid}-7").mkdir()  # it is being removed: nothing is left in it
    (disk,) = by_name(host)["web"].disks
    assert (disk.vdev, disk.state, disk.read_bytes) == ("7", "unknown", 0)


def test_no_domain_costs_a_round_trip(offhost: OffHost, host: pyxen.Host, devices: Devices) -> None:
    """Once their names are known, a pass takes as many round trips for 20 domains as for 4."""

    def add(first: int, last: int) -> None:
        for number in range(first, last):
            domid = offhost.add(f"web{number}")
            devices.add("vbd", domid, 51712, "xvda")
            devices.add("qdisk", domid, 51728, "xvdb")

    def sent_in_a_pass() -> int:
        before = offhost.world.count("xenstore.send")
        assert all(len(stats.disks) == 2 for stats in host.stats() if stats.info.domid)
        return offhost.world.count("xenstore.send") - before

    def sent() -> int:
        for _ in range(3):
            host.stats()
        return min(sent_in_a_pass() for _ in range(5))  # others may send something beside one of them

    add(0, 4)
    few = sent()
    add(4, 20)
    assert sent() == few > 0


def test_what_the_kernel_counts_while_a_qemu_hangs_counts_later(
    offhost: OffHost, host: pyxen.Host, devices: Devices, tmp_path: Path
) -> None:
    """The statistics have the moment when Xen was asked, and QEMU may take a second."""
    web, hung = offhost.add("web"), offhost.add("hung")
    devices.add("vbd", web, 51712, "xvda")
    devices.add("qdisk", hung, 51712, "xvda")
    counter = tmp_path / "devices" / f"vbd-{web}-51712" / "statistics" / "rd_req"
    (tmp_path / "devices" / f"vif-{web}-0" / "net" / f"vif{web}.0").mkdir(parents=True)

    def receive(count: int) -> None:
        line = f"vif{web}.0: {count} {' '.join('0' * 15)}"
        (tmp_path / "dev").write_text(f"Inter-|   Receive\n face |bytes\n{line}\n")

    receive(1)
    with socket.socket(socket.AF_UNIX) as qemu:
        qemu.bind(str(tmp_path / "qmp" / f"qmp-libxenstat-{hung}"))
        qemu.listen()

        def hang() -> None:
            for _ in range(2):
                accepted, _peer = qemu.accept()
                with accepted:
                    counter.write_text("1000\n")
                    receive(1000)
                    while accepted.recv(4096):  # until pyxen gives it up
                        pass
                    counter.write_text("3\n")
                    receive(1)

        thread = threading.Thread(target=hang, daemon=True)
        thread.start()
        stats = by_name(host)
        assert [disk.read_bytes for disk in stats["hung"].disks] == [None]
        assert [disk.read_requests for disk in stats["web"].disks] == [3]
        assert [vif.tx_bytes for vif in stats["web"].vifs] == [1]
        assert [disk.read_bytes for disk in host.domains["hung"].stats().disks] == [None]
        thread.join(60)
        assert not thread.is_alive()
