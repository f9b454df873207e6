"""A document says what libvirt's Xen driver makes of it, not what its words seem to say.

`tests/oracle/libvirt/test_meanings.py` asks libvirt itself where its test driver can tell. What its Xen driver alone
does is from its source.
"""

from __future__ import annotations

from typing import Any

import pytest

from pyxen import libvirtxml
from pyxen.config import (
    DeviceModel,
    Disk,
    DomainConfig,
    Pci,
    UsbDev,
    Vif,
    Viridian,
    ViridianEnlightenment,
    Vnc,
    VNode,
)
from pyxen.errors import LossyConversion, ParseError
from pyxen.libvirtxml import normal
from pyxen.libvirtxml.cpuflags import FLAGS, NAMES
from tests.unit.libvirtxml.documents import hvm, pv, read, read_hvm, read_pv

MAC = "00:16:3e:00:00:01"
ITS_NAMES = ("vif7.0", "vif7.0-emu", "vif-web", "vnet0", "macvtap1", "macvlan1")
BASE: dict[str, Any] = {"type": "hvm", "memory": 512}
IN_HYPERV = ("base", "crash_ctl", "apic_assist", "freq")


def guest(**fields: Any) -> DomainConfig:
    """Return an HVM guest."""
    return DomainConfig(**{"name": "web1", **BASE, **fields})


def pv_guest(**fields: Any) -> DomainConfig:
    """Return a PV guest."""
    return DomainConfig(**{"name": "web1", "memory": 512, "kernel": "/boot/vmlinuz", **fields})


def lost_in(text: str) -> list[str]:
    """Return the paths of what is lost of a document."""
    with pytest.raises(LossyConversion) as caught:
        libvirtxml.loads(text)
    return [loss.path for loss in caught.value.losses]


def lost_of(config: DomainConfig) -> list[str]:
    """Return the paths of what XML cannot say of a configuration."""
    return [loss.path for loss in libvirtxml.losses(config)]


# -- Interfaces


@pytest.mark.parametrize("name", ITS_NAMES)
def test_a_name_that_libvirt_chose_is_none(name: str) -> None:
    """Every interface of a running guest has one, of its own domid: another guest cannot have it."""
    nic = f"<interface type='bridge'><mac address='{MAC}'/><source bridge='xenbr0'/><target dev='{name}'/></interface>"
    running = read_hvm(devices=nic)
    assert running.vifs == (Vif("xenbr0", mac=MAC),)
    assert not running.diff(running.replace(vifs=[Vif("xenbr0", mac=MAC)]))


@pytest.mark.parametrize("name", ITS_NAMES)
def test_a_name_that_libvirt_would_drop_is_lost(name: str) -> None:
    (loss,) = libvirtxml.losses(guest(vifs=[Vif("xenbr0", vifname=name)]))
    assert loss.path == "vifs[0].vifname"
    assert "macvtap" in loss.reason


def test_a_name_of_ones_own_stays() -> None:
    assert lost_of(guest(vifs=[Vif("xenbr0", vifname="web1-vif")])) == []
    kept = "<interface type='ethernet'><target dev='vnet0' managed='no'/></interface>"
    assert read_hvm(devices=kept).vifs[0].vifname == "vnet0"


def test_only_an_hvm_guest_has_a_card_of_a_model() -> None:
    card = "<interface type='bridge'><source bridge='xenbr0'/><model type='e1000'/></interface>"
    assert lost_in(pv(devices=card)) == ["devices[1]/interface[1]/model[1]"]
    assert libvirtxml.loads(pv(devices=card), on_loss="ignore").vifs == (Vif("xenbr0"),)
    assert read_pv(devices=card.replace("e1000", "netfront")).vifs == (Vif("xenbr0"),)
    for kind in ("pv", "pvh"):
        config = pv_guest(type=kind, vifs=[Vif("xenbr0", model="e1000")])
        assert "<model" not in libvirtxml.dumps(config)  # nor does it mean anything to xl


# -- Disks


def test_disks_are_in_the_order_of_their_names() -> None:
    def disk(name: str, bus: str) -> str:
        return f"<disk><source file='/{name}'/><target dev='{name}' bus='{bus}'/></disk>"

    order = [("xvdb", "xen"), ("hdb", "ide"), ("xvdaa", "xen"), ("hda", "ide"), ("xvda2", "xen"), ("xvda1", "xen")]
    config = read_hvm(devices="".join(disk(*one) for one in order))
    assert [one.vdev for one in config.disks] == ["xvda2", "xvda1", "xvdb", "xvdaa", "hda", "hdb"]


ROOT, DATA, MORE = Disk("/dev/root", vdev="xvdb"), Disk("/dev/data", vdev="xvda"), Disk("/dev/more", vdev="xvdc")


