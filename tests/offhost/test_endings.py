"""A test that ends its process, or hangs, fails, and no other does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

from tests.offhost.host import until
from tests.offhost.setup import REPOSITORY, Release

MARK = "PYXEN_TEST_ENDINGS"
"""The variable that says which run a process belongs to: others may run beside it."""


def orphans(mark: str) -> set[str]:
    """Return the pids of programs of a run's pretended hosts whose folder is gone."""
    found = set()
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it ends, or is not a process
            pairs = (variable.partition(b"=") for variable in (process / "environ").read_bytes().split(b"\0"))
            environment = {name: value for name, _, value in pairs}
            folder = environment.get(b"PYXEN_OFFHOST")
            if environment.get(MARK.encode()) == mark.encode() and folder and not os.path.exists(folder):
                found.add(process.name)
    return found


def test_one_that_ends_takes_no_other_with_it(xen: Release) -> None:
    mark = uuid.uuid4().hex
    outside = {MARK: mark} | {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYXEN_OFFHOST", "PYTEST_")) and name != "LD_PRELOAD"
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "tests/offhost/endings.py", "-k", xen.name],
        cwd=REPOSITORY,
        env=outside,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    ends = {
        line.split("::")[1].split("[")[0]: line.split()[1]
        for line in done.stdout.splitlines()
        if line.startswith("tests/offhost/endings.py::")
    }
    assert ends == {
        "test_before": "PASSED",
        "test_aborts": "FAILED",
        "test_exits": "FAILED",
        "test_fails": "FAILED",
        "test_hangs": "FAILED",
        "test_after": "PASSED",
    }, done.stdout + done.stderr
    assert "has ended by SIGABRT" in done.stdout
    assert "has ended with status 7" in done.stdout
    assert "assert os.getpid() == 0" in done.stdout
    assert "Failed: Timeout (>1.0s)" in done.stdout
    until(lambda: not orphans(mark), "what a test has begun lives longer than its process")
