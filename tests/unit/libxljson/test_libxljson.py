"""libxl's JSON, both ways; that libxl itself agrees is in tests/oracle."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyxen import libxljson
from pyxen.config import (
    P9,
    Channel,
    CpuSet,
    Disk,
    DomainConfig,
    Part,
    Pci,
    Spice,
    UsbDev,
    Vfb,
    Vif,
    Vkb,
    Vnc,
)
from pyxen.errors import ConfigError, LossyConversion, ParseError
from pyxen.losses import LossWarning
from pyxen.testing import strategies

LARGE = [HealthCheck.too_slow, HealthCheck.data_too_large]
MINIMAL: dict[str, Any] = {"c_info": {"type": "pvh", "name": "a"}, "b_info": {"type.pvh": {}}}


def build_info(config: DomainConfig) -> dict[str, Any]:
    found: dict[str, Any] = libxljson.to_dict(config)["b_info"]
    return found


def read(**b_info: Any) -> DomainConfig:
    return libxljson.from_dict({"c_info": MINIMAL["c_info"], "b_info": {"type.pvh": {}} | b_info})


@settings(max_examples=300, deadline=None, suppress_health_check=LARGE)
@given(strategies.domain_configs(resolved=True))
@example(DomainConfig("web1", type="hvm", mmio_hole=0))
def test_what_is_written_is_read_back(config: DomainConfig) -> None:
    text = libxljson.dumps(config)
    assert libxljson.loads(text) == config.canonical()
    assert libxljson.dumps(config.canonical()) == text or json.loads(libxljson.dumps(config.canonical())) == json.loads(
        text
    )


@pytest.mark.parametrize("kind", [Disk, Vif, Pci, Vfb, Vkb, UsbDev, Channel, P9], ids=lambda kind: kind.__name__)
def test_a_device_alone_is_written_and_read_back(kind: type[Part]) -> None:
    @settings(max_examples=50, deadline=None)
    @given(strategies.devices(kind))
    def check(device: Any) -> None:
        struct = libxljson.device_to_dict(device)
        again = libxljson.device_from_dict(kind, struct)
        assert libxljson.device_to_dict(again) == struct

    check()
    with pytest.raises(TypeError, match="no struct for a Vnc"):
        libxljson.device_to_dict(Vnc())


def test_it_is_what_xl_prints() -> None:
    config = DomainConfig(
        "web1",
        type="pvh",
        uuid="2147d599-9cc6-c0dc-92ab-4064b5446e9b",
        kernel="/boot/vmlinuz",
        memory=512,
        vcpus=2,
        disks=[Disk("/dev/vg0/web1", vdev="xvda")],
        vifs=[Vif(bridge="xenbr0")],
    )
    assert libxljson.to_dict(config) == {
        "c_info": {"type": "pvh", "name": "web1", "uuid": "2147d599-9cc6-c0dc-92ab-4064b5446e9b"},
        "b_info": {
            "max_vcpus": 2,
            "avail_vcpus": [0, 1],
            "max_memkb": 524288,
            "target_memkb": 524288,
            "kernel": "/boot/vmlinuz",
            "type.pvh": {},
        },
        "disks": [{"pdev_path": "/dev/vg0/web1", "vdev": "xvda", "format": "raw", "readwrite": 1}],
        "nics": [{"bridge": "xenbr0", "devid": 0}],
        "on_reboot": "restart",
        "on_soft_reset": "soft_reset",
    }


def test_files_are_written_and_read(tmp_path: Path) -> None:
    config = DomainConfig("wéb", type="pvh", kernel="/k")
    libxljson.dump(config, tmp_path / "a.json")
    assert libxljson.load(tmp_path / "a.json") == config
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(ParseError, match=r"b\.json:1:2: not JSON"):
        libxljson.load(tmp_path / "b.json")
    with pytest.raises(OSError, match="missing"):
        libxljson.load(tmp_path / "missing.json")


def test_what_xl_list_prints_is_read() -> None:
    other = {"c_info": {"type": "pv", "name": "Domain-0"}, "b_info": {"type.pv": {}, "sched_params": {}}}
    text = json.dumps([{"domid": 0, "config": other}, {"domid": 7, "config": MINIMAL}])
    assert [(domid, config.name) for domid, config in libxljson.loads_list(text)] == [(0, "Domain-0"), (7, "a")]
    assert libxljson.loads(json.dumps([{"domid": 7, "config": MINIMAL}])).name == "a"
    assert libxljson.loads_list(json.dumps(MINIMAL))[0][0] is None
    with pytest.raises(ParseError, match="a list of 2 domains, and one is needed: take one of its items"):
        libxljson.loads(text)
    with pytest.raises(ConfigError, match="domid"):
        libxljson.loads_list('[{"domid": "7", "config": {}}]')


class TestLosses:
    def test_what_another_type_of_guest_has_is_lost(self) -> None:
        spice = Spice(passwd="s3cret")  # noqa: S106 (nobody's)
        config = DomainConfig("a", type="pv", kernel="/k", hpet=True, spice=spice)
        losses = libxljson.losses(config)
        assert [loss.path for loss in losses] == ["hpet", "spice"]
        assert "hvm guests have it, but pv guests do not" in losses[0].reason
        assert "s3cret" not in str(losses)
        with pytest.raises(LossyConversion, match="hpet = True") as caught:
            libxljson.dumps(config)
        assert caught.value.losses == losses
        with pytest.warns(LossWarning, match="hpet|spice"):
            libxljson.dumps(config, on_loss="warn")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert "hpet" not in libxljson.dumps(config, on_loss="ignore")
        with pytest.raises(ValueError, match="'maybe'"):
            libxljson.dumps(config, on_loss="maybe")  # type: ignore[arg-type]  # wrong on purpose

    def test_a_set_that_needs_a_host_is_lost_until_it_is_resolved(self) -> None:
        config = DomainConfig("a", type="pvh", kernel="/k", vcpus=3, cpus="all")
        assert [str(loss).partition(" ")[0] for loss in libxljson.losses(config)] == ["cpus"]
        resolved = config.resolve_cpus(range(4))
        assert build_info(resolved)["vcpu_hard_affinity"] == [[0, 1, 2, 3]] * 3

    @pytest.mark.parametrize(
        ("document", "path"),
        [
            ({"c_info": {"type": "pvh", "name": "a", "new": {"x": 1}}}, "c_info.new"),
            ({**MINIMAL, "newdevs": [{}]}, "newdevs"),
            ({**MINIMAL, "disks": [{"vdev": "xvda", "shiny": True}]}, "disks[0].shiny"),
            ({**MINIMAL, "channels": [{"connection.pty": {"speed": 1}}]}, "channels[0].connection.pty.speed"),
            ({**MINIMAL, "b_info": {"type.pvh": {"shim": 1}}}, "b_info.type.pvh.shim"),
            ({**MINIMAL, "b_info": {"avail_vcpus": [0, 2]}}, "b_info.avail_vcpus"),
            ({**MINIMAL, "b_info": {"exec_ssid_label": "x"}}, "b_info.exec_ssid_label"),
            ({**MINIMAL, "pcidevs": [{"bus": 3, "vfunc_mask": 5}]}, "pcidevs[0].vfunc_mask"),
        ],
    )
    def test_what_pyxen_does_not_know_is_lost(self, document: dict[str, Any], path: str) -> None:
        with pytest.raises(LossyConversion) as caught:
            libxljson.from_dict(document)
        assert [loss.path for loss in caught.value.losses] == [path]
        assert libxljson.from_dict(document, on_loss="ignore").name == "a"


class TestDefaults:
    def test_defaults_that_are_written_out_are_read_as_nothing(self) -> None:
        written_out = {
            "c_info": MINIMAL["c_info"] | {"hap": "<default>", "uuid": str(uuid.UUID(int=0)), "domid": 0},
            "b_info": {
                "type.pvh": {"pvshim": "<default>"},
                "max_memkb": 2**64 - 1,
                "max_grant_frames": 2**32 - 1,
                "xenstore_feature_mask": 2**32 - 1,
                "tsc_mode": "default",
                "timer_mode": "unknown",
                "sched_params": {"weight": -1, "sched": "unknown"},
                "cpumap": [],
                "max_vcpus": 0,
            },
            "nics": [{"devid": -1, "mac": "00:00:00:00:00:00", "nictype": "unknown"}],
            "pcidevs": [{"bus": 3, "rdm_policy": "invalid"}],
            "on_reboot": "destroy",
        }
        assert libxljson.from_dict(written_out) == libxljson.from_dict(
            MINIMAL | {"nics": [{}], "pcidevs": [{"bus": 3, "vfunc_mask": 1}]}
        )

    def test_what_is_missing_is_libxls_default_not_xls(self) -> None:
        assert libxljson.from_dict(MINIMAL).on_reboot == "destroy"
        assert DomainConfig("a").on_reboot == "restart"

    def test_old_places_are_read_unless_the_new_are_there(self) -> None:
        pv = {"kernel": "/old", "cmdline": "old", "bootloader_args": ["x"]}
        document = {"c_info": {"type": "pv", "name": "a"}, "b_info": {"kernel": "/new", "type.pv": pv}}
        config = libxljson.from_dict(document)
        assert (config.kernel, config.cmdline, config.bootloader_args) == ("/new", "old", ("x",))
        hvm = {"c_info": {"type": "hvm", "name": "a"}, "b_info": {"apic": "False", "type.hvm": {"apic": "True"}}}
        assert libxljson.from_dict(hvm).apic is False


class TestPlacement:
    def test_sets_for_all_and_for_each_are_told_apart(self) -> None:
        one = DomainConfig("a", type="pvh", vcpus=2, cpus="1-2")
        each = one.replace(cpus=["1-2", "1-2"])
        assert "numa_placement" not in build_info(one)
        assert build_info(each)["numa_placement"] == "False"
        assert read(max_vcpus=2, vcpu_hard_affinity=[[1], [1]]).cpus == CpuSet("1")
        assert read(max_vcpus=2, vcpu_hard_affinity=[[1], [2]], numa_placement="False").cpus == (
            CpuSet("1"),
            CpuSet("2"),
        )
        assert read(max_vcpus=2, vcpu_hard_affinity=[[1], [2]]).numa_placement is True

    def test_a_keyboard_comes_with_each_framebuffer(self) -> None:
        config = DomainConfig("a", vfbs=[Vfb(), Vfb(keyboard=False)], vkbs=[Vkb(backend_type="linux")])
        document = libxljson.to_dict(config)
        assert document["vkbs"] == [{"devid": 0}, {"devid": 1, "backend_type": "linux"}]
        assert libxljson.from_dict(document) == config


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (3, "a configuration is an object, not 3"),
        ({}, "c_info.name: a domain needs a name"),
        ({"c_info": []}, r"c_info: takes an object, not \[\]"),
        ({**MINIMAL, "disks": {}}, "disks: takes a list"),
        ({**MINIMAL, "disks": [3]}, r"disks\[0\]: takes an object, not 3"),
        ({**MINIMAL, "disks": [{"format": "zip"}]}, r"disks\[0\].format: 'zip' is not one of qcow"),
        ({**MINIMAL, "disks": [{"readwrite": "yes"}]}, r"disks\[0\].readwrite: takes a whole number"),
        ({**MINIMAL, "nics": [{"mac": "x"}]}, "vifs.0..mac: 'x' is not a MAC address"),
        ({**MINIMAL, "b_info": {"max_memkb": "1"}}, "b_info.max_memkb: takes a whole number, not 1"),
        ({**MINIMAL, "b_info": {"max_memkb": 1.5}}, "b_info.max_memkb: takes a whole number"),
        ({**MINIMAL, "b_info": {"max_memkb": 10**400}}, "b_info.max_memkb: the number is too large for libxl"),
        ({**MINIMAL, "b_info": {"acpi": 10**5000}}, "not a huge number"),
        ({**MINIMAL, "b_info": {"acpi": True}}, 'b_info.acpi: takes "True", "False" or "<default>"'),
        ({**MINIMAL, "b_info": {"max_vcpus": 10**9}}, "maxvcpus: 1000000000 is out of range"),
        ({**MINIMAL, "b_info": {"avail_vcpus": [-1]}}, "b_info.avail_vcpus: -1 is not the number of a CPU"),
        ({**MINIMAL, "b_info": {"vcpu_hard_affinity": 3}}, "b_info.vcpu_hard_affinity: takes a list of lists"),
        ({**MINIMAL, "b_info": {"type.hvm": {}}}, "b_info.type.hvm: the domain's type is pvh"),
        ({**MINIMAL, "b_info": {"type.hvm": {}, "type.pvh": {}}}, "cannot both be set"),
        ({**MINIMAL, "b_info": {"cpuid": {"cpuid": [{"leaf": 1, "eax": "x"}]}}}, "cpuid.leaves.0..eax: takes 32"),
        ({**MINIMAL, "channels": [{"connection.pty": {}, "connection.socket": {}}]}, "cannot both be set"),
        ({**MINIMAL, "vkbs": None}, "vkbs: takes a list"),
        ({"c_info": {"name": "a", "xsdata": {"x": 3}}}, "c_info.xsdata.x: takes a string"),
        (
            {"c_info": {"type": "hvm", "name": "a"}, "b_info": {"type.hvm": {"serial": "x", "serial_list": ["y"]}}},
            "serial and serial_list cannot both be set",
        ),
        (
            {"c_info": {"type": "hvm", "name": "a"}, "b_info": {"type.hvm": {"ms_vm_genid": [1]}}},
            "takes 16 numbers",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(document: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        libxljson.from_dict(document)


class TestHostileTexts:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "not JSON"),
            ("[" * 10_000, "nested too deeply|not JSON"),
            ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
            ('{"a":' * 102 + "1" + "}" * 102, "nested too deeply"),
            ('{"c_info": {"domid": ' + "9" * 5000 + "}}", "not a configuration"),
            ('{"c_info": {}, "c_info": {}}', "'c_info' occurs twice"),
            ('{"c_info": NaN}', "NaN is not valid in JSON"),
            (b"\xff{}", "not UTF-8: byte 0 is 0xff"),
        ],
        ids=["empty", "lists", "objects", "deep", "digits", "twice", "nan", "bytes"],
    )
    def test_they_are_refused(self, text: str | bytes, message: str) -> None:
        with pytest.raises(ParseError, match=message):
            libxljson.loads(text)

    def test_a_key_that_occurs_twice_among_many_is_found_soon(self) -> None:
        text = "{" + "".join(f'"key{number}":1,' for number in range(40_000)) + '"key39999":1}'
        start = time.process_time()
        with pytest.raises(ParseError, match="'key39999' occurs twice"):
            libxljson.loads(text)
        assert time.process_time() - start < 5  # a comparison of each key with all others takes 40 s

    def test_one_that_is_too_large_is_not_read(self) -> None:
        with pytest.raises(ParseError, match="larger than 64 MiB"):
            libxljson.loads(b" " * (libxljson.MAX_SIZE + 1))

    def test_ten_megabytes_of_disks_are_read(self) -> None:
        disks = [{"pdev_path": "/" + "x" * 200, "vdev": f"d{index}p0"} for index in range(40_000)]
        text = json.dumps(MINIMAL | {"disks": disks})
        assert len(text) > 9_000_000
        assert len(libxljson.loads(text).disks) == 40_000

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.text(), st.binary()))
    def test_any_text_gives_a_configuration_or_a_config_error(self, text: str | bytes) -> None:
        with contextlib.suppress(ConfigError):
            libxljson.loads(text)

    @settings(max_examples=300, deadline=None, suppress_health_check=LARGE)
    @given(strategies.domain_configs(resolved=True), st.data())
    def test_a_configuration_with_anything_put_in_gives_one_or_a_config_error(
        self, config: DomainConfig, data: st.DataObject
    ) -> None:
        document = libxljson.to_dict(config)
        places: list[tuple[Any, Any]] = []
        todo: list[Any] = [document]
        while todo:
            here = todo.pop()
            keys = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
            for key in keys:
                places.append((here, key))
                todo.append(here[key])
        words = st.text(max_size=3)
        junk = st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), words),
            lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(words, inner, max_size=2)),
            max_leaves=4,
        )
        here, key = data.draw(st.sampled_from(places))
        here[key] = data.draw(junk)
        with contextlib.suppress(ConfigError):
            libxljson.from_dict(document, on_loss="ignore")
