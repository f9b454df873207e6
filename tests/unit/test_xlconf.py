"""The settings of xl itself: read, and honoured by a host that is opened with them."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any, Final

import pytest

import pyxen
import pyxen.aio
from pyxen import (
    CpuSet,
    Domain,
    DomainConfig,
    Host,
    InvalidArgument,
    LossWarning,
    LossyConversion,
    NotEnoughMemory,
    ParseError,
    RemusOptions,
    UnsupportedFeature,
    Vif,
    XlConf,
)
from pyxen.xlconf import _KEYS
from tests.unit.aio.fakehost import FakeBackend

ROOT: Final = Path(__file__).resolve().parents[2]

TEXT = """
autoballoon = "on"
vif.default.bridge="br0"   # of the rack
vm.cpumask="0-3"
max_grant_frames=128
claim_mode=0
domid_policy="random"
bootloader_restrict=1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "xl.conf").write_text(TEXT)
    return tmp_path / "xl.conf"


def config(name: str = "web1", **settings: object) -> DomainConfig:
    return DomainConfig(name, type="pv", kernel="/boot/vmlinuz", memory=64).replace(**settings)


def test_a_file(path: Path) -> None:
    assert XlConf.load(path) == XlConf(
        autoballoon=True,
        vif_bridge="br0",
        vm_cpumask=CpuSet("0-3"),
        max_grant_frames=128,
        claim_mode=False,
        domid_policy="random",
        bootloader_restrict=True,
    )
    assert XlConf.loads(b"") == XlConf()
    assert XlConf().to_dict()["output_format"] == "json"


