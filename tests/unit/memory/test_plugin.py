"""The fixture for pytest, as pytest finds it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

TESTS = """
import pyxen

def test_one(xen_host):
    with pyxen.connect() as xen:
        xen.create(pyxen.DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz"))
    assert "web1" in xen_host.domains

def test_another(xen_host):
    assert "web1" not in xen_host.domains
    xen_host.vanish()
"""


def test_the_fixture_is_there_once_pyxen_is_installed(tmp_path: Path) -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    record = tmp_path / "site" / "installed-1.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1\n")
    lines = [f"{name} = {module}" for name, module in points.items()]
    (record / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    (tmp_path / "test_it.py").write_text(TESTS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT / "src")])}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
