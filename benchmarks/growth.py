"""In dom0: what lists, lookups, creates and destroys take with more and more domains there, empty ones.

``python3 -m benchmarks.growth 100`` prints a line of JSON for a hundred domains beside dom0.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import pyxen
from benchmarks.create_destroy import XL_CONFIG, run
from benchmarks.host_list import first_list
from benchmarks.measure import PROGRAMS, Companion, clocked, take_turns
from benchmarks.python.create_destroy import CONFIG
from pyxen import libxljson

ROUNDS = 5


def main() -> int:
    """Run the benchmark."""
    domains = int(sys.argv[1])
    try:
        subprocess.run([PROGRAMS / "empty_domains", "remove"], check=True, timeout=600)
        subprocess.run([PROGRAMS / "empty_domains", "make", str(domains)], check=True, timeout=600)
        print(json.dumps({"domains": domains, "times": measure()}), flush=True)
    finally:
        subprocess.run([PROGRAMS / "empty_domains", "remove"], check=True, timeout=600)
    return 0


def measure() -> dict[str, list[tuple[float, ...]]]:
    """Return the seconds that each contender took in each round; of those that create, for create and for destroy."""
    with tempfile.TemporaryDirectory() as folder:
        config, as_json = Path(folder, "bench.cfg"), Path(folder, "bench.json")
        config.write_text(XL_CONFIG)
        as_json.write_text(libxljson.dumps(CONFIG))
        with (
            pyxen.connect() as host,
            Companion(sys.executable, "-m", "benchmarks.python.create_destroy") as ours,
            Companion(str(PROGRAMS / "create_destroy"), str(as_json)) as c,
            Companion(str(PROGRAMS / "list")) as c_list,
        ):

            def xl() -> tuple[float, ...]:
                create = clocked(lambda: run("xl", "create", "-q", "-p", str(config)))
                return create + clocked(lambda: run("xl", "destroy", "bench"))

            name = next(info.name for info in reversed(host.list()) if info.name)
            for _ in range(6):  # until all names are watched
                host.list()
                ours.numbers()
            return take_turns(
                {
                    "first list": first_list,
                    "second list": slowest_later_list,
                    "later list": lambda: clocked(host.list),
                    "C list": lambda: (c_list.numbers()[0] / 1e9,),
                    "xl list": lambda: clocked(lambda: run("xl", "list")),
                    "lookup": lambda: clocked(lambda: host.domains[name]),
                    "pyxen": ours.seconds,
                    "C": c.seconds,
                    "xl": xl,
                },
                ROUNDS,
            )


def slowest_later_list() -> tuple[float]:
    """Return what the slowest of the next lists of a connection takes, which begin to watch the names."""
    with pyxen.connect() as host:
        host.list()
        took = []
        for _ in range(5):
            start = perf_counter()
            host.list()
            took.append(perf_counter() - start)
    return (max(took),)


if __name__ == "__main__":
    sys.exit(main())
