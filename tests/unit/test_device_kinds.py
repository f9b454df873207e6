"""Which devices can come to a running domain, and how one of them is named."""

from __future__ import annotations

import platform
from dataclasses import is_dataclass
from typing import Any

import pytest

import pyxen.config
from pyxen import Channel, Disk, DomainConfig, DomainType, Pci, UnsupportedFeature, UsbDev, ValidationError, Vif
from pyxen._common.device_kinds import already_there, check_hotplug, find_drive, identify, kind_of, name_of, not_there
from pyxen.config import Part
from pyxen.config.base import fields_of
from pyxen.config.device_table import KINDS, Kind

BACKEND = "this"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.field)
def test_the_table_fits_the_model(kind: Kind) -> None:
    known = set(fields_of(kind.part).names)
    assert kind.field in fields_of(DomainConfig).names
    assert {name for names in kind.names for name in names} <= known
    assert kind.served == ("backend_domid" in known)
    assert kind.numbered_by is None or "devid" in known


def test_every_device_has_one_kind() -> None:
    classes = [cls for cls in vars(pyxen.config).values() if isinstance(cls, type) and is_dataclass(cls)]
    parts = {cls for cls in classes if issubclass(cls, Part)}
    devices = {part for part in parts if {"devid", "backend_domid"} & set(fields_of(part).names)}
    assert devices - {DomainConfig} <= {kind.part for kind in KINDS}
    assert len({kind.part for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    ("device", "guest", "problem"),
    [
        (Channel("org.example", connection="pty"), "pv", "Channel cannot be hot-plugged"),
        (Disk("/a", vdev="xvdb", specification="virtio", backendtype="standalone"), "pvh", "virtio disk"),
        (Pci("00:1f.0"), "pvh", "PVH guest cannot"),
    ],
    ids=["channel", "virtio", "pci"],
)
def test_what_cannot_come(monkeypatch: pytest.MonkeyPatch, device: Part, guest: str, problem: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(UnsupportedFeature, match=problem) as caught:
        check_hotplug(device, DomainType(guest), BACKEND)
    assert caught.value.backend == BACKEND


def test_what_can_come() -> None:
    assert check_hotplug(Disk("/a", vdev="xvdb"), DomainType.PVH, BACKEND).noun == "disk"
    assert check_hotplug(Pci("00:1f.0"), DomainType.PV, BACKEND).noun == "PCI device"
    with pytest.raises(ValidationError, match="vdev"):
        check_hotplug(Disk("/a"), DomainType.PVH, BACKEND)


@pytest.mark.parametrize(
    ("said", "device", "name"),
    [
        ("d1p0", Disk(vdev="d1p0"), "d1p0"),
        ("00:16:3E:01:02:03", Vif(mac="00:16:3e:01:02:03"), "00:16:3e:01:02:03"),
        ("03:00.0", Pci("03:00.0"), "0000:03:00.0"),
        (Vif(devid=2), Vif(devid=2), "devid=2"),
        (UsbDev(hostbus=1, hostaddr=3), UsbDev(hostbus=1, hostaddr=3), "hostbus=1 hostaddr=3"),
    ],
)
def test_which_is_meant(said: Part | str, device: Part, name: str) -> None:
    assert identify(said, BACKEND) == (kind_of(device), device)
    assert name_of(device) == name


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("eth0", "'eth0' does not name a device"),
        (Vif(bridge="xenbr0"), r"does not identify one vif: set its mac or devid"),
        (UsbDev(hostbus=1), r"identify one USB device: set its hostbus and hostaddr or controller and port"),
    ],
)
def test_too_little_is_said(said: Part | str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        identify(said, BACKEND)


def test_names_that_are_taken() -> None:
    disks, vifs = kind_of(Disk()), kind_of(Vif())
    present = [Vif(mac="00:16:3e:01:02:03", devid=0)]
    problem = "the domain already has the disk d1p0: detach it first, or choose another name"
    assert already_there(disks, Disk("/b", vdev="xvdb"), [Disk("/a", vdev="d1p0")]) == problem
    assert already_there(disks, Disk("/b", vdev="xvdb"), [Disk("/a", vdev="xvdc")]) is None
    for vif in (Vif(mac="00:16:3e:01:02:03"), Vif(mac="00:16:3e:01:02:04", devid=0)):
        assert "already has the vif 00:16:3e:01:02:03" in (already_there(vifs, vif, present) or "")
    assert already_there(vifs, Vif(bridge="xenbr0"), present) is None


def test_what_is_not_there() -> None:
    kind = kind_of(Disk())
    assert not_there(kind, Disk(vdev="xvda"), [Disk(vdev="xvdb"), Disk(vdev="xvdc")]) == (
        "the domain has no disk xvda; it has xvdb, xvdc"
    )
    assert not_there(kind, Disk(vdev="xvda"), []) == "the domain has no disk xvda; it has none"


def test_drives() -> None:
    disks = [Disk("/a", vdev="hda"), Disk("/b", vdev="hdc", cdrom=True)]
    assert find_drive("hdc", disks) == disks[1]
    with pytest.raises(LookupError, match="no CD-ROM drive hda; its drives are hdc"):
        find_drive("hda", disks)
    with pytest.raises(LookupError, match="no CD-ROM drive hdc; it has none"):
        find_drive("hdc", disks[:1])


@pytest.mark.parametrize("wrong", [3, None, b"xvda", object()])
def test_what_is_no_device(wrong: Any) -> None:
    with pytest.raises(ValueError, match="takes a device or its name"):
        identify(wrong, BACKEND)
