"""What is to be done when a domain has shut down, and when: decided here, done elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pyxen._durations import duration
from pyxen.config import ActionOnShutdown, DomainConfig
from pyxen.info import ShutdownReason

__all__ = ["DUMPS", "RESTARTS", "Brake", "action_for", "is_preserved", "preserved_suffix"]

RESTARTS: Final = frozenset(
    {
        ActionOnShutdown.RESTART,
        ActionOnShutdown.RESTART_RENAME,
        ActionOnShutdown.COREDUMP_RESTART,
        ActionOnShutdown.SOFT_RESET,
    }
)
"""The actions after which the domain runs again."""

DUMPS: Final = frozenset({ActionOnShutdown.COREDUMP_DESTROY, ActionOnShutdown.COREDUMP_RESTART})
"""The actions that begin with a core dump."""

_PRESERVED = re.compile(r"-\d{8}T\d{4}Z(\.\d+)?$")


def action_for(config: DomainConfig, reason: ShutdownReason | int) -> ActionOnShutdown | None:
    """Return what a configuration wants done after a shutdown, as xl reads it; None for a guest that is suspended.

    xl destroys a domain that shut down for a reason it does not know; so does this.
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
    """How restarts are slowed down for a domain that ends again and again soon after its start.

    A domain that ran for `min_uptime` is restarted at once. One that did not is kept as it is, shut down, for
    `first_delay` before it is restarted; each further short life in a row doubles the delay, up to `max_delay`. A
    domain that is found shut down, of whose start nothing is known, is restarted at once.

    All in seconds.

    Raises:
        InvalidArgument: A number is negative, or not a number.
    """

    min_uptime: float = 10.0
    """A domain that ran for less had a short life."""
    first_delay: float = 2.0
    """How long to wait after the first short life."""
    max_delay: float = 300.0
    """The longest delay."""

    def __post_init__(self) -> None:
        for name in ("min_uptime", "first_delay", "max_delay"):
            duration(getattr(self, name), name, operation="supervise")

    def short_lives(self, before: int, uptime: float | None) -> int:
        """Return how many short lives in a row a domain has had, given those before this one; None: not known."""
        return 0 if uptime is None or uptime >= self.min_uptime else before + 1

    def delay(self, short_lives: int) -> float:
        """Return how long to wait before a restart, after so many short lives in a row."""
        if short_lives == 0:
            return 0.0
        doublings = min(short_lives - 1, 1000)  # a float has room for no more
        return float(min(self.first_delay * 2.0**doublings, self.max_delay))


def preserved_suffix(now: datetime, attempt: int = 0) -> str:
    """Return what comes after the name of a preserved domain, as xl has it: the minute in UTC.

    Args:
        now: The time, in UTC.
        attempt: From 1 on for those that find the name taken.
    """
    return f"{now:-%Y%m%dT%H%MZ}{f'.{attempt}' if attempt else ''}"


def is_preserved(name: str) -> bool:
    """Tell whether a name is one that xl, or `preserved_suffix`, gives to preserved domains."""
    return _PRESERVED.search(name) is not None
