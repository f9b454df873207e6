"""Texts that older xls read as they were meant, and values that can be said only nearly."""

from __future__ import annotations

from typing import Any

import pytest

from pyxen import (
    Channel,
    Disk,
    DomainConfig,
    Rate,
    Stubdomain,
    Vdispl,
    Vif,
    VNode,
    Vtpm,
    libvirtxml,
    libxljson,
    xlcfg,
)
from pyxen.config import Connector, Smbios
from pyxen.errors import ConfigError, LossyConversion, ParseError

PV = DomainConfig("a", kernel="/k")


@pytest.mark.parametrize("field", ["cpus", "cpus_soft"])
def test_vcpus_is_written_where_an_older_xl_ignores_pinning_without_it(field: str) -> None:
    text = xlcfg.dumps(PV.replace(**{field: "2-3"}))
    assert "vcpus = 1\n" in text
    assert xlcfg.loads(text) == PV.replace(**{field: "2-3"})
    assert "vcpus" not in xlcfg.dumps(PV)


@pytest.mark.parametrize(("memory", "written"), [(500.5, 501), (0.25, 1), (512.0, 512)])
def test_a_part_of_a_mib_is_rounded_up_and_told(memory: float, written: int) -> None:
    config = PV.replace(memory=memory)
    assert xlcfg.loads(xlcfg.dumps(config, on_loss="ignore")).memory == written
    assert [loss.path for loss in xlcfg.losses(config)] == ([] if memory == written else ["memory"])
    if memory != written:
        with pytest.raises(LossyConversion, match="whole MiB"):
            xlcfg.dumps(config)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("maxmem", {"memory": 100, "maxmem": 200.5}),
        ("videoram", {"type": "hvm", "videoram": 8.25}),
        ("shadow_memory", {"type": "hvm", "shadow_memory": 8.25}),
        ("mmio_hole", {"type": "hvm", "mmio_hole": 512.5}),
        ("stubdomain.memory", {"type": "hvm", "stubdomain": Stubdomain(memory=31.5)}),
        ("vnuma[0].size", {"vnuma": [VNode(size=99.5, vcpus="0")]}),
        ("vnuma[0].size", {"vnuma": [VNode(size=99.5, vcpus="0")], "maxmem": 99.5}),
        ("vifs[0].rate.bytes_per_interval", {"vifs": [Vif(rate=Rate(12_345_678_901, 50_000))]}),
    ],
)
def test_the_next_value_above_is_written_and_told(field: str, change: dict[str, object]) -> None:
    config = PV.replace(**change)
    losses = {loss.path: loss for loss in xlcfg.losses(config)}
    assert field in losses
    assert "it becomes" in losses[field].reason
    read: object = xlcfg.loads(xlcfg.dumps(config, on_loss="ignore"))
    wanted: object = config
    for name in field.replace("[0]", ".0").split("."):
        read = read[0] if name == "0" else getattr(read, name)  # type: ignore[index]  # a list
        wanted = wanted[0] if name == "0" else getattr(wanted, name)  # type: ignore[index]  # a list
    assert isinstance(read, (int, float))
    assert isinstance(wanted, (int, float))
    assert wanted < read < wanted * 1.01 + 1


