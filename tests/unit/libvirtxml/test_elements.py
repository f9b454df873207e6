"""One element at a time, both ways: what it says in the model, and how the model says it."""

from __future__ import annotations

from typing import Any

import pytest

from pyxen import LossyConversion, libvirtxml
from pyxen.config import (
    Channel,
    CpuidLeaf,
    CpuidPolicy,
    CpuSet,
    DeviceModel,
    Disk,
    DomainConfig,
    Pci,
    Rate,
    Scheduler,
    Sdl,
    Spice,
    UsbCtrl,
    UsbDev,
    Vfb,
    Vif,
    Viridian,
    Vnc,
)
from pyxen.libvirtxml import normal
from tests.unit.libvirtxml.documents import read, read_hvm, read_pv

PHRASE = "hush"
BIT_4 = "x" * 27 + "1" + "x" * 4
BIT_0 = "x" * 31 + "0"

HVM: dict[str, tuple[str, str, dict[str, Any]]] = {
    "uuid": ("<uuid>2147d599-9cc6-c0dc-92ab-4064b5446e9b</uuid>", "", {"uuid": "2147d599-9cc6-c0dc-92ab-4064b5446e9b"}),
    "label": (
        "<seclabel type='static' model='flask' relabel='no'><label>system_u:system_r:domU_t</label></seclabel>",
        "",
        {"seclabel": "system_u:system_r:domU_t"},
    ),
    "memory": (
        "<currentMemory unit='MiB'>256</currentMemory>",
        "",
        {"memory": 256, "maxmem": 512},
    ),
    "vcpus": ("<vcpu current='2'>4</vcpu>", "", {"vcpus": 2, "maxvcpus": 4}),
    "affinity": ("<vcpu cpuset='0-3,^1'>2</vcpu>", "", {"vcpus": 2, "cpus": CpuSet("0,2-3")}),
    "pinning": (
        "<vcpu>3</vcpu><cputune><vcpupin vcpu='1' cpuset='4'/></cputune>",
        "",
        {"vcpus": 3, "cpus": (CpuSet("all"), CpuSet("4"))},
    ),
    "weight": ("<cputune><shares>512</shares></cputune>", "", {"scheduler": Scheduler(weight=512)}),
    "features": ("<features><acpi/><pae/></features>", "", {"acpi": True, "apic": False, "pae": True}),
    "paging": ("<features><hap state='off'/></features>", "", {"hap": False}),
    "hyperv": (
        "<features><hyperv><vapic state='on'/><stimer state='on'/><ipi state='off'/></hyperv></features>",
        "",
        {
            "viridian": Viridian(
                enable=["base", "crash_ctl", "apic_assist", "stimer", "synic", "time_ref_count", "reference_tsc"]
            )
        },
    ),
    "all of hyperv": ("<features><hyperv mode='passthrough'/></features>", "", {"viridian": Viridian(enable="all")}),
    "passthrough": (
        "<features><xen><passthrough state='on' mode='share_pt'/></xen></features>",
        "",
        {"passthrough": "share_pt"},
    ),
    "no passthrough": ("<features><xen><passthrough state='off'/></xen></features>", "", {"passthrough": "disabled"}),
    "nesting": ("<cpu mode='host-passthrough'/>", "", {"nestedhvm": True}),
    "CPU flags": (
        (
            "<cpu mode='host-passthrough'><feature policy='forbid' name='pni'/><feature policy='require' name='tsc'/>"
            "<feature policy='optional' name='avx'/><feature policy='disable' name='vmx'/></cpu>"
        ),
        "",
        {"nestedhvm": False, "cpuid": CpuidPolicy([CpuidLeaf(1, ecx=BIT_0, edx=BIT_4)])},
    ),
    "local time": ("<clock offset='localtime'/>", "", {"localtime": True}),
    "another time": (
        "<clock offset='variable' adjustment='-3600' basis='localtime'/>",
        "",
        {"localtime": True, "rtc_timeoffset": -3600},
    ),
    "timers": (
        "<clock offset='utc'><timer name='tsc' mode='paravirt'/><timer name='hpet' present='yes'/></clock>",
        "",
        {"tsc_mode": "native_paravirt", "hpet": True},
    ),
    "events": (
        "<on_poweroff>preserve</on_poweroff><on_reboot>rename-restart</on_reboot><on_crash>coredump-destroy</on_crash>",
        "",
        {"on_poweroff": "preserve", "on_reboot": "restart_rename", "on_crash": "coredump_destroy"},
    ),
    "device model": ("", "<emulator>/usr/bin/qemu</emulator>", {"device_model": DeviceModel(path="/usr/bin/qemu")}),
    "disk": (
        "",
        (
            "<disk type='block' device='disk'><driver name='phy' type='raw' discard='unmap'/><source dev='/dev/vg/a'/>"
            "<target dev='xvda' bus='xen'/><readonly/><backenddomain name='store'/></disk>"
        ),
        {
            "disks": [
                Disk("/dev/vg/a", vdev="xvda", backendtype="phy", discard=True, readonly=True, backend="store"),
            ]
        },
    ),
    "empty drive": (
        "",
        "<disk type='file' device='cdrom'><driver name='qemu'/><target dev='hdc' bus='ide'/><readonly/></disk>",
        {"disks": [Disk(vdev="hdc", cdrom=True, backendtype="qdisk")]},
    ),
    "Ceph": (
        "",
        (
            "<disk type='network'><driver name='qemu' type='raw'/><source protocol='rbd' name='pool/image'>"
            "<host name='mon1.example.org' port='6321'/><host name='2001:db8::7' port='6322'/><host name='192.0.2.7'/>"
            "<config file='/etc/ceph/a:b.conf'/></source><target dev='hdb' bus='ide'/></disk>"
        ),
        {
            "disks": [
                Disk(
                    r"rbd:pool/image:auth_supported=none:mon_host=mon1.example.org\:6321\;"
                    r"[2001\:db8\:\:7]\:6322\;192.0.2.7:conf=/etc/ceph/a\:b.conf",
                    vdev="hdb",
                    backendtype="qdisk",
                )
            ]
        },
    ),
    "interface": (
        "",
        (
            "<interface type='bridge'><mac address='00:16:3e:00:00:01'/><source bridge='xenbr0'/>"
            "<bandwidth><outbound average='10240'/></bandwidth><ip address='192.0.2.7' family='ipv4'/>"
            "<ip address='2001:db8::7' family='ipv6'/><script path='vif-bridge'/><target dev='web1-0'/>"
            "<backenddomain name='net'/><model type='e1000'/></interface>"
        ),
        {
            "vifs": [
                Vif(
                    "xenbr0",
                    mac="00:16:3e:00:00:01",
                    rate=Rate(524288),
                    ip="192.0.2.7 2001:db8::7",
                    script="vif-bridge",
                    vifname="web1-0",
                    backend="net",
                    model="e1000",
                    type="vif_ioemu",
                )
            ]
        },
    ),
    "PV interface": (
        "",
        "<interface type='ethernet'><model type='netfront'/></interface>",
        {"vifs": [Vif(type="vif")]},
    ),
    "trunk": (
        "",
        (
            "<interface type='bridge'><source bridge='ovs0'/><virtualport type='openvswitch'/>"
            "<vlan trunk='yes'><tag id='7'/><tag id='8'/></vlan></interface>"
        ),
        {"vifs": [Vif("ovs0:7:8", script="vif-openvswitch")]},
    ),
    "vnc": (
        "",
        (
            "<graphics type='vnc' port='5903' autoport='no' passwd='hush' keymap='de'>"
            "<listen type='address' address='192.0.2.1'/></graphics>"
        ),
        {"vnc": Vnc(enable=True, display=3, unused=False, listen="192.0.2.1", passwd=PHRASE), "keymap": "de"},
    ),
    "sdl": (
        "",
        "<graphics type='sdl' display=':0' xauth='/root/.Xauthority'/>",
        {"sdl": Sdl(enable=True, display=":0", xauthority="/root/.Xauthority"), "vnc": Vnc(enable=False)},
    ),
    "spice": (
        "",
        (
            "<graphics type='spice' port='6000' tlsPort='6001' passwd='hush'><listen type='address' address='::1'/>"
            "<mouse mode='server'/><clipboard copypaste='yes'/></graphics>"
        ),
        {
            "spice": Spice(
                enable=True,
                host="::1",
                port=6000,
                tls_port=6001,
                passwd=PHRASE,
                disable_ticketing=False,
                agent_mouse=False,
                vdagent=True,
                clipboard_sharing=True,
            ),
            "vnc": Vnc(enable=False),
        },
    ),
    "card": (
        "",
        "<video><model type='qxl' vram='131072'/></video>",
        {"vga": "qxl", "videoram": 128, "nographic": None},
    ),
    "sound": ("", "<sound model='ich6'/>", {"soundhw": "hda"}),
    "serial ports": (
        "",
        (
            "<serial type='pty'><target port='0'/></serial>"
            "<serial type='unix'><source mode='bind' path='/run/a'/><target port='2'/></serial>"
            "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='4001'/><protocol type='telnet'/>"
            "<target port='3'/></serial>"
            "<serial type='udp'><source mode='bind' host='' service='0'/>"
            "<source mode='connect' host='h' service='1'/><target port='4'/></serial>"
            "<serial type='dev'><source path='/dev/ttyS0'/><target port='5'/></serial>"
        ),
        {
            "serial": [
                "pty",
                "none",
                "unix:/run/a,server,nowait",
                "telnet:127.0.0.1:4001,server,nowait",
                "udp:h:1@:0",
                "/dev/ttyS0",
            ]
        },
    ),
    "console": ("", "<console type='pty'><target type='serial' port='0'/></console>", {"serial": ["pty"]}),
    "usb devices": ("", "<input type='tablet' bus='usb'/>", {"usbdevice": ["tablet"]}),
    "channels": (
        "",
        (
            "<channel type='unix'><source mode='bind' path='/run/a'/><target type='xen' name='a'/></channel>"
            "<channel type='pty'><target type='xen' name='b'/></channel>"
        ),
        {"channels": [Channel("a", connection="socket", path="/run/a"), Channel("b", connection="pty")]},
    ),
    "PCI": (
        "",
        (
            "<hostdev mode='subsystem' type='pci' managed='no'><source writeFiltering='no'>"
            "<address domain='0x0000' bus='0x03' slot='0x10' function='0x7'/></source></hostdev>"
        ),
        {"pcis": [Pci("03:10.7", permissive=True)]},
    ),
    "USB": (
        "",
        (
            "<controller type='usb' index='0' model='qusb1' ports='4'/>"
            "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='16'/></source></hostdev>"
        ),
        {"usbctrls": [UsbCtrl(type="qusb", version=1, ports=4)], "usbdevs": [UsbDev(hostbus=1, hostaddr=16)]},
    ),
    "limits": (
        "",
        "<controller type='xenbus' index='0' maxGrantFrames='64' maxEventChannels='2047'/>",
        {"max_grant_frames": 64, "max_event_channels": 2047},
    ),
}


