"""``python3 -m benchmarks``: measure in the lab, print the tables, and write them to RESULTS.md."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.measure import PROGRAMS
from lab import Lab, LabError, buildroot, releases

HERE = Path(__file__).resolve().parent
FLAGS = ["-lxenlight", "-lxenctrl", "-lxenstore", "-lxentoollog"]
TIME_LIMIT = 1800


def main() -> int:
    """Run the benchmarks; the exit status tells whether what is required holds."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks", description=main.__doc__)
    known = [release.xen for release in releases.RELEASES]
    parser.add_argument("--xen", choices=known, default=releases.DEFAULT, help="Xen release (default: %(default)s)")
    xen: str = parser.parse_args().xen
    try:
        with Lab(xen) as dom0:
            put_programs(dom0)
            lists = [json.loads(line) for line in run(dom0, "host_list").splitlines()]
            stats = [json.loads(line) for line in run(dom0, "stats").splitlines()]
            creates = json.loads(run(dom0, "create_destroy"))
            many = json.loads(run(dom0, "many"))
            events = json.loads(run(dom0, "events"))
            supervised = json.loads(run(dom0, "supervising"))
            pool = json.loads(run(dom0, "pool"))
            hotplug = json.loads(run(dom0, "hotplug"))
            ways = json.loads(run(dom0, "ways"))
            command = json.loads(run(dom0, "command"))
            machine = report.machine(dom0)
    except LabError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    tables, holds = report.tables(lists, stats, creates, many, events, supervised, pool, hotplug, ways, command)
    print(tables)
    (HERE / "RESULTS.md").write_text(f"{report.HEAD}\n{machine}\n\n{tables}")
    return 0 if holds else 1


def put_programs(dom0: Lab) -> None:
    """Compile the C programs and put them into dom0."""
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted((HERE / "c").glob("*.c")):
            program = Path(folder, source.stem)
            buildroot.compile_c(dom0.release, source, program, FLAGS)
            dom0.put(program, str(PROGRAMS / source.stem))


def run(dom0: Lab, name: str) -> str:
    """Run one benchmark in dom0 and return what it printed."""
    print(f"{name}: measuring (minutes; run nothing else meanwhile) ...", file=sys.stderr, flush=True)
    command = ["python3", "-m", f"benchmarks.{name}"]
    return dom0.run(command, timeout=TIME_LIMIT, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
