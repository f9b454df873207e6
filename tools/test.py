"""Run the parts of the test suite, two at a time, and show how each ended.

Parts that boot the lab share one lane, parts that do not the other, so two cores are kept busy; the latter also makes
what the other will need. It is nice: an emulated machine whose CPUs are taken away in the middle of what they do gets
slower out of proportion. So are two labs at a time slower than one after the other.

Output goes to a file for each part while it runs; what failed is shown in full, and the last lines are pytest's own
summaries.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
PYTEST = [PYTHON, "-m", "pytest", "-q", "--color=no"]
LAB_FAILED = 125
"""Exit status of `lab run` when not the command but the emulated machine failed; see lab/README.md."""

TWICE = ("host", "migration", "stopping", "workers", "devd", "console")
"""Tests in dom0 that need both releases, since they use libxl where these differ; for the rest the contract is enough,
and tests/oracle asks xl of both what keys mean."""

AFAR = ("life", "looking", "events", "operations", "defined", "features")
"""What of the contract is asked of 4.17's libvirt, from outside: what may depend on the way there."""


@dataclass
class Part:
    """A part of the suite: commands, run one after the other until one fails."""

    name: str
    commands: list[list[str]]
    log: Path = field(init=False)
    status: int | None = None
    seconds: float = 0.0

    def run(self, folder: Path) -> None:
        """Run it, with all output into a file."""
        self.log = folder / f"{self.name}.log"
        start = time.monotonic()
        with self.log.open("w") as log:
            for command in self.commands:
                self.status = self._run_one(command, log)
                if self.status == LAB_FAILED:
                    log.write("the lab failed: once more\n")
                    log.flush()
                    self.status = self._run_one(command, log)
                if self.status != 0:
                    break
        self.seconds = time.monotonic() - start

    def _run_one(self, command: list[str], log: TextIO) -> int:
        return subprocess.run(
            command, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False
        ).returncode

    def summary(self) -> list[str]:
        """Return pytest's own summary lines."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if _is_summary(line)]


def _is_summary(line: str) -> bool:
    return " in " in line and any(word in line for word in (" passed", " failed", " error")) and line[-1] in "s=)"


def _in_dom0(release: str, *command: str) -> list[str]:
    return [PYTHON, "-m", "lab", "run", "--xen", release, "--timeout", "2000", "--", *command]


def _pytest_in_dom0(*paths: str) -> list[str]:
    return ["python3", "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", *paths]


def _contract_in_dom0(*uris: str) -> list[str]:
    pytest = " ".join(_pytest_in_dom0("tests/backends"))
    return ["sh", "-c", f"lab-libvirtd && PYXEN_TEST_URI='{' '.join(uris)}' {pytest}"]


def _contract(uri: str, *paths: str, xen: str = "4.20") -> list[str]:
    return ["env", f"PYXEN_TEST_URI={uri}", f"PYXEN_TEST_XEN={xen}", *PYTEST, *(paths or ["tests/backends"])]


def lanes() -> list[list[Part]]:
    """Return the parts, in two lanes that run side by side."""
    nice = ["nice", "-n", "15"]
    ruff = [*nice, PYTHON, "-m", "ruff"]
    checks = Part(
        "checks",
        [[*ruff, "check", "-q"], [*ruff, "format", "-q", "--check"], [*nice, PYTHON, "-m", "mypy"]],
    )
    return [
        [
            checks,
            Part(
                "unit",
                [
                    [*nice, *PYTEST, "tests/unit", "tests/backends", "tests/libvirt"],
                    [*nice, *_contract("test:///default")],
                ],
            ),
            Part("oracle", [[PYTHON, "-m", "tests.oracle.setup"], [*nice, *PYTEST, "tests/oracle"]]),
            Part("images", [[*nice, PYTHON, "-m", "lab", "build", "--xen", "4.17"]]),
        ],
        [
            Part("xen-4.20", [_in_dom0("4.20", *_pytest_in_dom0("tests/xen"))]),
            Part("xen-4.17", [_in_dom0("4.17", *_pytest_in_dom0(*(f"tests/xen/test_{name}.py" for name in TWICE)))]),
            Part(
                "contract",
                [
                    _in_dom0("4.20", *_contract_in_dom0("xenlight:///", "xen:///system")),
                    _in_dom0("4.17", *_contract_in_dom0("xenlight:///")),
                    _contract("xen+tcp://lab/system", *(f"tests/backends/test_{name}.py" for name in AFAR), xen="4.17"),
                    [*PYTEST, "tests/outside"],
                ],
            ),
            Part("lab", [[*PYTEST, "tests/lab"]]),
        ],
    ]


def _run_lane(parts: list[Part], folder: Path, say: threading.Lock) -> None:
    for part in parts:
        with say:
            print(f"[test] {part.name}: begun", flush=True)
        part.run(folder)
        with say:
            how = "passed" if part.status == 0 else f"FAILED ({part.status})"
            print(f"[test] {part.name}: {how} after {part.seconds:.0f} s", flush=True)
            if part.status != 0:
                lines = part.log.read_text(errors="replace").splitlines()
                print("\n".join(lines if len(lines) < 400 else [*lines[:100], "…", *lines[-300:]]), flush=True)


def _progress(running: list[threading.Thread], say: threading.Lock) -> None:
    """Show once a minute that it goes on."""
    start = time.monotonic()
    while any(thread.is_alive() for thread in running):
        for thread in running:
            thread.join(60 / len(running))
        if any(thread.is_alive() for thread in running):
            with say:
                print(f"[test] … {time.monotonic() - start:.0f} s", flush=True)


def main() -> int:
    """Run the parts named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="checks, unit, oracle, images, xen-4.20, xen-4.17, contract, lab")
    wanted = parser.parse_args().parts
    chosen = [[part for part in lane if not wanted or part.name in wanted] for lane in lanes()]
    unknown = set(wanted) - {part.name for lane in chosen for part in lane}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    folder = ROOT / "build" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    say = threading.Lock()
    threads = [threading.Thread(target=_run_lane, args=(lane, folder, say)) for lane in chosen if lane]
    for thread in threads:
        thread.start()
    _progress(threads, say)
    parts = [part for lane in chosen for part in lane]
    print()
    for part in parts:
        how = "passed" if part.status == 0 else "FAILED"
        print(f"{part.name}: {how} ({part.seconds:.0f} s; {part.log.relative_to(ROOT)})")
    for part in parts:
        for line in part.summary():
            print(line)
    return 0 if all(part.status == 0 for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main())
