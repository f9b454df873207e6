"""Whatever comes in, the way out is a configuration or a `ConfigError`."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyxen import libvirtxml
from pyxen.errors import ConfigError, ParseError
from tests.unit.libvirtxml.documents import hvm, pv

ENTITIES = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "x" * 10}">' for n in range(10))

WRONG = {
    "nothing": ("", 1),
    "no XML": ("name='web1'\nmemory=512\n", 1),
    "an end that fits no beginning": ("<domain>\n<name>x</nome>\n</domain>", 2),
    "another document": ("<network><name>default</name></network>", 1),
    "no type of guest": ("<domain type='xen'>\n<name>x</name></domain>", 1),
    "an unknown type of guest": ("<domain type='xen'><name>x</name>\n<os>\n<type>exe</type></os></domain>", 3),
    "no name": ("<domain type='xen'><os><type>hvm</type></os></domain>", 1),
    "an empty name": ("<domain type='xen'>\n<name/><os><type>hvm</type></os></domain>", 2),
    "memory that is no number": (hvm().replace("512", "much"), 3),
    "memory in no unit": (hvm().replace("MiB", "pages"), 3),
    "too much memory": (hvm().replace("512", "9" * 30), 3),
    "a number of thousands of digits": (hvm().replace("512", "9" * 5000), 3),
    "no vCPUs": (hvm("<vcpu>0</vcpu>"), 5),
    "more vCPUs at first than ever": (hvm("<vcpu current='4'>2</vcpu>"), 5),
    "a set of CPUs that is none": (hvm("<vcpu cpuset='0-'>2</vcpu>"), 5),
    "a symbolic set of CPUs": (hvm("<vcpu cpuset='all'>2</vcpu>"), 5),
    "a uuid that is none": (hvm("<uuid>x</uuid>"), 5),
    "an action that is none": (hvm("\n<on_crash>explode</on_crash>"), 6),
    "a switch that is none": (hvm("<features><hap state='maybe'/></features>"), 5),
    "a timer's mode that is none": (hvm("<clock offset='utc'>\n<timer name='tsc' mode='fast'/></clock>"), 6),
    "a MAC address that is none": (hvm(devices="\n\n<interface type='bridge'><mac address='x'/></interface>"), 7),
    "a disk driver of another hypervisor": (hvm(devices="<disk><driver name='vhost'/></disk>"), 5),
    "a disk format that Xen has not": (hvm(devices="<disk><driver name='qemu' type='vmdk'/></disk>"), 5),
    "a PCI slot that is none": (
        hvm(devices="<hostdev type='pci'><source><address bus='1' slot='0x20'/></source></hostdev>"),
        5,
    ),
    "a VNC port below 5900": (hvm(devices="<graphics type='vnc' port='80'/>"), 5),
    "a NUMA node of no CPUs": (hvm("<cpu><numa><cell id='0' cpus='' memory='1'/></numa></cpu>"), 5),
    "a distance to no node": (
        hvm(
            "<cpu><numa><cell id='0' memory='1'><distances><sibling id='3' value='10'/></distances></cell></numa></cpu>"
        ),
        5,
    ),
}


WRONG["too many NUMA nodes"] = (hvm("\n<cpu><numa>" + "<cell/>" * 1025 + "</numa></cpu>"), 6)
WRONG["too many serial ports"] = (hvm(devices="\n" + "<serial type='null'><target port='0'/></serial>" * 1026), 6)


@pytest.mark.parametrize(("text", "line"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ParseError) as caught:
        libvirtxml.loads(text)
    assert caught.value.line == line
    assert caught.value.message


def test_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "web1.xml"
    path.write_text("<domain>")
    with pytest.raises(ParseError, match=r"web1\.xml:1"):
        libvirtxml.load(path)


@pytest.mark.parametrize(
    "head",
    [
        "<!DOCTYPE domain>",
        "<!DOCTYPE domain SYSTEM 'http://192.0.2.1/x.dtd'>",
        "<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
        f"<!DOCTYPE domain [{ENTITIES}]>",
    ],
    ids=["bare", "network", "file", "bomb"],
)
def test_document_types_are_refused(head: str) -> None:
    text = hvm().replace("web1", "&x;" if "passwd" in head else "&a9;" if "ENTITY" in head else "web1")
    with pytest.raises(ParseError):
        libvirtxml.loads(head + text)


def test_a_bomb_in_an_attribute_does_not_go_off() -> None:
    text = f"<!DOCTYPE domain [{ENTITIES}]>" + hvm().replace("type='xen'", "type='&a9;'")
    start = time.perf_counter()
    with pytest.raises(ConfigError):
        libvirtxml.loads(text)
    assert time.perf_counter() - start < 60


def test_ten_megabytes() -> None:
    text = hvm("<description>" + "x" * 10_000_000 + "</description>")
    with pytest.raises(ParseError, match="larger than 4 MiB"):
        libvirtxml.loads(text)


def test_four_megabytes_of_devices_are_read() -> None:
    device = "<interface type='bridge'><source bridge='xenbr0'/></interface>"
    config = libvirtxml.loads(hvm(devices=device * 20_000))
    assert len(config.vifs) == 20_000


@pytest.mark.parametrize(
    ("inside", "devices"),
    [
        ("<cpu><numa>" + "<cell/>" * 20_000 + "</numa></cpu>", ""),
        ("", "<serial type='null'><target port='0'/></serial>" * 20_000),
    ],
    ids=["NUMA nodes", "serial ports"],
)
def test_what_would_grow_with_the_square_of_its_number_is_refused(inside: str, devices: str) -> None:
    text = hvm(inside, devices)
    tracemalloc.start()
    try:
        with pytest.raises(ParseError, match="1024"):
            libvirtxml.loads(text)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("depth", [200, 10_000])
def test_deep_nesting(depth: int) -> None:
    text = hvm("<metadata>" + "<a>" * depth + "</a>" * depth + "</metadata>")
    if depth < 256:
        assert libvirtxml.loads(text).name == "web1"
    else:
        with pytest.raises(ParseError):
            libvirtxml.loads(text)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(ConfigError):
        libvirtxml.loads(data)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    with pytest.raises(ConfigError):
        libvirtxml.loads(text)


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["utf-8", "utf-16", "ascii", "ebcdic-cp-us", "nonsense", "utf-7"]))
def test_any_encoding(name: str, encoding: str) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?>" + hvm().replace("web1", name)
    for document in (text, text.encode("utf-8", "surrogatepass"), text.encode("utf-16", "surrogatepass")):
        try:
            libvirtxml.loads(document, on_loss="ignore")
        except ConfigError:
            continue


SCRAPS = st.sampled_from(
    [
        "<disk type='network'><source protocol='rbd' name='a'><host name='::1' port='1'/></source></disk>",
        "<disk><target/></disk>",
        "<disk><target dev='hda'/></disk>",
        "<disk device='floppy'/>",
        "<interface type='network'><source network='x'/></interface>",
        "<interface type='hostdev'/>",
        "<interface/>",
        "<interface type='bridge'><vlan/><virtualport type='openvswitch'/><source bridge='b'/></interface>",
        "<interface type='bridge'><bandwidth><outbound average='0'/></bandwidth></interface>",
        "<graphics/>",
        "<graphics type='spice'/>",
        "<video/>",
        "<video><model/></video>",
        "<serial type='tcp'/>",
        "<serial type='udp'><source mode='x'/></serial>",
        "<console/>",
        "<channel type='unix'><target type='xen'/></channel>",
        "<hostdev/>",
        "<hostdev type='usb'><source/></hostdev>",
        "<controller type='usb' index='x'/>",
        "<input/>",
        "<sound model='ich6'/>",
        "<tpm/>",
        "<emulator/>",
        "<memory/>",
        "text",
        "<!-- c -->",
        "<?pi?>",
        "&#1;",
        "&lt;",
    ]
)
PLACES = st.sampled_from(["features", "cpu", "clock", "cputune", "vcpu", "seclabel", "bootloader", "os", "memory"])


@settings(deadline=None)
@given(st.lists(SCRAPS, max_size=4), st.lists(st.tuples(PLACES, SCRAPS), max_size=3), st.sampled_from([hvm, pv]))
def test_elements_in_any_place(devices: list[str], others: list[tuple[str, str]], domain: Callable[..., str]) -> None:
    inside = "".join(f"<{tag} mode='host-passthrough' offset='variable'>{scrap}</{tag}>" for tag, scrap in others)
    text = domain(inside, "".join(devices))
    try:
        config = libvirtxml.loads(text, on_loss="ignore")
    except ConfigError:
        return
    libvirtxml.loads(libvirtxml.dumps(config, on_loss="ignore"))
    libvirtxml.patch(text, config, on_loss="ignore")


def test_a_choice_of_on_loss_that_is_none() -> None:
    with pytest.raises(ValueError, match="on_loss"):
        libvirtxml.loads(hvm(), on_loss="shrug")  # type: ignore[arg-type]  # wrong on purpose
