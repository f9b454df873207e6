"""The process that writes a core dump."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyxen import DomainConfig, OperationFailed
from pyxen.supervisor.core_dump import Dumper
from pyxen.testing import FakeHost


def test_its_arguments_have_no_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user can read the arguments of a process, and the URI of a host may have a secret."""
    seen: list[str] = []
    real = subprocess.Popen

    def begin(command: list[str], **how: Any) -> subprocess.Popen[str]:
        seen.extend(command)
        return real(command, **how)

    monkeypatch.setattr(subprocess, "Popen", begin)
    with FakeHost() as fake:
        domain = fake.create(DomainConfig("web1", type="pvh", kernel="/k", memory=16))
        with pytest.raises(OperationFailed, match="word is not an option") as caught:  # so the URI has come there
            Dumper("memory:///?word=s3cret", str(tmp_path)).dump(domain, "web1")
    assert "s3cret" not in str(caught.value)
    assert "pyxen.supervisor.dump_process" in seen
    assert [each for each in seen if "memory:" in each or "s3cret" in each] == []
