"""Events while xenstored refuses to be watched or asked, as it does without memory, and after that."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from pyxen import ConnectFailed, EventReader, ShutdownReason
from pyxen.backends.xenlight.xenstore import watcher as watcher_module
from pyxen.backends.xenlight.xenstore.connection import Verb
from pyxen.backends.xenlight.xenstore.watch_hints import COMING
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from tests.unit.events.support import read, told
from tests.unit.xenhost import XenHost
from tests.waiting import until

ASKED = (Verb.WATCH, Verb.READ, Verb.DIRECTORY, Verb.IS_DOMAIN_INTRODUCED)
"""What a look at a new domain asks for."""


class Looks(list[float]):
    """The times at which a watcher began to look at everything again, since this was made."""

    def __init__(self, xen: XenHost) -> None:
        super().__init__()
        xen.server.before_answer = self._note

    def _note(self, verb: Verb, path: str) -> None:
        if (verb, path) == (Verb.WATCH, COMING):
            self.append(time.monotonic())


def refuse_looks(xen: XenHost, count: int, name: str) -> list[float]:
    """Rename dom0, refuse everything until so many looks have begun, and return when. Fail after 30 s."""
    looks = Looks(xen)
    xen.server.refuse = lambda *_: "ENOMEM"
    xen.rename(0, name)
    until(lambda: len(looks) >= count, "looks that are refused", 30)
    xen.server.refuse = lambda *_: None
    return looks[:count]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the first pauses be short."""
    monkeypatch.setattr(watcher_module, "_PAUSE", 0.01)
    return monkeypatch


def test_xenstored_refuses_watches(xen: XenHost, watcher: Watcher) -> None:
    xen.server.most_watches = 2
    with pytest.raises(ConnectFailed, match="does not let itself be watched: E2BIG"):
        read(watcher)


@pytest.mark.parametrize("error", ["ENOMEM", "EIO", "ENOSPC"])
@pytest.mark.parametrize(
    "verbs", [*([verb] for verb in ASKED), ASKED], ids=lambda verbs: "+".join(v.name for v in verbs)
)
def test_what_happens_while_xenstored_refuses_is_told_once_it_answers(
    xen: XenHost, events: EventReader[Any], verbs: list[Verb], error: str, quick: pytest.MonkeyPatch
) -> None:
    quick.setattr(watcher_module, "_LONGEST_PAUSE", 0.02)
    for domid, name in ((5, "ends"), (6, "old"), (7, "shuts"), (8, "changes")):
        xen.create(domid, name)
    told(events, 8)
    looks = Looks(xen)
    xen.server.refuse = lambda verb, _: error if verb in verbs else None
    xen.create(9, "comes")
    until(lambda: looks, "a second look")
    xen.destroy(5)
    xen.rename(6, "new")
    xen.shut_down(7, ShutdownReason.POWEROFF)
    xen.detach(8, "console", 0)
    xen.attach(8, "vif", 1)
    xen.set_target(8, 4096)
    xen.create(10, "is soon gone")
    xen.destroy(10)
    seen = len(looks)
    until(lambda: len(looks) > seen + 3, "looks after all has happened")
    assert events.get(0) is None
    xen.server.refuse = lambda *_: None
    assert told(events, 10) == [
        "EventsLost None",
        "DomainRenamed 6 new old->new",
        "MemoryTargetChanged 8 changes 4096",
        "DeviceRemoved 5 ends console0@0",
        "DeviceRemoved 8 changes console0@0",
        "DeviceAdded 8 changes vif1@0",
        "DomainShutdown 7 shuts POWEROFF",
        "DomainDestroyed 5 ends",
        "DomainCreated 9 comes",
        "DeviceAdded 9 comes console0@0",
    ]


@pytest.mark.usefixtures("quick")
def test_a_domain_that_is_gone_when_xenstored_answers_is_no_second_loss(xen: XenHost, events: EventReader[Any]) -> None:
    looks = Looks(xen)
    xen.server.refuse = lambda verb, _: "ENOMEM" if verb == Verb.IS_DOMAIN_INTRODUCED else None
    xen.create(9, "is soon gone")
    until(lambda: looks, "a second look")
    xen.destroy(9)
    xen.server.refuse = lambda *_: None
    assert told(events, 1) == ["EventsLost None"]


def test_what_xenstored_does_not_tell_is_not_gone(
    xen: XenHost, events: EventReader[Any], caplog: pytest.LogCaptureFixture
) -> None:
    xen.create(7, "web")
    told(events, 2)
    xen.server.refuse = lambda verb, path: "ENOMEM" if verb == Verb.DIRECTORY and path.startswith("/libxl/7") else None
    xen.server.fire("/libxl/7/device")
    until(lambda: "events are interrupted: xenstore.read: /libxl/7" in caplog.text, "the failure of a look")
    xen.server.refuse = lambda *_: None
    xen.rename(7, "shop")
    assert sorted(told(events, 2)) == ["DomainRenamed 7 shop web->shop", "EventsLost None"]


@pytest.mark.usefixtures("quick")
def test_each_time_of_refusals_is_a_loss_of_its_own(xen: XenHost, events: EventReader[Any]) -> None:
    for name in ("one", "two", "three"):
        refuse_looks(xen, 2, name)
        assert told(events, 2)[0] == "EventsLost None"


def test_whoever_joins_ends_the_refusals_for_all(
    xen: XenHost, watcher: Watcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watcher_module, "_PAUSE", 3600.0)
    with read(watcher) as events:
        xen.server.refuse = lambda *_: "ENOMEM"
        xen.rename(0, "dom0")
        until(lambda: "events are interrupted" in caplog.text, "the failure of a look")
        for _ in range(2):
            with pytest.raises(ConnectFailed, match="ENOMEM"):
                read(watcher)
        xen.server.refuse = lambda *_: None
        with read(watcher) as late:
            assert told(events, 2) == ["EventsLost None", "DomainRenamed 0 dom0 Domain-0->dom0"]
            xen.rename(0, "host")
            assert told(events, 1) == told(late, 1) == ["DomainRenamed 0 host dom0->host"]


# The pace of looks


@pytest.mark.usefixtures("events")
def test_looks_that_are_refused_are_further_and_further_apart(xen: XenHost, quick: pytest.MonkeyPatch) -> None:
    quick.setattr(watcher_module, "_LONGEST_PAUSE", 0.08)
    looks = refuse_looks(xen, 12, "dom0")
    apart = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert all(time >= least for time, least in zip(apart, [0.02, 0.04, *[0.08] * 9], strict=True))


def test_the_pace_is_quick_again_after_an_answer(
    xen: XenHost, events: EventReader[Any], quick: pytest.MonkeyPatch
) -> None:
    quick.setattr(watcher_module, "_LONGEST_PAUSE", 3600.0)
    for name in ("one", "two"):
        refuse_looks(xen, 6, name)  # if the pauses of the first time went on to grow, it would take 40 s
        told(events, 2)


def test_a_xenstored_that_hangs_up_is_asked_at_the_first_pace(
    xen: XenHost, events: EventReader[Any], quick: pytest.MonkeyPatch
) -> None:
    quick.setattr(watcher_module, "_LONGEST_PAUSE", 3600.0)
    looks = Looks(xen)
    xen.server.answer_raw = lambda *_: b""
    xen.rename(0, "dom0")
    until(lambda: len(looks) >= 12, "looks at the first pace", 30)
    xen.server.answer_raw = lambda *_: None
    assert told(events, 2)[0] == "EventsLost None"
