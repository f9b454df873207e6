"""What `dumps` writes, xl reads as it was meant."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, example, given, settings

from pyxen import xlcfg
from pyxen.config import DomainConfig, Rdm
from pyxen.errors import ConfigError
from pyxen.testing.strategies import domain_configs
from tests.oracle import configs
from tests.oracle.compare import difference
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
