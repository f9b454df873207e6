"""What `dumps` writes, xl reads as it was meant."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from pyxen import libxljson, xlcfg
from pyxen.config import DomainConfig, Rdm
from pyxen.errors import ConfigError
from pyxen.testing.strategies import domain_configs
from tests.oracle import configs
from tests.oracle.compare import difference
from tests.oracle.server import Refused
from tests.oracle.xl import XlOracle
from tests.unit.xlcfg.test_roundtrip import sayable


@pytest.mark.parametrize("xl", ["4.20"], indirect=True)
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
@given(config=domain_configs(resolved=True))
@example(config=DomainConfig("0", type="hvm", rdm=Rdm(strategy="host")))  # of which xl leaves the policy without a name
def test_xl_reads_what_was_meant(xl: XlOracle, config: DomainConfig) -> None:
    # One virtual node may not be on a node that the oracle's host has not; see the deviations.
    text = xlcfg.dumps(sayable(config).replace(vnuma=(), cpus=None, cpus_soft=None), on_loss="ignore")
    try:
        xlcfg.loads(text, on_loss="ignore")
    except ConfigError:
        assume(condition=False)
    document = xlcfg.parse(text)
    for key in set(document) - set(configs.keys(xl.release)):
        del document[key]
    found = difference(xl, str(document))
    assert found is None, found


SAYABLE_BY_NOBODY = {
    "ms_vm_genid": "xl made it up",
    "spice.port": "libxl would refuse it",
    "spice.passwd": "libxl would refuse it",
}
"""What may be lost of what xl prints."""


@settings(
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_what_xl_prints_is_written_without_loss(xl: XlOracle, data: st.DataObject) -> None:
    """Convert the JSON of ``xl -N create`` to xl's text: what xl adds by itself is no loss."""
    answer = xl.create(data.draw(configs.configs(xl.release)))
    if isinstance(answer, Refused):
        return
    assert answer["b_info"]["claim_mode"] == "True"
    assert answer["c_info"]["run_hotplug_scripts"] == "True"
    lost = [loss for loss in xlcfg.losses(libxljson.from_dict(answer)) if loss.path not in SAYABLE_BY_NOBODY]
    assert lost == []
