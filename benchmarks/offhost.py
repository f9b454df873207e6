"""``python3 -m benchmarks.offhost``: what pyxen, C and xl cost on a pretended host, at the processor's own speed.

On such a host (tests/offhost) libxl, xenstored and xl are the real ones, and Xen answers at once. So its figures say
what a program adds itself, which the emulated processor of the lab hides. What is measured is kept in
benchmarks/offhost.json: a part that is there is not measured again, but with ``--again``. OFFHOST.md is made from it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyxen
from benchmarks import offhost_tables
from benchmarks.measure import Companion, take_turns
from benchmarks.offhost_tables import HERE, KEPT
from benchmarks.supervising import private_bytes
from tests.offhost import kernel
from tests.offhost.host import OffHost, until
from tests.offhost.internals import use_extension
from tests.offhost.setup import Release, libraries, release

RELEASE: Final = "4.20"
_INSIDE: Final = "PYXEN_BENCHMARK_INSIDE"

DOMAINS: Final = (10, 100, 300, 1000)
ROUNDS: Final = 10
MANY: Final = 1000
CREATES: Final = 32
WORKERS: Final = (0, 1, 2, 3, 4, 8)
CREATE_ROUNDS: Final = 5

_TO_END: Final = 60.0  # seconds for a watcher that is told to end
_CHANGES_TO_BE_SEEN: Final = 120.0  # seconds for all events of a thousand domains


def main() -> int:
    """Measure what is not measured yet, and write the tables."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.offhost", description=main.__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="what to measure (default: all)")
    parser.add_argument("--again", action="store_true", help="measure it again")
    given = parser.parse_args()
    found = release(RELEASE)
    if _INSIDE not in os.environ:
        # What is preloaded must be there when a process begins.
        return subprocess.run(
            [found.python, "-m", "benchmarks.offhost", *sys.argv[1:]],
            env={**os.environ, "LD_PRELOAD": found.preload, _INSIDE: "1"}, check=False, timeout=7200,
        ).returncode  # fmt: skip
    sys.executable = str(found.python)
    use_extension(found)
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for part in given.parts or PARTS:
        if given.again or part not in kept:
            print(f"{part}: measuring ...", file=sys.stderr, flush=True)
            times = PARTS[part](found)
            kept[part] = {"machine": _machine(found), "times": times}
            KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    (HERE / "OFFHOST.md").write_text(offhost_tables.page(kept))
    return 0


def _machine(found: Release) -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = model[1] if model else platform.machine()
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}: Xen {found.name}, Python {platform.python_version()}, "
        f"{os.cpu_count()} CPUs, {processor}. Load of the machine when done: {os.getloadavg()[0]:.1f}"
    )


# Lists: each contender says the seconds that it took, its own CPU time, and that of xenstored.


def lists(found: Release) -> dict[str, Any]:
    """Measure lists of more and more domains, and processes that list."""
    times: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, OffHost(found) as offhost:
        program = _compiled(found, "list", Path(folder))
        xl = _script(Path(folder, "xl"), _command(found, found.program("xl")[-1]))
        there = 1
        for domains in DOMAINS:
            for number in range(there, domains):
                offhost.add(f"other{number}", introduced=False, memory=4)
            there = domains
            times[str(domains)] = _list(found, offhost, program, xl, domains)
    return times


def _list(
    found: Release, offhost: OffHost, program: Path, xl: Path, domains: int
) -> dict[str, list[tuple[float, ...]]]:
    clock = partial(_costs, offhost)
    name = f"other{domains - 1}"
    with Companion(*_command(found, str(program))) as c, pyxen.connect() as host:
        for _ in range(6):  # until all names are watched
            assert len(host.list()) == domains
        return take_turns(
            {
                "first": lambda: _first(clock),
                "later": lambda: clock(host.list),
                "lookup": lambda: clock(lambda: host.domains[name]),
                "C": lambda: clock(c.numbers, c.pid),
                "xl list": lambda: clock(lambda: _run([str(xl), "list"], domains + 1)),
                "pyxen list": lambda: clock(lambda: _run(_pyxen_list(found), domains + 1)),
                "python": lambda: clock(lambda: _run([str(found.python), "-c", "pass"], 0)),
            },
            ROUNDS,
        )


def _costs(offhost: OffHost, work: Callable[[], object], pid: int | None = None) -> tuple[float, ...]:
    """Do some work; return its seconds, the CPU time of who did it, and xenstored's.

    Args:
        offhost: The host.
        work: The work.
        pid: The process that does it; None: this one, or its children that end meanwhile.
    """
    xenstored = offhost.xenstored_pid
    before = _cpu(pid), _cpu_of(xenstored)
    start = time.perf_counter()
    work()
    took = time.perf_counter() - start
    return took, _cpu(pid) - before[0], _cpu_of(xenstored) - before[1]


