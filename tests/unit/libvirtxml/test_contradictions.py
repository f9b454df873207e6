"""Every case in which libvirt contradicts xl, or itself, by its name: xl is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyxen import libvirtxml
from pyxen.config import (
    ActionOnShutdown,
    CpuSet,
    Disk,
    DomainConfig,
    Rate,
    Spice,
    VgaInterfaceType,
    Vif,
    Vnc,
    VNode,
)
from pyxen.libvirtxml import CONTRADICTIONS
from tests.unit.libvirtxml.documents import hvm, read, read_hvm, read_pv


def boot_order() -> None:
    assert read_hvm().boot == "c"
    said = libvirtxml.dumps(DomainConfig("web1", type="hvm", memory=512))
    assert read(said).boot == "cda"


def format_without_driver() -> None:
    disk = "<disk><driver type='qcow2'/><source file='/a'/><target dev='hda'/></disk>"
    assert read_hvm(devices=disk).disks[0].format == "qcow2"
    config = DomainConfig("web1", type="hvm", memory=512, disks=[Disk("/a", vdev="hda", format="qcow2")])
    assert "<driver name='qemu' type='qcow2'/>" in libvirtxml.dumps(config)


def rate_units() -> None:
    nic = "<interface type='ethernet'><bandwidth><outbound average='1000'/></bandwidth></interface>"
    assert read_pv(devices=nic).vifs[0].rate == Rate(1000 * 1024 // 20)
    config = DomainConfig("web1", memory=512, kernel="/boot/vmlinuz", vifs=[Vif(rate="1024KB/s")])
    assert "<outbound average='1000'/>" in libvirtxml.dumps(config)


def vlan_in_bridge() -> None:
    config = DomainConfig("web1", memory=512, kernel="/boot/vmlinuz", vifs=[Vif("eth0.100"), Vif("ovs0.7")])
    assert "vlan" not in libvirtxml.dumps(config)
    vif = config.vifs[1].replace(script="vif-openvswitch")
    said = libvirtxml.dumps(config.replace(vifs=[vif]))
    assert "<source bridge='ovs0'/>" in said
    assert "<tag id='7'/>" in said
    assert read(said).vifs == (vif.replace(),)


def hpet_off() -> None:
    assert read_hvm("<clock offset='utc'><timer name='hpet' present='no'/></clock>").hpet is False


def bootloader_arguments() -> None:
    text = "<bootloader>/usr/bin/pygrub</bootloader><bootloader_args>-q\t--entry 2</bootloader_args>"
    assert read_pv(text).bootloader_args == ("-q", "--entry", "2")


def pinning_by_cpuset() -> None:
    assert read_pv("<vcpu cpuset='0-3,^1'>2</vcpu>").cpus == CpuSet("0,2-3")
    config = DomainConfig("web1", memory=512, kernel="/boot/vmlinuz", vcpus=1, maxvcpus=2, cpus="0-1")
    said = libvirtxml.dumps(config)
    assert "cpuset='0-1'" in said
    assert [f"<vcpupin vcpu='{vcpu}' cpuset='0-1'/>" in said for vcpu in range(3)] == [True, True, False]
    assert read(said).cpus == CpuSet("0-1")


def managed_devices() -> None:
    for managed, seize in (("yes", True), ("no", False)):
        device = f"<hostdev type='pci' managed='{managed}'><source><address bus='3'/></source></hostdev>"
        assert read_pv(devices=device).pcis[0].seize is seize


def free_display() -> None:
    assert read_hvm(devices="<graphics type='vnc' autoport='yes'/>").vnc.unused is True


def removable_disks() -> None:
    assert read_hvm(devices="<disk><source file='/a'/><target dev='hda'/></disk>").disks[0].removable is None


def framebuffers_of_hvm() -> None:
    graphics = "<graphics type='vnc' port='5901'/>"
    assert read_hvm(devices=graphics).vfbs == ()
    assert read_pv(devices=graphics).vfbs[0].vnc == Vnc(enable=True, display=1, unused=False)


def spice_agent() -> None:
    for inside, agent in (
        ("", False),
        ("<mouse mode='client'/>", True),
        ("<mouse mode='server'/>", False),
        ("<clipboard copypaste='yes'/>", True),
    ):
        assert read_hvm(devices=f"<graphics type='spice'>{inside}</graphics>").spice.vdagent is agent


def spice_address() -> None:
    assert read_hvm(devices="<graphics type='spice' port='6000'/>").spice.host == "127.0.0.1"
    spice = Spice(enable=True, port=6000, disable_ticketing=True)
    config = DomainConfig("web1", type="hvm", memory=512, spice=spice, vnc=Vnc(enable=False))
    assert "listen='0.0.0.0'" in libvirtxml.dumps(config)


def one_screen() -> None:
    spice = Spice(enable=True, port=6000, disable_ticketing=True)
    config = DomainConfig("web1", type="hvm", memory=512, spice=spice, vnc=Vnc(enable=True))
    assert [loss.path for loss in libvirtxml.losses(config)] == ["vnc.enable"]
    both = "<graphics type='vnc' port='5901'/><graphics type='spice' port='6000'/>"
    read_both = libvirtxml.loads(hvm(devices=both), on_loss="ignore")
    assert (read_both.spice.enable, read_both.vnc.enable) == (True, False)


def nesting() -> None:
    for features, nested in (
        ("", True),
        ("<feature policy='optional' name='vmx'/>", True),
        ("<feature policy='disable' name='vmx'/><feature policy='require' name='svm'/>", False),
        ("<feature policy='require' name='svm'/><feature policy='forbid' name='vmx'/>", False),
        ("<feature policy='disable' name='svm'/><feature policy='optional' name='svm'/>", False),
    ):
        assert read_hvm(f"<cpu mode='host-passthrough'>{features}</cpu>").nestedhvm is nested
    config = DomainConfig("web1", type="hvm", memory=512, nestedhvm=True)
    said = libvirtxml.dumps(config)
    assert "<feature policy='require' name='vmx'/>" in said
    assert "<feature policy='require' name='svm'/>" in said
    assert read(said).nestedhvm is True
    assert "<feature " not in libvirtxml.dumps(config, domain_type="kvm")


def memory_in_mib() -> None:
    said = libvirtxml.dumps(DomainConfig("web1", memory=512.5, kernel="/boot/vmlinuz"))
    assert "<memory unit='KiB'>524800</memory>" in said
    assert read(said).memory == 512.5


def video_memory() -> None:
    config = DomainConfig("web1", type="hvm", memory=512, vga="std", videoram=20)
    assert read(libvirtxml.dumps(config)).videoram == 20


def serial_ports() -> None:
    ports = (
        "<serial type='file'><source path='/second'/><target port='1'/></serial>"
        "<serial type='pty'><target port='0'/></serial>"
    )
    assert read_hvm(devices=ports).serial == ("pty", "file:/second")


def soft_reset() -> None:
    assert read_hvm().on_soft_reset is ActionOnShutdown.SOFT_RESET


def numa_placement() -> None:
    config = read_hvm("<cpu><numa><cell id='0' cpus='0' memory='524288'/></numa></cpu>")
    assert config.effective_numa_placement is False
    assert config.vnuma == (VNode(vcpus="0", size=512, distances=(10,), pnode=0),)


def shadow_memory() -> None:
    assert read_hvm().shadow_memory is None


def disk_backend() -> None:
    config = DomainConfig("web1", memory=512, kernel="/boot/vmlinuz", disks=[Disk("/dev/vg0/web1", vdev="xvda")])
    assert "<driver" not in libvirtxml.dumps(config)
    assert read(libvirtxml.dumps(config)).disks[0].backendtype is None


def no_screen() -> None:
    assert read_hvm().nographic is True
    assert read_hvm().vga is VgaInterfaceType.NONE
    said = read(libvirtxml.dumps(DomainConfig("web1", type="hvm", memory=512, vnc=Vnc(enable=False))))
    assert not said.nographic
    assert said.vga is VgaInterfaceType.CIRRUS


def crash() -> None:
    assert read_hvm().on_crash is ActionOnShutdown.DESTROY


def disk_order() -> None:
    disks = "".join(f"<disk><source file='/{name}'/><target dev='{name}'/></disk>" for name in ("xvdb", "xvda"))
    assert [disk.vdev for disk in read_pv(devices=disks).disks] == ["xvda", "xvdb"]
    config = DomainConfig(
        "web1", memory=512, bootloader="pygrub", disks=[Disk("/b", vdev="xvdb"), Disk("/a", vdev="xvda")]
    )
    assert [loss.path for loss in libvirtxml.losses(config)] == ["disks[0]"]


def pae() -> None:
    assert read_hvm().pae is True
    said = libvirtxml.dumps(DomainConfig("web1", type="hvm", memory=512, pae=False))
    assert "arch='i686'" in said
    assert read(said).pae is False


def viridian() -> None:
    assert libvirtxml.loads(hvm("<features><viridian/></features>"), on_loss="ignore").viridian.defaults is None
    config = DomainConfig("web1", type="hvm", memory=512, viridian=True)
    assert [loss.path for loss in libvirtxml.losses(config)] == ["viridian.defaults"]
    assert "<hyperv>" in libvirtxml.dumps(config, on_loss="ignore")


CASES: dict[str, Callable[[], None]] = {
    "boot-order": boot_order,
    "format-without-driver": format_without_driver,
    "rate-units": rate_units,
    "vlan-in-bridge": vlan_in_bridge,
    "hpet-off": hpet_off,
    "bootloader-arguments": bootloader_arguments,
    "pinning-by-cpuset": pinning_by_cpuset,
    "managed-devices": managed_devices,
    "free-display": free_display,
    "removable-disks": removable_disks,
    "framebuffers-of-hvm": framebuffers_of_hvm,
    "spice-agent": spice_agent,
    "spice-address": spice_address,
    "one-screen": one_screen,
    "nesting": nesting,
    "memory-in-mib": memory_in_mib,
    "video-memory": video_memory,
    "serial-ports": serial_ports,
    "soft-reset": soft_reset,
    "numa-placement": numa_placement,
    "shadow-memory": shadow_memory,
    "disk-backend": disk_backend,
    "no-screen": no_screen,
    "crash": crash,
    "disk-order": disk_order,
    "pae": pae,
    "viridian": viridian,
}


@pytest.mark.parametrize("case", [case.name for case in CONTRADICTIONS])
def test_xl_is_right(case: str) -> None:
    CASES[case]()


def test_every_case_is_listed() -> None:
    assert list(CASES) == [case.name for case in CONTRADICTIONS]
    assert all(case.libvirt and case.pyxen for case in CONTRADICTIONS)
