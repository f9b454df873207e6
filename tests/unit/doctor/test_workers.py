"""What the doctor says where the program of pyxen's workers cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyxen.backends.xenlight.libxl import loader
from pyxen.doctor.extension import extension
from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Severity
from pyxen.doctor.surroundings import Surroundings


@pytest.mark.parametrize(("mode", "severity"), [(0o755, Severity.OK), (0o644, Severity.WARNING)])
def test_a_program_that_cannot_be_run(
    mode: int, severity: Severity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pyxen-worker-4.17"
    program.touch(mode)
    program.chmod(mode)
    monkeypatch.setattr(loader, "worker_program", lambda _module: str(program))
    [newest] = loader.built_releases()[-1:]
    finding = next(extension(Surroundings(), Facts(version=f"{newest}.0", on_xen=True, control=True)))
    assert finding.severity is severity
    assert (str(program) in finding.found) is (severity is Severity.WARNING)
    assert (finding.remedy is None) is (severity is Severity.OK)
