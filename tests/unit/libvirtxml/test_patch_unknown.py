"""`patch` beside what the codec does not know: what stands in its place goes, and nothing is there twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from lxml import etree

from pyxen import libvirtxml
from pyxen.config import Disk, DomainConfig, Vif
from pyxen.testing.strategies import domain_configs
from tests.unit.libvirtxml.documents import hvm, pv

VDEV = "<target dev='hda' bus='ide'/>"
FOREIGN_DISKS = {
    "a volume": "<disk type='volume' device='disk'><source pool='p' volume='v'/>" + VDEV + "</disk>",
    "nbd": "<disk type='network' device='disk'><source protocol='nbd' name='n'><host name='h'/></source>"
    + VDEV
    + "</disk>",
    "a folder": "<disk type='dir' device='disk'><source dir='/d'/>" + VDEV + "</disk>",
}
FOREIGN_VIFS = {
    "a network": "<interface type='network'><source network='default'/></interface>",
    "a live network": "<interface type='network'><source network='ovs' bridge='ovsbr0'/></interface>",
    "a port group": "<interface type='network'><source network='default' portgroup='web'/></interface>",
}
FOREIGN_CPUS = {
    "host-model": "<cpu mode='host-model' check='partial'/>",
    "a model": "<cpu mode='custom' match='exact'><model>Haswell</model><feature name='x' policy='require'/></cpu>",
}


def read(text: str) -> DomainConfig:
    return libvirtxml.loads(text, on_loss="ignore")


def patched(text: str, config: DomainConfig) -> etree._Element:
    """Patch a document, check that it says the configuration, and return it."""
    result = libvirtxml.patch(text, config)
    assert libvirtxml.normal(read(result)) == libvirtxml.normal(config)
    return etree.fromstring(result)


@pytest.mark.parametrize("device", FOREIGN_VIFS.values(), ids=FOREIGN_VIFS)
def test_a_bridge_in_place_of_a_network(device: str) -> None:
    text = pv(devices=device)
    config = read(text)
    tree = patched(text, config.replace(vifs=[config.vifs[0].replace(bridge="xenbr0")]))
    sources = tree.findall(".//interface/source")
    assert [dict(source.attrib) for source in sources] == [{"bridge": "xenbr0"}]
    assert [node.get("type") for node in tree.iter("interface")] == ["bridge"]


@pytest.mark.parametrize("device", FOREIGN_DISKS.values(), ids=FOREIGN_DISKS)
@pytest.mark.parametrize(("target", "kind"), [("/srv/a.img", "file"), ("/dev/vg0/a", "block")])
def test_a_target_in_place_of_another_source(device: str, target: str, kind: str) -> None:
    text = hvm(devices=device)
    config = read(text)
    tree = patched(text, config.replace(disks=[config.disks[0].replace(target=target)]))
    assert len(tree.findall(".//disk/source")) == 1
    assert [node.get("type") for node in tree.iter("disk")] == [kind]


@pytest.mark.parametrize("cpu", FOREIGN_CPUS.values(), ids=FOREIGN_CPUS)
def test_a_policy_in_place_of_a_model(cpu: str) -> None:
    text = hvm(cpu)
    config = read(text).replace(cpuid=POLICY)
    tree = patched(text, config)
    assert [one.get("mode") for one in tree.findall("cpu")] == ["host-passthrough"]


POLICY = libvirtxml.loads(
    hvm("<cpu mode='host-passthrough'><feature policy='disable' name='ht'/></cpu>"), on_loss="ignore"
).cpuid


@pytest.mark.parametrize("device", [*FOREIGN_VIFS.values(), *FOREIGN_DISKS.values()])
def test_what_is_not_touched_stays(device: str) -> None:
    text = hvm(devices=device)
    assert libvirtxml.patch(text, read(text)) == text


def test_a_device_of_a_kind_that_is_not_read_stays() -> None:
    text = pv(devices="<interface type='user'/><interface type='bridge'><source bridge='a'/></interface>")
    config = read(text)
    tree = patched(text, config.replace(vifs=[config.vifs[0].replace(bridge="b")]))
    kinds = [(node.get("type"), [s.get("bridge") for s in node.findall("source")]) for node in tree.iter("interface")]
    assert kinds == [("user", []), ("bridge", ["b"])]


def test_a_disk_that_xml_could_not_say_is_not_lost_where_it_stands() -> None:
    text = pv(devices="<disk type='block' device='disk'><source dev='/dev/a'/><target dev='/dev/xvda'/></disk>")
    config = read(text)
    added = config.replace(vifs=[Vif(bridge="xenbr0")])
    tree = patched(text, added)
    assert len(tree.findall(".//disk")) == 1
    changed = added.replace(disks=[Disk("/dev/b", vdev="/dev/xvda")])
    assert [loss.path for loss in libvirtxml.losses(changed)] == ["disks[0]"]


@pytest.mark.parametrize("target", ["<target type='xen' port='0'/>", "<target type='virtio' port='1'/>"])
def test_the_pv_console_of_an_hvm_guest_is_no_serial_port(target: str) -> None:
    text = hvm(devices=f"<console type='pty'>{target}</console>")
    config = read(text)
    assert config.serial == ()
    assert libvirtxml.patch(text, config.replace(serial=[])) == text


@pytest.mark.parametrize("target", ["", "<target port='0'/>", "<target type='serial' port='0'/>"])
def test_a_console_alone_is_a_serial_port(target: str) -> None:
    text = hvm(devices=f"<console type='pty'>{target}</console>")
    assert read(text).serial == ("pty",)
    assert patched(text, read(text).replace(serial=[])).findall(".//console") == []


def test_a_serial_port_beside_the_pv_console() -> None:
    text = hvm(devices="<console type='pty'><target type='xen' port='0'/></console>")
    tree = patched(text, read(text).replace(serial=["pty"]))
    assert len(tree.findall(".//serial")) == len(tree.findall(".//console")) == 1


@pytest.mark.parametrize(
    ("device", "bridge"),
    [
        ("<interface type='network'><source network='ovs' portid='1-2' bridge='ovsbr0'/></interface>", "ovsbr0"),
        ("<interface type='network'><source network='default'/></interface>", None),
    ],
)
def test_the_bridge_of_a_network_that_runs(device: str, bridge: str | None) -> None:
    assert read(pv(devices=device)).vifs[0].bridge == bridge


def test_the_socket_of_a_channel_is_where_libvirt_makes_it() -> None:
    device = "<channel type='unix'><target type='xen' name='org.qemu.guest_agent.0'/></channel>"
    (channel,) = libvirtxml.loads(pv(devices=device)).channels
    assert channel.path == "/var/lib/libvirt/libxl/channel/target/web1-org.qemu.guest_agent.0"


def test_the_boot_order_of_a_pv_guest_is_no_loss() -> None:
    text = pv().replace("</kernel>", "</kernel><boot dev='hd'/>")
    assert libvirtxml.loads(text).kernel == "/boot/vmlinuz"
    with pytest.raises(Exception, match="boot"):
        libvirtxml.loads(text.replace("'hd'", "'network'"))


SINGLE: dict[str, Any] = {
    "features": "<features><hyperv/></features>",
    "clock": "<clock offset='variable' adjustment='3'/>",
    "cputune": "<cputune><period>100</period></cputune>",
}


@pytest.mark.parametrize("inside", SINGLE.values(), ids=SINGLE)
def test_an_element_that_occurs_once_stays_one(inside: str) -> None:
    text = hvm(inside)
    config = read(text)
    tree = etree.fromstring(
        libvirtxml.patch(text, config.replace(hpet=False, acpi=False, localtime=True, cpus="0"), on_loss="ignore")
    )
    tags = [child.tag for child in tree if isinstance(child.tag, str)]
    assert sorted(tags) == sorted(set(tags))


ODD = hvm(
    "".join([SINGLE["features"], SINGLE["clock"], FOREIGN_CPUS["host-model"]]),
    "".join([*FOREIGN_VIFS.values(), FOREIGN_DISKS["a volume"], "<interface type='user'/>"]),
)
"""A document full of what the codec does not know."""

AT_MOST_ONE = {
    "domain": {"name", "memory", "currentMemory", "vcpu", "os", "features", "cpu", "clock", "devices", "cputune"},
    "interface": {"source", "mac", "script", "target", "model", "bandwidth", "vlan", "backenddomain"},
    "disk": {"source", "driver", "target", "readonly", "backenddomain"},
}


@given(config=domain_configs())
def test_any_configuration_in_any_document(config: DomainConfig) -> None:
    result = libvirtxml.patch(ODD, config, on_loss="ignore")
    for parent in etree.fromstring(result).iter(*AT_MOST_ONE):
        tags = [child.tag for child in parent if child.tag in AT_MOST_ONE[str(parent.tag)]]
        assert len(tags) == len(set(tags)), (parent.tag, tags)
    again = libvirtxml.patch(result, config, on_loss="ignore")
    assert libvirtxml.normal(read(again)) == libvirtxml.normal(read(result))
