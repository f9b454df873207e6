"""A process that watches many domains: it misses no event of them, and holds little memory for them."""

from __future__ import annotations

import os

from benchmarks import offhost as benchmark
from tests.offhost.setup import Release

DOMAINS = 1000 if os.environ.get("PYXEN_LONG") else 100
"""How many come, change and go. A thousand take a minute."""

HELD = 1000
MOST_BYTES = 30 * 2**20
"""The most memory above bare Python, see docs/performance.md, for a thousand domains, their events and a supervisor."""


def test_no_event_is_lost(xen: Release) -> None:
    seen = benchmark.events(xen, DOMAINS)["events"]
    assert seen == {"DomainCreated": DOMAINS, "DomainRenamed": DOMAINS, "DomainDestroyed": DOMAINS}


def test_the_memory_of_a_thousand_domains(xen: Release) -> None:
    held = benchmark.memory(xen, HELD)
    assert held["many"] - held["python"] <= MOST_BYTES, held
