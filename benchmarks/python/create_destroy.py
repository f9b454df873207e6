"""What a Python program pays for creating and destroying a domain with pyxen; c/create_destroy.c is its rival.

For each line of input one round; it prints the nanoseconds that create and destroy took.
"""

from __future__ import annotations

import sys
from time import perf_counter_ns as now

import pyxen
from pyxen import DomainConfig

KERNEL = "/usr/share/pyxen-guests/tiny-pvh"
CONFIG = DomainConfig("bench", type="pvh", kernel=KERNEL, memory=8, shadow_memory=1)


def main() -> None:
    """Do a round for each line."""
    with pyxen.connect() as host:
        for _ in sys.stdin:
            start = now()
            domain = host.create(CONFIG, paused=True)
            created = now()
            domain.destroy()
            print(created - start, now() - created, flush=True)


if __name__ == "__main__":
    main()
