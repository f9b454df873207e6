"""Playbooks that use Ansible's collection, run from this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["SECONDS", "play"]

ROOT = Path(__file__).resolve().parents[2]
PLAYS = Path(__file__).parent / "ansible"
SECONDS = 3600
"""How long a playbook may take: each task of each guest is a process in an emulated machine."""


def play(name: str, hosts: dict[str, dict[str, Any]], folder: Path) -> str:
    """Run a playbook, and return what it prints."""
    inventory = folder / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "ansible"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(PLAYS / name)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    return done.stdout
