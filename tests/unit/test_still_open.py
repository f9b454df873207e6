"""What is still open while other threads open and close more."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakSet

from pyxen._common.still_open import still_open


class Opened:
    """Something that is open."""


class Growing(WeakSet[Opened]):
    """A set to which another thread adds something in the middle of each iteration, as often as there is more."""

    def __init__(self, opened: list[Opened], later: list[Opened]) -> None:
        super().__init__(opened)
        self._later = later

    def __iter__(self) -> Iterator[Opened]:
        for each in super().__iter__():
            if self._later:
                self.add(self._later.pop())
            yield each


def test_it_is_found_while_others_are_opened() -> None:
    kept = [Opened() for _ in range(20)]
    opened = Growing(kept[:10], kept[10:])
    assert {*still_open(opened)} == {*kept}


def test_what_is_gone_is_not_found() -> None:
    lasting, passing = Opened(), Opened()
    opened = WeakSet([lasting, passing])
    del passing
    assert still_open(opened) == [lasting]
