"""In dom0: create and destroy a minimal PVH guest, paused, without devices, against C and against ``xl``.

Prints a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyxen
from benchmarks.measure import PROGRAMS, Companion, clocked, take_turns
from benchmarks.python.create_destroy import CONFIG
from pyxen import DomainState, libxljson

ROUNDS = 12
IN_A_ROW = 10

XL_CONFIG = """\
name = "bench"
type = "pvh"
kernel = "/usr/share/pyxen-guests/tiny-pvh"
memory = 8
shadow_memory = 1
"""


def main() -> int:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        config, as_json = Path(folder, "bench.cfg"), Path(folder, "bench.json")
        config.write_text(XL_CONFIG)
        as_json.write_text(libxljson.dumps(CONFIG))
        with (
            Companion(sys.executable, "-m", "benchmarks.python.create_destroy") as ours,
            Companion(str(PROGRAMS / "create_destroy"), str(as_json)) as c,
        ):

            def xl() -> tuple[float, ...]:
                create = clocked(lambda: run("xl", "create", "-q", "-p", str(config)))
                return create + clocked(lambda: run("xl", "destroy", "bench"))

            times = take_turns({"pyxen": ours.seconds, "c": c.seconds, "xl": xl}, ROUNDS, in_a_row=IN_A_ROW)
    with pyxen.connect() as host:
        left = [info.name for info in host.list() if info.state is not DomainState.DYING]
        assert left == ["Domain-0"]
    print(json.dumps(times))
    return 0


def run(*command: str) -> None:
    """Run a program that must succeed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}: {done.stderr}"


if __name__ == "__main__":
    sys.exit(main())
