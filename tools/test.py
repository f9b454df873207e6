"""Run the parts of the test suite side by side, and show how each ended.

Parts that boot the lab run two at a time, the long ones first. Each has one processor, which waits now and then: for a
guest, or for what must not happen. What boots no machine runs beside them, and takes what they leave: an emulated
machine whose processor is taken away in the middle of what it does gets slower out of proportion.

Each part has a time of its own. Tests that run out of theirs end in order (see tests/deadline.py); what does not end
then is ended, and that is said. Output goes to a file for each part while it runs; what failed is shown in full, and
the last lines are pytest's own summaries.

When all parts have ended, a few tests that failed are tried once more, by themselves. What passes then did not hold
beside others on busy processors: the part passes, and the last lines name the test as unsteady.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from lab import releases
from tests.again import ONLY, failures
from tests.outside.packages import folder_of_modules

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
PYTEST = [PYTHON, "-m", "pytest", "-q", "--color=no", "-p", "tests.deadline", "-p", "tests.again", "--durations=25"]
LONG = "PYXEN_LONG" in os.environ
"""Whether tests are asked, too, that take long and ask again what a shorter one asks: ``make test-long``."""
TEST_SECONDS = 5400 if LONG else 1500
"""How long one run of pytest may take, before it ends in order; on quiet cores the longest takes half of that. What
boots no machine, and gives way to those that do, may take as long as three of them."""
GRACE_SECONDS = 240
"""How much longer than its tests a run may take: to begin, and to end in order."""
COMMAND_SECONDS = TEST_SECONDS + GRACE_SECONDS
"""How long a command in dom0 may take, before it is killed."""
BUILD_SECONDS = 1200
"""What the lab may need before, to build what is missing."""
UNSTEADY = 3
"""How many failed tests of a part are tried once more; more than these have a reason that is not the moment."""
TESTS_FAILED = 1
"""Exit status of pytest when tests failed, and nothing else went wrong."""
LAB_FAILED = 125
"""Exit status of `lab run` when not the command but the emulated machine failed; see lab/README.md."""
ENDED = 128
"""Exit status, with the signal's number added, of what a signal has ended."""

FUZZ_SECONDS = 3
"""How long each target is fuzzed; ``make fuzz`` takes longer."""

MACHINES = 2
"""How many parts that boot the lab run at a time."""

OTHERS = 3
"""How many of the others run beside them: those on pretended hosts mostly wait.

With five, and more of the processors for those on pretended hosts, the machines took a fifth longer.
"""

MOVING = ("locks", "migration", "pool", "remus", "saving", "ssh", "stopping", "supervisor", "workers")
"""The tests in dom0 of what takes long; they have a machine of their own."""

HOST = (
    *("apply", "control", "cpupools", "devices", "endpoints", "host", "hypervisor", "libvirt"),
    *("live_devices", "qmp", "stats", "stubdomains", "topology", "tuning", "xenstore"),
)
"""The tests in dom0 of what a host and its running domains can be told; the rest has the third machine."""

TWICE = (
    *("devd", "host", "migration", "stopping", "workers"),
    *(("autostart", "bad_input", "console", "consolestream", "differential") if LONG else ()),
    *(("host_devices", "room", "seen_by_guests", "xlconf") if LONG else ()),
)
"""Tests in dom0 that need both releases, since they use libxl where these differ; for the rest the contract is enough,
and tests/oracle asks xl of both what keys mean. For `make test-long`, those of `HOST` need both, too."""

CONTRACT_TWICE = (
    *("cpupools", "devices", "endpoints", "features", "guests", "hypervisor", "life", "looking"),
    *("metrics", "stats", "topology", "tuning", "xenstore"),
    *(("live_devices",) if LONG else ()),
)
"""What of the contract is asked of both releases: what a Xen or a libxl may answer in its own way. Where domains move,
wait or end, `TWICE` has it."""

LIBVIRTS = (
    *("apply", "consoles", "defined", "devices", "events", "features", "life", "looking", "operations", "saving"),
    "tuning",
)
"""What of the contract is asked of libvirt in dom0: its own ways. What it has in common with `xenlight:///`, or cannot
do at all, is asked of ``test:///default``, which needs no machine."""

