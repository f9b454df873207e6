"""The word that was meant by a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["nearest"]

_SHORT, _LONG = 3, 6
"""Words of at most this many letters resemble too many others. Words of at least this many can have two slips."""

_FAR: Final = 3


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word that differs from `word` by one or two letters: added, missing, wrong or swapped ones."""
    if len(word) <= _SHORT:
        return None
    most = 1 if len(word) < _LONG else 2
    digits = _digits(word)
    alike = (other for other in words if abs(len(other) - len(word)) <= most and _digits(other) == digits)
    scored = [(_slips(word, other), len(other), other) for other in alike]
    best = min(scored, default=(_FAR, 0, ""))
    return best[2] if best[0] <= most else None


def _digits(word: str) -> str:
    """Return the digits of a word. Another number is not a slip: it is something else."""
    return "".join(filter(str.isdigit, word))


def _slips(one: str, other: str) -> int:
    """Count the letters to add, remove, replace or swap with their neighbour to turn one word into the other."""
    before: list[int] = []
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        current = [row]
        for column, there in enumerate(other, 1):
            cost = min(above[column] + 1, current[column - 1] + 1, above[column - 1] + (letter != there))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == there:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, above = above, current
    return above[-1]
