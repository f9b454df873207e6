"""Timing of contenders that take turns, and what their times say about each other."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

__all__ = ["GO_PROGRAMS", "PROGRAMS", "Companion", "Contender", "clocked", "interval", "take_turns"]

PROGRAMS = Path("/root/bench")
"""Where the C programs are in dom0."""
GO_PROGRAMS = PROGRAMS / "go"
"""Where the Go programs are, if Xen's Go binding can be had."""
_TO_END = 60.0  # seconds for a companion that is told to end

Contender = Callable[[], tuple[float, ...]]
"""Does its work once and returns how many seconds it took, for each part of it."""


def clocked(work: Callable[[], object]) -> tuple[float]:
    """Do some work and return how many seconds it took."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start,)


class Companion:
    """A program that does a round for each line it is sent, and times that itself.

    It lives through all rounds, as a program that uses libxl does.
    """

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=_TO_END)

    @property
    def pid(self) -> int:
        """The pid of the program."""
        return self._process.pid

    def numbers(self) -> list[int]:
        """Let it do a round, and return the numbers it prints.

        Raises:
            RuntimeError: It ended instead; its words are on standard error.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended in the middle of a benchmark")
        return [int(number) for number in line.split()]

    def seconds(self) -> tuple[float, ...]:
        """Let it do a round, and return the times that it prints in nanoseconds."""
        return tuple(number / 1e9 for number in self.numbers())


def take_turns(
    contenders: Mapping[str, Contender], rounds: int, *, in_a_row: int = 1
) -> dict[str, list[tuple[float, ...]]]:
    """Let each contender do its work in each round, in another order each time; the first round does not count.

    Args:
        contenders: Those who take turns.
        rounds: How often.
        in_a_row: How often each does its work in a round; more than once is what a program meets that does nothing
            else. Then once more comes first and does not count, and the time of the round is the median.
    """
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds + 1):
        for name in names:
            took = [contenders[name]() for _ in range(in_a_row + (in_a_row > 1))][-in_a_row:]
            if number > 0:
                times[name].append(tuple(map(statistics.median, zip(*took, strict=True))))
        names = names[1:] + names[:1]
    return times


def interval(values: list[float]) -> tuple[float, float, float]:
    """Return the median and the bounds between which it lies with 95 % confidence, whatever the distribution.

    By order statistics: of the sorted values, those about ±0.98 √n places from the middle.
    """
    ordered = sorted(values)
    middle, reach = (len(ordered) - 1) / 2, 0.98 * len(ordered) ** 0.5
    low, high = max(0, int(middle - reach)), min(len(ordered) - 1, int(middle + reach + 1))
    return statistics.median(ordered), ordered[low], ordered[high]
