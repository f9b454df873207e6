"""Nothing is lost in silence, in either direction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyxen import libvirtxml
from pyxen.config import DeviceModel, Disk, DomainConfig, Pci, Rate, Vfb, Vif, Vnc, VNode, settings_of
from pyxen.errors import LossyConversion
from pyxen.libvirtxml import ADDED
from pyxen.libvirtxml.loss_reasons import REASONS
from pyxen.losses import LossWarning
from tests.unit.libvirtxml.documents import hvm

PHRASE = "hush"
BASE: dict[str, Any] = {"type": "hvm", "memory": 512}

KINDS: dict[str, Any] = {"disks": Disk(), "vifs": Vif(), "vfbs": Vfb(), "vnuma": VNode(), "rate": Rate()}
"""An item of each list, and a part of each kind that need not be there."""

UNSAYABLE: dict[str, tuple[dict[str, Any], str]] = {
    "a field of no kin": ({"pool": "fast"}, "pool"),
    "a device that libvirt has not": ({"vtpms": [{"backend": "vtpm"}]}, "vtpms[0]"),
    "a setting of a device": ({"disks": [Disk("/a", vdev="hda", trusted=False)]}, "disks[0].trusted"),
    "a device without a name": ({"disks": [Disk("/a", vdev="d0"), Disk("/b", vdev="hdb")]}, "disks[0]"),
    "a device by a name": ({"pcis": [Pci(name="gpu"), Pci("03:00.0")]}, "pcis[0]"),
    "a path that is not absolute": ({"kernel": "vmlinuz"}, "kernel"),
    "a set of CPUs of one host": ({"cpus": "nodes:0"}, "cpus"),
    "a name without a character that XML can say": ({"name": "\x01\x02"}, "name"),
    "a character that XML cannot say": ({"cmdline": "a\x01b"}, "cmdline"),
    "a rate in another interval": ({"vifs": [Vif("b", rate="1MB/s@20ms")]}, "vifs[0].rate.bytes_per_interval"),
    "a first display": ({"vnc": Vnc(display=5)}, "vnc.display"),
    "another guest's setting": ({"type": "pv", "kernel": "/k", "pae": False}, "pae"),
}


@pytest.mark.parametrize(("fields", "path"), UNSAYABLE.values(), ids=UNSAYABLE)
def test_what_xml_cannot_say(fields: dict[str, Any], path: str) -> None:
    config = DomainConfig(**{"name": "web1", **BASE, **fields})
    losses = libvirtxml.losses(config)
    assert losses[0].path == path
    assert losses[0].reason
    with pytest.raises(LossyConversion, match="the conversion would lose") as caught:
        libvirtxml.dumps(config)
    assert caught.value.losses == losses
    with pytest.warns(LossWarning):
        text = libvirtxml.dumps(config, on_loss="warn")
    assert libvirtxml.dumps(config, on_loss="ignore") == text


@pytest.mark.parametrize("count", [1, 2, 1024])
def test_numa_nodes_with_default_distances_need_none(count: int) -> None:
    nodes = [VNode(vcpus=str(number), size=1, pnode=number) for number in range(count)]
    config = DomainConfig(name="web", vcpus=count, vnuma=nodes, type="hvm", memory=count)
    text = libvirtxml.dumps(config)
    assert text.count("<cell ") == count
    assert "<distances>" not in text
    read = libvirtxml.loads(text)
    assert read.vnuma[-1].distances == (*[20] * (count - 1), 10)
    assert libvirtxml.dumps(read) == text


def test_a_distance_in_one_direction_is_written_in_both() -> None:
    nodes = [VNode(vcpus="0", size=1, pnode=0), VNode(vcpus="1", size=1, pnode=1, distances=[30, 10])]
    read = libvirtxml.loads(libvirtxml.dumps(DomainConfig(name="web", vcpus=2, vnuma=nodes, type="hvm", memory=2)))
    assert [node.distances for node in read.vnuma] == [(10, 20), (30, 10)]


def test_more_numa_nodes_than_are_written() -> None:
    nodes = [VNode(vcpus=str(number), size=1, pnode=number) for number in range(1026)]
    config = DomainConfig(name="web", vcpus=1026, vnuma=nodes, **BASE)
    assert [loss.path for loss in libvirtxml.losses(config)] == ["vnuma[1024]", "vnuma[1025]"]
    assert libvirtxml.dumps(config, on_loss="ignore").count("<cell ") == 1024


def test_devices_behind_a_lost_one_are_not() -> None:
    config = DomainConfig("web1", **BASE, disks=[Disk("/a", vdev="d0"), Disk("/b", vdev="hdb")])
    said = libvirtxml.loads(libvirtxml.dumps(config, on_loss="ignore"))
    assert [disk.target for disk in said.disks] == ["/b"]
    assert [loss.path for loss in libvirtxml.losses(config)] == ["disks[0]"]


def test_secrets_are_not_shown() -> None:
    config = DomainConfig(
        "web1",
        **BASE,
        vnc=Vnc(enable=False, passwd=PHRASE),
        device_model=DeviceModel(args_hvm=[f"x:password={PHRASE}"]),
    )
    shown = "\n".join(map(str, libvirtxml.losses(config)))
    assert "vnc.passwd" in shown
    assert "args_hvm" in shown
    assert PHRASE not in shown


@pytest.mark.parametrize(
    ("devices", "named"),
    [
        (f"<graphics type='vnc' password='{PHRASE}'/>", "@password"),
        (f"<graphics type='vnc' passwdd='{PHRASE}'/>", "@passwdd"),
        (f"<graphics type='vnc' psswd='{PHRASE}'/>", "@psswd"),
        (f"<graphics type='vnc'>{PHRASE}</graphics>", "graphics[1]"),
        (f"<graphics type='vnc'><listen type='address' passwd='{PHRASE}'/></graphics>", "@passwd"),
        (f"<graphics type='vnc'><passwd>{PHRASE}</passwd></graphics>", "graphics[1]/passwd[1]"),
        (f"<graphics type='vnc'><passwd value='{PHRASE}'/></graphics>", "<passwd value='***'>"),
        (f"<graphics type='desktop' passwd='{PHRASE}'/>", "<graphics type='desktop' passwd='***'>"),
        (f"<graphics passwdd='{PHRASE}'/>", "<graphics passwdd='***'>"),
        (f"<tpm model='x' secret='{PHRASE}'/>", "<tpm model='x' secret='***'>"),
        (f"<tpm model='x' passwd='{PHRASE}'/>", "<tpm model='x' passwd='***'>"),
        (f"<tpm model='x:password={PHRASE}'/>", "<tpm model='x:password=***"),
    ],
)
def test_no_loss_of_a_document_shows_a_password(devices: str, named: str) -> None:
    text = hvm(devices=devices)
    with pytest.raises(LossyConversion) as caught:
        libvirtxml.loads(text)
    with pytest.warns(LossWarning) as warned:
        libvirtxml.loads(text, on_loss="warn")
    for told in (str(caught.value), repr(caught.value.losses), *(str(one.message) for one in warned)):
        assert named in told or not told.startswith("the conversion")
        assert PHRASE not in told


UNKNOWN = {
    "an element": ("<memoryBacking><locked/></memoryBacking>", "", "memoryBacking[1]"),
    "an attribute": ("<vcpu placement='auto'>2</vcpu>", "", "vcpu[1]/@placement"),
    "a device": ("", "<tpm model='tpm-tis'/>", "devices[1]/tpm[1]"),
    "the second of a kind": ("", "<sound model='ac97'/><sound model='sb16'/>", "devices[1]/sound[2]"),
    "a network of libvirt's": ("", "<interface type='network'><source network='x'/></interface>", None),
    "a floppy disk": ("", "<disk device='floppy'><target dev='fda'/></disk>", "devices[1]/disk[1]"),
    "a device by its maker": (
        "",
        "<hostdev type='usb'><source><vendor id='0x1'/><product id='0x2'/></source></hostdev>",
        "devices[1]/hostdev[1]",
    ),
    "a CPU model": ("<cpu mode='custom'><model>core2duo</model></cpu>", "", "cpu[1]/@mode"),
    "a secret of libvirt's": (
        "",
        (
            "<disk type='network'><source protocol='rbd' name='a/b'><auth username='u'><secret/></auth></source>"
            "<target dev='hda'/></disk>"
        ),
        "devices[1]/disk[1]/source[1]/auth[1]",
    ),
    "words where none belong": ("<features>acpi</features>", "", "features[1]"),
    "an element of another's": (
        "<q:commandline xmlns:q='urn:q'><q:arg value='x'/></q:commandline>",
        "",
        "commandline[1]",
    ),
}


@pytest.mark.parametrize(("inside", "devices", "path"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_the_model_cannot_hold(inside: str, devices: str, path: str | None) -> None:
    with pytest.raises(LossyConversion) as caught:
        libvirtxml.loads(hvm(inside, devices))
    paths = [loss.path for loss in caught.value.losses]
    assert paths[0] == (path or paths[0])
    assert libvirtxml.loads(hvm(inside, devices), on_loss="ignore").name == "web1"


def test_what_libvirt_adds_is_no_loss() -> None:
    text = hvm(
        "<title>a</title><description>b</description><metadata><x xmlns='urn:x'/></metadata>",
        "<controller type='ide' index='0'/><memballoon model='xen'/><input type='mouse' bus='ps2'/>"
        "<disk><source file='/a'/><backingStore/><target dev='hda' bus='ide'/><alias name='x'/>"
        "<address type='drive' controller='0' bus='0' target='0' unit='0'/></disk>",
    )
    assert libvirtxml.loads(text).disks == (Disk("/a", vdev="hda"),)
    with pytest.raises(LossyConversion, match="memballoon"):
        libvirtxml.loads(hvm(devices="<memballoon model='none'/>"))


def test_the_list_of_what_libvirt_adds_is_in_order() -> None:
    assert all(added.path and added.reason for added in ADDED)
    assert len({(added.path, added.values) for added in ADDED}) == len(ADDED)


def test_files(tmp_path: Path) -> None:
    config = DomainConfig("w\N{LATIN SMALL LETTER E WITH ACUTE}b", **BASE)
    libvirtxml.dump(config, tmp_path / "web1.xml")
    assert libvirtxml.normal(libvirtxml.load(tmp_path / "web1.xml")) == libvirtxml.normal(config)


def test_reasons_are_of_fields_that_there_are() -> None:
    for path in REASONS:
        kind: Any = DomainConfig("web1", **BASE)
        for name in path.split("."):
            kind = kind[0] if isinstance(kind, tuple) else kind
            assert name in settings_of(type(kind)), path
            kind = getattr(kind, name) or KINDS.get(name)
    assert list(REASONS) == sorted(REASONS)
