"""What the doctor says where the program of pyxen's workers does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyxen.backends.xenlight.libxl import loader
from pyxen.doctor.extension import extension
from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Severity
from pyxen.doctor.surroundings import Surroundings


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        ("#!/bin/sh\nexit 64\n", 0o755, None),
        ("#!/bin/sh\nexit 64\n", 0o644, "cannot be executed"),
        ("", 0o755, "pyxen-worker-4.17"),
        ("#!/bin/sh\necho no libxenlight >&2; exit 127\n", 0o755, "no libxenlight"),
        ("#!/bin/sh\nexit 1\n", 0o755, "status 1"),
        (None, 0, "is missing"),
    ],
)
def test_a_program_that_does_not_start(
    text: str | None, mode: int, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pyxen-worker-4.17"
    if text is not None:
        program.write_text(text)
        program.chmod(mode)
    monkeypatch.setattr(loader, "worker_program", lambda _module: str(program))
    [newest] = loader.built_releases()[-1:]
    finding = next(extension(Surroundings(), Facts(version=f"{newest}.0", on_xen=True, control=True)))
    assert finding.severity is (Severity.OK if reason is None else Severity.WARNING)
    assert (reason or "") in finding.found
    assert (finding.remedy is None) is (reason is None)
