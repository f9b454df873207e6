"""The policy of a supervisor: which action follows a shutdown, and when. `pyxen.supervisor.actions` carries it out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pyxen._durations import duration
from pyxen.config import ActionOnShutdown, DomainConfig
from pyxen.records.info import ShutdownReason

__all__ = ["DUMPS", "RESTARTS", "Brake", "action_for", "is_preserved", "preserved_suffix"]

RESTARTS: Final = frozenset(
    {
        ActionOnShutdown.RESTART,
        ActionOnShutdown.RESTART_RENAME,
        ActionOnShutdown.COREDUMP_RESTART,
        ActionOnShutdown.SOFT_RESET,
    }
)
"""The actions that end with the domain running again."""

DUMPS: Final = frozenset({ActionOnShutdown.COREDUMP_DESTROY, ActionOnShutdown.COREDUMP_RESTART})
"""The actions that start with a core dump."""

_PRESERVED = re.compile(r"-\d{8}T\d{4}Z(\.\d+)?$")


def action_for(config: DomainConfig, reason: ShutdownReason | int) -> ActionOnShutdown | None:
    """Return the action that a configuration sets for a shutdown reason, as xl reads it; None for a suspended guest.

    Like xl, this destroys a domain that shut down for an unknown reason.
    """
    match reason:
        case ShutdownReason.SUSPEND:
            return None
        case ShutdownReason.POWEROFF:
            action = config.on_poweroff
        case ShutdownReason.REBOOT:
            action = config.on_reboot
        case ShutdownReason.CRASH:
            action = config.on_crash
        case ShutdownReason.WATCHDOG:
            action = config.on_watchdog
        case ShutdownReason.SOFT_RESET:
            action = config.on_soft_reset
        case _:
            action = ActionOnShutdown.DESTROY
    return ActionOnShutdown(action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """How to delay restarts of a domain that keeps ending soon after its start.

    A domain that ran for at least `min_uptime` is restarted at once. A domain that ran for less stays shut down for
    `first_delay` before its restart. Each further short life in a row doubles the delay, up to `max_delay`. A domain
    that is found shut down, so that its start time is unknown, is restarted at once.

    All values are in seconds.

    Raises:
        InvalidArgument: A value is negative or not a number.
    """

    min_uptime: float = 10.0
    """A domain that ran for less than this had a short life."""
    first_delay: float = 2.0
    """The delay after the first short life."""
    max_delay: float = 300.0
    """The longest delay."""

    def __post_init__(self) -> None:
        for name in ("min_uptime", "first_delay", "max_delay"):
            # What is kept is a float: other numbers, such as a Decimal, cannot be calculated with like one.
            object.__setattr__(self, name, duration(getattr(self, name), name, operation="supervise"))

    def short_lives(self, before: int, uptime: float | None) -> int:
        """Return the number of short lives in a row, including this one. An unknown uptime (None) resets it."""
        return 0 if uptime is None or uptime >= self.min_uptime else before + 1

    def delay(self, short_lives: int) -> float:
        """Return how long to wait before a restart, given the number of short lives in a row."""
        if short_lives == 0:
            return 0.0
        doublings = min(short_lives - 1, 1000)  # a float overflows beyond that
        return float(min(self.first_delay * 2.0**doublings, self.max_delay))


def preserved_suffix(now: datetime, attempt: int = 0) -> str:
    """Return the suffix that xl gives the name of a preserved domain: the minute in UTC.

    Args:
        now: The time, in UTC.
        attempt: 0 at first; counts up each time the name is taken.
    """
    return f"{now:-%Y%m%dT%H%MZ}{f'.{attempt}' if attempt else ''}"


def is_preserved(name: str) -> bool:
    """Tell whether a name ends with the suffix that xl and `preserved_suffix` give to preserved domains."""
    return _PRESERVED.search(name) is not None
