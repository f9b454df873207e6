import pytest
from tests.offhost.sweep import FAULTS, VERBS, Sweep
from tests.offhost.test_sweep import numbers
from tests.offhost.internals import expect_quick_guests

@pytest.mark.parametrize("verb", VERBS)
def test_tear(offhost, config, verb, monkeypatch):
    expect_quick_guests(monkeypatch)
    fault = FAULTS["request half sent"]
    sweep = Sweep(offhost, config, VERBS[verb])
    with sweep.open():
        for more in (0, 3):
            for nth in numbers(sweep.count(fault), fault, list(VERBS).index(verb) + more):
                sweep.try_with(fault, nth)
