"""A system from a distribution's packages, by the real mmdebstrap from the machine's own archive: made, and not made.

The command makes it, as root: its files belong to many users.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import apt, tools
from tests.scene import Scene
from tests.waiting import until

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFy me@desk"
SUITE = "bookworm"
SECONDS = 280.0
ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"
EACH = ("<arguments>",)
"""What stands for the arguments of a program."""


def command(folder: Path, *more: str) -> list[str]:
    """Return the command line that makes ``web1.img``, without a kernel, which would take longer than all the rest."""
    (folder / "key.pub").write_text(f"{KEY}\n")
    options = [
        "--hostname",
        "web1",
        "--suite",
        SUITE,
        "--ssh-key",
        str(folder / "key.pub"),
        "--host-kernel",
        "/boot/vmlinuz",
        "--size",
        "900",
    ]
    pyxen = [sys.executable, "-m", "pyxen", "image", "distribution", str(folder / "web1.img"), *options, *more]
    return tools.as_root(["env", f"PYTHONPATH={SOURCES}", *pyxen], seconds=SECONDS)


def mirrors() -> list[str]:
    return [word for line in apt.sources(SUITE) for word in ("--mirror", line)]


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


def of_disk(image: Path, request: str) -> str:
    """Return what debugfs says of the file system in an image."""
    done = subprocess.run(
        ["/usr/sbin/debugfs", "-R", request, str(image)], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


@pytest.fixture
def as_root(tmp_path: Path) -> dict[str, str]:
    """The environment of a reader who is root, and whose mmdebstrap finds the machine's own archive."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "mmdebstrap": [tools.which("mmdebstrap") or "mmdebstrap", *EACH, *apt.sources(SUITE)],
        "pyxen": [
            "env",
            f"PATH={folder}:{os.environ['PATH']}",
            f"PYTHONPATH={SOURCES}",
            sys.executable,
            "-m",
            "pyxen",
            *EACH,
        ],
    }
    for name, words in programs.items():
        command = words if name == "mmdebstrap" else tools.as_root(words, seconds=SECONDS)
        line = " ".join('"$@"' if word == EACH[0] else shlex.quote(word) for word in command)
        (folder / name).write_text(f"#!/bin/sh\nexec {line}\n")
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(SOURCES)}


@pytest.mark.timeout(SECONDS + 20)
@pytest.mark.long  # it makes a whole Debian
def test_the_page_of_the_guide(tmp_path: Path, as_root: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    monkeypatch.chdir(folder)
    blank = ["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "debian-12-generic-amd64.qcow2"), "64M"]
    subprocess.run(blank, check=True, timeout=60)
    Scene(as_root, folder).play(ROOT / "docs/guide/images.md")
    image = folder / "web1.img"
    assert image.stat().st_size == 900 << 20
    assert of_disk(image, "cat /etc/hostname") == "web1\n"
    assert of_disk(image, "cat /root/.ssh/authorized_keys") == (folder / "key.pub").read_text()
    assert "root:$6$" in of_disk(image, "cat /etc/shadow")
    assert "DHCP=yes" in of_disk(image, "cat /etc/systemd/network/20-wired.network")
    assert f"VERSION_CODENAME={SUITE}" in of_disk(image, "cat /usr/lib/os-release")
    assert "Type: regular" in of_disk(image, "stat /usr/sbin/sshd")
    assert not [*folder.glob(".pyxen-*")]


@pytest.mark.timeout(SECONDS + 20)
def test_a_build_that_is_interrupted(tmp_path: Path) -> None:
    """It is in the middle of its work when its folder has a tree with packages in it."""
    before = mounts()
    process = subprocess.Popen(
        command(tmp_path, *mirrors()), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    packages = ".pyxen-image-*/tree/var/cache/apt/archives/*.deb"
    until(lambda: [*tmp_path.glob(packages)] or process.poll() is not None, "no package comes", SECONDS)
    assert process.poll() is None
    assert mounts() == before
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert {path.name for path in tmp_path.iterdir()} == {"key.pub"}
    assert mounts() == before


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--mirror", "http://127.0.0.1:1/debian"], "the packages of bookworm cannot be fetched"),
        (["--mirror", "copy:///nowhere"], "mmdebstrap cannot install bookworm"),
    ],
)
def test_a_build_that_breaks(tmp_path: Path, more: list[str], says: str) -> None:
    done = subprocess.run(command(tmp_path, *more), check=False, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 1, done.stderr
    assert f"image: {says}: see mmdebstrap's last lines" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"key.pub"}
