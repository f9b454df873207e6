"""What `lint` advises: each hint is followed here, and the file means to the real xl what it meant before.

Where the author meant something else than xl reads, the text after it is the one that says so to xl.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest

from pyxen import xlcfg
from pyxen.config.cpuid_flags import features, since
from pyxen.config.releases import KNOWN
from pyxen.xlcfg.keys import KEYS, release
from pyxen.xlcfg.lint_keys import FOREIGN
from tests.oracle import configs
from tests.oracle.server import Refused
from tests.oracle.setup import RELEASES
from tests.oracle.xl import XlOracle

UUID = 'uuid = "6f6d2c2e-8b3a-4f7e-9f0e-0c8f4b1f2a3d"\n'
HVM = f'name = "a"\ntype = "hvm"\nmemory = 512\nvcpus = 2\n{UUID}'
PV = f'name = "a"\ntype = "pv"\nkernel = "/k"\nmemory = 512\nvcpus = 2\n{UUID}'
PVH = PV.replace('"pv"', '"pvh"')


class Advice(NamedTuple):
    """A text, what is advised, and the text that follows it.

    Attributes:
        head: What stands before it.
        before: The text.
        code: Name of the finding.
        hint: The advice.
        after: The text that follows it.
        same: Whether xl makes the same of both.
        since: The oldest Xen release whose xl knows what is written.
    """

    head: str
    before: str
    code: str
    hint: str
    after: str
    same: bool = True
    since: str = "4.17"


NO_TYPE = HVM.replace('type = "hvm"\n', "")

SAME = (
    Advice(NO_TYPE, "builder = 'hvm'", "outdated-key", 'write type = "hvm"', 'type = "hvm"'),
    Advice(NO_TYPE, "builder = 'h'", "outdated-key", 'write type = "hvm"', 'type = "hvm"'),
    Advice(NO_TYPE + 'kernel = "/k"\n', "builder = 'generic'", "outdated-key", 'write type = "pv"', 'type = "pv"'),
    Advice(HVM, "builder = 'hvm'", "outdated-key", "leave it out: type says it", ""),
    Advice(HVM, "device_model = '/usr/lib/xen-4.1/bin/qemu-dm'", "outdated-key", "leave it out: xl ignores it", ""),
    Advice(PV, "root = '/dev/xvda1 ro'", "outdated-key", 'write cmdline = "root=/dev/xvda1 ro"',
           'cmdline = "root=/dev/xvda1 ro"'),
    Advice(PV, "extra = 'console=hvc0'", "outdated-key", 'write cmdline = "console=hvc0"', 'cmdline = "console=hvc0"'),
    Advice(PV, "root = '/dev/xvda1'\nextra = 'quiet'", "outdated-key", 'write cmdline = "root=/dev/xvda1 quiet"',
           'cmdline = "root=/dev/xvda1 quiet"'),
    Advice(PV, "root = ''\nextra = 'a \"b\"'", "outdated-key", 'write cmdline = "root= a \\"b\\""',
           'cmdline = "root= a \\"b\\""'),
    Advice(HVM, "stdvga = 1", "outdated-key", 'write vga = "stdvga"', 'vga = "stdvga"'),
    Advice(HVM, "stdvga = 0", "outdated-key", 'write vga = "cirrus"', 'vga = "cirrus"'),
    Advice(HVM, "vga = 'stdvga'\nstdvga = 1", "outdated-key", "leave it out: vga says it", "vga = 'stdvga'"),
    Advice(HVM, "vga = 'qxl'\nstdvga = 0", "ignored-value", "leave it out: vga says it", "vga = 'qxl'"),
    Advice(HVM, "vncviewer = 1", "outdated-key", "leave it out; xl create -V starts a viewer", ""),
    Advice(HVM, "vif2 = [ 'x' ]", "outdated-key", "leave it out", ""),
    Advice(HVM, "on_reboot = 'destroy'\non_reboot = 'destroy'", "repeated-key", "leave it out",
           "on_reboot = 'destroy'"),
    Advice(HVM, "on_reboot = 'restart'\non_reboot = 'destroy'", "repeated-key", "leave it out",
           "on_reboot = 'destroy'"),
    Advice(HVM, "serial = 'pty'\nserial = [ 'pty', 'tcp::1' ]", "repeated-key", "leave it out",
           "serial = [ 'pty', 'tcp::1' ]"),
    Advice(HVM, "vif = [ 'bridge=a' ]\nvif = [ 'bridge=b' ]", "repeated-key", "leave it out, or write vif += there",
           "vif = [ 'bridge=b' ]"),
    Advice(HVM, "acpi_s3 = 010", "octal", "write 8; write 10 if that is meant", "acpi_s3 = 8"),
    Advice(HVM, "maxvcpus = 010", "octal", "write 8; write 10 if that is meant", "maxvcpus = 8"),
    Advice(NO_TYPE, "type = 'h'", "abbreviated", 'write type = "hvm"', 'type = "hvm"'),
    Advice(HVM, "firmware = 'u'", "abbreviated", 'write firmware = "uefi"', 'firmware = "uefi"'),
    Advice(HVM, "firmware = ''", "abbreviated", 'write firmware = "uefi"', 'firmware = "uefi"'),
    Advice(HVM, "tsc_mode = 2", "outdated-value", 'write tsc_mode = "native"', 'tsc_mode = "native"'),
    Advice(HVM, "timer_mode = 1", "outdated-value", 'write timer_mode = "no_delay_for_missed_ticks"',
           'timer_mode = "no_delay_for_missed_ticks"'),
    Advice(HVM, "altp2m = 2", "outdated-value", 'write altp2m = "external"', 'altp2m = "external"'),
    Advice(PV, "bootloader = 'pygrub'\nbootloader_args = 'a  b\tc'", "outdated-value",
           'write bootloader_args = ["a", "b", "c"]', "bootloader = 'pygrub'\nbootloader_args = [\"a\", \"b\", \"c\"]"),
    Advice(HVM, "kernel = '/usr/lib/xen/boot/hvmloader'", "outdated-value", "leave it out", ""),
    Advice(HVM, "disk = [ 'phy:/dev/vg/a,hda,w' ]", "outdated-disk",
           'write "format=raw,vdev=hda,target=/dev/vg/a"',
           'disk = [ "format=raw,vdev=hda,target=/dev/vg/a" ]'),
    Advice(HVM, "disk = [ 'file:/a.img,0xca00,r' ]", "outdated-disk",
           'write "format=raw,vdev=0xca00,access=ro,target=/a.img"',
           'disk = [ "format=raw,vdev=0xca00,access=ro,target=/a.img" ]'),
    Advice(HVM, "disk = [ 'tap:qcow2:/a,xvda,w' ]", "outdated-disk",
           'write "format=qcow2,vdev=xvda,target=/a"',
           'disk = [ "format=qcow2,vdev=xvda,target=/a" ]'),
    Advice(HVM, "disk = [ 'iscsi:iqn.2001:lun0,xvda,w' ]", "outdated-disk",
           'write "format=raw,vdev=xvda,script=block-iscsi,target=iqn.2001:lun0"',
           'disk = [ "format=raw,vdev=xvda,script=block-iscsi,target=iqn.2001:lun0" ]'),
    Advice(HVM, "disk = [ ',hdc:cdrom,r' ]", "outdated-disk", 'write "vdev=hdc,devtype=cdrom,target="',
           'disk = [ "vdev=hdc,devtype=cdrom,target=" ]'),
    Advice(HVM, "disk = [ 'file:/d.iso,hdc:cdrom,r' ]", "outdated-disk",
           'write "format=raw,vdev=hdc,devtype=cdrom,target=/d.iso"',
           'disk = [ "format=raw,vdev=hdc,devtype=cdrom,target=/d.iso" ]'),
    Advice(HVM, "vif = [ 'netdev=eth0' ]", "outdated-value", "write gatewaydev=", "vif = [ 'gatewaydev=eth0' ]"),
    Advice(HVM, "vif = [ 'rate=010MB/s' ]", "octal", "write rate=8MB/s; write 10MB/s if that is meant",
           "vif = [ 'rate=8MB/s' ]"),
    Advice(HVM, "vif = [ 'rate=1MB/s@20' ]", "rate-interval", "write @20s; write @20us if that is meant",
           "vif = [ 'rate=1MB/s@20s' ]"),
    Advice(PV, "vfb = [ 'type=vnc,vncunused=1' ]", "outdated-value", "leave it out", "vfb = [ 'vncunused=1' ]"),
    Advice(HVM, "opengl = 1", "removed", "leave it out", "", same=False),
    Advice(HVM, "opengl = 1", "no-effect", "leave it out", "", same=False),
    Advice(PV, "vfb = [ 'sdl=1,opengl=1' ]", "no-effect", "leave it out", "vfb = [ 'sdl=1' ]", same=False),
    Advice(HVM, "device_model = '/usr/lib/xen/bin/stubdom-dm'", "outdated-key",
           "leave it out: xl ignores it, and a stub domain needs device_model_stubdomain_override = 1", ""),
    Advice(PV, "cmdline = 'a'\nroot = '/r'", "ignored-value", "leave it out, or add it to cmdline", "cmdline = 'a'"),
    Advice(PV, "cmdline = 'a'\nextra = ''", "outdated-key", "leave it out", "cmdline = 'a'"),
    Advice(HVM, "nx = 1", "outdated-key", 'leave it out; cpuid = "host,nx=0" hides the bit', "", same=False),
    Advice(HVM, "altp2mhvm = 1", "outdated-key", 'write altp2m = "mixed"', 'altp2m = "mixed"', same=False),
    Advice(HVM, "altp2mhvm = 0", "outdated-key", "leave it out", "", same=False),
)  # fmt: skip

MEANT = (
    Advice(HVM, "acpi = 'yes'", "ignored-value", "write 1 or 0", "acpi = 1", same=False),
    Advice(HVM, "viridian = 'all'", "ignored-value", "write viridian = [ 'all' ]", "viridian = [ 'all' ]", same=False),
    Advice(HVM, "pci = [ '03:00.0,permissive=yes' ]", "ignored-value", "write permissive=1",
           "pci = [ '03:00.0,permissive=1' ]", same=False),
    Advice(HVM, "pci = [ '03:00.0,seize=no' ]", "ignored-value", "write seize=0", "pci = [ '03:00.0,seize=0' ]"),
    Advice(PVH, "virtio = [ 'type=virtio,device,grant_usage=enabled' ]", "ignored-value", "write grant_usage=1",
           "virtio = [ 'type=virtio,device,grant_usage=1' ]", same=False, since="4.18"),
    Advice(PV, "vkb = [ 'backend-type=linux,feature-abs-pointer=yes' ]", "ignored-value",
           "write feature-abs-pointer=1", "vkb = [ 'backend-type=linux,feature-abs-pointer=1' ]", same=False),
    Advice(PV, "vdispl = [ 'connectors=1:8x6,be-alloc=true' ]", "ignored-value", "write be-alloc=1",
           "vdispl = [ 'connectors=1:8x6,be-alloc=1' ]", same=False),
    Advice(PV, "vfb = [ 'vnc=yes' ]", "ignored-value", "write vnc=1", "vfb = [ 'vnc=1' ]", same=False),
    Advice(HVM, "usbdev = [ 'hostbus=1,hostaddr=2' ]", "no-usb-type", 'write "type=hostdev,hostbus=1,hostaddr=2"',
           "usbdev = [ 'type=hostdev,hostbus=1,hostaddr=2' ]", same=False),
    Advice(HVM, "disk = [ '/a.qcow2,,xvda,w' ]", "disk-format", "write format=qcow2 if it is",
           "disk = [ '/a.qcow2,qcow2,xvda,w' ]", same=False),
    Advice(HVM, "device_model_override = '/x'", "no-model-version", 'write device_model_version = "qemu-xen"',
           "device_model_override = '/x'\ndevice_model_version = \"qemu-xen\"", same=False),
    Advice(PV.replace("vcpus = 2\n", ""), "cpus = '2-3'", "ignored-value", "write vcpus = 1, or more",
           "cpus = '2-3'\nvcpus = 1", same=False),
    Advice(HVM.replace("vcpus = 2\n", ""), "vcpus = 0", "ignored-value", "write vcpus = 1", "vcpus = 1", same=False),
    Advice(HVM.replace("memory = 512\n", ""), "", "no-memory", "write memory = 1024 or the like", "memory = 1024",
           same=False),
    Advice(PV, "vfb = [ 'type=sdl' ]", "ignored-value", "write sdl=1,vnc=0", "vfb = [ 'sdl=1,vnc=0' ]", same=False),
    Advice(HVM, "device_model_stubdomain_override = 1", "no-model-version",
           'write device_model_version = "qemu-xen" or "qemu-xen-traditional"',
           'device_model_stubdomain_override = 1\ndevice_model_version = "qemu-xen-traditional"', same=False),
    Advice(HVM, "serial = [ 'pty', [ 'null' ], 'stdio' ]", "nested-list", "remove the inner brackets",
           "serial = [ 'pty', 'null', 'stdio' ]", same=False),
    Advice(HVM, "vnuma = [ [ 'pnode=0', 'size=512', 'vcpus=0-1', 'vdistance=10' ] ]", "ignored-value",
           "did you mean vdistances?", "vnuma = [ [ 'pnode=0', 'size=512', 'vcpus=0-1', 'vdistances=10' ] ]",
           same=False),
    Advice(HVM, "vif = [ 'trusted=yes' ]", "ignored-value", "write trusted", "vif = [ 'trusted' ]", same=False),
    Advice(HVM, "vif = [ 'trusted=0' ]", "ignored-value", "write untrusted", "vif = [ 'untrusted' ]", same=False),
    Advice(HVM, "vif = [ 'untrusted=0' ]", "ignored-value", "write trusted", "vif = [ 'trusted' ]", same=False),
    Advice(HVM, "hap = 'disabled'", "ignored-value", "write 1 or 0", "hap = 0", same=False),
    Advice(HVM, "pci_permissive = 'yes'\npci = [ '03:00.0' ]", "ignored-value", "write 1 or 0",
           "pci_permissive = 1\npci = [ '03:00.0' ]", same=False),
    Advice(HVM.replace("memory = 512\n", ""), "memory = '512M'", "ignored-value", "write memory = 512",
           "memory = 512", same=False),
    Advice(HVM.replace("memory = 512\n", ""), "memory = '2 GB'", "ignored-value", "write memory = 2048",
           "memory = 2048", same=False),
    Advice(HVM, "bios_path_override = '/x'", "no-bios", 'write bios = "seabios", or "ovmf"',
           "bios_path_override = '/x'\nbios = \"seabios\"", same=False),
    Advice(HVM, "command = 'quiet'", "unknown-key", "xl's word for it is cmdline", "cmdline = 'quiet'", same=False),
    Advice(HVM, "dtb = '/d'", "unknown-key", "xl's word for it is device_tree", "device_tree = '/d'", same=False),
    Advice(HVM, "iommu = 'on'", "unknown-key", "xl's word for it is passthrough", "passthrough = 'enabled'",
           same=False),
    Advice(HVM, "graphics = 'vnc'", "unknown-key", "xl's words for it are vnc, spice and sdl", "vnc = 1", same=False),
    Advice(HVM, "loader = '/usr/lib/xen/boot/hvmloader'", "unknown-key",
           "leave it out: libxl finds hvmloader by itself, and firmware names another", ""),
    Advice(HVM, "paused = 1", "unknown-key", "xl create -p starts a domain paused", ""),
    Advice(HVM, "uefi = 1", "unknown-key", 'write firmware = "uefi"', 'firmware = "uefi"', same=False),
    Advice(PV, "disk = [ '/a.img,raw,/dev/xvda,w' ]", "problem", "write the name without /dev/",
           "disk = [ '/a.img,raw,xvda,w' ]", same=False),
    Advice(HVM, "mem = 512", "unknown-key", "xl's word for it is memory", "", same=True),
    Advice(PV, "bootargs = '-q'", "unknown-key", "xl's word for it is bootloader_args", 'bootloader_args = [ "-q" ]',
           same=False),
    Advice(PV, "memroy = 512", "unknown-key", "did you mean memory?", "", same=True),
)  # fmt: skip


REFUSED = (
    ("4.17", HVM, "p9 = [ 'tag=a' ]", "add path=…, security_model=…", "p9 = [ 'tag=a,path=/,security_model=none' ]"),
    ("4.17", HVM, "p9 = [ 'tag=a,path =/,security_model=none' ]", "write path=",
     "p9 = [ 'tag=a,path=/,security_model=none' ]"),
    ("4.17", PV.replace("vcpus = 2\n", ""), "vcpus = '-1'", "write vcpus = 1", "vcpus = 1"),
    ("4.20", PV.replace("vcpus = 2\n", ""), "vcpus = '-1'", "write vcpus = 1", "vcpus = 1"),
    ("4.20", PV, "bootloader_args = ''", "leave it out", ""),
)  # fmt: skip
"""Lines that xl of a release refuses, what is advised, and the lines that it takes then."""


def answer(xl: XlOracle, text: str) -> Any:
    """Return what xl makes of a text."""
    found = xl.create(text)
    assert not isinstance(found, Refused), (text, found)
    return found


@pytest.mark.parametrize("advice", [*SAME, *MEANT], ids=lambda advice: advice.before or "nothing")
def test_the_advice_is_given_and_helps(advice: Advice) -> None:
    xen = "4.21" if advice.code == "removed" else "4.20"
    found = {(one.code, one.hint) for one in xlcfg.lint(f"{advice.head}{advice.before}\n", xen)}
    assert (advice.code, advice.hint) in found
    assert (advice.code, advice.hint) not in {
        (one.code, one.hint) for one in xlcfg.lint(f"{advice.head}{advice.after}\n", xen)
    }


@pytest.mark.parametrize(("xen", "head", "before", "hint", "after"), REFUSED)
def test_what_was_refused_is_taken(xen: str, head: str, before: str, hint: str, after: str) -> None:
    assert hint in [one.hint for one in xlcfg.lint(f"{head}{before}\n", xen) if one.severity == "error"]
    assert [one for one in xlcfg.lint(f"{head}{after}\n", xen) if one.severity == "error"] == []
    with XlOracle(xen) as xl:
        assert isinstance(xl.create(f"{head}{before}\n"), Refused)
        answer(xl, f"{head}{after}\n")


def kind(code: str, hint: str) -> tuple[str, str]:
    """Return what is alike in the hints of one kind: values, and keys that are set, stand for all."""
    return code, re.sub(r"\w+(?= ?=)", "KEY", re.sub(r'"(\\.|[^"\\])*"|\[.*\]|\d+', "*", hint))


def test_each_hint_is_followed_here() -> None:
    followed = {kind(one.code, one.hint) for one in (*SAME, *MEANT)} | {kind("refused", one[3]) for one in REFUSED}
    told_elsewhere = ("other-guest", "unknown-key")  # the one says which guests have the key; the other has its test
    given = {
        kind(one.code, one.hint): (head, line)
        for head, line in texts()
        for xen in ("4.17", "4.20", "4.22")
        for one in xlcfg.lint(f"{head}{line}\n", xen)
        if one.hint and one.code not in told_elsewhere
    }
    assert {hint: line for hint, line in given.items() if hint not in followed} == {}


@pytest.mark.parametrize("release_", RELEASES)
def test_the_file_still_means_the_same(release_: str) -> None:
    with XlOracle(release_) as xl:
        for advice in (*SAME, *MEANT):
            if release(advice.since) > release(release_):
                continue
            before = answer(xl, f"{advice.head}{advice.before}\n")
            after = answer(xl, f"{advice.head}{advice.after}\n")
            assert (before == after) is advice.same, (advice, before, after)


def texts() -> list[tuple[str, str]]:
    """Return every head with a line of the corpus, or with some value of every key."""
    values = ("0", "1", "5", '"x"', '"1"', '"yes"', '""', "[]", '["x"]', '["a=1"]')
    lines = [*configs.lines("values.txt"), *(f"{key} = {value}" for key in KEYS if key != "name" for value in values)]
    return [(head, line) for line in lines for head in (HVM, PV, PVH)]


REFUSED_BY_PYXEN = ("spiceusbredirection", "usbversion", 'p9 = [ "tag=,')
"""Values of which xl makes numbers that libxl refuses, and a tag that xl before 4.19 takes and libxl does not."""

NO_WARNING = "got a tsc mode string"
"""What xl says of a value that is right."""


@pytest.mark.parametrize("release_", RELEASES)
def test_what_xl_refuses_is_an_error_and_what_it_warns_of_is_found(release_: str) -> None:
    with XlOracle(release_) as xl:
        for head, line in texts():
            text = f"{head}{line}\n"
            refused = isinstance(xl.create(text), Refused)
            said = [one for one in xl.messages().splitlines()[1:] if one and NO_WARNING not in one]
            found = [one for one in xlcfg.lint(text, release_) if one.code != "repeated-key"]
            errors = [one for one in found if one.severity == "error"]
            if not line.startswith(REFUSED_BY_PYXEN):
                assert bool(errors) is refused, (text, said, found)
            assert found or not said, (text, said)


@pytest.mark.parametrize("release_", RELEASES)
def test_what_is_newer_is_an_error_where_xl_refuses_it(release_: str) -> None:
    newer = (
        "tee = 'ffa'", "p9 = [ 'tag=a,path=/,security_model=none,type=xen_9pfsd' ]", "vif = [ 'vlan=5' ]",
        "p9 = [ 'tag=a,path=/,security_model=none,max_files=5' ]", "p9 = [ 'tag=a' ]", "smbios = [ 'bios_vendor=x' ]",
        "disk = [ '/a,raw,xvda,w,trusted' ]", "disk = [ '/a,raw,xvda,w,untrusted' ]", "sve = 'hw'", "altp2m_count = 5",
        "virtio = [ 'type=virtio,device' ]", "arm_sci = 'type=scmi_smc'", "xenstore_quota = [ 'nodes=5' ]",
        "llc_colors = [ '0-3' ]", "hvm_pirq = 1", "cpuid = 'host,lass=1'", "cpuid = 'host,fred=1'", "vcpus = '-1'",
    )  # fmt: skip
    with XlOracle(release_) as xl:
        for line in newer:
            text = f"{HVM}{line}\n"
            refused = isinstance(xl.create(text), Refused)
            errors = [one for one in xlcfg.lint(text, release_) if one.severity == "error"]
            assert bool(errors) is refused, (text, xl.messages(), errors)


@pytest.mark.parametrize("release_", RELEASES)
def test_the_names_of_cpuid_that_xl_knows(release_: str) -> None:
    with XlOracle(release_) as xl:
        for name in features():
            answer(xl, f"{HVM}cpuid = 'host,{name}=1'\n")
            known = release(since(name) or KNOWN[0]) <= release(release_)
            assert ("unknown CPUID" not in xl.messages()) is known, (name, xl.messages())


@pytest.mark.parametrize("release_", RELEASES)
def test_foreign_keys_mean_nothing_to_xl(release_: str) -> None:
    with XlOracle(release_) as xl:
        without = answer(xl, HVM)
        assert [key for key in FOREIGN if answer(xl, f"{HVM}{key} = 'x'\n") != without] == []