@pytest.mark.parametrize(
    ("field", "refused", "taken", "said"),
    [
        ("channels", Channel("a.0", connection="socket"), Channel("b.0", connection="pty"), "path"),
        ("disks", Disk("/x"), Disk("/y", vdev="xvdb"), "name in the guest"),
        ("disks", Disk(vdev="xvda"), Disk("/y", vdev="xvdb"), "target"),
        ("disks", Disk("/x\n/y", vdev="xvda"), Disk("/y", vdev="xvdb"), "target"),
        ("vtpms", Vtpm(), Vtpm("vtpmmgr"), "backend"),
        ("vdispls", Vdispl(), Vdispl(connectors=[Connector("1", 800, 600)]), "connectors"),
        ("smbios", Smbios("oem", ""), Smbios("oem", "x"), "NAME=TEXT"),
    ],
)
def test_an_item_that_xl_would_refuse_is_left_out_and_told(
    field: str, refused: object, taken: object, said: str
) -> None:
    config = DomainConfig("a", type="hvm", **{field: [taken, refused]})  # type: ignore[arg-type]  # any list
    (loss,) = xlcfg.losses(config)
    assert loss.path == f"{field}[1]"
    assert "xl would refuse it" in loss.reason
    assert said in loss.reason
    read = xlcfg.loads(xlcfg.dumps(config, on_loss="ignore"))
    assert getattr(read, field) == (taken,)
    with pytest.raises(LossyConversion, match="xl would refuse it"):
        xlcfg.dumps(config)


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        ("mmio_hole", {"type": "hvm", "mmio_hole": 128}, "256 to 3840"),
        ("maxvcpus", {"vcpus": 4, "maxvcpus": 2}, "less than vcpus"),
        ("maxvcpus", {"vnuma": [VNode(size=64, vcpus="0")], "maxvcpus": 3}, "the nodes of vnuma have 1"),
        ("maxmem", {"vnuma": [VNode(size=64, vcpus="0")], "maxmem": 128}, "the nodes of vnuma have 64 MiB"),
        ("vnuma", {"vnuma": [VNode(size=64, vcpus="0", distances=[10, 20])]}, "2 distances"),
        ("irqs[1]", {"irqs": [5, 2**32 - 1, 7]}, "4294967295"),
        ("vnc.display", {"type": "hvm", "vnc": {"listen": "::1:5", "display": 3, "passwd": "hush"}}, "vnclisten"),
        ("llc_colors", {"llc_colors": [2**32 - 1]}, "colours"),
    ],
)
def test_a_setting_that_xl_would_refuse_is_left_out_and_told(path: str, change: dict[str, object], said: str) -> None:
    config = PV.replace(**change, ssidref=7)
    losses = {loss.path: loss for loss in xlcfg.losses(config)}
    assert set(losses) == {path, "ssidref"}  # the other losses are told too
    assert losses[path].reason.startswith("left out, because xl would refuse it: ")
    assert said in losses[path].reason
    assert losses[path].value
    assert "hush" not in str(losses)
    read = xlcfg.loads(xlcfg.dumps(config, on_loss="ignore"), on_loss="raise")
    assert xlcfg.losses(read) == ()
    if path == "irqs[1]":
        assert read.irqs == (5, 7)


@pytest.mark.parametrize("ticketing", [{"disable_ticketing": True}, {"passwd": "hush"}])
def test_spice_that_libxl_would_refuse_is_told(ticketing: dict[str, object]) -> None:
    hvm = DomainConfig("a", type="hvm")
    (loss,) = xlcfg.losses(hvm.replace(spice={"enable": True, **ticketing}))
    assert (loss.path, loss.value) == ("spice.port", "")
    assert "5900" in loss.reason
    (loss,) = xlcfg.losses(hvm.replace(spice={"enable": True, "port": 5900}))
    assert loss.path == "spice.passwd"
    for port in ("port", "tls_port"):
        assert xlcfg.losses(hvm.replace(spice={"enable": True, port: 5900, **ticketing})) == ()


@pytest.mark.parametrize("codec", [xlcfg, libvirtxml])
@pytest.mark.parametrize("claim_mode", [True, False, None])
def test_what_xl_adds_by_itself_is_no_loss(codec: Any, claim_mode: bool | None) -> None:
    config = PV.replace(claim_mode=claim_mode, run_hotplug_scripts=True, nomigrate=False)
    assert codec.losses(config) == ()
    assert [loss.path for loss in codec.losses(PV.replace(run_hotplug_scripts=False))] == ["run_hotplug_scripts"]


