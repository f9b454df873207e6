"""Fuzz all targets, or those named, one after the other: ``python -m tests.fuzz [--seconds N] [TARGET …]``.

The targets with a host have gcc's sanitizer of addresses preloaded (tools/sanitize.py).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.fuzz.seeds import seeds, words
from tests.fuzz.targets import TARGETS
from tests.offhost.host import FOLDER
from tests.offhost.setup import RELEASES, release
from tools import sanitize

ROOT: Final = Path(__file__).resolve().parents[2]
FOUND: Final = ROOT / "build" / "fuzz"
"""Where inputs are written on which a target has failed."""

OFFHOST: Final = ("restore", "receive")
LIMITS: Final = ("-timeout=30", "-rss_limit_mb=2048", "-max_len=16384", "-print_final_stats=1")
"""What one input may take: seconds and MiB; and how large it may be, in bytes."""

_SHOWN: Final = 100
"""How many of the last lines of a target that failed are shown."""

_GRACE: Final = 120
"""Seconds that a target has beyond its time, to begin and to end."""


@dataclass(frozen=True)
class Target:
    """Something to fuzz; `release` is the Xen release of one that needs a host."""

    name: str
    release: str | None = None

    @property
    def title(self) -> str:
        """Its name, as the command takes and shows it."""
        return f"{self.name}-{self.release}" if self.release else self.name

    def command(self, corpus: Path, folder: Path) -> tuple[list[str], dict[str, str]]:
        """Return the command that fuzzes it, and its environment."""
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        if self.release is None:
            return [sys.executable, "-m", "tests.fuzz.one", self.name, str(corpus)], environment
        found = release(self.release)
        environment |= {"LD_PRELOAD": found.preload, FOLDER: str(folder)}
        return [str(found.python), "-m", "tests.fuzz.offhost", self.release, self.name, str(corpus)], environment

    def prepare(self, corpus: Path, dictionary: Path) -> None:
        """Write the inputs to begin with and the words to use; a target with a host makes its own inputs."""
        name = "savefile" if self.release else self.name
        for number, seed in enumerate(seeds(name)):
            (corpus / f"seed-{number:04}").write_bytes(seed)
        dictionary.write_text("".join(f'"{word.decode()}"\n' for word in words(name)))


@dataclass(frozen=True)
class Outcome:
    """What became of a target."""

    passed: bool
    runs: int
    last_words: str


def everything() -> list[Target]:
    """Return all targets."""
    hosted = [Target(name, release) for name in OFFHOST for release in RELEASES]
    return [*map(Target, TARGETS), *hosted]


def fuzz(target: Target, asked: argparse.Namespace) -> Outcome:
    """Fuzz a target for a time."""
    corpus: Path | None = asked.corpus and asked.corpus.resolve()
    FOUND.mkdir(parents=True, exist_ok=True)
    # The paths of sockets in a host's folder must be short.
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        kept = folder / "corpus" if corpus is None else corpus / target.title
        kept.mkdir(parents=True, exist_ok=True)
        target.prepare(kept, folder / "words")
        command, environment = target.command(kept, folder)
        bounds = [f"-max_total_time={asked.seconds}", f"-runs={asked.runs}", f"-seed={asked.seed}", *LIMITS]
        places = [f"-dict={folder / 'words'}", f"-artifact_prefix={FOUND / target.title}-"]
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            status = _run([*command, *bounds, *places], environment, log, asked.seconds)
            log.seek(0)
            text = log.read()
    runs = re.search(r"number_of_executed_units:\s*(\d+)", text)
    told = [line for line in text.splitlines() if not line.startswith("INFO: Instrumenting")]
    return Outcome(status == 0 and runs is not None, int(runs[1]) if runs else 0, "\n".join(told[-_SHOWN:]))


def _run(command: list[str], environment: dict[str, str], log: IO[str], seconds: int) -> int:
    """Run a command, and end all that it has started."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
    )
    try:
        return process.wait(seconds + _GRACE)
    except subprocess.TimeoutExpired:
        log.write(f"\nended: it has not ended {_GRACE} s after its time\n")
        return 124
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> int:
    """Fuzz, and tell how that ended."""
    known = {target.title: target for target in everything()}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(known))
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default: 600)")
    parser.add_argument("--runs", type=int, default=-1, help="the most inputs for each target (default: any number)")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer's random numbers (default: any)")
    parser.add_argument("--corpus", type=Path, help="a folder in which inputs are kept from one run to the next")
    asked = parser.parse_args()
    if unknown := set(asked.targets) - known.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    os.environ |= sanitize.environment()  # what is compiled and preloaded for the targets with a host
    start, failed, total = time.monotonic(), 0, 0
    for title in asked.targets or known:
        outcome = fuzz(known[title], asked)
        total += outcome.runs
        failed += not outcome.passed
        print(f"{title}: {'passed' if outcome.passed else 'FAILED'} ({outcome.runs:,} inputs)", flush=True)
        if not outcome.passed:
            print(outcome.last_words, f"The input is in {FOUND.relative_to(ROOT)}.", sep="\n", flush=True)
    passed = len(asked.targets or known) - failed
    print(f"{total:,} inputs: {passed} passed, {failed} failed in {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
