"""How long things take on a host in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["LIFELIKE", "QUICK", "Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things take, in seconds; those that a guest does count while it runs."""

    create: float
    """To build a domain."""
    boot: float
    """For a guest to boot; before that it does not answer."""
    answer: float
    """For a guest to take note of what it is asked for, and to do small things."""
    stop: float
    """For a guest to shut down, from when it has taken note."""
    save: float
    """To write a domain to a file, and to read it."""
    mercy: float
    """That a guest has to let go of a device."""
    patience: float
    """That the host waits for a guest to take note of what it is asked for."""


QUICK: Final = Timing(create=0.01, boot=0.05, answer=0.01, stop=0.03, save=0.02, mercy=0.3, patience=60.0)
"""For time that really passes."""

LIFELIKE: Final = Timing(create=0.5, boot=8.0, answer=0.1, stop=3.0, save=2.0, mercy=10.0, patience=60.0)
"""For time that does not."""
