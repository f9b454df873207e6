"""What processes hold, for tests in which they must not grow."""

from __future__ import annotations

import ctypes
import gc
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Growth"]

MOST_KIB = 200
"""How much more memory a process may have in the end."""

MOST_HEAP_KIB = 64
"""How much more this process may have from malloc: a leak of 7 bytes in each of 10,000 cycles is more."""

MOST_OBJECTS = 300
"""How many more objects Python's collector may know."""


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
    """

    def __init__(self, others: Iterable[int] = ()) -> None:
        self._objects, self._heap_kib = _objects(), _heap_kib()
        self._sizes = {pid: _size(pid) for pid in (os.getpid(), *others)}

    def check(self, what: str) -> None:
        """Assert that nothing has grown, and print the figures."""
        after = {pid: _size(pid) for pid in self._sizes}
        objects, heap_kib = _objects() - self._objects, _heap_kib() - self._heap_kib
        for pid, size in after.items():
            name = "this process" if pid == os.getpid() else "another"
            print(f"{what}: {name}: {self._sizes[pid]} before, {size} after")
        print(f"{what}: {heap_kib} KiB more from malloc, {objects} more Python objects of {self._objects}")
        for pid, size in after.items():
            before = self._sizes[pid]
            assert size.memory_kib - before.memory_kib <= MOST_KIB
            assert (size.descriptors, size.threads) == (before.descriptors, before.threads)
        assert heap_kib <= MOST_HEAP_KIB
        assert objects <= MOST_OBJECTS


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
