"""The machine under Xen: what the doctor finds, and the host's side of bridges, volumes and images."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyxen
import pyxen.aio.storage
from pyxen import Disk, Host, InvalidArgument, NotEnoughSpace, NotFound, Vif, VolumeExists, VolumeInUse
from pyxen.doctor import Severity, examine
from pyxen.images import Access, from_cloud_image
from pyxen.storage import VolumeGroup, create_image, image_info
from pyxen.storage.tools import call
from tests.xen.support import GUESTS, MakeConfig, run, volume_group

MIB = 1 << 20
COMMANDS = """
from pyxen.cli.app import app
for command in ("list pyxen-test --json", "remove /dev/pyxen-test/web-1 --yes"):
    assert not app(["volume", *command.split()], prog_name="pyxen", standalone_mode=False)
"""
"""Two commands in one process: ten seconds go by until it has read all that the command needs."""


@pytest.fixture
def group(host: Host, tmp_path: Path) -> Iterator[VolumeGroup]:
    """A volume group."""
    with volume_group(host, tmp_path) as group:
        yield group


def lvs() -> set[str]:
    return set(run("lvs", "--noheadings", "-o", "lv_name", "pyxen-test").split())


def test_the_doctor_finds_a_host(host: Host) -> None:
    report = examine()
    assert report.problems == () or {each.id for each in report.problems} <= {"memory", "space"}, report.problems
    ok = {each.id for each in report.findings if each.severity is Severity.OK}
    wanted = {"xen", "dom0", "privileges", "devices", "extension", "tools", "xenstored", "xenconsoled", "bridges"}
    wanted |= {"device-model", "hvmloader", "seabios", "pygrub", "grub-pvh", "grub-pv", "dom0-memory"}
    assert wanted - ok == set(), report.findings
    assert host.info().xen_version in report["xen"].found
    assert report.healthy
    os.seteuid(65534)  # nobody: Xen's devices are root's
    try:
        found = examine()
    finally:
        os.seteuid(0)
    assert found["privileges"].remedy == "Run this as root."
    assert "fault of pyxen" not in str(found)


def test_a_vif_at_its_bridge(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny(vifs=[Vif(bridge="xenbr0")]))
    try:
        port = pyxen.bridges.of_vif(domain.domid)
        assert (port.name, port.bridge, port.domid) == (f"vif{domain.domid}.0", "xenbr0", domain.domid)
        assert port.name in [each.name for each in pyxen.bridges.bridge("xenbr0").ports]
    finally:
        domain.destroy()
    with pytest.raises(NotFound, match=r"iface nosuchbr0 inet dhcp"):
        host.check_create(tiny(vifs=[Vif(bridge="nosuchbr0")]))


def test_volumes(host: Host, tiny: MakeConfig, group: VolumeGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    web = group.create("web-1", "64M")
    assert (web.path, web.size_bytes, web.pool, web.used_by) == ("/dev/pyxen-test/web-1", 64 * MIB, None, ())
    info = group.info()
    assert (info.size_bytes, info.free_bytes, info.volumes) == (256 * MIB, 192 * MIB, 1)

    with pytest.raises(VolumeExists, match="web-1"):
        group.create("web-1", "4M")
    with pytest.raises(NotEnoughSpace, match="lvcreate:"):
        group.create("big", "1T")
    with pytest.raises(NotFound, match=r"has no volume nothing; it has web-1"):
        group.remove("nothing")
    with pytest.raises(NotFound, match="nosuch"):
        VolumeGroup("nosuch").create("a", "4M")

    # What a domain has, under any of its names, is neither removed nor shrunk, but can grow.
    config = tiny("pv", name="holder", disks=[Disk("/dev/mapper/pyxen--test-web--1", vdev="xvda")])
    domain = host.create(config)
    try:
        assert group["web-1"].used_by == ("holder",)
        with pytest.raises(VolumeInUse, match="is a disk of holder"):
            group.remove("web-1")
        with pytest.raises(VolumeInUse):
            group.resize("web-1", "32M", shrink=True)
        assert group.resize("web-1", "68M").size_bytes == 68 * MIB

        async def awaited() -> None:
            async with pyxen.aio.connect() as awaited_host:
                same = pyxen.aio.storage.VolumeGroup(group.name, host=awaited_host)
                assert [each.used_by async for each in same] == [("holder",)]
                assert await same["web-1"] == group["web-1"]
                with pytest.raises(VolumeInUse, match="is a disk of holder"):
                    await same.remove("web-1")

        asyncio.run(awaited())
    finally:
        domain.destroy()

    # Neither is what the kernel has open.
    with open("/dev/pyxen-test/web-1", "rb"):
        assert group["web-1"].open
        with pytest.raises(VolumeInUse, match="the kernel has"):
            group.remove("web-1")
    with pytest.raises(InvalidArgument, match="would be lost"):
        group.resize("web-1", "32M")
    assert group.resize("web-1", "32M", shrink=True).size_bytes == 32 * MIB

    with pytest.raises(InvalidArgument, match="give it a size"):
        group.snapshot("web-1", "before")
    assert group.snapshot("web-1", "before", size="8M").snapshot_of == "web-1"
    with pytest.raises(VolumeInUse, match="has the snapshots before"):
        group.remove("web-1")
    group.remove("before")

    pool = group.create_pool("pool", "64M")
    assert (pool.is_pool, pool.path) == (True, None)
    thin = group.create("thin", "1G", pool="pool")
    assert (thin.pool, thin.size_bytes) == ("pool", 1 << 30)
    copy = group.snapshot("thin", "copy")
    assert (copy.pool, copy.snapshot_of, copy.active) == ("pool", "thin", True)
    with pytest.raises(VolumeInUse, match="is the pool of copy, thin"):
        group.remove("pool")
    for name in ("thin", "copy", "pool"):
        group.remove(name)

    # A create that is interrupted after LVM has made the volume leaves nothing.
    def interrupted(*command: str, **options: object) -> object:
        if command[0] == "lvchange":
            raise KeyboardInterrupt
        return call(*command, **options)  # type: ignore[arg-type]  # passed on as they came

    with monkeypatch.context() as patched:
        patched.setattr("pyxen.storage.volumegroup.call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            group.create("half", "4M")
    assert lvs() == {"web-1"}

    listed, _ = json.JSONDecoder().raw_decode(run(sys.executable, "-c", COMMANDS))
    assert [each["name"] for each in listed[0]["volumes"]] == ["web-1"]
    assert list(group) == []


@pytest.mark.long
def test_a_cloud_image_on_a_new_volume(
    host: Host, group: VolumeGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is a disk that boots and says so on the serial port; tests/outside has one with cloud-init."""
    source, seed = tmp_path / "cloud.qcow2", tmp_path / "web1-seed.iso"
    run("qemu-img", "convert", "-O", "qcow2", str(GUESTS / "tiny-hvm.img"), str(source))
    access = Access("web1", ssh_keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFy me@desk"])
    image = from_cloud_image(source, "web1", access, group=group, seed=seed)
    assert [disk.target for disk in image.disks] == ["/dev/pyxen-test/web1", str(seed)]
    web1 = host.create(image.config(memory=32), paused=True, timeout=120)
    try:
        with web1.console_stream(timeout=120) as console:
            web1.unpause()
            assert any("pyxen-guest ready" in line for line in console)
        assert group["web1"].used_by == ("web1",)
    finally:
        web1.destroy()

    with pytest.raises(InvalidArgument, match="seed="):
        from_cloud_image(source, "web2", access, group=group)
    with pytest.raises(InvalidArgument, match="leave overwrite out"):
        from_cloud_image(source, "web1", access, group=group, seed=seed, overwrite=True)
    seed.unlink()
    for name, size, error in (("web1", None, VolumeExists), ("web2", 1024, NotEnoughSpace)):
        with pytest.raises(error):
            from_cloud_image(source, name, access, group=group, seed=seed, size=size)
    with pytest.raises(NotFound, match="nosuch"):
        from_cloud_image(source, "web2", access, group=VolumeGroup("nosuch"), seed=seed)

    def interrupted(*_: object) -> None:
        assert lvs() == {"web1", "web2"}
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pyxen.images.cloud._copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            from_cloud_image(source, "web2", access, group=group, seed=seed)
    assert lvs() == {"web1"}
    assert not seed.exists()


def test_images_of_qemu_img(tmp_path: Path) -> None:
    base = create_image(tmp_path / "base.qcow2", "64M", format="qcow2")
    assert (base.format, base.size_bytes, base.backing) == ("qcow2", 64 * MIB, None)
    top = create_image(tmp_path / "-top,a:b.qcow2", format="qcow2", backing=base.path, backing_format="qcow2")
    assert (top.size_bytes, top.backing, top.backing_format) == (64 * MIB, base.path, "qcow2")
    assert image_info(top.path) == top
    assert str(top.disk("xvda").format) == "qcow2"
    with pytest.raises(VolumeExists):
        create_image(base.path, "1M", format="qcow2")
    with pytest.raises(pyxen.StorageError, match="qemu-img"):
        create_image(tmp_path / "bad.qcow2", format="qcow2", backing=__file__, backing_format="qcow2")
    with pytest.raises(pyxen.StorageError):
        image_info(tmp_path / "base.qcow2", format="vmdk")  # type: ignore[arg-type]  # qemu-img refuses it
    assert sorted(path.name for path in tmp_path.iterdir()) == ["-top,a:b.qcow2", "base.qcow2"]
