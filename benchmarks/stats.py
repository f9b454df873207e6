"""In dom0: `Host.stats()`, against `Domain.stats()` of each domain, and against ``xentop -b -i 1``.

Prints a line of JSON for each host: one with a few guests that have a disk and a vif each, and some with many domains
that have no devices.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

import pyxen
from benchmarks.measure import PROGRAMS, clocked, take_turns
from benchmarks.python.create_destroy import CONFIG
from pyxen import Disk, Vif

ROUNDS = {100: 12, 300: 8}
"""Domains without devices on the host, dom0 among them, and how often each contender reads statistics."""

GUESTS = 12
"""Guests with a disk and a vif."""


def main() -> int:
    """Run the benchmark."""
    with guests():
        print(json.dumps({"domains": GUESTS + 1, "devices": True, "times": measure(GUESTS + 1, 12)}), flush=True)
    for domains, rounds in ROUNDS.items():
        with empty_domains(domains - 1):
            print(json.dumps({"domains": domains, "devices": False, "times": measure(domains, rounds)}), flush=True)
    return 0


@contextlib.contextmanager
def guests() -> Iterator[None]:
    """Have guests with a disk and a vif each."""
    devices = {"disks": [Disk("/dev/vdc", vdev="xvda", readonly=True)], "vifs": [Vif(bridge="xenbr0")]}
    with pyxen.connect() as host:
        made = [host.create(CONFIG.replace(name=f"guest{number}", **devices), paused=True) for number in range(GUESTS)]
        try:
            yield
        finally:
            for domain in made:
                domain.destroy()


@contextlib.contextmanager
def empty_domains(count: int) -> Iterator[None]:
    """Have domains that have nothing but a name."""
    subprocess.run([PROGRAMS / "empty_domains", "make", str(count)], check=True, timeout=600)
    try:
        yield
    finally:
        subprocess.run([PROGRAMS / "empty_domains", "remove"], check=True, timeout=600)


def measure(domains: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each contender took in each round."""
    with pyxen.connect() as host:
        handles = [info.domain for info in host.list()]

        def xentop() -> tuple[float]:
            lines: list[str] = []
            took = clocked(lambda: lines.extend(run_xentop().splitlines()))
            assert len(lines) > domains
            return took

        check(host, domains)
        contenders = {
            "all": lambda: clocked(host.stats),
            "each": lambda: clocked(lambda: [domain.stats() for domain in handles]),
            "xentop": xentop,
        }
        times = take_turns(contenders, rounds)
        check(host, domains)
    return {name: [took for (took,) in values] for name, values in times.items()}


def run_xentop() -> str:
    """Run ``xentop``."""
    return subprocess.run(
        ["xentop", "-b", "-f", "-i", "1"], check=True, capture_output=True, text=True, timeout=600
    ).stdout


def check(host: pyxen.Host, domains: int) -> None:
    """Check that all domains and devices are there that xentop shows, so that nothing is fast by leaving it out.

    xentop may show a domain twice if there are more than 256.
    """
    stats = host.stats()
    rows = [line.split() for line in run_xentop().splitlines()[1:]]
    # The columns after the number of vCPUs, counted from the end, since the limit of dom0's memory may be two words.
    theirs = {(row[0], int(row[-11]), int(row[-10]), int(row[-7])) for row in rows}
    ours = {(each.info.name or "", each.info.vcpus, len(each.vifs), len(each.disks)) for each in stats}
    assert ours == theirs, ours ^ theirs
    assert len(stats) == domains


if __name__ == "__main__":
    sys.exit(main())
