"""What holds for every part of the model: the checks, the conversions, what is said about each field."""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import pyxen.config as model
from pyxen.config import Device, DomainConfig, Part, settings_of
from pyxen.errors import ConfigError, ValidationError
from pyxen.testing import strategies

PACKAGE = Path(model.__file__).parent
PARTS = sorted(
    (
        kind
        for kind in vars(model).values()
        if isinstance(kind, type) and issubclass(kind, Part) and kind not in (Part, Device)
    ),
    key=lambda kind: kind.__name__,
)
WORD = "s3cret"
RELEASES = {None, "4.18", "4.19", "4.20", "4.21", "4.22"}


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
class TestEveryPart:
    def test_is_a_frozen_dataclass_with_slots(self, kind: type[Any]) -> None:
        assert dataclasses.is_dataclass(kind)
        assert vars(kind)["__dataclass_params__"].frozen
        assert "__slots__" in vars(kind)

    def test_every_field_is_declared_with_what_is_known_about_it(self, kind: type[Any]) -> None:
        for name, known in settings_of(kind).items():
            assert callable(known.check), name
            assert known.since in RELEASES, name
            assert known.guests <= {"pv", "pvh", "hvm"}, name

    def test_the_strategies_say_every_field(self, kind: type[Any]) -> None:
        assert strategies.fields_of(kind) == settings_of(kind).keys()


def test_every_field_and_class_has_a_docstring() -> None:
    for path in sorted(PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) in ("Part", "Device") for base in node.bases):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
                for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
                    if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) != "_":
                        documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                        assert documented, f"{path.name}: {node.name}.{ast.unparse(statement.target)}"


def test_what_is_newer_than_the_oldest_xen_says_so_in_its_docstring() -> None:
    for kind in PARTS:
        source = (PACKAGE.parent.parent / (kind.__module__.replace(".", "/") + ".py")).read_text()
        body = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == kind.__name__)
        docs = {
            ast.unparse(field.target): ast.unparse(doc)
            for field, doc in zip(body.body, body.body[1:], strict=False)
            if isinstance(field, ast.AnnAssign)
        }
        for name, known in settings_of(kind).items():
            if known.since:
                assert f"Xen {known.since}" in docs[name] + (ast.get_docstring(body) or ""), f"{kind.__name__}.{name}"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.domain_configs())
def test_configurations_convert_compare_hash_and_pickle(config: DomainConfig) -> None:
    data = config.to_dict()
    again = DomainConfig.from_dict(json.loads(json.dumps(data)))
    assert again == config
    assert hash(again) == hash(config)
    assert again.to_dict() == data
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 (its own pickle)
    assert copy.deepcopy(config) == config
    assert config.replace() == config
    assert config.canonical().canonical() == config.canonical()


def test_it_reads_as_in_the_readme() -> None:
    config = DomainConfig(
        name="web1",
        type="pvh",
        kernel=Path("/boot/vmlinuz"),
        memory=512,
        vcpus=2,
        disks=[model.Disk("/dev/vg0/web1", vdev="xvda")],
        vifs=[model.Vif(bridge="xenbr0")],
    )
    assert config.type == "pvh"
    assert config.type is model.DomainType.PVH
    assert config.kernel == "/boot/vmlinuz"
    assert config.disks == (model.Disk("/dev/vg0/web1", vdev="xvda"),)
    config.validate()


def test_repr_shows_what_was_said_and_evaluates_to_the_same() -> None:
    config = DomainConfig("a", type="hvm", vcpus=2, cpus="0-3,^1", vifs=[model.Vif(mac="00:16:3e:00:00:01")])
    text = repr(config)
    assert text == (
        "DomainConfig(name='a', type='hvm', vcpus=2, cpus=CpuSet('0,2-3'), vifs=(Vif(mac='00:16:3e:00:00:01'),))"
    )
    assert eval(text, vars(model).copy()) == config  # noqa: S307 (its own text)


def test_secrets_are_not_in_reprs() -> None:
    config = DomainConfig(
        "a",
        type="hvm",
        vnc=model.Vnc(passwd=WORD),
        spice=model.Spice(passwd=WORD),
        vfbs=[model.Vfb(vnc=model.Vnc(passwd=WORD))],
        disks=[model.Disk(f"rbd:pool/image:id=admin:key={WORD}==:mon_host=192.0.2.1", vdev="xvda")],
        device_model=model.DeviceModel(args=["-spice", f"port=1,password={WORD}"]),
    )
    assert WORD not in repr(config)
    assert "id=admin:key=***:mon_host=192.0.2.1" in repr(config)
    assert config.vnc.passwd == WORD
    assert config.to_dict()["vnc"] == {"passwd": WORD}


@pytest.mark.parametrize(
    "given",
    [{"vnc": WORD}, {"spice": WORD}, {"vfbs": [f"vnc=1,vncpaswd={WORD}"]}, {"vfbs": f"vncpasswd={WORD}"}],
)
def test_secrets_that_are_given_for_something_else(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        DomainConfig("a", type="hvm", **given)
    assert WORD not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (f"nbd://user:{WORD}@[::1]:10809/x", "nbd://user:***@[::1]:10809/x"),
        (f"iscsi://user%{WORD}@192.0.2.1/iqn/0", "iscsi://user%***@192.0.2.1/iqn/0"),
        (f"http://user:a/{WORD}@b@host/x", "http://user:***@host/x"),
        ("nbd://host:10809/a@b", "nbd://host:10809/a@b"),
        ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
        (f'json:{{"driver": "http", "password": "{WORD}"}}', 'json:{"driver": "http", "password": "***"}'),
    ],
)
def test_secrets_in_targets(target: str, shown: str) -> None:
    disk = model.Disk(target, vdev="xvda")
    assert repr(disk) == f"Disk(target={shown!r}, vdev='xvda')"
    assert shown in str(disk)


