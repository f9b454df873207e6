"""What tests of the contract share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyxen import Domain, Event, EventReader, Feature, Host, UnsupportedFeature

__all__ = ["SECONDS", "Guest", "Make", "goes_on", "supporting", "until", "wait_until"]

SECONDS = 60

Make = Callable[..., Any]
"""What the fixtures ``config`` and ``make`` are."""

Guest = Callable[[], Domain]
"""What the fixtures ``willing`` and ``linux`` are."""


@contextlib.contextmanager
def supporting(host: Host, *features: Feature) -> Iterator[None]:
    """Do what needs features; where the host lacks one, it must say so, who it is, and what helps."""
    lacking = {feature.value for feature in features if not host.supports(feature)}
    if not lacking:
        yield
        return
    with pytest.raises(UnsupportedFeature, match=r"cannot do this; .+") as caught:
        yield
    assert caught.value.feature in lacking
    assert caught.value.backend
    assert caught.value.backend in str(caught.value)


def until(events: EventReader[Any], kind: type[Event]) -> list[Event]:
    """Return what comes up to an event of a kind."""
    found: list[Event] = []
    while not (found and isinstance(found[-1], kind)):
        event = events.get(SECONDS)
        assert event is not None, f"no {kind.__name__}; what came: {found}"
        found.append(event)
    return found


def goes_on(domain: Domain) -> None:
    """Wait until a guest does something: one that has booted does, if only with its clock."""
    before = domain.info().cpu_time_ns
    wait_until(lambda: domain.info().cpu_time_ns > before)


def wait_until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    pause = 0.01
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)  # the guest may have the same processor
