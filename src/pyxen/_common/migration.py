"""The names that a domain has while it migrates, and what is said when the outcome is not known."""

from __future__ import annotations

from typing import Final

__all__ = ["AWAY", "INCOMING", "in_doubt"]

AWAY: Final = "--migratedaway"
"""What is added to the name of the domain at the source, when the one at the destination may start."""

INCOMING: Final = "--incoming"
"""What is added to the name of the domain at the destination, until it may start."""


def in_doubt(name: str, problem: object) -> str:
    """Return the message for a destination that was lost after it was told to start a domain.

    Args:
        name: The name of the domain.
        problem: How the connection broke.
    """
    return (
        f"the connection broke ({problem}) after the destination was told to start the domain. It is not known "
        f"whether it has. The domain stays suspended here, as {name}{AWAY}. Look at the destination: "
        "if it runs there, destroy it here; if nothing of it is there, rename it back and resume it here. "
        "Never let both run"
    )
