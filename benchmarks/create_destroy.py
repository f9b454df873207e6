"""In dom0: create and destroy a minimal PVH guest, paused, without devices, against C, Go and ``xl``.

Go has Xen's own binding, where it can be had (`benchmarks.go_binding`). It cannot ask libxl how much memory a domain
needs, as pyxen and C do, so its program does without. Prints a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyxen
from benchmarks.measure import GO_PROGRAMS, PROGRAMS, Companion, Contender, clocked, take_turns
from benchmarks.python.create_destroy import CONFIG, KERNEL
from pyxen import DomainState, libxljson

ROUNDS = 12
IN_A_ROW = 10

XL_CONFIG = f"""\
name = "bench"
type = "pvh"
kernel = "{KERNEL}"
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
            contextlib.ExitStack() as stack,
        ):

            def xl() -> tuple[float, ...]:
                create = clocked(lambda: run("xl", "create", "-q", "-p", str(config)))
                return create + clocked(lambda: run("xl", "destroy", "bench"))

            contenders: dict[str, Contender] = {"pyxen": ours.seconds, "c": c.seconds, "xl": xl}
            program = GO_PROGRAMS / "create_destroy"
            if program.exists():
                contenders["go"] = stack.enter_context(Companion(str(program), KERNEL)).seconds
            times = take_turns(contenders, ROUNDS, in_a_row=IN_A_ROW)
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
