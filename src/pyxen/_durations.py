"""Checks for durations given by users, and bounds for the system calls that wait."""

from __future__ import annotations

import math
from typing import Final

from pyxen._printable import shown_number
from pyxen.errors import InvalidArgument

__all__ = ["LONGEST_WAIT", "bounded", "duration", "timeout_of"]

LONGEST_WAIT: Final = 86400.0
"""The longest wait of one system call, in seconds. ``poll`` counts milliseconds in an int: 24 days at most."""

_FOREVER: Final = 3.0e9
"""In seconds, 95 years. A deadline further away counts as no deadline."""


def timeout_of(seconds: float | None, name: str = "timeout", *, operation: str | None = None) -> float | None:
    """Return a timeout as a finite number of seconds; None if there is no deadline.

    Args:
        seconds: The user's value: a number from 0 to ``math.inf``, or None.
        name: The name of the argument.
        operation: The verb that it was passed to.

    Raises:
        InvalidArgument: It is not a number, or is NaN or negative.
    """
    if seconds is None:
        return None
    value = duration(seconds, name, operation=operation)
    return None if value > _FOREVER else value


def duration(seconds: float, name: str, *, operation: str | None = None) -> float:
    """Return a duration as a number of seconds from 0 to ``math.inf``; see `timeout_of`."""
    if isinstance(seconds, bool | str) or not hasattr(type(seconds), "__float__"):
        message = f"{name}={shown_number(seconds)}: give a number of seconds, such as 60 or 0.5"
        raise InvalidArgument(message, operation=operation)
    try:
        value = float(seconds)
    except OverflowError:  # an int with more than 308 digits
        value = math.inf if seconds > 0 else -math.inf
    except (TypeError, ValueError):  # several numbers, or a Decimal that signals
        value = math.nan
    if math.isnan(value) or value < 0:
        message = f"{name}={shown_number(seconds)}: give seconds, 0 or more, or math.inf for no limit"
        raise InvalidArgument(message, operation=operation)
    return value


def bounded(seconds: float | None) -> float | None:
    """Return how much of the remaining time one system call may wait: at most `LONGEST_WAIT`."""
    return None if seconds is None else max(0.0, min(seconds, LONGEST_WAIT))