def test_what_xl_passes_over(path: Path) -> None:
    path.write_text('vif.default.brigde="br0"\nautoballoon="maybe"\nclaim_mode=[1]\ndomid_policy="old"\nnosuch=1\n')
    with pytest.raises(LossyConversion) as caught:
        XlConf.load(path, on_loss="raise")
    assert [loss.path.partition(" ")[0] for loss in caught.value.losses] == [
        *("vif.default.brigde", "nosuch", "autoballoon", "claim_mode", "domid_policy")
    ]
    assert "did you mean vif.default.bridge?" in str(caught.value)
    assert "line 1" in str(caught.value)
    assert XlConf.load(path, on_loss="ignore") == XlConf()
    path.write_text("nosuch=1\n")
    with pytest.warns(LossWarning, match=r"xl\.conf: nosuch \(line 1, column 8\) = 1: xl\.conf has no such key"):
        assert XlConf.load(path) == XlConf()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a b", 1, "b"),
        ("\nmax_grant_frames=-1", 2, "-"),
        ('\n\nmax_grant_frames="many"', 3, "a number from 0 to 2147483647 is needed"),
        ('vm.cpumask="0-"', 1, "is not a range of CPUs"),
        ('vm.pv.cpumask=""', 1, "the set of CPUs is empty"),
    ],
)
def test_what_is_not_valid(path: Path, text: str, line: int, message: str) -> None:
    path.write_text(f"{text}\n")
    with pytest.raises(ParseError, match=message) as caught:
        XlConf.load(path)
    assert (caught.value.line, caught.value.source) == (line, str(path))
    with pytest.raises(ParseError, match=message):
        pyxen.connect("memory:///", xl_conf=path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pyxen.connect("memory:///", xl_conf=tmp_path / "nothing")


def test_a_host_that_honours_it(path: Path) -> None:
    with pyxen.connect("memory:///?cpus=8", xl_conf=path) as host:
        web = host.create(config(vifs=[Vif(), Vif(bridge="br7")], vcpus=2, bootloader="pygrub", kernel=None))
        found = web.config()
        assert [vif.bridge for vif in found.vifs] == ["br0", "br7"]
        assert (found.max_grant_frames, found.bootloader_restrict) == (128, True)
        assert web.config(defaults=True).claim_mode is False
        assert [vcpu.cpus for vcpu in web.vcpus()] == [CpuSet("0-3")] * 2
        assert host.check_create(config("web2", vifs=[Vif()])).vifs[0].bridge == "br0"
        assert web.attach(Vif()).bridge == web.vifs.attach(Vif()).bridge == "br0"
        web.pin_vcpu(1, "2-7")
        assert web.vcpus()[1].cpus == CpuSet("2-3")
        with pytest.raises(InvalidArgument, match=r"cpus=6-7: xl\.conf leaves none of these CPUs.*0-3"):
            web.pin_vcpu(0, "6-7")
        same = config(vifs=[Vif(), Vif(bridge="br7"), Vif(), Vif()], vcpus=2)
        assert [str(step) for step in host.apply(same).changed] == ["pin_vcpu 1 cpus=0-3"]
        assert host.apply(same).changed == ()


def test_random_domids() -> None:
    with pyxen.connect("memory:///", xl_conf=XlConf(domid_policy="random")) as host:
        domids = [host.create(config(f"web{number}")).domid for number in range(3)]
        assert sorted(domids) != list(range(min(domids), min(domids) + 3))
        assert host.create(config("own", domid=5)).domid == 5


def too_large(host: Host, autoballoon: bool | None) -> Domain:
    return host.create(config(memory=host.info().free_memory_kib // 1024 + 64), autoballoon=autoballoon)


def test_autoballoon() -> None:
    with pyxen.connect("memory:///", xl_conf=XlConf(autoballoon=True)) as host:
        with pytest.raises(NotEnoughMemory):
            too_large(host, autoballoon=False)
        assert too_large(host, None).info().memory_kib
    with pyxen.connect("memory:///", xl_conf=XlConf()) as host, pytest.raises(NotEnoughMemory):
        too_large(host, None)  # the simulated host has dom0_mem on its command line


def test_a_host_that_has_settings_of_its_own() -> None:
    with pytest.raises(UnsupportedFeature, match=r"xl_conf: .* has settings of its own"):
        pyxen.connect("test:///default", xl_conf=XlConf())


def test_the_script_of_remus() -> None:
    backend = FakeBackend()
    backend.xl_conf = XlConf(remus_netbufscript="/etc/setup")
    unsafe = RemusOptions(netbuf=False, allow_unsafe=True)
    with Host(backend) as host:
        web = host.domains["web1"]
        web.begin.remus("host2")
        web.begin.remus_over(0, 1)
        web.begin.remus("host2", RemusOptions(interval=1, netbufscript="/own"))
        web.begin.remus("host2", unsafe)
    asked = [arguments["options"] for _, arguments in backend.requests]
    assert asked == [
        *[RemusOptions(netbufscript="/etc/setup")] * 2,
        RemusOptions(interval=1, netbufscript="/own"),
        unsafe,
    ]


APPLIED: Final[dict[str, Any]] = {
    "claim_mode": False,
    "domid_policy": "random",
    "vif_script": "vif-openvswitch",
    "vif_bridge": "br0",
    "vif_gatewaydev": "eth0",
    "vif_backend": "driver",
    "max_grant_frames": 128,
    "max_maptrack_frames": 512,
    "max_grant_version": 1,
    "vm_cpumask": CpuSet("0-3"),
    "vm_hvm_cpumask": CpuSet("0-3"),
    "vm_pv_cpumask": CpuSet("0-3"),
    "bootloader_restrict": True,
    "run_hotplug_scripts": False,
    "blkdev_start": "xvdq",
}
"""The settings that alter the configuration of a domain, each with a value that is not the default."""

TESTED = {
    "autoballoon": "tests/unit/test_xlconf.py::test_autoballoon",
    "lockfile": "tests/offhost/test_room.py::test_the_lock_of_xl",
    "output_format": "tests/unit/cli/test_create.py::test_what_xl_would_print_as_sxp",
    "remus_netbufscript": "tests/unit/test_xlconf.py::test_the_script_of_remus",
}
"""The other settings that something reads, each with the test of what does."""

UNREAD = {"colo_proxyscript"}
"""Settings that only xl has a use for: docs/howto/xl_conf.md says so of each."""


def test_each_setting_is_read_by_something() -> None:
    assert {field.name for field in dataclasses.fields(XlConf)} == {*APPLIED, *TESTED, *UNREAD}
    for test in TESTED.values():
        path, _, name = test.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text()
    page = (ROOT / "docs" / "howto" / "xl_conf.md").read_text()
    keys = {field: key for key, (field, _) in _KEYS.items()}
    assert not [field for field in UNREAD if f"| `{keys[field]}` | nothing: " not in page]


@pytest.mark.parametrize("field", APPLIED)
def test_a_setting_of_the_domain(field: str) -> None:
    guests = [config(type="pv", vifs=[Vif()]), config(type="pvh", vifs=[Vif()])]

    def made(conf: XlConf) -> list[DomainConfig]:
        return [conf.applied(guest, range(8), {}) for guest in guests]

    assert made(XlConf(**{field: APPLIED[field]})) != made(XlConf())


def test_awaited(path: Path) -> None:
    async def main() -> None:
        async with pyxen.aio.connect("memory:///", xl_conf=path) as host:
            web = await host.create(config(vifs=[Vif()]))
            assert [vif.bridge for vif in (await web.config()).vifs] == ["br0"]

    asyncio.run(main())
