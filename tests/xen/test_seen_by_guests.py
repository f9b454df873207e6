"""What a Linux guest says on its console of its disks, its network, its memory and its vCPUs, and xl beside it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxen import DeviceState, Disk, Domain, Host, Vif
from pyxen.storage import create_image
from tests.xen.support import (
    GUESTS,
    MakeConfig,
    at_rest,
    in_guest,
    run,
    volume_group,
    wait_until,
    xl,
    xl_rows,
)

pytestmark = pytest.mark.long  # for the guest has to boot

ISO = GUESTS / "installer.iso"
MAC, SECOND_MAC = "00:16:3e:5e:e1:01", "00:16:3e:5e:e1:02"
ADDRESS = "192.168.77.2"
BRIDGES = "192.168.77.1"
MEMORY = 192
"""In MiB."""
CPU1 = "/sys/devices/system/cpu/cpu1"
SAID_AT = 4096
"""Where on a disk the guest writes."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder on a disk."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


def image(path: Path, mib: int) -> Path:
    """Make a raw disk that begins with its own name."""
    with path.open("wb") as file:
        file.write(path.name.encode())
        file.truncate(mib << 20)
    return path


@pytest.fixture(scope="module")
def disks(host: Host, place: Path) -> Iterator[list[Disk]]:
    """A file, an image that QEMU serves, a volume of LVM and a CD; all of different sizes."""
    raw, qcow2 = image(place / "raw", 3), create_image(place / "qcow2", "5M", format="qcow2")
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", str(image(place / "of-qemu", 5)), qcow2.path)
    with volume_group(host, place) as group:
        volume = group.create("volume", "8M")
        assert volume.path is not None
        with open(volume.path, "r+b") as device:
            device.write(b"volume")
        yield [
            Disk(str(raw), vdev="xvda"),
            Disk(qcow2.path, vdev="xvdb", format="qcow2"),
            Disk(volume.path, vdev="xvdc"),
            Disk(ISO, vdev="xvdd", cdrom=True),
        ]


@pytest.fixture(scope="module")
def guest(host: Host, linux: MakeConfig, disks: list[Disk]) -> Iterator[Domain]:
    """A guest that is up, with all its devices connected; for all tests, since a boot takes long."""
    vif = Vif(mac=MAC, bridge="xenbr0")
    guest = host.create(linux("pv", memory=MEMORY, vcpus=2, disks=disks, vifs=[vif]), timeout=240)
    try:
        at_rest(guest)
        wait_until(lambda: connected(guest), seconds=120)
        guest.set_memory(MEMORY)  # from the first time on, xenstore has an entry of it
        in_guest(guest, "dmesg -n 1")  # the kernel's own words must not come between
        yield guest
    finally:
        guest.destroy()


def connected(guest: Domain) -> bool:
    """Tell whether the guest uses all its disks and vifs."""
    states = {device.frontend_state for device in (*guest.disks, *guest.vifs)}
    return states == {DeviceState.CONNECTED}


def partitions(guest: Domain) -> dict[str, int]:
    """Return the guest's disks, without what is on them, and their sizes in KiB."""
    rows = [line.split() for line in in_guest(guest, "cat /proc/partitions").splitlines()]
    return {row[3]: int(row[2]) for row in rows if len(row) == 4 and re.fullmatch("xvd[a-z]", row[3])}


def macs(guest: Domain) -> dict[str, str]:
    """Return the guest's network interfaces, and their MAC addresses."""
    said = in_guest(guest, "cd /sys/class/net", "for one in eth*; do echo $one $(cat $one/address); done", "cd /")
    return dict(line.split() for line in said.splitlines() if " " in line)


def test_disks_have_their_sizes_and_their_data(guest: Domain) -> None:
    cd = ISO.stat().st_size // 1024
    assert partitions(guest) == {"xvda": 3 * 1024, "xvdb": 5 * 1024, "xvdc": 8 * 1024, "xvdd": cd}
    begin = {
        vdev: in_guest(guest, f"dd if=/dev/{vdev} bs=8 count=1 2>/dev/null | tr -d '\\0'")
        for vdev in ("xvda", "xvdb", "xvdc")
    }
    assert begin == {"xvda": "raw", "xvdb": "of-qemu", "xvdc": "volume"}
    served = [(disk.vdev, disk.backend) for disk in guest.stats().disks]
    assert served == [("xvda", "phy"), ("xvdb", "qdisk"), ("xvdc", "phy"), ("xvdd", "phy")]
    assert xl_connected("block-list", guest, place=3) == ["51712", "51728", "51744", "51760"]


def test_what_the_guest_writes_is_on_the_host(guest: Domain, disks: list[Disk], place: Path) -> None:
    for vdev in ("xvda", "xvdb", "xvdc"):
        write = f"echo said-by-{vdev} | dd of=/dev/{vdev} bs=512 seek={SAID_AT // 512} conv=sync,fsync 2>/dev/null"
        assert in_guest(guest, f"{write} && echo written") == "written"
    raw, qcow2, volume = (disk.target or "" for disk in disks[:3])
    run("qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", qcow2, str(place / "copy"))
    for vdev, path in (("xvda", raw), ("xvdb", place / "copy"), ("xvdc", volume)):
        with open(path, "rb") as file:
            file.seek(SAID_AT)
            assert file.readline() == f"said-by-{vdev}\n".encode()