def test_a_boot_loader_looks_at_the_first_disk() -> None:
    config = DomainConfig("web1", memory=512, bootloader="pygrub", disks=[ROOT, DATA, MORE.replace(trusted=False)])
    (first, other) = libvirtxml.losses(config)
    assert first.path == "disks[0]"
    assert "boot loader" in first.reason
    assert other.path == "disks[2].trusted"
    assert lost_of(config.replace(bootloader=None, disks=[ROOT, DATA])) == ["disks[0]"]
    fitting = config.replace(disks=[DATA, MORE, ROOT])
    assert lost_of(fitting) == []
    assert normal(read(libvirtxml.dumps(fitting))) == normal(fitting)


def test_without_a_boot_loader_their_order_says_nothing() -> None:
    for config in (pv_guest(disks=[ROOT, DATA]), guest(disks=[ROOT, DATA])):
        assert lost_of(config) == []
        back = read(libvirtxml.dumps(config))
        assert back.disks == (DATA, ROOT)
        assert normal(back) == normal(config)
    assert lost_of(pv_guest(disks=[ROOT.replace(trusted=False), DATA])) == ["disks[0].trusted"]


def test_a_document_in_another_order_is_left_so() -> None:
    disks = "".join(
        f"<disk type='block' device='disk'><source dev='{disk.target}'/><target dev='{disk.vdev}' bus='xen'/></disk>\n"
        for disk in (ROOT, DATA)
    )
    text = pv(devices=disks)
    assert libvirtxml.patch(text, pv_guest(disks=[ROOT, DATA])) == text


# -- Features


def test_a_64_bit_hvm_guest_has_pae() -> None:
    node = "<cpu><numa><cell id='0' cpus='0' memory='524288'/></numa></cpu>"
    for arch, kind, has_it in (("", "xen", True), (" arch='x86_64'", "xen", True), (" arch='i686'", "xen", False)):
        said = hvm("<features/>").replace("<type>", f"<type{arch}>").replace("type='xen'", f"type='{kind}'")
        assert (read(said).pae, read(said).acpi) == (has_it, False)
        assert read(said.replace("<features/>", node)).acpi is has_it
    other = hvm().replace("type='xen'", "type='kvm'")
    assert libvirtxml.loads(other, on_loss="ignore").pae is False


@pytest.mark.parametrize(
    "config",
    [
        guest(pae=False),
        guest(acpi=False, vnuma=[VNode(vcpus="0", size=512, pnode=0)]),
        guest(acpi=False, pae=False, vnuma=[VNode(vcpus="0", size=512, pnode=0)]),
    ],
    ids=["no PAE", "no ACPI", "neither"],
)
def test_a_guest_without_it_is_a_32_bit_guest(config: DomainConfig) -> None:
    text = libvirtxml.dumps(config)
    assert "<type arch='i686' machine='xenfv'>hvm</type>" in text
    assert (read(text).pae, read(text).acpi) == (config.pae is not False, config.acpi is not False)
    assert normal(read(text)) == normal(config)
    patched = libvirtxml.patch(text, config.replace(pae=None, acpi=None))
    assert "arch" not in patched
    assert (read(patched).pae, read(patched).acpi) == (True, True)


def test_other_guests_are_not() -> None:
    for config in (guest(), guest(acpi=False), pv_guest()):
        assert "arch=" not in libvirtxml.dumps(config)


def test_viridian_says_nothing() -> None:
    for inside in ("<viridian/>", "<viridian state='off'/>"):
        text = hvm(f"<features>{inside}</features>")
        assert lost_in(text) == ["features[1]/viridian[1]"]
        assert libvirtxml.loads(text, on_loss="ignore").viridian == Viridian()


def test_of_the_default_enlightenments_hyperv_has_some() -> None:
    (loss,) = libvirtxml.losses(guest(viridian=True))
    assert loss.path == "viridian.defaults"
    assert all(name in loss.reason for name in IN_HYPERV)
    text = libvirtxml.dumps(guest(viridian=True), on_loss="ignore")
    assert "<viridian" not in text
    assert read(text).viridian == Viridian(enable=IN_HYPERV)
    assert lost_of(guest(viridian=Viridian(enable=IN_HYPERV))) == []
    assert lost_of(guest(viridian=Viridian(defaults=True, enable="all"))) == []
    some = read(libvirtxml.dumps(guest(viridian=Viridian(defaults=True, disable=["freq"])), on_loss="ignore"))
    assert ViridianEnlightenment.FREQ not in some.viridian.enable


def test_a_feature_that_libxl_does_not_know_is_lost() -> None:
    said = "<cpu mode='host-passthrough'><feature policy='disable' name='{}'/></cpu>"
    unknown, known = read_hvm(said.format("sha-ni")), read_hvm(said.format("avx2"))
    assert (lost_of(unknown), lost_of(known)) == (["cpuid.leaves[0]"], [])
    assert "sha-ni" not in libvirtxml.dumps(unknown, on_loss="ignore")
    assert {FLAGS[name] for name in ("sha-ni", "arch-capabilities", "intel-pt")}.isdisjoint(NAMES)


