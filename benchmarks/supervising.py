"""In dom0: what a supervised domain costs in memory, by pyxen's supervisor and by the process that xl keeps for each.

Prints a line of JSON: bytes of private memory per domain.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyxen
from benchmarks.create_destroy import XL_CONFIG, run
from benchmarks.python.create_destroy import CONFIG
from pyxen import Host

OURS = 40
"""How many domains pyxen supervises; memory comes in pages, so a few would tell little."""
XLS = 4


def main() -> int:
    """Run the benchmark."""
    with pyxen.connect() as host:
        print(json.dumps({"pyxen": ours(host), "xl": xls(host)}))
    return 0


def ours(host: Host) -> float:
    """Return how much a supervisor's process has more for each domain."""
    domains = [host.create(CONFIG.replace(name=f"bench{number}"), paused=True) for number in range(OURS)]
    command = (
        "import pyxen, sys\nwith pyxen.connect() as host, pyxen.Supervisor(host):\n print(flush=True); sys.stdin.read()"
    )
    with_all = supervisor_memory(command)
    for domain in domains:
        domain.destroy()
    return max(0.0, (with_all - supervisor_memory(command)) / OURS)


def supervisor_memory(command: str) -> int:
    """Return the private memory of a process that supervises the domains that there are, in bytes."""
    process = subprocess.Popen([sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(2)  # until it has seen them
        return private_bytes(process.pid)


def xls(host: Host) -> float:
    """Return the memory of a process that xl keeps for a domain."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(XLS):
            file = Path(folder, f"{number}.cfg")
            file.write_text(XL_CONFIG.replace('"bench"', f'"xl{number}"'))
            run("xl", "create", "-q", "-p", str(file))
    comms = Path("/proc").glob("[0-9]*/comm")
    keepers = [int(comm.parent.name) for comm in comms if comm.read_text() == "xl\n"]
    total = sum(private_bytes(pid) for pid in keepers)
    for domain in host.domains:
        if domain.domid:
            domain.destroy()
    return total / len(keepers)


def private_bytes(pid: int) -> int:
    """Return the memory that a process shares with none."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", rollup, re.MULTILINE)) * 1024


if __name__ == "__main__":
    sys.exit(main())
