"""How values are shown to people, in losses: as they would write them, and not as Python does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pyxen import (
    Disk,
    DomainConfig,
    Pci,
    Rate,
    Stubdomain,
    Vfb,
    Vif,
    Vkb,
    Vnc,
    VNode,
    Vtpm,
    libvirtxml,
    libxljson,
    xlcfg,
)
from pyxen.config import (
    ActionOnShutdown,
    Connector,
    CpuidLeaf,
    CpuidPolicy,
    DeviceModelVersion,
    IomemRange,
    IoportRange,
    MsrPolicy,
    Smbios,
    VgaInterfaceType,
    Viridian,
)
from pyxen.errors import LossyConversion, ParseError
from pyxen.losses import LossWarning, shown
from pyxen.testing.strategies import domain_configs

BITS = "x" * 32
PHRASE = "hush"

HVM = DomainConfig("a", type="hvm")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not set"),
        ("", '""'),
        (True, "1"),
        (False, "0"),
        (500.5, "500.5"),
        (("a", "b"), "a, b"),
        ((0, 1, 2, 3), "0-3"),
        ((0, 1, 5, 7, 8, 9), "0, 1, 5, 7-9"),
        ((("nodes", 1), ("watches", 64)), "nodes=1, watches=64"),
        ((("key", "value"),), "key=value"),
        (ActionOnShutdown.SOFT_RESET, "soft-reset"),
        (ActionOnShutdown.RESTART_RENAME, "rename-restart"),
        (DeviceModelVersion.QEMU_XEN_TRADITIONAL, "qemu-xen-traditional"),
        (VgaInterfaceType.STD, "stdvga"),
        (Viridian(enable=["synic", "base"]).enable, "base, synic"),
        (Viridian(enable=range(10, 64)).enable, "cpu_hotplug, ex_processor_masks, no_vp_limit, 13-63"),
        (Smbios("system_manufacturer", "ACME"), "system_manufacturer=ACME"),
        (Smbios("oem", ""), "oem="),
        (IomemRange(0xFFF51, 16), "0xfff51,0x10"),
        (IoportRange(0x2F8, 8), "2f8-2ff"),
        (Rate.parse("10MB/s"), "10MB/s"),
        (Rate(1, 0), "1 B every 0 µs"),
        (VNode(pnode=0, size=99.5, vcpus="0-1"), '["pnode=0", "size=99.5", "vcpus=0-1"]'),
        (VNode(size=64, distances=[10, 20]), '["size=64", "vdistances=10,20"]'),
        (Connector("id0", 800, 600), "id0:800x600"),
        (CpuidLeaf(7, 0, ebx=BITS), f"0x7,0x0:ebx={BITS}"),
        (CpuidPolicy([CpuidLeaf(1, ecx=BITS)]).leaves, f"0x1:ecx={BITS}"),
        (MsrPolicy(0x10A), f"0x10a:{BITS}{BITS}"),
        (Stubdomain(kernel="/k"), "kernel=/k"),
        (Disk("/dev/vg/a", vdev="xvda", readonly=True), "format=raw,vdev=xvda,access=ro,target=/dev/vg/a"),
        (Disk("rbd:pool/a:key=hush", vdev="xvda"), "format=raw,vdev=xvda,target=rbd:pool/a:key=***"),
        (Vif("xenbr0", mac="00:16:3e:00:00:01"), "mac=00:16:3e:00:00:01,bridge=xenbr0"),
        (Pci("03:00.0", permissive=True), "bdf=0000:03:00.0,permissive=1"),
        (Vkb(backend_type="linux", feature_raw_pointer=True), "backend-type=linux,feature-raw-pointer=1"),
        (Vfb(vnc=Vnc(enable=True, passwd=PHRASE)), "vnc=1,vncpasswd=***"),
        ((Vtpm("a"), Vtpm("b")), "backend=a; backend=b"),
        (Stubdomain(), '""'),
    ],
)
def test_a_value(value: object, text: str) -> None:
    assert shown(value) == text


PYTHON = re.compile(r"frozenset\(|UUID\(|<[A-Z][A-Za-z]+\.[A-Z_]+: |\b[A-Z][A-Za-z0-9]+\([a-z_0-9]+=")
"""What Python writes and no person would."""


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(domain_configs())
def test_no_loss_shows_python(config: DomainConfig) -> None:
    for loss in (*xlcfg.losses(config), *libvirtxml.losses(config)):
        assert not PYTHON.search(loss.value), loss
        assert loss.reason


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ({"viridian": {"enable": ["cpu_hotplug", "base"]}}, "viridian.enable", "base, cpu_hotplug"),
        ({"iomem": [IomemRange(0xFFF51, 1, 16)]}, "iomem[0]", "0xfff51,0x1@0x10"),
        ({"xenstore_quota": {"nodes": 1}}, "xenstore_quota", "nodes=1"),
        ({"smbios": [Smbios("oem", "x")]}, "smbios[0]", "oem=x"),
        ({"llc_colors": [0, 1, 2, 3]}, "llc_colors", "0-3"),
        ({"on_crash": "soft_reset"}, "on_crash", "soft-reset"),
        ({"on_watchdog": "restart_rename"}, "on_watchdog", "rename-restart"),
        ({"device_model": {"version": "qemu_xen_traditional"}}, "device_model.version", "qemu-xen-traditional"),
        ({"vnc": {"enable": False, "passwd": "hush"}}, "vnc.passwd", "***"),
    ],
)
def test_a_loss_of_xml(change: dict[str, object], path: str, value: str) -> None:
    lost = {loss.path: loss.value for loss in libvirtxml.losses(HVM.replace(**change))}
    assert lost[path] == value


XL = "name='a'\nkernel='/k'\nfoo=1\n"
XML = "<domain><name>a</name><memory>1024</memory><os><type>linux</type><kernel>/k</kernel></os><genid/></domain>"


@pytest.mark.parametrize(("codec", "text"), [(xlcfg, XL), (libvirtxml, XML)])
def test_messages_name_the_file(codec: Any, text: str) -> None:
    with pytest.raises(LossyConversion, match=r"^web\.cfg: the conversion would lose"):
        codec.loads(text, on_loss="raise", source="web.cfg")
    with pytest.warns(LossWarning, match=r"^web\.cfg: "):
        codec.loads(text, on_loss="warn", source="web.cfg")
    with pytest.raises(LossyConversion, match=r"^the conversion would lose"):
        codec.loads(text, on_loss="raise")


JSON = '{"c_info": {"name": "a", "type": "pv"}, "b_info": {"type.pv": {}, "of_the_future": 3}}'
ODD = DomainConfig("a", kernel="/k", pool="fast", xenstore_quota={"nodes": 1})


@pytest.mark.parametrize(
    "lose",
    [
        lambda _: xlcfg.loads(XL),
        lambda folder: xlcfg.load(folder / "xl"),
        lambda _: libvirtxml.loads(XML, on_loss="warn"),
        lambda folder: libvirtxml.load(folder / "xml", on_loss="warn"),
        lambda _: libvirtxml.dumps(ODD, on_loss="warn"),
        lambda folder: libvirtxml.dump(ODD, folder / "new", on_loss="warn"),
        lambda _: libvirtxml.patch(XML, ODD, on_loss="warn"),
        lambda _: libxljson.loads(JSON, on_loss="warn"),
        lambda folder: libxljson.load(folder / "json", on_loss="warn"),
        lambda _: Vif.from_xl("mac=00:16:3e:00:00:01,bogus=1"),
    ],
)
def test_a_warning_points_at_who_asked(tmp_path: Path, lose: Callable[[Path], object]) -> None:
    for name, text in (("xl", XL), ("xml", XML), ("json", JSON)):
        (tmp_path / name).write_text(text)
    with pytest.warns(LossWarning) as told:
        lose(tmp_path)
    assert {warning.filename for warning in told} == {__file__}


def test_messages_of_a_patch_name_the_file() -> None:
    with pytest.raises(ParseError, match=r"^web\.xml:1"):
        libvirtxml.patch("<domain>", HVM, source="web.xml")
    with pytest.raises(ParseError, match=r"^web\.xml:"):
        libvirtxml.patch("<domain><name>a</name><vcpu>x</vcpu></domain>", HVM, source="web.xml")
    with pytest.raises(LossyConversion, match=r"^web\.xml: "):
        libvirtxml.patch(XML, libvirtxml.loads(XML, on_loss="ignore").replace(pool="fast"), source="web.xml")
