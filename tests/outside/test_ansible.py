"""Ansible's collection on real Xen: a playbook from outside of a lab, over ssh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import Lab

ROOT = Path(__file__).resolve().parents[2]
PLAYS = Path(__file__).parent / "ansible"
SECONDS = 3600
"""How long a playbook may take: each task of each guest is a process in an emulated machine."""


@contextmanager
def reached(dom0: Lab, folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Have a lab as a host of Ansible's: yield its variables."""
    dom0.run(["lab-sshd"], check=True, timeout=180)
    key = folder / f"key-{name}"
    dom0.get("/root/.ssh/id_ed25519", key)
    key.chmod(0o600)
    yield {
        "ansible_host": "127.0.0.1",
        "ansible_port": dom0.forward(22),
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
        "ansible_python_interpreter": "/usr/bin/python3",
    }


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


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 300)
def test_twenty_guests_from_nothing_to_nothing(tmp_path: Path) -> None:
    with Lab() as dom0, reached(dom0, tmp_path, "dom0") as way:
        printed = play("farm.yml", {"dom0": way}, tmp_path)
        assert "failed=0" in printed
        listed = dom0.run(["xl", "list"], check=True, timeout=60).stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["Domain-0"]
