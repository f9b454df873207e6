"""Ansible's collection on real Xen: a playbook from outside of a lab, over ssh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from tests.outside.playbooks import SECONDS, play


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


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 300)
def test_twenty_guests_from_nothing_to_nothing(tmp_path: Path) -> None:
    with Lab() as dom0, reached(dom0, tmp_path, "dom0") as way:
        printed = play("farm.yml", {"dom0": way}, tmp_path)
        assert "failed=0" in printed
        listed = dom0.run(["xl", "list"], check=True, timeout=60).stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["Domain-0"]
