"""The word that somebody meant who wrote another: near enough to be a slip of the fingers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["nearest"]

_SHORT, _LONG = 3, 6
"""Words of so few letters resemble too many others; from so many letters on, two slips are possible."""

_FAR: Final = 3


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word that differs from `word` by a slip or two: a letter too many, too few, wrong or out of order."""
    if len(word) <= _SHORT:
        return None
    most = 1 if len(word) < _LONG else 2
    digits = _digits(word)
    alike = (other for other in words if abs(len(other) - len(word)) <= most and _digits(other) == digits)
    scored = [(_slips(word, other), len(other), other) for other in alike]
    best = min(scored, default=(_FAR, 0, ""))
    return best[2] if best[0] <= most else None


def _digits(word: str) -> str:
    """Return the digits of a word: another number is no slip, but another thing."""
    return "".join(filter(str.isdigit, word))


def _slips(one: str, other: str) -> int:
    """Count the letters to add, remove, replace or swap with their neighbour to make one word of the other."""
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