def test_only_an_hvm_guest_has_an_hpet_or_enlightenments() -> None:
    timer = "<clock offset='utc'><timer name='hpet' present='yes'/></clock>"
    groups = "<features><hyperv><vapic state='on'/></hyperv></features>"
    assert lost_in(pv(timer)) == ["clock[1]/timer[1]"]
    assert lost_in(pv(groups)) == ["features[1]/hyperv[1]"]
    assert lost_of(pv_guest(hpet=False)) == ["hpet"]
    assert lost_of(pv_guest(viridian=Viridian(enable=["base"]))) == ["viridian.enable"]
    text = libvirtxml.dumps(pv_guest(hpet=False, viridian=True), on_loss="ignore")
    assert "<timer" not in text
    assert "<hyperv" not in text


# -- Devices


def test_a_usb_keyboard_is_none() -> None:
    assert lost_in(hvm(devices="<input type='keyboard' bus='usb'/>")) == ["devices[1]/input[1]"]
    config = guest(usbdevice=["tablet", "keyboard"])
    assert lost_of(config) == ["usbdevice"]
    assert "keyboard" not in libvirtxml.dumps(config, on_loss="ignore")


def test_only_an_hvm_guest_has_its_own_device_model() -> None:
    assert read_pv(devices="<emulator>/usr/bin/qemu</emulator>").device_model == DeviceModel()
    config = pv_guest(device_model=DeviceModel(path="/usr/bin/qemu"))
    assert lost_of(config) == ["device_model.path"]
    assert "<emulator" not in libvirtxml.dumps(config, on_loss="ignore")


def test_addresses_are_as_c_writes_them() -> None:
    usb = "<hostdev type='usb'><source><address bus='010' device='0x10'/></source></hostdev>"
    pci = "<hostdev type='pci'><source><address domain='0' bus='010' slot='011' function='7'/></source></hostdev>"
    config = read_hvm(devices=usb + pci)
    assert config.usbdevs == (UsbDev(hostbus=8, hostaddr=16),)
    assert config.pcis == (Pci("0000:08:09.7", seize=False),)
    text = hvm(devices=usb + pci)
    without = libvirtxml.patch(text, config.replace(pcis=(), usbdevs=()))
    assert "<hostdev" not in without
    for wrong in (usb.replace("010", "08"), pci.replace("010", "09")):
        with pytest.raises(ParseError, match=r"bus is '0[89]', not a whole number"):
            libvirtxml.loads(hvm(devices=wrong))


@pytest.mark.parametrize(
    "text",
    [
        hvm().replace("512", "0x200"),
        hvm("<vcpu>0x2</vcpu>"),
        hvm("<vcpu current='0x1'>2</vcpu>"),
        hvm("<cputune><shares>0x200</shares></cputune>"),
    ],
    ids=["memory", "vcpu", "current", "shares"],
)
def test_other_numbers_are_decimal(text: str) -> None:
    with pytest.raises(ParseError, match="not a decimal number"):
        libvirtxml.loads(text)


def test_leading_zeros_say_nothing_in_decimal_numbers() -> None:
    assert read(hvm("<vcpu>010</vcpu>").replace("512", "0512")).memory == 512
    assert read_hvm("<vcpu>010</vcpu>").vcpus == 10


# -- Memory


@pytest.mark.parametrize(("now", "memory"), [("1024", 512), ("0", 512), ("256", 256)])
def test_a_guest_begins_with_its_maximum_at_most(now: str, memory: int) -> None:
    config = read_hvm(f"<currentMemory unit='MiB'>{now}</currentMemory>")
    assert (config.memory, config.effective_maxmem) == (memory, 512)
    assert not config.problems()


def test_no_memory_is_that_of_the_numa_nodes() -> None:
    cells = "<cpu><numa><cell id='0' cpus='0' memory='262144'/></numa></cpu>"
    assert read(hvm(cells).replace("512", "0")).effective_maxmem == 256


# -- Screens


@pytest.mark.parametrize(
    ("attributes", "lost"),
    [("port='0'", ["@port"]), ("autoport='no'", ["@autoport"]), ("port='-1' autoport='no'", ["@port"])],
)
def test_a_port_that_no_display_has_is_a_free_one(attributes: str, lost: list[str]) -> None:
    text = hvm(devices=f"<graphics type='vnc' {attributes}/>")
    assert lost_in(text) == [f"devices[1]/graphics[1]/{name}" for name in lost]
    assert libvirtxml.loads(text, on_loss="ignore").vnc == Vnc(enable=True, unused=True, display=0)