@pytest.mark.parametrize(
    "line",
    [
        "xen_platform_pci=1", "usb=0", "acpi_s3=1", "nomigrate=0", "gfx_passthru=0", "timer_mode=1", "cap=0",
        "vkb_device=1", "hvm_pirq=0", 'soundhw=""', 'ramdisk=""', 'kernel=""',
    ],
)  # fmt: skip
@pytest.mark.parametrize("codec", [xlcfg, libvirtxml])
def test_a_setting_that_says_libxls_default_is_no_loss(codec: Any, line: str) -> None:
    assert codec.losses(xlcfg.loads(f'name="a"\ntype="hvm"\n{line}\n', on_loss="raise")) == ()


def test_the_path_that_libvirt_gives_a_channel_is_no_loss() -> None:
    config = PV.replace(channels=[Channel("a.0", connection="socket")])
    assert libvirtxml.losses(config) == ()
    read = libvirtxml.loads(libvirtxml.dumps(config))
    assert read.channels[0].path == "/var/lib/libvirt/libxl/channel/target/a-a.0"
    assert xlcfg.losses(read) == ()


def test_the_value_of_what_xl_would_refuse_is_its_own() -> None:
    (loss,) = xlcfg.losses(DomainConfig("vm1", type="pvh"))
    assert (loss.path, loss.value) == ("kernel", "")


@pytest.mark.parametrize("depth", [100, 1900, 4000])
def test_lists_in_lists(depth: int) -> None:
    text = f"name='a'\nkernel='/k'\nodd={'[' * depth}{']' * depth}\n"
    assert xlcfg.loads(text, on_loss="ignore") == PV
    assert [found.line for found in xlcfg.lint(text) if "odd" in found.message] == [3]


def test_the_source_is_in_the_error() -> None:
    with pytest.raises(ParseError, match=r"web\.cfg:2") as caught:
        xlcfg.loads("name='a'\nkernel=\n", source="web.cfg")
    assert caught.value.source == "web.cfg"


def test_a_key_that_is_there_twice_at_the_end_of_many() -> None:
    many = ",".join(f'"k{number}":1' for number in range(40_000))
    with pytest.raises(ParseError, match="'k7' is there twice"):
        libxljson.loads(f'{{{many},"k7":2}}')


def test_bytes_that_are_not_utf_8_are_kept_and_told() -> None:
    text = b'name = "caf\xe9"\ntype = "pv"\nkernel = "/k"\ndisk = ["format=raw,vdev=xvda,target=/\xff"]\n'
    config = xlcfg.loads(text)
    assert xlcfg.dumps(config).encode("utf-8", "surrogateescape") == text
    assert [(problem.path, problem.message[:19]) for problem in config.problems()] == [
        ("name", "holds the byte 0xe9"),
        ("disks[0].target", "holds the byte 0xff"),
    ]
    with pytest.raises(ConfigError, match="name: holds bytes that are not UTF-8"):
        libxljson.dumps(config)


@pytest.mark.parametrize(
    "change",
    [
        {"disks": [Disk("/\udcff", vdev="xvda")]},
        {"channels": [Channel("x", connection="socket", path="/\udcff")]},
        {"vifs": [Vif(colo={"compare_out": "\udcff"})]},
        {"serial": ["\udcff"]},
        {"serial": ["pty", "\udcff"]},
        {"dtdevs": ["\udcff"]},
        {"xsdata": {"\udcff": "1"}},
        {"device_model": {"args": ["\udcff"]}},
        {"xenstore_quota": {"\udcff": 1}},
    ],
)
def test_libxls_json_holds_no_bytes_that_are_not_utf_8(change: dict[str, object]) -> None:
    config = DomainConfig("a", type="hvm", **change)  # type: ignore[arg-type]  # any field
    assert [problem.message[:19] for problem in config.problems()] in (["holds the byte 0xff"], [])
    with pytest.raises(ConfigError, match="not UTF-8"):
        libxljson.dumps(config)
