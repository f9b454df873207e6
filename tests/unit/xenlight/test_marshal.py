"""Configurations on their way to libxl: whatever the model can say is checked and written, or refused with words."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pyxen import DomainConfig, libxljson
from pyxen.backends.xenlight.libxl import marshal
from pyxen.backends.xenlight.libxl.binding import ffi
from pyxen.backends.xenlight.libxl.fatal_configs import check_not_fatal
from pyxen.errors import ConfigError, FileMissing, UnsupportedFeature
from pyxen.testing.strategies import domain_configs

CPUID = "host,nx=0"


@pytest.mark.parametrize("cpuid", [CPUID, "host,family=6,model=26,htt=1"])
def test_cpuid_does_not_end_the_process(cpuid: str) -> None:
    program = (
        "import sys, pyxen\n"
        "from pyxen.backends.xenlight.libxl import marshal\n"
        "config = pyxen.DomainConfig(name='a', type='pvh', kernel='/k', cpuid=sys.argv[1])\n"
        "print(marshal.prepare(config).json)\n"
    )
    done = run([sys.executable, "-c", program, cpuid], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["b_info"]["cpuid"]


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=domain_configs(resolved=True))
def test_whatever_the_model_can_say(config: DomainConfig) -> None:
    try:
        prepared = marshal.prepare(config)
    except (ConfigError, UnsupportedFeature):
        return
    assert json.loads(prepared.json)["c_info"]["name"] == config.name


def test_a_key_that_this_release_does_not_know() -> None:
    document = libxljson.to_dict(DomainConfig(name="a", kernel="/k"))
    document["b_info"]["no_such_key"] = 1
    with pytest.raises(UnsupportedFeature, match=r"b_info\.no_such_key"):
        marshal.check_keys(document)


def test_what_libxl_does_not_take_is_told_without_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> object:
            return lambda *_: -3

    monkeypatch.setattr(marshal, "lib", Refusing())
    with pytest.raises(ConfigError) as caught:
        marshal.structure(ffi.NULL, "libxl_device_vfb", json.dumps({"vnc": {"passwd": "sesame"}}))
    assert "sesame" not in str(caught.value)
    assert "vnc" in str(caught.value)


HVM: dict[str, Any] = {"c_info": {"type": "hvm", "name": "a"}, "b_info": {"type.hvm": {"bios": "seabios"}}}


@pytest.mark.parametrize("xen", ["4.17", "4.20"])
def test_older_releases_know_the_traditional_device_model(xen: str) -> None:
    document = copy.deepcopy(HVM)
    document["b_info"]["device_model_version"] = "qemu_xen_traditional"
    check_not_fatal(document, xen)
    assert document["b_info"]["device_model_version"] == "qemu_xen_traditional"


@pytest.mark.parametrize("xen", ["4.21", "4.22", "4.23-unstable"])
def test_newer_releases_abort_on_the_traditional_device_model(xen: str) -> None:
    document = copy.deepcopy(HVM)
    document["b_info"]["device_model_version"] = "qemu_xen_traditional"
    with pytest.raises(UnsupportedFeature, match="no qemu-xen-traditional"):
        check_not_fatal(document, xen)


def test_newer_releases_abort_on_a_device_model_that_is_missing(tmp_path: Path) -> None:
    document = copy.deepcopy(HVM)
    document["b_info"]["device_model"] = str(tmp_path / "qemu")
    with pytest.raises(FileMissing, match="is not on the host"):
        check_not_fatal(document, "4.21")
    document["b_info"]["device_model_stubdomain"] = "True"  # where it is a file of the stub domain's
    check_not_fatal(document, "4.21")


def test_newer_releases_do_not_look_for_the_device_model() -> None:
    document = copy.deepcopy(HVM)
    check_not_fatal(document, "4.21")
    assert document["b_info"]["device_model_version"] == "qemu_xen"
