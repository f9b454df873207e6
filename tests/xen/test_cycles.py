"""Domains that come and go for long: neither this process nor its worker grows. ``make soak`` does it for longer."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path

import pytest

import pyxen
from tests.xen.support import MakeConfig, children

CYCLES = int(os.environ.get("PYXEN_CYCLES", "25"))
WARM_UP = 25  # until caches are full, and the allocators have what they need
MOST_KIB = 200
MOST_OBJECTS = 300
"""How many more objects Python's collector may know."""


def memory_kib(pid: int) -> int:
    """Return how much memory a process has of its own, in KiB."""
    match = re.search(r"^Anonymous: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1])


def objects() -> int:
    """Count the objects that Python's collector knows, after a collection."""
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.long
def test_nothing_grows(tiny: MakeConfig) -> None:
    before = children()
    with pyxen.connect() as host:
        for number in range(WARM_UP + CYCLES):
            if number == WARM_UP:
                pids = [os.getpid(), *(pid for pid in children() if pid not in before)]
                memory = [memory_kib(pid) for pid in pids]
                files = [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]
                known = objects()
            host.create(tiny(), paused=number % 2 == 0).destroy()
        growth = [memory_kib(pid) - had for pid, had in zip(pids, memory, strict=True)]
        more = objects() - known
        print(f"{CYCLES} cycles: {growth} KiB more, here and in the worker, and {more} more objects")
        assert len(pids) == 2
        assert max(growth) <= MOST_KIB
        assert more <= MOST_OBJECTS
        assert [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids] == files
