"""Durations of the actions on a simulated host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["LIFELIKE", "QUICK", "Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations, in seconds. Those of a guest's actions count only the time in which it runs."""

    create: float
    """Building a domain."""
    boot: float
    """Booting a guest, which does not respond to requests before."""
    answer: float
    """Acknowledging a request, or doing a small task, in a guest."""
    stop: float
    """Shutting down a guest, after it acknowledged the request."""
    save: float
    """Writing a domain to a file, or reading it."""
    mercy: float
    """The host's limit for a guest to release a device."""
    patience: float
    """The host's limit for a guest to acknowledge a request."""


QUICK: Final = Timing(create=0.01, boot=0.05, answer=0.01, stop=0.03, save=0.02, mercy=0.3, patience=60.0)
"""For real time."""

LIFELIKE: Final = Timing(create=0.5, boot=8.0, answer=0.1, stop=3.0, save=2.0, mercy=10.0, patience=60.0)
"""For virtual time."""
