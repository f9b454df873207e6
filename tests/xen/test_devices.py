"""Devices that come to a running domain and go from it, on real Xen, as xl sees it."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

import pyxen
from pyxen import (
    DeviceExists,
    Disk,
    Domain,
    FileMissing,
    GuestTimeout,
    Host,
    InvalidArgument,
    NotFound,
    OperationTimeout,
    Pci,
    UnsupportedFeature,
    UsbCtrl,
    UsbDev,
    ValidationError,
    Vif,
    Vtpm,
)
from tests.xen.support import MakeConfig, wait_until, xenstore_entries, xl


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A file that can be a disk."""
    path = tmp_path / "data.img"
    path.write_bytes(bytes(1 << 20))
    return str(path)


def block_list(domain: Domain) -> list[int]:
    """Return the numbers of the disks that xl lists."""
    return [int(line.split()[0]) for line in xl("block-list", str(domain.domid)).splitlines()[1:]]


def loops() -> str:
    """Return the files that loop devices hold open."""
    return subprocess.check_output(["losetup", "-a"], text=True, timeout=120)


def network_list(domain: Domain) -> list[str]:
    """Return the MAC addresses of the vifs that xl lists."""
    return [line.split()[2] for line in xl("network-list", str(domain.domid)).splitlines()[1:]]


def test_a_disk(host: Host, tiny: MakeConfig, image: str) -> None:
    domain = host.create(tiny("pv"))
    for name in ("xvdb", "d1p0"):  # the same, and the second time it comes as new
        disk = domain.attach(Disk(image, vdev="xvdb", readonly=True))
        assert (disk.target, disk.vdev, disk.readonly, disk.backendtype) == (image, "xvdb", True, "phy")
        assert block_list(domain) == [51728]
        assert [(disk.target, disk.vdev) for disk in domain.config().disks] == [(image, "xvdb")]
        assert image in loops()
        domain.detach(name, force=True)
        assert block_list(domain) == []
        assert image not in loops()
        assert domain.config().disks == ()
    domain.destroy()


def test_devices_that_qemu_serves(host: Host, tiny: MakeConfig, image: str) -> None:
    first = Disk(image, vdev="xvda", backendtype="qdisk", readonly=True)
    domain = host.create(tiny("pv", disks=[first]))  # so there is a QEMU
    domain.attach(Disk(image, vdev="xvdb", backendtype="qdisk", readonly=True))
    controller = domain.attach(UsbCtrl(type="qusb", ports=4))
    assert (controller.devid, controller.ports) == (0, 4)
    assert block_list(domain) == [51712, 51728]
    assert "qusb" in xl("usb-list", str(domain.domid))
    assert [ctrl.ports for ctrl in domain.config().usbctrls] == [4]
    domain.detach("xvdb", force=True)
    domain.detach(UsbCtrl(devid=0), force=True)
    assert block_list(domain) == [51712]
    assert "qusb" not in xl("usb-list", str(domain.domid))
    domain.destroy()


def test_a_domain_without_qemu(host: Host, tiny: MakeConfig, image: str) -> None:
    domain = host.create(tiny("pvh"))
    before = xenstore_entries()
    with pytest.raises(UnsupportedFeature, match=r"this qdisk disk needs QEMU.*backendtype=phy"):
        domain.attach(Disk(image, vdev="xvdb", backendtype="qdisk"))
    with pytest.raises(UnsupportedFeature, match="this USB controller needs QEMU"):
        domain.attach(UsbCtrl(type="qusb"))
    assert xenstore_entries() == before
    assert domain.config().disks == ()
    domain.destroy()


