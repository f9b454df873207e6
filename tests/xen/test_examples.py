"""The examples run, as the README's reader runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_demonstration() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "demo.py")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("a-pv", "a-pvh", "a-hvm"):
        assert f"create {name}" in done.stdout
    assert "a-pvh is paused" in done.stdout
