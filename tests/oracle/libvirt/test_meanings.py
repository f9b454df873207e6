"""What a document means: libvirt reads it and writes down what it has understood, which says the same to pyxen.

Where libvirt refuses a document, so does pyxen. libxl is asked for the names of CPU features, which libvirt hands on.
"""

from __future__ import annotations

import re
import uuid

import pytest
from lxml import etree

from pyxen import libvirtxml
from pyxen.config import settings_of
from pyxen.config.domain import DomainConfig
from pyxen.errors import ParseError
from pyxen.libvirtxml import normal
from pyxen.libvirtxml.cpuflags import FLAGS, NAMES
from tests.oracle.libvirt.schemas import Refused, Virsh
from tests.oracle.libvirt.test_conformance import assert_same
from tests.oracle.server import Refused as RefusedByXl
from tests.oracle.xl import XlOracle

UUID = uuid.UUID("2147d599-9cc6-40dc-92ab-4064b5446e9b")
ITS_CHOICE = re.compile("<target dev='testnet[0-9]+'/>")
"""The name that the test driver gives an interface without a name."""

MEMORY = "<memory unit='MiB'>64</memory>"


def document(inside: str = MEMORY, devices: str = "") -> str:
    """Return an HVM guest of libvirt's test driver."""
    return (
        f"<domain type='test'><name>web1</name><uuid>{UUID}</uuid><os><type>hvm</type></os>{inside}"
        f"<devices>{devices}<graphics type='vnc' port='5901'/></devices></domain>"
    )


def screen(attributes: str) -> str:
    """Return a guest with one VNC server."""
    return document().replace("port='5901'", attributes)


def nic(target: str, kind: str = "bridge") -> str:
    """Return a guest with one interface of a name."""
    source = "<source bridge='xenbr0'/>" if kind == "bridge" else ""
    inside = f"<mac address='00:16:3e:00:00:01'/>{source}<target {target}/>"
    return document(devices=f"<interface type='{kind}'>{inside}</interface>")


def hostdev(kind: str, address: str) -> str:
    """Return a guest with one device of the host's."""
    address = f"<source><address {address}/></source>"
    return document(devices=f"<hostdev mode='subsystem' type='{kind}'>{address}</hostdev>")


def disks(*names: str, buses: bool = True) -> str:
    """Return a guest with disks of these names, with or without their buses."""
    said = ""
    for name in names:
        bus = f"bus='{'ide' if name.startswith('hd') else 'scsi'}'" if buses else ""
        said += f"<disk type='file'><source file='/{name}'/><target dev='{name}' {bus}/></disk>"
    return document(devices=said)


TAKEN = {
    "more memory at first than ever": document(f"{MEMORY}<currentMemory unit='MiB'>128</currentMemory>"),
    "no memory at first": document(f"{MEMORY}<currentMemory>0</currentMemory>"),
    "less memory at first": document(f"{MEMORY}<currentMemory unit='MiB'>32</currentMemory>"),
    "the memory of NUMA nodes": document(
        "<memory>0</memory><cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>"
    ),
    "a leading zero": document("<memory unit='MiB'>064</memory><vcpu>02</vcpu>"),
    "a USB device by octal numbers": hostdev("usb", "bus='010' device='0x10'"),
    "a PCI device by octal numbers": hostdev("pci", "domain='0' bus='010' slot='011' function='7'"),
    "a PCI device by decimal numbers": hostdev("pci", "domain='0' bus='10' slot='11' function='1'"),
    "no port": screen(""),
    "any port": screen("port='-1'"),
    "an automatic port": screen("port='5902' autoport='yes'"),
    "port 0": screen("port='0'"),
    "no port, and no automatic one": screen("autoport='no'"),
    "any port, and no automatic one": screen("port='-1' autoport='no'"),
    "a name": nic("dev='web1-0'"),
    "a name of a tap": nic("dev='vnet0'"),
    "a name of a macvtap": nic("dev='macvtap1'"),
    "a name of a macvlan": nic("dev='macvlan1'"),
    "a name of a tap that libvirt does not manage": nic("dev='vnet0' managed='no'", "ethernet"),
    "disks of one bus": disks("hdc", "hdb", "hda"),
    "disks of two buses": disks("sdb", "hdb", "sda", "hda", "sdaa"),
    "disks of no bus": disks("hdb", "sda", "hda", buses=False),
}

