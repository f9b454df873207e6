"""A document is changed where it has to be, and nowhere else."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import pytest

from pyxen import libvirtxml
from pyxen.config import DeviceModel, Disk, DomainConfig, Vif, Vnc
from pyxen.errors import LossyConversion, ParseError
from pyxen.libvirtxml import normal

PHRASE = "a'b"

DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<domain type='xen' id='7'>
  <name>web1</name>
  <metadata>
    <shop:order xmlns:shop="urn:shop" number="4711">two &amp; three</shop:order>
  </metadata>
  <memory unit='GiB'>1</memory>   <!-- enough -->
  <vcpu placement='static'>2</vcpu>
  <os>
    <type arch='x86_64' machine='xenfv'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    <disk type='block' device='disk'>
      <driver name='phy' type='raw' cache='none'/>
      <source dev='/dev/vg0/web1'/>
      <target dev='xvda' bus='xen'/>
      <serial>S-1</serial>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <source file='/srv/install.iso'/>
      <target dev='hdc' bus='ide'/>
      <readonly/>
    </disk>
    <interface type='bridge'>
      <mac address='00:16:3e:00:00:01'/>
      <source bridge='xenbr0'/>
      <link state='down'/>
    </interface>
    <console type='pty'>
      <target type='serial' port='0'/>
    </console>
    <graphics type='vnc' port='-1' autoport='yes'/>
    <tpm model='tpm-tis'/>
  </devices>
</domain>
"""


def config() -> DomainConfig:
    return libvirtxml.loads(DOCUMENT, on_loss="ignore")


def changed(new: DomainConfig, text: str = DOCUMENT) -> list[str]:
    """Return the lines that a patch takes out and puts in, after checking that it says what it is to say."""
    patched = libvirtxml.patch(text, new)
    assert normal(libvirtxml.loads(patched, on_loss="ignore")) == normal(new)
    lines = difflib.unified_diff(text.splitlines(), patched.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:3] not in ("---", "+++", "@@ ")]


CHANGES: dict[str, tuple[Callable[[DomainConfig], DomainConfig], list[str]]] = {
    "nothing": (lambda c: c, []),
    "a text": (lambda c: c.replace(name="web2"), ["-  <name>web1</name>", "+  <name>web2</name>"]),
    "an amount in another unit": (
        lambda c: c.replace(memory=2048),
        [
            "-  <memory unit='GiB'>1</memory>   <!-- enough -->",
            "+  <memory unit='KiB'>2097152</memory>   <!-- enough -->",
            "+  <currentMemory unit='KiB'>2097152</currentMemory>",
        ],
    ),
    "an attribute": (
        lambda c: c.replace(vcpus=1, maxvcpus=2),
        ["-  <vcpu placement='static'>2</vcpu>", "+  <vcpu placement='static' current='1'>2</vcpu>"],
    ),
    "a switch off": (
        lambda c: c.replace(apic=False),
        ["-  <features><acpi/><apic/></features>", "+  <features><acpi/></features>"],
    ),
    "a new element": (
        lambda c: c.replace(kernel="/boot/vmlinuz"),
        ["+    <kernel>/boot/vmlinuz</kernel>"],
    ),
    "a new boot order": (
        lambda c: c.replace(boot="dc"),
        ["+    <boot dev='cdrom'/>"],
    ),
    "a disk's file": (
        lambda c: c.replace(disks=[c.disks[0].replace(target="/dev/vg1/web1"), c.disks[1]]),
        ["-      <source dev='/dev/vg0/web1'/>", "+      <source dev='/dev/vg1/web1'/>"],
    ),
    "a disk less": (
        lambda c: c.replace(disks=c.disks[:1]),
        [
            "-    <disk type='file' device='cdrom'>",
            "-      <driver name='qemu' type='raw'/>",
            "-      <source file='/srv/install.iso'/>",
            "-      <target dev='hdc' bus='ide'/>",
            "-      <readonly/>",
            "-    </disk>",
        ],
    ),
    "a disc less": (
        lambda c: c.replace(disks=[c.disks[0], c.disks[1].replace(target=None, format="empty")]),
        [
            "-      <driver name='qemu' type='raw'/>",
            "-      <source file='/srv/install.iso'/>",
            "+      <driver name='qemu'/>",
        ],
    ),
    "a disk more": (
        lambda c: c.replace(disks=[*c.disks, Disk("/srv/b.qcow2", vdev="xvdb", format="qcow2")]),
        [
            "+    <disk type='file' device='disk'>",
            "+      <driver name='qemu' type='qcow2'/>",
            "+      <source file='/srv/b.qcow2'/>",
            "+      <target dev='xvdb' bus='xen'/>",
            "+    </disk>",
        ],
    ),
    "another address": (
        lambda c: c.replace(vifs=[c.vifs[0].replace(mac="00:16:3e:00:00:02")]),
        ["-      <mac address='00:16:3e:00:00:01'/>", "+      <mac address='00:16:3e:00:00:02'/>"],
    ),
    "an interface more": (
        lambda c: c.replace(vifs=[*c.vifs, Vif("xenbr1")]),
        ["+    <interface type='bridge'>", "+      <source bridge='xenbr1'/>", "+    </interface>"],
    ),
    "a password": (
        lambda c: c.replace(vnc=c.vnc.replace(passwd=PHRASE)),
        [
            "-    <graphics type='vnc' port='-1' autoport='yes'/>",
            "+    <graphics type='vnc' port='-1' autoport='yes' passwd='a&apos;b'/>",
        ],
    ),
    "no screen server": (
        lambda c: c.replace(vnc=Vnc(enable=False)),
        [
            "+    <video>",
            "+      <model type='cirrus' vram='8192' heads='1' primary='yes'/>",
            "+    </video>",
            "-    <graphics type='vnc' port='-1' autoport='yes'/>",
        ],
    ),
    "no serial port": (
        lambda c: c.replace(serial=[]),
        ["-    <console type='pty'>", "-      <target type='serial' port='0'/>", "-    </console>"],
    ),
    "an argument": (
        lambda c: c.replace(device_model=DeviceModel(args=["-x"])),
        [
            "+  <xen:commandline xmlns:xen='http://libvirt.org/schemas/domain/xen/1.0'>",
            "+    <xen:arg value='-x'/>",
            "+  </xen:commandline>",
        ],
    ),
}