@pytest.mark.parametrize(("inside", "devices", "fields"), HVM.values(), ids=HVM)
def test_an_element_of_an_hvm_guest(inside: str, devices: str, fields: dict[str, Any]) -> None:
    expected = {name: getattr(DomainConfig("web1", **fields), name) for name in fields}
    config = read_hvm(inside, devices)
    assert {name: getattr(config, name) for name in fields} == expected
    assert normal(read(libvirtxml.dumps(config))) == normal(config)


def test_the_firmware() -> None:
    path = "/usr/share/ovmf.bin"
    assert read_hvm(os=f"<loader readonly='yes' type='pflash'>{path}</loader>").bios_path_override == path
    assert read_hvm(os="<loader type='rom'>/usr/lib/xen/boot/hvmloader</loader>").bios is None
    config = DomainConfig(
        "web1", type="hvm", memory=512, bios="ovmf", kernel="/k", ramdisk="/r", boot="nd", cmdline="a"
    )
    text = libvirtxml.dumps(config.replace(acpi_firmware="/slic"))
    assert "<os firmware='efi'>" in text
    assert normal(read(text)) == normal(config.replace(acpi_firmware="/slic"))


def test_a_pv_guest() -> None:
    config = read_pv(
        "<features><xen><e820_host state='on'/></xen></features>",
        "<console type='pty'/><graphics type='vnc' port='-1' keymap='de'/><video><model type='xen'/></video>",
    )
    assert config.type == "pv"
    assert config.e820_host is True
    assert config.vfbs == (Vfb(vnc=Vnc(enable=True, unused=True), keymap="de"),)
    assert normal(read(libvirtxml.dumps(config))) == normal(config)