REFUSED = {
    "memory in hexadecimal": document("<memory>0x10000</memory>"),
    "vCPUs in hexadecimal": document(f"{MEMORY}<vcpu>0x2</vcpu>"),
    "a weight in hexadecimal": document(f"{MEMORY}<cputune><shares>0x200</shares></cputune>"),
    "a USB bus that is not octal": hostdev("usb", "bus='08' device='1'"),
    "a PCI slot that is not octal": hostdev("pci", "domain='0' bus='0' slot='09' function='0'"),
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_a_document_means_what_libvirt_makes_of_it(virsh: Virsh, text: str) -> None:
    answer = virsh.define(text, UUID)
    assert not isinstance(answer, Refused), answer.messages
    answer = ITS_CHOICE.sub("<target/>", answer)
    ours, theirs = (libvirtxml.loads(said, on_loss="ignore") for said in (text, answer))
    written = etree.fromstring(answer).xpath("devices/disk/target/@dev")
    assert [disk.vdev for disk in ours.disks] == written
    graphic = settings_of(DomainConfig).keys() & {"vga", "videoram", "nographic"}  # libvirt adds a card
    said_alike = {name: getattr(theirs, name) for name in graphic}
    assert_same(normal(ours.replace(**said_alike)), normal(theirs))


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_libvirt_refuses_is_refused(virsh: Virsh, text: str) -> None:
    assert isinstance(virsh.define(text, UUID), Refused)
    with pytest.raises(ParseError):
        libvirtxml.loads(text, on_loss="ignore")


TRANSLATED = {
    "cx16": "cmpxchg16",
    "cid": "cntxid",
    "ds_cpl": "dscpl",
    "pclmuldq": "pclmulqdq",
    "pni": "sse3",
    "ht": "htt",
    "pn": "psn",
    "clflush": "clfsh",
    "sep": "sysenter",
    "cx8": "cmpxchg8",
    "nodeid_msr": "nodeid",
    "cr8legacy": "altmovcr8",
    "lahf_lm": "lahfsahf",
    "cmp_legacy": "cmplegacy",
    "fxsr_opt": "ffxsr",
    "pdpe1gb": "page1gb",
    "spec-ctrl": "ibrsb",
}
"""libvirt's names that its Xen driver translates into libxl's (``xenTranslateCPUFeature``); it hands on all others."""


def _is_known(xl: XlOracle, name: str) -> bool:
    answer = xl.create(f'name="a"\ntype="hvm"\nmemory=64\ncpuid="host,{TRANSLATED.get(name, name)}=0"\n')
    assert not isinstance(answer, RefusedByXl), answer
    policy, bit = answer["b_info"].get("cpuid", []), FLAGS[name]
    leaves = policy["cpuid"] if isinstance(policy, dict) else policy  # since Xen 4.18 there are MSRs beside the leaves
    places = [(leaf["leaf"], leaf.get("subleaf"), leaf[bit.register][31 - bit.bit]) for leaf in leaves]
    assert places in ([], [(bit.leaf, bit.subleaf, "0")])
    return bool(places)


def test_a_written_cpu_feature_is_known_to_libxl(xl: XlOracle) -> None:
    assert [name for name in NAMES.values() if not _is_known(xl, name)] == []


def test_no_cpu_feature_that_libxl_knows_is_left_out() -> None:
    with XlOracle("4.17") as oldest:
        assert [name for name in FLAGS if name not in NAMES.values() and _is_known(oldest, name)] == []
