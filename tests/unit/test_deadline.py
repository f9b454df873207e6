"""A run of pytest that runs out of time ends in order, and says what it knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.deadline import LATE_STATUS

ROOT = Path(__file__).parents[2]

WAITS = """
import pathlib, subprocess
def test_first(): pass
def test_second():
    pathlib.Path(__file__).with_name("begun").touch()
    subprocess.run(["sleep", "600"], timeout=900)
def test_third(): pass
"""

HANGS_IN_C = """
import ctypes, pathlib, signal
def test_first(): assert False
def test_second():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    pathlib.Path(__file__).with_name("begun").touch()
    ctypes.CDLL(None).sleep(600)
"""


def run(folder: Path, text: str, *, grace: int) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a file of tests that has six seconds, and return these, too.

    On a machine that is so busy that its second test has not begun by then, it is run again, and has more.
    """
    done, seconds = run_once(folder, text, grace=grace, seconds=6), 6
    if not (folder / "begun").exists():
        done, seconds = run_once(folder, text, grace=grace, seconds=60), 60
    return done, seconds


def run_once(folder: Path, text: str, *, grace: int, seconds: int) -> subprocess.CompletedProcess[str]:
    """Run a file of tests that has so many seconds."""
    (folder / "test_it.py").write_text(text)
    environment = {**os.environ, "PYXEN_TEST_DEADLINE": str(seconds), "PYXEN_TEST_GRACE": str(grace)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.deadline", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(folder), "--durations=3", str(folder / "test_it.py")]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=seconds + 120
    )


def test_one_that_waits_fails_and_the_summary_is_printed(tmp_path: Path) -> None:
    done, seconds = run(tmp_path, WAITS, grace=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"Failed: the run's {seconds} s are over" in done.stdout
    assert "the last test was test_it.py::test_second" in done.stdout
    assert "slowest 3 durations" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_one_that_hangs_in_c_is_named(tmp_path: Path) -> None:
    done, _ = run(tmp_path, HANGS_IN_C, grace=1)
    assert done.returncode == LATE_STATUS, done.stdout + done.stderr
    assert "test_it.py::test_second hangs; so far 1 failed" in done.stderr
    assert "FAILED test_it.py::test_first" in done.stderr
    assert "in test_second" in done.stderr  # the stacks


def test_without_a_deadline_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass")
    environment = {name: value for name, value in os.environ.items() if name != "PYXEN_TEST_DEADLINE"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.deadline", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(tmp_path), str(tmp_path / "test_it.py")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0
