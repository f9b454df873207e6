"""Each call that a verb makes fails once: the verb ends, with a result or pyxen's error, and the host works on.

One call of each verb is tried with each fault, on one of the releases; ``make sweep`` tries them all on both, which
takes an hour.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from pyxen import Domain, Host
from tests.offhost.host import OffHost
from tests.offhost.internals import expect_quick_guests
from tests.offhost.setup import RELEASES
from tests.offhost.sweep import CALLED_OTHERWISE, FAULTS, NOT_SWEPT, VERBS, Configure, Fault, Sweep

WHOLE = "PYXEN_SWEEP" in os.environ
LAST = 12
"""How many of the hypercalls of a migration that arrives are surely pyxen's: they list domains, and start this one."""
REMOVING = 36
"""The requests that remove the source of a migration are among this many of the last ones."""
GOLDEN = 0.618
"""Its multiples, without their whole parts, are spread evenly over 0 to 1."""


def numbers(count: int, fault: Fault, place: int) -> Iterable[int]:
    """Return which calls are to fail: all, or one, for each place another one."""
    if WHOLE:
        return range(1, count + 1, fault.stride)
    return (1 + int(place * GOLDEN % 1 * count),) if count else ()


def is_tried(place: int, release: str) -> bool:
    """Tell whether what has this place is tried on a release."""
    return WHOLE or list(RELEASES)[place % len(RELEASES)] == release


@pytest.mark.parametrize("verb", VERBS)
def test_a_call_that_fails(offhost: OffHost, config: Configure, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expect_quick_guests(monkeypatch)
    sweep = Sweep(offhost, config, VERBS[verb])
    with sweep.open():
        for place, fault in enumerate(FAULTS.values(), list(VERBS).index(verb)):
            if is_tried(place, offhost.release.name):
                for nth in numbers(sweep.count(fault), fault, place):
                    sweep.try_with(fault, nth)


def try_last(offhost: OffHost, config: Configure, verb: str, fault: Fault, many: int | None = None) -> None:
    """Let each of the last calls of a verb fail once, by default each call."""
    sweep = Sweep(offhost, config, VERBS[verb])
    with sweep.open():
        count = sweep.count(fault)
        for nth in range(1 if many is None else count - many, count + 1):
            sweep.try_with(fault, nth)


def test_a_hypercall_fails_once_a_domain_has_arrived(
    offhost: OffHost, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_quick_guests(monkeypatch)
    try_last(offhost, config, "receive a migration", FAULTS["hypercall"], LAST)


def test_a_request_is_refused_while_what_has_moved_is_removed(
    offhost: OffHost, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_quick_guests(monkeypatch)
    try_last(offhost, config, "migrate", FAULTS["request refused"], REMOVING)


def test_a_preserve_is_whole_or_nothing(offhost: OffHost, config: Configure) -> None:
    try_last(offhost, config, "preserve", FAULTS["hypercall"])


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if verb.effect is not None])
def test_a_success_has_its_effect(offhost: OffHost, config: Configure, verb: str) -> None:
    """Libxl does not always look whether xenstored has taken what it writes."""
    try_last(offhost, config, verb, FAULTS["request refused"])


def test_faults_are_what_they_say(offhost: OffHost, config: Configure) -> None:
    sweep = Sweep(offhost, config, VERBS["create"])
    with sweep.open():
        counts = {name: sweep.count(fault) for name, fault in FAULTS.items()}
    assert counts["hypercall"] > 50
    assert counts["request refused"] > 80
    assert counts["file"] > 5
    assert counts["memory of the worker"] > 200


def test_every_verb_is_swept_or_has_a_reason() -> None:
    verbs = {name for kind in (Host, Domain) for name in dir(kind) if not name.startswith("_")}
    swept = {word for name in VERBS for word in (name, name.split()[0])}
    swept |= {verb for verb, name in CALLED_OTHERWISE.items() if name in VERBS}
    assert verbs - swept == verbs & NOT_SWEPT.keys()
    assert not NOT_SWEPT.keys() - verbs
    assert not NOT_SWEPT.keys() & swept
