"""In dom0: `Host.list()` with names, against C and Go programs that do so, and against ``xl list``.

Go has Xen's own binding, where it can be had (`benchmarks.go_binding`).
Prints a line of JSON for each number of domains.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pyxen
from benchmarks.measure import GO_PROGRAMS, PROGRAMS, Companion, Contender, clocked, take_turns

ROUNDS = {1: 60, 50: 30, 300: 8}
"""Domains on the host, dom0 among them, and how often each contender lists them."""


def main() -> int:
    """Run the benchmark."""
    try:
        there = 1
        for domains, rounds in ROUNDS.items():
            subprocess.run([PROGRAMS / "empty_domains", "remove"], check=True, timeout=600)
            subprocess.run([PROGRAMS / "empty_domains", "make", str(domains - 1)], check=True, timeout=600)
            there = domains
            print(json.dumps({"domains": there, "times": measure(domains, rounds)}), flush=True)
    finally:
        subprocess.run([PROGRAMS / "empty_domains", "remove"], check=True, timeout=600)
    return 0


def measure(domains: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each contender took in each round."""
    with pyxen.connect() as host, contextlib.ExitStack() as stack:

        def by(program: Path) -> Contender:
            companion = stack.enter_context(Companion(str(program)))

            def lists() -> tuple[float]:
                nanoseconds, names = companion.numbers()
                assert names == domains
                return (nanoseconds / 1e9,)

            return lists

        def xl() -> tuple[float]:
            lines: list[str] = []
            took = clocked(lambda: lines.extend(run_xl().splitlines()))
            assert len(lines) == domains + 1
            return took

        for _ in range(6):  # until all names are watched
            check(host, domains)
        contenders = {
            "first": first_list,
            "second": second_list,
            "later": lambda: clocked(host.list),
            "c": by(PROGRAMS / "list"),
            "xl": xl,
        }
        if (GO_PROGRAMS / "list").exists():
            contenders["go"] = by(GO_PROGRAMS / "list")
        times = take_turns(contenders, rounds)
        check(host, domains)
    return {name: [took for (took,) in values] for name, values in times.items()}


def first_list() -> tuple[float]:
    """Time the first list over a connection, which has to read every name."""
    with pyxen.connect() as host:
        return clocked(host.list)


def second_list() -> tuple[float]:
    """Time the second list over a connection, which reads what the first has not begun to watch."""
    with pyxen.connect() as host:
        host.list()
        return clocked(host.list)


def run_xl() -> str:
    """Run ``xl list``."""
    return subprocess.run(["xl", "list"], check=True, capture_output=True, text=True, timeout=600).stdout


def check(host: pyxen.Host, domains: int) -> None:
    """Check that the list is the one that xl prints, so that nothing is fast by leaving something out."""
    ours = [(info.domid, info.name) for info in host.list()]
    assert ours == [(int(words[1]), words[0]) for words in map(str.split, run_xl().splitlines()[1:])]
    assert len(ours) == domains


if __name__ == "__main__":
    sys.exit(main())
