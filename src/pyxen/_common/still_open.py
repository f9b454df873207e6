"""What is still open, of all that a module has opened, while other threads open and close more of it."""

from __future__ import annotations

from typing import Final, TypeVar
from weakref import WeakSet

__all__ = ["still_open"]

T = TypeVar("T")

_TRIES: Final = 1000


def still_open(opened: WeakSet[T]) -> list[T]:
    """Return what is in a set to which other threads add, and from which they remove, at any time.

    Python ends an iteration when it notices that. Where it does so again and again, what was met so far is returned.
    """
    found: list[T] = []
    for _ in range(_TRIES):
        found = []
        try:
            found.extend(opened)
        except RuntimeError:
            continue
        return found
    return found
