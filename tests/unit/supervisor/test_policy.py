"""Which action follows on which end of a domain, and when."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxen import Brake, DomainConfig, InvalidArgument, ShutdownReason
from pyxen.config import ActionOnShutdown
from pyxen.supervisor.policy import action_for, is_preserved, preserved_suffix

ACTIONS = st.sampled_from(ActionOnShutdown)
SETTINGS = {
    ShutdownReason.POWEROFF: "on_poweroff",
    ShutdownReason.REBOOT: "on_reboot",
    ShutdownReason.CRASH: "on_crash",
    ShutdownReason.WATCHDOG: "on_watchdog",
    ShutdownReason.SOFT_RESET: "on_soft_reset",
}
SECONDS = st.floats(0, 1e6)
BRAKES = st.builds(Brake, min_uptime=SECONDS, first_delay=SECONDS, max_delay=SECONDS)


@given(st.fixed_dictionaries(dict.fromkeys(SETTINGS.values(), ACTIONS)))
def test_each_reason_has_its_setting(settings: dict[str, ActionOnShutdown]) -> None:
    config = DomainConfig("web1", kernel="/vmlinuz").replace(**settings)
    assert {reason: action_for(config, reason) for reason in SETTINGS} == {
        reason: settings[setting] for reason, setting in SETTINGS.items()
    }
    assert action_for(config, ShutdownReason.SUSPEND) is None
    assert action_for(config, 77) is ActionOnShutdown.DESTROY


def test_the_defaults_are_xls() -> None:
    config = DomainConfig("web1", kernel="/vmlinuz")
    assert [str(action_for(config, reason)) for reason in SETTINGS] == [
        *("destroy", "restart", "destroy", "destroy", "soft_reset")
    ]


# The brake


@given(BRAKES, st.lists(st.one_of(st.none(), SECONDS), max_size=50))
def test_short_lives_in_a_row_are_restarted_later_and_later(brake: Brake, uptimes: list[float | None]) -> None:
    lives, before = 0, 0.0
    for uptime in uptimes:
        lives = brake.short_lives(lives, uptime)
        delay = brake.delay(lives)
        if uptime is None or uptime >= brake.min_uptime:
            assert delay == 0
        else:
            assert delay == min(2 * before or brake.first_delay, brake.max_delay)
        before = delay


@given(BRAKES, st.integers(0, 10**9))
def test_no_delay_is_longer_than_the_longest(brake: Brake, lives: int) -> None:
    assert 0 <= brake.delay(lives) <= brake.max_delay


def test_what_it_is_by_default() -> None:
    brake = Brake()
    assert [brake.delay(lives) for lives in range(10)] == [0, 2, 4, 8, 16, 32, 64, 128, 256, 300]


@pytest.mark.parametrize("name", ["min_uptime", "first_delay", "max_delay"])
@pytest.mark.parametrize("value", [-1, math.nan])
def test_what_no_brake_can_be(name: str, value: float) -> None:
    with pytest.raises(InvalidArgument, match=name):
        Brake(**{name: value})


@pytest.mark.parametrize("name", ["min_uptime", "first_delay", "max_delay"])
@pytest.mark.parametrize(
    "value", [1, Decimal("0.5"), Fraction(1, 4), 10**400], ids=["int", "Decimal", "Fraction", "huge"]
)
def test_any_number_is_kept_as_a_float(name: str, value: Any) -> None:
    brake = Brake(**{name: value})
    assert type(getattr(brake, name)) is float
    assert getattr(brake, name) == (math.inf if value == 10**400 else value)
    assert isinstance(brake.delay(brake.short_lives(3, 0.001)), float)


# The names of preserved domains

TIMES = st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (it wants it so)


@given(TIMES, st.integers(0, 200))
def test_the_names_of_preserved_domains_are_known(now: datetime, attempt: int) -> None:
    assert is_preserved("web1" + preserved_suffix(now, attempt))


@given(TIMES, st.sets(st.integers(0, 200)))
def test_each_attempt_is_another_name(now: datetime, attempts: set[int]) -> None:
    assert len({preserved_suffix(now, attempt) for attempt in attempts}) == len(attempts)


def test_a_name_is_as_xls() -> None:
    assert preserved_suffix(datetime(2025, 1, 31, 7, 30, 59, tzinfo=UTC)) == "-20250131T0730Z"


@pytest.mark.parametrize("name", ["web1", "web1-20250131", "web1-20250131T0730Z-copy", "20250131T0730Z"])
def test_other_names_are_none(name: str) -> None:
    assert not is_preserved(name)
