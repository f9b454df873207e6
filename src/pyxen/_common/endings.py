"""How a guest can end, and which of its settings says what happens then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pyxen.errors import OperationFailed
from pyxen.operation import Operation, describe
from pyxen.records.info import ShutdownReason

__all__ = ["LEFT", "SETTINGS", "ended_otherwise", "has_ended"]

SETTINGS: Final[Mapping[ShutdownReason | int, str]] = {
    ShutdownReason.POWEROFF: "on_poweroff",
    ShutdownReason.REBOOT: "on_reboot",
    ShutdownReason.CRASH: "on_crash",
    ShutdownReason.WATCHDOG: "on_watchdog",
    ShutdownReason.SOFT_RESET: "on_soft_reset",
}
"""The settings of a configuration that say what happens to the domain, by how its guest has ended."""

LEFT: Final = "its domain is left to whoever supervises it: destroy it if nobody does"

_WORDS: Final[Mapping[ShutdownReason | int, str]] = {
    ShutdownReason.REBOOT: "has rebooted",
    ShutdownReason.CRASH: "has crashed",
    ShutdownReason.WATCHDOG: "was ended by its watchdog",
    ShutdownReason.SOFT_RESET: "has asked for a soft reset",
}


def has_ended(reason: ShutdownReason | int | None) -> bool:
    """Tell whether a guest with this shutdown reason has ended. One that is suspended has not: it can go on."""
    return reason is not None and reason != ShutdownReason.SUSPEND


def ended_otherwise(operation: Operation[Any], reason: ShutdownReason | int, fate: str) -> OperationFailed:
    """Return the exception for a guest that was asked to power off, and has ended in another way.

    Args:
        operation: The shutdown.
        reason: How the guest has ended.
        fate: What happens to its domain.
    """
    what = _WORDS.get(reason, f"has ended for the unknown reason {int(reason)}")
    return describe(OperationFailed, f"the guest {what} instead of powering off; {fate}", operation)