@pytest.mark.parametrize(("change", "lines"), CHANGES.values(), ids=CHANGES)
def test_a_change(change: Callable[[DomainConfig], DomainConfig], lines: list[str]) -> None:
    assert changed(change(config())) == lines


def test_disks_in_another_order() -> None:
    patched = libvirtxml.patch(DOCUMENT, config().replace(disks=config().disks[::-1]))
    assert [disk.vdev for disk in libvirtxml.loads(patched, on_loss="ignore").disks] == ["hdc", "xvda"]
    assert sorted(patched) == sorted(DOCUMENT)


def test_bytes_double_quotes_and_no_lines() -> None:
    text = '<domain type="xen"><name>w</name><memory>1024</memory><os><type>xen</type><kernel>/k</kernel></os></domain>'
    old = libvirtxml.loads(text)
    assert libvirtxml.patch(text.encode(), old) == text
    patched = libvirtxml.patch(text.encode("utf-16"), old.replace(vcpus=3))
    assert '<vcpu placement="static">3</vcpu>' in patched
    assert libvirtxml.loads(patched).vcpus == 3


def test_what_an_xml_parser_reads_as_the_same_stays_too() -> None:
    text = (
        "\ufeff<?xml version='1.0' standalone='yes' ?>\r\n<!-- <a> ' \" -->\n<?one two='>'?>\n"
        "<domain  type = 'xen' ><name >w<!-- x -->&#x31;</name ><title><![CDATA[</title> a > b]]>&#x20;</title\n>\n"
        "<description a='>' b='name>/' >&lt;\t</description>\n"
        '  <memory\tunit="MiB">64</memory><!-- 64 --> <?three?>\n<os><type>xen</type><kernel>/k</kernel></os>\n'
        "</domain >\n<!-- end -->\n<?four?>"
    )
    old = libvirtxml.loads(text, on_loss="ignore")
    assert libvirtxml.patch(text, old) == text
    patched = libvirtxml.patch(text, old.replace(memory=65))
    new = "<memory unit=\"KiB\">66560</memory><!-- 64 --> <?three?><currentMemory unit='KiB'>66560</currentMemory>"
    assert patched == text.replace('<memory\tunit="MiB">64</memory><!-- 64 --> <?three?>', new)


def test_a_document_without_devices_gets_those_that_are_the_same() -> None:
    text = "<domain type='xen'><name>w</name><memory>1024</memory><os><type>xen</type><kernel>/k</kernel></os></domain>"
    old = libvirtxml.loads(text).replace(max_event_channels=7)
    new = old.replace(vifs=[Vif(bridge="xenbr0")], disks=[Disk("/dev/a", vdev="xvda")])
    patched = libvirtxml.patch(text, new)
    assert libvirtxml.loads(patched) == new


def test_what_cannot_be_said_is_reported() -> None:
    with pytest.raises(LossyConversion, match="pool"):
        libvirtxml.patch(DOCUMENT, config().replace(pool="fast"))
    assert libvirtxml.patch(DOCUMENT, config().replace(pool="fast"), on_loss="ignore") == DOCUMENT


def test_what_is_no_document() -> None:
    with pytest.raises(ParseError):
        libvirtxml.patch("<domain>", config())
