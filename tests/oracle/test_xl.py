"""What configurations mean, against the real xl: every key, and thousands of texts that Hypothesis makes."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyxen.xlcfg.keys import KEYS
from tests.oracle import configs
from tests.oracle.compare import difference
from tests.oracle.odd_texts import odd_configs
from tests.oracle.xl import XlOracle

EXAMPLES = int(os.environ.get("PYXEN_CONFIGS", "1000"))


@pytest.mark.parametrize("guest", ["hvm", "pv", "pvh"])
def test_every_value_of_every_key(xl: XlOracle, guest: str) -> None:
    differences = []
    for key in configs.keys(xl.release):
        for value in configs.values(key):
            if any(word in f"{key} = {value}" for word in configs.NEWER_WORDS.get(xl.release, ())):
                continue
            found = difference(xl, f"{configs.base(guest, without=key)}{key} = {value}\n")
            if found:
                differences.append(found)
    assert not differences, f"{len(differences)} differences:\n" + "\n\n".join(differences)


def test_every_key_has_values() -> None:
    assert all(configs.values(key) for key in KEYS)
    assert set(configs.SPECIAL) <= set(KEYS)


GENERATED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@GENERATED
@given(data=st.data())
def test_generated_configurations(xl: XlOracle, data: st.DataObject) -> None:
    text = data.draw(configs.configs(xl.release))
    if any(word in text for word in configs.NEWER_WORDS.get(xl.release, ())):
        return
    found = difference(xl, text)
    assert found is None, found


@GENERATED
@given(data=st.data())
def test_odd_configurations(xl: XlOracle, data: st.DataObject) -> None:
    text = data.draw(odd_configs(xl.release))
    if any(word in text for word in configs.NEWER_WORDS.get(xl.release, ())):
        return
    found = difference(xl, text)
    assert found is None, found
