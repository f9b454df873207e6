"""Which tests are tried once more."""

from __future__ import annotations

import pytest

from tests.spoilt import triple_faults

pytest_plugins = ["pytester"]

FAULT = """\
(XEN) d7v0 Over-allocation for domain 7: 2305 > 2304
(XEN) d12v0 Triple fault - invoking HVM shutdown action 1
(XEN) *** Dumping Dom12 vcpu#0 state: ***
"""

CONFTEST = """
import types
import pytest
from tests.spoilt import pytest_runtest_makereport, pytest_runtest_protocol

@pytest.fixture
def host():
    return types.SimpleNamespace(domains=[types.SimpleNamespace(domid=0), types.SimpleNamespace(domid={domid})])

@pytest.fixture(autouse=True)
def xen_log(host):
    return lambda: {log!r}
"""

TESTS = """
tries = []

def test_it(host):
    tries.append(host)
    assert len(tries) == {passes_at}

def test_fine(host):
    pass
"""


def test_what_the_log_says() -> None:
    assert triple_faults("") == set()
    assert triple_faults(FAULT + FAULT.replace("12", "9")) == {9, 12}


@pytest.mark.parametrize(
    ("log", "domid", "passes_at", "passed"),
    [
        (FAULT, 12, 1, 2),
        (FAULT, 12, 2, 2),
        (FAULT, 12, 3, 1),
        (FAULT, 7, 2, 1),  # another domain's
        ("", 12, 2, 1),
    ],
)
def test_tries(pytester: pytest.Pytester, log: str, domid: int, passes_at: int, passed: int) -> None:
    pytester.makeconftest(CONFTEST.format(domid=domid, log=log))
    pytester.makepyfile(TESTS.format(passes_at=passes_at))
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=passed, failed=2 - passed)
    tried_again = "test_it is tried once more: the emulated machine has killed domain 12" in result.stdout.str()
    assert tried_again is (domid == 12 and bool(log) and passes_at > 1)