def _cpu(pid: int | None) -> float:
    if pid is not None:
        return _cpu_of(pid)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _cpu_of(pid: int) -> float:
    """Return the seconds of CPU time that the threads of a process have had."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def _first(clock: Callable[[Callable[[], object]], tuple[float, ...]]) -> tuple[float, ...]:
    with pyxen.connect() as host:
        return clock(host.list)


def _run(command: list[str], lines: int) -> None:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    assert len(done.stdout.splitlines()) == lines


def _pyxen_list(found: Release) -> list[str]:
    code = (
        "import sys, pyxen.backends.xenlight.libxl as at; at.__path__.append(sys.argv.pop(1)); "
        "from pyxen.cli import main; sys.exit(main())"
    )
    return [str(found.python), "-c", code, str(found.extension), "list"]


def _compiled(found: Release, name: str, folder: Path) -> Path:
    [libs] = [place for place in libraries(found.tree) if (place / "libxenlight.so").is_symlink()]
    subprocess.run(
        ["gcc", "-O2", f"-I{found.tree}/usr/include", f"-L{libs}", "-Wl,--allow-shlib-undefined",
         "-o", folder / name, HERE / "c" / f"{name}.c", "-lxenlight", "-lxentoollog"],
        check=True, timeout=600,
    )  # fmt: skip
    return folder / name


def _command(found: Release, program: str) -> list[str]:
    """Return the command line that runs a program of this machine, or of the release, on the host."""
    return [*found.program("xl")[:-1], "--preload", found.preload, program]


def _script(path: Path, command: list[str]) -> Path:
    """Write a program that runs a command, as Python is run here, so that both pay for a shell."""
    path.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
    path.chmod(0o755)
    return path


# Events and memory of a process that watches.


class Watcher:
    """The program benchmarks/python/watcher.py, on the host that this process is on."""

    def __init__(self, found: Release, offhost: OffHost, *options: str) -> None:
        self._process = subprocess.Popen(
            [str(found.python), "-m", "benchmarks.python.watcher", str(found.extension), *options],
            env=offhost.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._line()

    def ask(self, line: str = "") -> dict[str, Any]:
        """Return what it says of itself."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(f"{line}\n")
        stdin.flush()
        said: dict[str, Any] = json.loads(self._line())
        return said

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=_TO_END)


@contextlib.contextmanager
def watching(found: Release, offhost: OffHost, *options: str) -> Iterator[Watcher]:
    """Begin a watcher; in the end it ends."""
    watcher = Watcher(found, offhost, *options)
    try:
        yield watcher
    finally:
        watcher.close()


def events(found: Release, domains: int = MANY) -> dict[str, Any]:
    """Let domains come, get other names and go, and return what a program that reads the events has seen."""
    with OffHost(found) as offhost, watching(found, offhost) as watcher:
        before = watcher.ask("list")
        start = time.perf_counter()
        domids = [offhost.add(f"web{number}", memory=4) for number in range(domains)]
        _await(watcher, "DomainCreated", domains)
        for domid in domids:
            offhost.store.write(f"/local/domain/{domid}/name", f"new{domid}")
        _await(watcher, "DomainRenamed", domains)
        full = watcher.ask("list")
        for domid in domids:
            offhost.world.remove(domid)
            offhost.store.remove(f"/local/domain/{domid}")
        after = _await(watcher, "DomainDestroyed", domains)
        seconds = time.perf_counter() - start
        memory = [said["memory"] for said in (before, full, watcher.ask("list"))]
    return {"events": after["events"], "seconds": seconds, "cpu": after["cpu"] - before["cpu"], "memory": memory}


def _await(watcher: Watcher, kind: str, number: int) -> dict[str, Any]:
    said: dict[str, Any] = {}

    def all_seen() -> bool:
        nonlocal said
        time.sleep(0.1)
        said = watcher.ask()
        return "EventsLost" in said["events"] or said["events"].get(kind, 0) >= number

    until(all_seen, f"not all of {kind} are seen", _CHANGES_TO_BE_SEEN)
    return said


def memory(found: Release, domains: int = MANY) -> dict[str, int]:
    """Return the memory of Python, of a watcher that supervises no domains, and of one that supervises many."""
    with OffHost(found) as offhost:
        bare = _bare(offhost)
        opened = _settled(found, offhost)
        for number in range(domains):
            offhost.add(f"web{number}", introduced=False, memory=4)
        return {"python": bare, "none": opened, "many": _settled(found, offhost)}


def _bare(offhost: OffHost) -> int:
    with offhost.python("print(flush=True); input()") as process:
        assert process.stdout is not None
        process.stdout.readline()
        return private_bytes(process.pid)


def _settled(found: Release, offhost: OffHost) -> int:
    with watching(found, offhost, "supervise") as watcher:
        for _ in range(8):  # until all names are watched, and what began has ended
            time.sleep(0.25)
            said = watcher.ask("list")
        return int(said["memory"])


# Creates at once.


def workers(found: Release) -> dict[str, Any]:
    """Return the seconds of creates and destroys at once, by the number of CPUs and of workers."""
    here = sorted(os.sched_getaffinity(0))
    times: dict[str, Any] = {}
    for number in range(1, len(here) + 1):
        os.sched_setaffinity(0, here[:number])  # of what begins from now on, too
        try:
            times[str(number)] = _creates(found)
        finally:
            os.sched_setaffinity(0, here)
    return times


def _creates(found: Release) -> dict[str, list[tuple[float, ...]]]:
    with (
        contextlib.ExitStack() as stack,
        OffHost(found),
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(CREATES) as threads,
    ):
        image = Path(folder, "kernel")
        image.write_bytes(kernel.pvh())
        configs = [
            pyxen.DomainConfig(f"web{number}", type="pvh", kernel=str(image), memory=8, shadow_memory=1)
            for number in range(CREATES)
        ]

        def at_once(host: pyxen.Host) -> tuple[float, ...]:
            start = time.perf_counter()
            domains = list(threads.map(lambda config: host.create(config, paused=True), configs))
            created = time.perf_counter()
            list(threads.map(pyxen.Domain.destroy, domains))
            return created - start, time.perf_counter() - created

        hosts = {str(number): stack.enter_context(pyxen.connect(workers=number)) for number in WORKERS}
        contenders = {number: partial(at_once, host) for number, host in hosts.items()}
        times = take_turns(contenders, CREATE_ROUNDS)
        stack.close()
    return times


PARTS: Final[dict[str, Callable[[Release], Any]]] = {
    "lists": lists,
    "events": events,
    "memory": memory,
    "workers": workers,
}

if __name__ == "__main__":
    sys.exit(main())