@pytest.mark.parametrize(
    ("arguments", "path", "message"),
    [
        ({"vcpus": 0}, "vcpus", "0 is out of range; it can be 1 to 8192"),
        ({"vcpus": "2"}, "vcpus", "takes a whole number, not '2'"),
        ({"vcpus": True}, "vcpus", "takes a whole number"),
        ({"vcpus": None}, "vcpus", "takes a whole number, not None"),
        ({"memory": -1}, "memory", "out of range"),
        ({"memory": 0.0001}, "memory", "not a whole number of KiB"),
        ({"memory": float("nan")}, "memory", "out of range"),
        ({"memory": float("inf")}, "memory", "out of range"),
        ({"memory": 10**5000}, "memory", "a huge number MiB is out of range"),
        ({"vcpus": 10**5000}, "vcpus", "a huge number is out of range"),
        ({"memory": "512"}, "memory", "takes a number of MiB"),
        ({"type": "pvm"}, "type", "did you mean 'pv'?"),
        ({"name": 3}, "name", "takes a string, not int"),
        ({"name": "a\0b"}, "name", "NUL"),
        ({"name": "a\ud800b"}, "name", "surrogate"),
        ({"acpi": "yes"}, "acpi", "takes True or False, not 'yes'"),
        ({"acpi": 2}, "acpi", "takes True or False, not 2"),
        ({"uuid": "123"}, "uuid", "takes a uuid"),
        ({"disks": "xvda"}, "disks", "takes a list, not 'xvda'"),
        ({"disks": [{"target": "/x", "vdef": "xvda"}]}, "disks[0].vdef", "did you mean 'vdev'?"),
        ({"vifs": [{}, {"mac": "00:16:3e"}]}, "vifs[1].mac", "not a MAC address"),
        ({"vifs": [{"rate": "fast"}]}, "vifs[0].rate", "not a rate"),
        ({"vifs": [{"colo": {"nose": "1"}}]}, "vifs[0].colo", "not one of COLO's settings"),
        ({"vifs": [3]}, "vifs[0]", "takes a Vif, not 3"),
        ({"pcis": [{"address": "3:0"}]}, "pcis[0].address", "not a PCI address"),
        ({"pcis": [{}]}, "pcis[0].address", "needs its address, or its name"),
        ({"cpus": "0-x"}, "cpus", "is not a range of CPUs"),
        ({"cpus": ["0", "5-2"]}, "cpus[1]", "runs backwards"),
        ({"cpus": "99999"}, "cpus", "out of range"),
        ({"cpus": 3.5}, "cpus", "takes a set of CPUs"),
        ({"cpuid": "host,sse33=1"}, "cpuid", "did you mean 'sse3'?"),
        ({"cpuid": "sse3=1"}, "cpuid", "does not begin with 'host'"),
        ({"cpuid": ["1:eax=x"]}, "cpuid", "not a register"),
        ({"viridian": {"enable": ["warp"]}}, "viridian.enable", "is not one of base"),
        ({"xsdata": [("a", "b"), ("a", "c")]}, "xsdata", "names 'a' twice"),
        ({"xsdata": {"a": 1}}, "xsdata.a", "takes a string"),
        ({"xsdata": ["ab"]}, "xsdata", "takes pairs"),
        ({"ms_vm_genid": "new"}, "ms_vm_genid", "takes a uuid"),
        ({"vnuma": [{"vcpus": "0"}, {"size": "1"}]}, "vnuma[1].size", "takes a number of MiB"),
    ],
)
def test_impossible_values_are_refused_with_path_and_remedy(arguments: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DomainConfig(**{"name": "a"} | arguments)
    assert caught.value.path == path
    assert message in caught.value.message
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.problems == (caught.value.message,)


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(ConfigError, match="memry: DomainConfig has no such field; did you mean 'memory'"):
        DomainConfig("a").replace(memry=1)
    with pytest.raises(ConfigError, match="name: DomainConfig needs it"):
        DomainConfig.from_dict({})
    with pytest.raises(ConfigError, match="read from a mapping, not from list"):
        DomainConfig.from_dict([])  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError, match="name"):
        DomainConfig()  # type: ignore[call-arg]  # wrong on purpose


def test_fields_cannot_be_assigned() -> None:
    config = DomainConfig("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.vcpus = 2  # type: ignore[misc]  # wrong on purpose
    with pytest.raises((AttributeError, TypeError)):
        config.nosuch = 2  # type: ignore[attr-defined]  # wrong on purpose


def test_newer_than_names_what_a_release_has_not() -> None:
    config = DomainConfig(
        "a",
        tee="ffa",
        arm=model.Arm(nr_spis=3),
        vifs=[model.Vif(), model.Vif(vlan="1")],
        virtios=[model.Virtio()],
        xenstore_quota={"nodes": 1},
    )
    assert {problem.path for problem in model.newer_than(config, "4.17")} == {
        "tee",
        "arm.nr_spis",
        "vifs[1].vlan",
        "virtios",
        "xenstore_quota",
    }
    assert [str(problem) for problem in model.newer_than(config, "4.21")] == [
        "xenstore_quota: came with Xen 4.22; this is 4.21"
    ]
    assert model.newer_than(config, "4.22") == ()


def test_the_model_needs_the_standard_library_only() -> None:
    code = (
        "import sys, pyxen.config, pyxen.libxljson; "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('lxml', 'cffi', '_cffi_backend', 'libvirt', 'asyncio', 'typer', 'hypothesis')])"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert answer.stdout.strip() == "[]"
