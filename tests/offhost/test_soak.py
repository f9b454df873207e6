"""Domains and events that come and go for long: nothing grows. ``make soak`` does it for longer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pyxen
from pyxen import DomainConfig
from tests.growth import Growth
from tests.offhost.host import OffHost, children
from tests.offhost.internals import journal_slots

Configure = Callable[..., DomainConfig]

CYCLES = int(os.environ.get("PYXEN_CYCLES", "25"))
EVENTS = int(os.environ.get("PYXEN_EVENTS", "400"))
DOMAINS = 40
"""How many domains change at a time; the watcher looks at all of them at once."""

MOST_KIB = 1024
"""How much more memory a process may have in the end. Most of it comes in the first quarter."""

WARM_UP = 25
"""Cycles and rounds until caches are full, and the allocators have what they need."""


def await_event(events: pyxen.EventReader[pyxen.Event], kind: type[pyxen.Event]) -> int:
    """Read events up to one of a kind, and return how many that were."""
    for number in itertools.count(1):
        event = events.get(timeout=60)
        assert event is not None, f"no {kind.__name__} within a minute"
        assert not isinstance(event, pyxen.EventsLost)
        if isinstance(event, kind):
            return number
    raise AssertionError


def test_cycles_of_create_and_destroy(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    before, seen = children(), 0
    with host.events() as events:

        def cycle(number: int) -> int:
            # Who destroys a domain before the watcher has looked is told only that events were lost.
            domain = host.create(config(memory=8, shadow_memory=1), paused=number % 2 == 0)
            told = await_event(events, pyxen.DomainCreated)
            domain.destroy()
            return told + await_event(events, pyxen.DomainDestroyed)

        for number in range(WARM_UP):
            cycle(number)
        [worker] = children() - before
        growth = Growth([worker], most_kib=MOST_KIB)
        for number in growth.laps(CYCLES):
            seen += cycle(number)
        growth.check(f"{CYCLES} cycles and {seen} events")
    assert children() - before == {worker}
    assert journal_slots(host) == 1
    assert offhost.left() == []


def test_a_day_of_events(offhost: OffHost, host: pyxen.Host) -> None:
    """A host with an event in each second has 86,400 in a day."""
    domids = [offhost.add(f"web{number}", memory=1) for number in range(DOMAINS)]
    with host.events() as events:

        def rename_all(number: int) -> None:
            for domid in domids:
                offhost.store.write(f"/local/domain/{domid}/name", f"name{number}-{domid}")
            waiting = set(domids)
            while waiting:
                event = events.get(timeout=60)
                assert isinstance(event, pyxen.DomainRenamed), f"{number}: {waiting}"
                assert event.name == f"name{number}-{event.domid}"
                waiting.discard(event.domid)

        for number in range(WARM_UP):
            rename_all(-number)
        growth = Growth(most_kib=MOST_KIB)
        for number in growth.laps(EVENTS // DOMAINS):
            rename_all(number + 1)
        growth.check(f"{EVENTS} events")
    for domid in domids:
        offhost.world.remove(domid)
        offhost.store.remove(f"/local/domain/{domid}")
    for path in offhost.store.directory("/vm"):
        offhost.store.remove(f"/vm/{path}")
    assert offhost.left() == []
