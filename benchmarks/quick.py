"""``python3 -m benchmarks.quick``: the growth of costs with the number of domains, in some minutes.

What is measured is kept in build/: a run that was interrupted goes on where it was. ``--again`` measures all.
"""

from __future__ import annotations

import argparse
import json
import sys
from statistics import median
from typing import Any

from benchmarks import report
from benchmarks.__main__ import HERE, put_programs
from lab import Lab, LabError, releases

KEPT = HERE.parent / "build"
RESULTS = HERE / "GROWTH.md"
TIME_LIMIT = 600
HEAD = """\
# Growth

Written by `make bench-quick`. Milliseconds of an emulated machine, medians of five rounds, in each of which every
contender has one turn; below them ratios, medians of the rounds' ratios. The domains that are there are empty ones,
beside dom0. The second list is the slowest of the five after the first.
"""


def main() -> int:
    """Measure what is not measured yet, and write the table."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.quick", description=main.__doc__)
    known = [release.xen for release in releases.RELEASES]
    parser.add_argument("--xen", choices=known, default=releases.DEFAULT, help="Xen release (default: %(default)s)")
    parser.add_argument("--domains", type=int, nargs="+", default=[1, 100, 300], help="how many (default: 1 100 300)")
    parser.add_argument("--again", action="store_true", help="measure all again")
    given = parser.parse_args()
    kept = KEPT / f"growth-{given.xen}.json"
    found: dict[str, Any] = {} if given.again or not kept.exists() else json.loads(kept.read_text())
    missing = [number for number in given.domains if str(number) not in found]
    try:
        if missing:
            with Lab(given.xen) as dom0:
                put_programs(dom0)
                for number in missing:
                    command = ["python3", "-m", "benchmarks.growth", str(number)]
                    line = dom0.run(command, timeout=TIME_LIMIT, check=True).stdout
                    found[str(number)] = json.loads(line)["times"]
                    found["machine"] = report.machine(dom0)
                    kept.parent.mkdir(exist_ok=True)
                    kept.write_text(json.dumps(found))
    except LabError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    text = "\n".join(table({int(number): times for number, times in found.items() if number != "machine"}))
    print(text)
    RESULTS.write_text(f"{HEAD}\n{found['machine']}\n\n{text}\n")
    return 0


_RATIOS = {
    "C / first list": ("C list", "first list", 0),
    "second / first": ("second list", "first list", 0),
    "C / later list": ("C list", "later list", 0),
    "`xl list` / later": ("xl list", "later list", 0),
    "create: C / pyxen": ("C", "pyxen", 0),
    "xl / pyxen": ("xl", "pyxen", 0),
    "destroy: C / pyxen": ("C", "pyxen", 1),
    "destroy: xl / pyxen": ("xl", "pyxen", 1),
}
"""What is divided by what: contenders, and the part of their times."""


def table(found: dict[int, dict[str, list[list[float]]]]) -> list[str]:
    """Return the tables of what was measured, by the number of domains: medians, and medians of the rounds' ratios."""
    shown = ("first list", "second list", "later list", "lookup")
    lines = [
        f"| domains | {' | '.join(shown)} | create | destroy |",
        f"|{'--:|' * (len(shown) + 3)}",
    ]
    for number, times in sorted(found.items()):
        cells = [(name, 0) for name in shown] + [("pyxen", 0), ("pyxen", 1)]
        values = [f"{median([took[part] for took in times[name]]) * 1000:.3g} ms" for name, part in cells]
        lines.append(f"| {number} | {' | '.join(values)} |")
    lines += ["", f"| domains | {' | '.join(_RATIOS)} |", f"|{'--:|' * (len(_RATIOS) + 1)}"]
    for number, times in sorted(found.items()):
        ratios = [
            median([one[part] / other[part] for one, other in zip(times[one_name], times[other_name], strict=True)])
            for one_name, other_name, part in _RATIOS.values()
        ]
        lines.append(f"| {number} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