AFAR = ("defined", "features", "looking", *(("events", "life", "operations") if LONG else ()))
"""What of the contract is asked of 4.17's libvirt, from outside: what may depend on the way there."""


_ended_by: list[int] = []
"""The signals that have ended all of it; where there is one, nothing more is begun."""
_running: set[subprocess.Popen[bytes]] = set()


@dataclass
class Part:
    """A part of the suite: commands, run one after the other until one fails.

    Attributes:
        boots: Whether it boots the lab. What does not gives way to what does.
        unsteady: The tests that failed, and passed when they were tried once more.
    """

    name: str
    commands: list[list[str]]
    boots: bool = True
    log: Path = field(init=False)
    status: int | None = None
    seconds: float = 0.0
    unsteady: list[str] = field(default_factory=list)
    left: list[list[str]] = field(init=False)
    """The commands from the one that failed on."""

    def run(self, folder: Path) -> None:
        """Run it, with all output into a file."""
        self.log = folder / f"{self.name}.log"
        self.log.write_text("")
        self._run_all(self.commands)

    def try_again(self) -> None:
        """Run the tests that failed once more, if they are few, and if they pass then, what comes after them."""
        failed = failures(self.log.read_text(errors="replace"))
        if self.status != TESTS_FAILED or not 0 < len(failed) <= UNSTEADY:
            return
        first, *rest = self.left
        only = f"{ONLY}={json.dumps(failed)}"
        place = first.index("env") + 1 if "env" in first else 0
        self._run_all([[*first[:place], only, *first[place:]] if place else ["env", only, *first]])
        if self.status == 0:
            self.unsteady += failed
            self._run_all(rest)

    def _run_all(self, commands: list[list[str]]) -> None:
        start = time.monotonic()
        self.status = 0
        with self.log.open("a") as log:
            for place, command in enumerate(commands):
                self.status = self._run_one(command, log)
                if self.status == LAB_FAILED:
                    log.write("the lab failed: once more\n")
                    log.flush()
                    self.status = self._run_one(command, log)
                if self.status != 0:
                    self.left = commands[place:]
                    break
        self.seconds += time.monotonic() - start

    def _run_one(self, command: list[str], log: TextIO) -> int:
        if _ended_by:
            return ENDED + _ended_by[0]
        seconds = TEST_SECONDS if self.boots else 3 * TEST_SECONDS
        limit = seconds + GRACE_SECONDS + BUILD_SECONDS
        environment = {**os.environ, "PYXEN_TEST_DEADLINE": str(seconds)}
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        _running.add(process)
        if _ended_by:  # just now
            _end(process)
        if not self.boots:
            _give_way(process)
        try:
            return process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            log.write(f"\nended: it took longer than {limit} s: {' '.join(command)}\n")
            return 124
        finally:
            _running.discard(process)
            _end(process)

    def summary(self) -> list[str]:
        """Return pytest's own summary lines."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if _is_summary(line)]


def _give_way(process: subprocess.Popen[bytes]) -> None:
    """Let a process and what it starts run when others do not need the CPU."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, 15)
        # Linux shares the CPU between sessions first, and within a session by the nice values of its processes.
        Path(f"/proc/{process.pid}/autogroup").write_text("15")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it has started, if it still runs."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)


def _end_all(number: int, _: object) -> None:
    """End what runs, and begin nothing more: this process is to end."""
    _ended_by.append(number)
    for process in tuple(_running):  # they have sessions of their own, and would go on
        threading.Thread(target=_end, args=(process,)).start()


def _is_summary(line: str) -> bool:
    return " in " in line and any(word in line for word in (" passed", " failed", " error")) and line[-1] in "s=)"


def _in_dom0(release: str, *command: str, cpus: int = 1) -> list[str]:
    lab = [PYTHON, "-m", "lab", "run", "--xen", release, "--cpus", str(cpus), "--timeout", str(COMMAND_SECONDS)]
    long = ["PYXEN_LONG=1"] if LONG else []
    return [*lab, "--", "env", f"PYXEN_TEST_DEADLINE={TEST_SECONDS}", *long, *command]


