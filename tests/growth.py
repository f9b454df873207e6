"""What processes hold, for tests in which they must not grow."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

__all__ = ["Growth"]

LAPS = 4
"""In how many parts a long test is counted.

What leaks takes as much in each of them. Caches fill in the first, and a table of Python's own doubles in one of them.
"""

MOST_KIB = 200 // LAPS
"""How much more memory of its own a process may have after a lap."""

MOST_HEAP_KIB = 64 // LAPS
"""How much more this process may have from malloc after a lap: a leak of 7 bytes in each of 10,000 cycles is more."""

MOST_OBJECTS = 300
"""How many more objects Python's collector may know in the end."""


class _Size(NamedTuple):
    """What a process has of its own."""

    memory_kib: int
    descriptors: int
    threads: int


class _Mallinfo(ctypes.Structure):
    """The C library's ``struct mallinfo2``."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "fordblks", "keepcost")),
    ]


class Growth:
    """What grows from now on, in processes that must stay the same ones. This process is one of them.

    Args:
        others: The process ids of the others.
        most_kib: How much more memory of its own a process may have in the end, and how much more this one may have
            from malloc.
    """

    def __init__(self, others: Iterable[int] = (), *, most_kib: int) -> None:
        self._most_kib = most_kib
        self._pids = (os.getpid(), *others)
        self._objects = _objects()
        self._heap_kib = [_heap_kib()]
        self._sizes = [self._look()]

    def laps(self, count: int) -> Iterator[int]:
        """Count up to a number, and look after each lap."""
        for number in range(count):
            yield number
            if (number + 1) * LAPS // count > number * LAPS // count:
                gc.collect()
                self._heap_kib.append(_heap_kib())
                self._sizes.append(self._look())

    def check(self, what: str) -> None:
        """Assert that nothing has grown, and print the figures."""
        objects = _objects() - self._objects
        print(f"{what}: {self._heap_kib} KiB from malloc, {objects} more Python objects of {self._objects}")
        for pid in self._pids:
            name = "this process" if pid == os.getpid() else "another"
            print(f"{what}: {name}: {[sizes[pid].memory_kib for sizes in self._sizes]} KiB, {self._sizes[-1][pid]}")
        for pid in self._pids:
            first, last = self._sizes[0][pid], self._sizes[-1][pid]
            assert _steady_growth(sizes[pid].memory_kib for sizes in self._sizes) <= MOST_KIB
            assert last.memory_kib - first.memory_kib <= self._most_kib
            assert (last.descriptors, last.threads) == (first.descriptors, first.threads)
        assert _steady_growth(self._heap_kib) <= MOST_HEAP_KIB
        # Malloc may give out memory that it had kept: then the process has no more than before.
        assert self._heap_kib[-1] - self._heap_kib[0] <= self._most_kib
        assert objects <= MOST_OBJECTS

    def _look(self) -> dict[int, _Size]:
        return {pid: _size(pid) for pid in self._pids}


def _steady_growth(figures: Iterable[int]) -> int:
    """Return by how much they usually grow from one to the next."""
    return median_low(after - before for before, after in itertools.pairwise(figures))


def _size(pid: int) -> _Size:
    match = re.search(r"^Anonymous: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match is not None
    return _Size(int(match[1]), len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")))


def _objects() -> int:
    """Count the objects that Python's collector knows, after a collection."""
    gc.collect()
    return len(gc.get_objects())


def _heap_kib() -> int:
    """Return how much malloc has given out, without what is free in between: to C, and to Python's larger objects."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    return int(info.uordblks + info.hblkhd) // 1024
