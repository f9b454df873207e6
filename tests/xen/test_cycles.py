"""Domains that come and go for long: neither this process nor its worker grows. ``make soak`` does it for longer."""

from __future__ import annotations

import os

import pytest

import pyxen
from tests.growth import Growth
from tests.xen.support import MakeConfig, children

CYCLES = int(os.environ.get("PYXEN_CYCLES", "25"))
MOST_KIB = 200
"""How much more memory a process may have in the end."""

WARM_UP = 25
"""Cycles until caches are full, and the allocators have what they need."""


@pytest.mark.long
def test_nothing_grows(tiny: MakeConfig) -> None:
    before = set(children())
    with pyxen.connect() as host:

        def cycle(number: int) -> None:
            host.create(tiny(), paused=number % 2 == 0).destroy()

        for number in range(WARM_UP):
            cycle(number)
        [worker] = set(children()) - before
        growth = Growth([worker], most_kib=MOST_KIB)
        for number in growth.laps(CYCLES):
            cycle(number)
        growth.check(f"{CYCLES} cycles")
        assert set(children()) - before == {worker}
