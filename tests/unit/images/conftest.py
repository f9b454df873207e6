"""Cloud images for the tests of images."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def cloud_image(tmp_path: Path) -> Path:
    """An image as distributions offer them: qcow2, of a disk of 64 MiB."""
    path = tmp_path / "cloud.qcow2"
    raw = tmp_path / "raw"
    raw.write_bytes(b"\x55" * (1 << 20))
    subprocess.run(["truncate", "-s", "64M", str(raw)], check=True, timeout=60)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(path)], check=True, timeout=60)
    raw.unlink()
    return path
