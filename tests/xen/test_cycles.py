"""Domains that come and go for long: neither this process nor its worker grows. ``make soak`` does it for longer."""

from __future__ import annotations

import os

import pytest

import pyxen
from tests.growth import Growth
from tests.xen.support import MakeConfig, children

CYCLES = int(os.environ.get("PYXEN_CYCLES", "25"))
WARM_UP = max(25, CYCLES)
"""Cycles until caches are full, and malloc has what it needs: it takes ever less, and what leaks takes as much."""


@pytest.mark.long
def test_nothing_grows(tiny: MakeConfig) -> None:
    before = set(children())
    with pyxen.connect() as host:
        for number in range(WARM_UP + CYCLES):
            if number == WARM_UP:
                [worker] = set(children()) - before
                growth = Growth([worker])
            host.create(tiny(), paused=number % 2 == 0).destroy()
        growth.check(f"{CYCLES} cycles")
        assert set(children()) - before == {worker}
