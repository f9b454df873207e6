"""Every configuration goes into libxl's own structures and comes back whole, or is refused with words."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pyxen
from pyxen import DomainConfig, libxljson, xlcfg
from pyxen.errors import ConfigError, UnsupportedFeature
from pyxen.testing.strategies import domain_configs
from tests.offhost.host import OffHost
from tests.offhost.internals import through_libxl
from tests.offhost.setup import Release
from tests.oracle import configs
from tests.oracle.compare import without_no_spis
from tests.oracle.test_libxljson import as_of

EXAMPLES = int(os.environ.get("PYXEN_CONFIGS", "25"))
THOROUGH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

CPUID = ("host,nx=0", "host,family=6,model=26,htt=1")


def brought_back(host: pyxen.Host, config: DomainConfig, xen: str) -> str | None:
    """Return how a configuration differs after it was in libxl; None if it does not, or is refused before."""
    config = without_no_spis(as_of(xen, config))
    try:
        text = through_libxl(host)(config)
    except UnsupportedFeature as refusal:
        return None if str(refusal) else "refused without a word"
    except ConfigError as refusal:
        return f"libxl does not take it: {refusal}" if "libxl of Xen" in str(refusal) else None
    found, expected = libxljson.loads(text), config.canonical()
    if expected.ms_vm_genid == "generate":  # each time another one
        expected = expected.replace(ms_vm_genid=found.ms_vm_genid)
    return None if found == expected else f"{found}\nis not\n{expected}"


@THOROUGH
@given(data=st.data())
def test_whatever_the_model_can_say(host: pyxen.Host, xen: Release, data: st.DataObject) -> None:
    config = data.draw(domain_configs(resolved=True))
    assert brought_back(host, config, xen.name) is None


@pytest.mark.parametrize("guest", ["hvm", "pv", "pvh"])
def test_every_value_of_every_key(host: pyxen.Host, xen: Release, guest: str) -> None:
    differences, taken = [], 0
    for key in configs.keys(xen.name):
        for value in configs.values(key):
            try:
                config = xlcfg.loads(f"{configs.base(guest, without=key)}{key} = {value}\n", on_loss="ignore")
            except ConfigError:
                continue
            taken += 1
            found = brought_back(host, config, xen.name)
            if found:
                differences.append(f"{key} = {value}: {found}")
    assert taken > 500
    assert not differences, f"{len(differences)} differences:\n" + "\n\n".join(differences)


@pytest.mark.parametrize("cpuid", CPUID)
def test_cpuid_does_not_end_the_process(offhost: OffHost, kernels: dict[str, str], cpuid: str) -> None:
    done = offhost.run_python(
        "import sys, pyxen\n"
        "from tests.offhost.internals import use_extension\n"
        "from tests.offhost.setup import release\n"
        "use_extension(release(sys.argv[3]))\n"
        "with pyxen.connect('xenlight:///') as host:\n"
        "    web = host.create(pyxen.DomainConfig(name='web', type='pvh', kernel=sys.argv[2], memory=16,"
        " cpuid=sys.argv[1]))\n"
        "    print(web.config().cpuid == pyxen.DomainConfig(name='web', cpuid=sys.argv[1]).cpuid)\n",
        cpuid,
        kernels["pvh"],
        offhost.release.name,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