def test_a_cd_is_read_and_not_written(guest: Domain) -> None:
    before = ISO.read_bytes()
    assert in_guest(guest, "dd if=/dev/xvdd bs=1 skip=32769 count=5 2>/dev/null") == "CD001"
    assert in_guest(guest, "cat /sys/block/xvdd/ro /sys/block/xvda/ro").split() == ["1", "0"]
    said = in_guest(guest, "dd if=/dev/zero of=/dev/xvdd bs=512 count=1 conv=fsync 2>&1", "echo status-$?")
    assert "status-1" in said
    assert re.search("not permitted|Read-only|Permission denied", said), said
    assert ISO.read_bytes() == before


def test_a_vif_has_its_mac_and_reaches_the_bridge(guest: Domain) -> None:
    assert macs(guest) == {"eth0": MAC}
    in_guest(guest, f"ip address add {ADDRESS}/24 dev eth0", "ip link set eth0 up")
    assert re.search(r"\b[12] packets received", in_guest(guest, f"ping -c 2 -W 20 {BRIDGES}"))
    assert f"lladdr {MAC} " in run("ip", "neighbour", "show", "to", ADDRESS, "dev", "xenbr0")
    assert xl_connected("network-list", guest, place=4) == ["0"]
    [[_, _, mac, *_]] = xl_rows("network-list", guest)
    assert mac == MAC


def test_memory_is_taken_and_given_back(guest: Domain) -> None:
    whole, part = memory(guest), MEMORY - 32
    guest.set_memory(part)
    wait_until(lambda: abs(whole - 32 * 1024 - memory(guest)) < 1024, seconds=120)
    assert xl_memory(guest) == part
    guest.set_memory(MEMORY)
    wait_until(lambda: abs(whole - memory(guest)) < 1024, seconds=120)
    assert xl_memory(guest) == MEMORY


def memory(guest: Domain) -> int:
    """Return the memory that the guest's kernel has, in KiB."""
    return int(in_guest(guest, "grep MemTotal /proc/meminfo").split()[1])


def xl_memory(guest: Domain) -> int:
    """Return a domain's memory as xl lists it, in MiB."""
    return int(xl("list", str(guest.domid)).splitlines()[1].split()[2])


def test_vcpus_go_and_come(guest: Domain) -> None:
    assert online(guest) == "0-1"
    guest.set_vcpus(1)
    wait_until(lambda: online(guest) == "0", seconds=120)
    wait_until(lambda: xl_online(guest) == [True, False])
    assert [vcpu.online for vcpu in guest.vcpus()] == [True, False]
    guest.set_vcpus(2)
    in_guest(guest, f"until [ -e {CPU1}/online ]; do sleep 1; done", f"echo 1 >{CPU1}/online")  # udev's work
    wait_until(lambda: online(guest) == "0-1", seconds=120)
    assert xl_online(guest) == [vcpu.online for vcpu in guest.vcpus()] == [True, True]


def online(guest: Domain) -> str:
    """Return the vCPUs that the guest's kernel uses."""
    return in_guest(guest, "cat /sys/devices/system/cpu/online")


def xl_online(guest: Domain) -> list[bool]:
    """Tell of each vCPU whether it is online, as xl lists it."""
    return ["p" not in row[4] for row in xl_rows("vcpu-list", guest)]


def test_devices_come_and_go(guest: Domain, place: Path) -> None:
    disks, vifs = partitions(guest), macs(guest)
    guest.disks.attach(Disk(str(image(place / "more", 2)), vdev="xvde", readonly=True))
    vif = guest.vifs.attach(Vif(mac=SECOND_MAC, bridge="xenbr0"))
    wait_until(lambda: connected(guest), seconds=120)
    assert partitions(guest) == disks | {"xvde": 2 * 1024}
    assert in_guest(guest, "dd if=/dev/xvde bs=4 count=1 2>/dev/null", "cat /sys/block/xvde/ro") == "more1"
    assert macs(guest) == vifs | {"eth1": SECOND_MAC}
    assert xl_connected("block-list", guest, place=3) == ["51712", "51728", "51744", "51760", "51776"]
    assert [row[2] for row in xl_rows("network-list", guest)] == [MAC, SECOND_MAC]
    guest.disks.detach("xvde")
    guest.vifs.detach(vif)
    assert (partitions(guest), macs(guest)) == (disks, vifs)
    assert len(xl_rows("block-list", guest)) == 4
    assert [row[2] for row in xl_rows("network-list", guest)] == [MAC]


def xl_connected(verb: str, guest: Domain, *, place: int) -> list[str]:
    """Return the numbers of the devices that xl lists as connected; `place` is where it shows the state."""
    return [row[0] for row in xl_rows(verb, guest) if row[place] == "4"]
