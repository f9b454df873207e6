"""In dom0: ``pyxen list`` and ``xl list`` as processes, and what Python costs that does nothing.

Prints a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from benchmarks.measure import PROGRAMS, clocked, take_turns

ROUNDS = 30
DOMAINS = 10
SCRIPT = "import sys; from pyxen.cli import main; sys.argv = ['pyxen', *sys.argv[1:]]; sys.exit(main())"
"""What the script ``pyxen`` does, which pip installs."""


def main() -> int:
    """Run the benchmark."""
    commands = {
        "xl": ["xl", "list"],
        "pyxen": [sys.executable, "-c", SCRIPT, "list"],
        "module": [sys.executable, "-m", "pyxen", "list"],
        "json": [sys.executable, "-c", SCRIPT, "list", "--json"],
        "python": [sys.executable, "-c", "pass"],
    }
    subprocess.run([PROGRAMS / "empty_domains", "remove"], check=True, timeout=600)
    subprocess.run([PROGRAMS / "empty_domains", "make", str(DOMAINS - 1)], check=True, timeout=600)
    try:
        names = [[line.split()[0] for line in run(commands[name]).splitlines()] for name in ("xl", "pyxen", "module")]
        assert names[0] == names[1] == names[2], "the lists differ"
        assert len(names[0]) == DOMAINS + 1
        contenders: dict[str, Callable[[], tuple[float, ...]]] = {
            name: partial(clocked, partial(run, command)) for name, command in commands.items()
        }
        times = take_turns(contenders, ROUNDS)
    finally:
        subprocess.run([PROGRAMS / "empty_domains", "remove"], check=True, timeout=600)
    print(json.dumps({name: [took for (took,) in values] for name, values in times.items()}))
    return 0


def run(command: list[str]) -> str:
    """Run a command and return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout


if __name__ == "__main__":
    sys.exit(main())
