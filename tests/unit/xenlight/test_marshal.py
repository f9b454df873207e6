"""Configurations on their way to libxl: whatever the model can say is checked and written, or refused with words."""

from __future__ import annotations

import json
import sys
from subprocess import run

import pytest
from hypothesis import HealthCheck, given, settings

from pyxen import DomainConfig, libxljson
from pyxen.backends.xenlight.libxl import marshal
from pyxen.errors import ConfigError, UnsupportedFeature
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
    done = run([sys.executable, "-c", program, cpuid], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["b_info"]["cpuid"]


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=domain_configs(resolved=True))
def test_whatever_the_model_can_say(config: DomainConfig) -> None:
    try:
        prepared = marshal.prepare(config)
    except (ConfigError, UnsupportedFeature) as refusal:
        assert str(refusal)
    else:
        assert json.loads(prepared.json)["c_info"]["name"] == config.name


def test_a_key_that_this_release_does_not_know() -> None:
    document = libxljson.to_dict(DomainConfig(name="a", kernel="/k"))
    document["b_info"]["no_such_key"] = 1
    with pytest.raises(UnsupportedFeature, match=r"b_info\.no_such_key"):
        marshal.check_keys(document)
