"""``python3 -m benchmarks``: measure in the lab, print the tables, and write them to RESULTS.md.

What is measured is kept in build/: a run that was interrupted goes on where it was. ``--again`` measures all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import go_binding, report
from benchmarks.measure import PROGRAMS
from lab import Lab, LabError, buildroot, releases

HERE = Path(__file__).resolve().parent
FLAGS = ["-lxenlight", "-lxenctrl", "-lxenstore", "-lxentoollog"]
TIME_LIMIT = 1800


KEPT = HERE.parent / "build"
"""Where the answers of the parts are kept, a file for each release."""

PARTS = (
    "host_list", "stats", "create_destroy", "many", "events", "supervising", "pool", "hotplug", "ways", "command",
)  # fmt: skip
"""The modules that measure, in this order. Each prints lines of JSON."""


def main() -> int:
    """Run the benchmarks; the exit status tells whether what is required holds."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks", description=main.__doc__)
    known = [release.xen for release in releases.RELEASES]
    parser.add_argument("--xen", choices=known, default=releases.DEFAULT, help="Xen release (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="measure all again, and not only what is missing")
    parser.add_argument("--part", choices=PARTS, action="append", help="measure only this, and write no results")
    given = parser.parse_args()
    kept = KEPT / f"bench-{given.xen}.json"
    found: dict[str, Any] = {} if given.again or not kept.exists() else json.loads(kept.read_text())
    missing = [part for part in given.part or PARTS if part not in found]
    try:
        if missing:
            with Lab(given.xen) as dom0:
                put_programs(dom0)
                note = go_binding.put(dom0) if set(missing) & set(go_binding.PARTS) else ""
                for part in missing:
                    lines = [json.loads(line) for line in run(dom0, part).splitlines()]
                    found[part] = {"machine": report.machine(dom0), "lines": lines, "go": note}
                    kept.parent.mkdir(exist_ok=True)
                    kept.write_text(json.dumps(found))
    except LabError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if given.part:
        print(json.dumps({part: found[part] for part in given.part}))
        return 0
    lists, stats, *others = (found[part]["lines"] for part in PARTS)
    go = {part: found[part].get("go", "") for part in go_binding.PARTS}
    tables, holds = report.tables(lists, stats, *(lines[0] for lines in others), go=go)
    print(tables)
    machines = "\n".join(f"- {part}: {found[part]['machine']}" for part in PARTS)
    (HERE / "RESULTS.md").write_text(f"{report.HEAD}\n{machines}\n\n{tables}")
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