def _chosen(marks: str = "") -> list[str]:
    """Return the option that chooses tests by their marks, and leaves out the long ones unless they are asked for."""
    wanted = [*([marks] if marks else []), *([] if LONG else ["not long"])]
    return ["-m", " and ".join(wanted)] if wanted else []


def _guide_in_debian_12() -> list[list[str]]:
    """Return the commands that play the guide there, with another typer: Debian 12's own is too old for the command."""
    folder, release = ROOT / "build" / "test" / "typer", releases.find("4.17")
    fetch = [PYTHON, "-m", "tests.outside.packages", release.xen, str(folder), "typer", "rich"]
    command = _in_dom0(release.xen, *_pytest_in_dom0("tests/xen/test_guide.py"))
    place = command.index("--")
    return [fetch, [*command[:place], "--put", f"{folder}:{folder_of_modules(release)}", *command[place:]]]


def _pytest_in_dom0(*paths: str, marks: str = "") -> list[str]:
    return ["python3", *PYTEST[1:], "-p", "no:cacheprovider", *_chosen(marks), *paths]


def _contract_in_dom0(uri: str, *paths: str) -> list[str]:
    pytest = shlex.join(_pytest_in_dom0(*(paths or ["tests/backends"])))
    return ["sh", "-c", f"lab-libvirtd && PYXEN_TEST_URI={uri} {pytest}"]


def _contract(uri: str, *paths: str, xen: str = "4.20") -> list[str]:
    return ["env", f"PYXEN_TEST_URI={uri}", f"PYXEN_TEST_XEN={xen}", *PYTEST, *(paths or ["tests/backends"])]


def parts() -> list[Part]:
    """Return the parts, in the order in which they are begun."""
    ruff = [PYTHON, "-m", "ruff"]
    checks = [
        [*ruff, "check", "-q"],
        [*ruff, "format", "-q", "--check"],
        [PYTHON, "-m", "mypy"],
        [*PYTEST, "tests/typing"],
        # A fixture that is not there is found before a machine has booted.
        [PYTHON, "-m", "pytest", "-q", "--color=no", "--setup-plan", "tests/xen", "tests/outside"],
    ]
    backends = [
        [*PYTEST, "tests/ansible", "tests/backends", "tests/libvirt"],
        [*_contract("test:///default")],
    ]
    offhost = [*PYTEST, *_chosen(), "tests/offhost"]
    oracle = [[PYTHON, "-m", "tests.oracle.setup"], [*PYTEST, *_chosen(), "tests/oracle"]]
    tests = sorted(path.stem.removeprefix("test_") for path in (ROOT / "tests/xen").glob("test_*.py"))
    rest = [name for name in tests if name not in {*MOVING, *HOST}]
    both = [name for name in HOST if name not in TWICE]
    two_cpus = _pytest_in_dom0("tests/xen", "tests/backends", marks="two_cpus")
    return [
        Part("checks", checks, boots=False),
        Part("xen-4.20-moving", [_in_dom0("4.20", *_pytest_in_dom0(*_files(MOVING)))]),
        Part("xen-4.20-host", [_in_dom0("4.20", *_pytest_in_dom0(*_files(HOST)))]),
        Part("offhost-4.20", [[*offhost, "-k", "4.20"]], boots=False),
        Part("offhost-4.17", [[*offhost, "-k", "not 4.20"]], boots=False),
        Part("unit", [[*PYTEST, "tests/unit"]], boots=False),
        Part("backends", backends, boots=False),
        Part("oracle", oracle, boots=False),
        Part("fuzz", [[PYTHON, "-m", "tests.fuzz", "--seed", "1", "--seconds", str(FUZZ_SECONDS)]], boots=False),
        Part("xen-4.20", [_in_dom0("4.20", *_pytest_in_dom0(*_files(rest)))]),
        Part("contract", [_in_dom0("4.20", *_contract_in_dom0("xenlight:///"))]),
        Part("contract-libvirt", [_in_dom0("4.20", *_contract_in_dom0("xen:///system", *_libvirts()))]),
        Part("lab", [[*PYTEST, *_chosen(), "tests/lab"]]),
        Part(
            "contract-4.17",
            [
                _in_dom0("4.17", *_contract_in_dom0("xenlight:///", *_contract_files(CONTRACT_TWICE))),
                _contract("xen+tcp://lab/system", *_contract_files(AFAR), xen="4.17"),
            ],
        ),
        Part("xen-4.17", [_in_dom0("4.17", *_pytest_in_dom0(*_files(TWICE)))]),
        *([Part("xen-4.17-host", [_in_dom0("4.17", *_pytest_in_dom0(*_files(both)))])] if LONG else []),
        Part("outside", [[*PYTEST, *_chosen(), "tests/outside"]]),
        *([Part("contract-ssh", [_contract("xenlight+ssh://root@lab/")])] if LONG else []),
        *([Part("contract-ssh-4.17", [_contract("xenlight+ssh://root@lab/", xen="4.17")])] if LONG else []),
        *([Part("guide-4.17", _guide_in_debian_12())] if LONG else []),
        Part("two-cpus", [_in_dom0("4.20", "env", "PYXEN_TEST_URI=xenlight:///", *two_cpus, cpus=2)]),
    ]