def test_a_pvh_guest() -> None:
    config = DomainConfig("web1", type="pvh", memory=512, bootloader="pygrub", bootloader_args=["-q"], nestedhvm=False)
    assert "<type machine='xenpvh'>xenpvh</type>" in libvirtxml.dumps(config)
    assert normal(read(libvirtxml.dumps(config))) == normal(config)


def test_arguments_for_the_device_model() -> None:
    config = DomainConfig("web1", type="hvm", memory=512, device_model=DeviceModel(args=["-device", "e='1'&<2>"]))
    text = libvirtxml.dumps(config)
    assert "xmlns:xen='http://libvirt.org/schemas/domain/xen/1.0'" in text
    assert "<xen:arg value='-device'/>" in text
    assert read(text).device_model == config.device_model


@pytest.mark.parametrize("domain_type", ["kvm", "test"])
def test_other_types_of_domain(domain_type: str) -> None:
    disks = [Disk("/a.qcow2", vdev="xvda", format="qcow2")]
    config = DomainConfig("web1", type="hvm", memory=512, disks=disks, device_model=DeviceModel(args=["-x"]))
    assert [loss.path for loss in libvirtxml.losses(config, domain_type=domain_type)] == ["device_model.args"]
    text = libvirtxml.dumps(config, domain_type=domain_type, on_loss="ignore")
    assert text.startswith(f"<domain type='{domain_type}'>")
    assert ("bus='virtio'" in text) == (domain_type == "kvm")
    assert "machine=" not in text
    assert libvirtxml.loads(text, on_loss="ignore").disks[0].target == "/a.qcow2"


