"""Overlays: what qemu-img is asked to make, and what is left when it fails."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pyxen._common.overlays import make_overlay
from pyxen.config import DiskFormat
from pyxen.errors import NotEnoughSpace, OperationFailed


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A disk."""
    path = tmp_path / "base.raw"
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that a test writes, in place of qemu-img."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    path = folder / "qemu-img"
    path.touch(mode=0o755)
    return path


def test_an_overlay(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "made.qcow2"
    make_overlay("clone", str(base), DiskFormat.RAW, str(path))
    assert path.read_bytes().startswith(b"QFI\xfb")
    assert str(base).encode() in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(OperationFailed, match="File exists"):
        make_overlay("clone", str(base), DiskFormat.RAW, str(path))
    assert path.exists()


def test_a_full_file_system(base: Path, tmp_path: Path, program: Path) -> None:
    """qemu-img removes what it could not write; what it says is not taken for libxl's words."""
    path = tmp_path / "made.qcow2"
    program.write_text(f'#!/bin/sh\nrm -f {path}\necho "qemu-img: $9: No space left on device" >&2\nexit 1\n')
    with pytest.raises(NotEnoughSpace, match=f"{path}: No space left on device") as caught:
        make_overlay("clone", str(base), DiskFormat.RAW, str(path))
    assert "libxl" not in str(caught.value)
    program.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    with pytest.raises(OperationFailed, match="broken"):
        make_overlay("clone", str(base), DiskFormat.RAW, str(path))
    assert not path.exists()


def test_a_link_in_place_of_the_new_file(base: Path, tmp_path: Path, program: Path) -> None:
    """Somebody who may write to the folder is quicker than qemu-img."""
    path, other = tmp_path / "made.qcow2", tmp_path / "other"
    other.write_text("precious")
    program.write_text(f'#!/bin/sh\nln -sf {other} {path}\nexec /usr/bin/qemu-img "$@"\n')
    make_overlay("clone", str(base), DiskFormat.RAW, str(path))
    assert other.read_text() == "precious"