def test_a_vif(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    first = domain.attach(Vif(bridge="xenbr0"))
    second = domain.attach(Vif(mac="00:16:3e:01:02:03", rate="10MB/s"))
    assert (first.devid, second.devid) == (0, 1)
    assert second.bridge == "xenbr0"  # libxl's choice
    assert network_list(domain) == [first.mac, "00:16:3e:01:02:03"]
    domain.detach(first, force=True)
    assert network_list(domain) == ["00:16:3e:01:02:03"]
    again = domain.attach(Vif(bridge="xenbr0"))
    domain.detach("00:16:3E:01:02:03", force=True)
    domain.detach(Vif(devid=again.devid), force=True)
    assert network_list(domain) == []
    domain.destroy()


def test_a_guest_that_does_not_let_go(host: Host, tiny: MakeConfig, image: str) -> None:
    domain = host.create(tiny("pv"))
    domain.attach(Disk(image, vdev="xvdb"))
    with pytest.raises(OperationTimeout, match=r"disk xvdb.*force=True"):
        domain.detach("xvdb", timeout=0.5)
    assert block_list(domain) == [51728]
    with pytest.raises(GuestTimeout, match=r"does not release the disk xvdb.*force=True"):
        domain.detach("xvdb")
    assert block_list(domain) == [51728]
    domain.detach("xvdb", force=True)
    assert block_list(domain) == []
    assert image not in loops()
    domain.destroy()


@pytest.mark.long
def test_a_vif_that_the_guest_does_not_let_go(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    vif = domain.attach(Vif(bridge="xenbr0"))
    with pytest.raises(OperationTimeout, match=f"vif {vif.mac}"):
        domain.detach(vif, timeout=0.5)
    assert network_list(domain) == [vif.mac]
    domain.detach(vif)  # libxl takes it away in the end
    assert network_list(domain) == []
    domain.destroy()


def test_a_bridge_that_is_missing(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    before = xenstore_entries()
    with pytest.raises(NotFound, match="no bridge nosuchbr0") as caught:
        domain.attach(Vif(bridge="nosuchbr0"))
    assert caught.value.log
    assert xenstore_entries() == before
    assert domain.config().vifs == ()
    assert domain.attach(Vif(bridge="xenbr0")).devid == 0
    domain.destroy()


def test_a_script_that_fails(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    before = xenstore_entries()
    with pytest.raises(pyxen.OperationFailed, match="false"):
        domain.attach(Vif(bridge="xenbr0", script="/bin/false"))
    assert xenstore_entries() == before
    domain.destroy()


def test_a_cancelled_task(host: Host, tiny: MakeConfig, slow_script: str) -> None:
    domain = host.create(tiny("pv"))
    before = xenstore_entries()

    async def main() -> None:
        async with pyxen.aio.connect() as xen:
            handle = await xen.domains[domain.domid]
            task = asyncio.create_task(handle.attach(Vif(bridge="xenbr0", script=slow_script)))
            await asyncio.to_thread(wait_until, lambda: network_list(domain) != [])
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert xenstore_entries() == before
            vif = await handle.attach(Vif(bridge="xenbr0"))
            await handle.detach(vif, force=True)

    asyncio.run(main())
    assert xenstore_entries() == before
    domain.destroy()


def test_a_name_that_is_taken(host: Host, tiny: MakeConfig, image: str) -> None:
    domain = host.create(tiny("pv", disks=[Disk(image, vdev="xvdb")], vifs=[Vif(mac="00:16:3e:01:02:03")]))
    before = xenstore_entries()
    for vdev in ("xvdb", "d1p0"):  # which is the same
        with pytest.raises(DeviceExists, match="already has the disk xvdb"):
            domain.attach(Disk(image, vdev=vdev))
    for vif in (Vif(mac="00:16:3e:01:02:03"), Vif(devid=0)):
        with pytest.raises(DeviceExists, match="already has the vif 00:16:3e:01:02:03"):
            domain.attach(vif)
    assert xenstore_entries() == before
    assert block_list(domain) == [51728]
    domain.destroy()


def test_a_device_that_is_not_there(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    with pytest.raises(NotFound, match="no vTPM devid=0; it has none"):
        domain.detach(Vtpm(devid=0))
    with pytest.raises(NotFound, match=r"no PCI device 0000:03:00\.0; it has none"):
        domain.detach("03:00.0", force=True)
    domain.destroy()


def test_a_pci_device_that_is_not_assignable(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    before = xenstore_entries()
    with pytest.raises(NotFound, match=r"xl pci-assignable-add 0000:00:1f\.0"):
        domain.attach(Pci("00:1f.0"))
    assert xenstore_entries() == before
    domain.destroy()


def test_a_usb_device_that_is_missing(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    before = xenstore_entries()
    with pytest.raises(NotFound, match="no USB device 99 on bus 7"):
        domain.attach(UsbDev(hostbus=7, hostaddr=99))
    with pytest.raises(ValidationError, match="hostaddr"):
        domain.attach(UsbDev(hostbus=7))
    assert xenstore_entries() == before
    domain.destroy()


def test_discs(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.iso").write_bytes(bytes(1 << 20))
    config = tiny("hvm")
    drive = Disk(tmp_path / "a.iso", vdev="hdc", cdrom=True)
    domain = host.create(config.replace(disks=[*config.disks, drive]), paused=True)

    def disc() -> str | None:
        return next(disk.target for disk in domain.config().disks if disk.vdev == "hdc")

    domain.insert_cdrom("hdc", tmp_path / "b.iso")
    assert disc() == str(tmp_path / "b.iso")
    with pytest.raises(FileMissing, match="/no/such/iso"):
        domain.insert_cdrom("hdc", "/no/such/iso")
    with pytest.raises(InvalidArgument, match="is a folder"):
        domain.insert_cdrom("hdc", tmp_path)
    assert disc() == str(tmp_path / "b.iso")
    for vdev in ("hdd", "hda", "cdrom"):
        with pytest.raises(NotFound, match=f"no CD-ROM drive {vdev}; its drives are hdc"):
            domain.eject_cdrom(vdev)
    domain.eject_cdrom("hdc", timeout=60)
    domain.eject_cdrom("hdc")
    assert not disc()
    assert str(tmp_path / "b.iso") not in xl("list", "-l", str(domain.domid))
    domain.insert_cdrom("hdc", tmp_path / "a.iso")
    assert disc() == str(tmp_path / "a.iso")
    domain.destroy()


def test_many_at_once(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    domain = host.create(tiny("pv"))
    disks = []
    for letter in "abc":
        (tmp_path / letter).write_bytes(bytes(1 << 20))
        disks.append(Disk(tmp_path / letter, vdev=f"xvd{letter}"))

    async def main() -> None:
        async with pyxen.aio.connect() as xen:
            handle = await xen.domains[domain.domid]
            await asyncio.gather(*(handle.attach(disk) for disk in disks))
            assert sorted(block_list(domain)) == [51712, 51728, 51744]
            await asyncio.gather(*(handle.detach(disk, force=True) for disk in disks))

    asyncio.run(main())
    wait_until(lambda: block_list(domain) == [])
    domain.destroy()