@pytest.mark.parametrize(
    ("domain_type", "guest", "lost"),
    [
        ("kvm", "<type arch='x86_64' machine='pc-q35-8.2'>hvm</type>", {"@type", "os[1]/type[1]/@machine"}),
        ("xenn", "<type>hvm</type>", {"@type"}),
        ("", "<type>hvm</type>", {"@type"}),
        ("xen", "<type arch='s390x'>hvm</type>", {"os[1]/type[1]/@arch"}),
        ("xen", "<type arch='x86_64' machine='xenfv'>hvm</type>", set()),
        ("test", "<type arch='i686'>hvm</type>", set()),
    ],
)
def test_a_document_for_another_hypervisor_is_a_loss(domain_type: str, guest: str, lost: set[str]) -> None:
    text = f"<domain type='{domain_type}'><name>web1</name><memory>65536</memory><os>{guest}</os></domain>"
    if not lost:
        assert libvirtxml.loads(text).name == "web1"
        return
    with pytest.raises(LossyConversion) as error:
        libvirtxml.loads(text)
    assert {loss.path for loss in error.value.losses} == lost


def test_words_that_xml_escapes() -> None:
    config = DomainConfig("a&b<c>'d'\"e\"", kernel="/boot/vmlinuz", memory=512, cmdline="x='1' & <y>\t\N{SNOWMAN}\r\nz")
    assert normal(read(libvirtxml.dumps(config))) == normal(config)