def _files(names: Iterable[str]) -> list[str]:
    return [f"tests/xen/test_{name}.py" for name in names]


def _libvirts() -> list[str]:
    """Return the files of the contract that are asked of libvirt in dom0: all for ``make test-long``."""
    return ["tests/backends"] if LONG else _contract_files(LIBVIRTS)


def _contract_files(names: Iterable[str]) -> list[str]:
    return [f"tests/backends/test_{name}.py" for name in names]


def _run_some(lists: list[queue.SimpleQueue[Part]], folder: Path, say: threading.Lock) -> None:
    """Run parts as long as there are any: those of the first list, then those of the next."""
    for waiting in lists:
        while not _ended_by:
            try:
                part = waiting.get_nowait()
            except queue.Empty:
                break
            _run_part(part, folder, say)


def _run_part(part: Part, folder: Path, say: threading.Lock) -> None:
    """Run a part, and show how it ended."""
    with say:
        print(f"[test] {part.name}: begun", flush=True)
    part.run(folder)
    with say:
        how = "passed" if part.status == 0 else f"FAILED ({part.status})"
        print(f"[test] {part.name}: {how} after {part.seconds:.0f} s", flush=True)
        if part.status != 0 and not _ended_by:
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
    known = parts()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(part.name for part in known))
    wanted = parser.parse_args().parts
    unknown = set(wanted) - {part.name for part in known}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    chosen = [part for part in known if not wanted or part.name in wanted]
    folder = ROOT / "build" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    machines: queue.SimpleQueue[Part] = queue.SimpleQueue()
    others: queue.SimpleQueue[Part] = queue.SimpleQueue()
    for part in chosen:
        (machines if part.boots else others).put(part)
    say = threading.Lock()
    lanes = [*[[machines, others]] * MACHINES, *[[others]] * OTHERS]
    threads = [threading.Thread(target=_run_some, args=(lane, folder, say)) for lane in lanes]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _end_all)
    for thread in threads:
        thread.start()
    _progress(threads, say)
    for part in chosen:
        if part.status != 0 and not _ended_by:
            part.try_again()
    if _ended_by:
        print(f"[test] ended by {signal.Signals(_ended_by[0]).name}")
        return ENDED + _ended_by[0]
    _show(chosen)
    return 0 if all(part.status == 0 for part in chosen) else 1


def _show(chosen: list[Part]) -> None:
    """Show how all parts have ended; pytest's own summaries come last."""
    print()
    for part in chosen:
        how = "passed" if part.status == 0 else "FAILED"
        print(f"{part.name}: {how} ({part.seconds:.0f} s; {part.log.relative_to(ROOT)})")
        for test in part.unsteady:
            print(f"  unsteady: {test} failed beside others, and passed by itself")
    for part in chosen:
        for line in part.summary():
            print(line)


if __name__ == "__main__":
    sys.exit(main())
