"""The examples run, as the README's reader runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.timeout(600)  # its own waits have bounds, and messages
def test_the_demonstration() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "demo.py")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("a-pv", "a-pvh", "a-hvm"):
        assert f"create {name}" in done.stdout
    assert "a-pvh is paused" in done.stdout
