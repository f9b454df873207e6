"""Guests of images boot in the lab: a system from packages, and a cloud image with real cloud-init."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Lab, apt, tools
from tests.outside import cloudimage
from tests.outside.booting import SECONDS

PASSWORD = "correct-horse"  # noqa: S105 (of no guest that lasts)
SOURCES = Path(__file__).parents[2] / "src"
BUILD_SECONDS = 1500.0
TEST_SECONDS = 3 * BUILD_SECONDS + 4 * SECONDS


@pytest.fixture
def access(tmp_path: Path) -> list[str]:
    """The options for who may log in, with the files that they name: dom0 has them, too."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True, timeout=60)
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True, timeout=60
    )
    (tmp_path / "password").write_text(hashed.stdout)  # dom0 has no openssl to make the hash with
    return ["--ssh-key", "key.pub", "--password-file", "password"]


def boots(dom0: Lab, config: str, user: str, *kind: str) -> str:
    """Start the guest of a configuration in dom0, and return what it says of itself through ssh."""
    words = [config, user, PASSWORD, "/srv/key", *kind]
    done = dom0.run(["python3", "-m", "tests.outside.booting", *words], timeout=4 * SECONDS)
    assert done.status == 0, done.stdout + done.stderr
    return done.stdout.strip()


def put(dom0: Lab, folder: Path, *names: str) -> None:
    for name in names:
        dom0.put(folder / name, f"/srv/{name}")
    dom0.run(["vgcreate", "-q", "vg0", "/dev/vdc"], check=True, timeout=60)


@pytest.mark.long
@pytest.mark.timeout(TEST_SECONDS)
def test_a_system_from_packages(tmp_path: Path, access: list[str]) -> None:
    """It has Debian's kernel, which pygrub finds, as a PV and as a PVH guest."""
    mirrors = [word for line in apt.sources(cloudimage.SUITE) for word in ("--mirror", line)]
    command = [
        sys.executable,
        "-m",
        "pyxen",
        "image",
        "distribution",
        "web1.img",
        "--hostname",
        "web1",
        "--size",
        "1000",
    ]
    line = ["env", f"PYTHONPATH={SOURCES}", *command, "--suite", cloudimage.SUITE, *access, *mirrors]
    made = subprocess.run(
        tools.as_root(line, seconds=BUILD_SECONDS),
        cwd=tmp_path,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=BUILD_SECONDS + 60,
    )
    owner = f"{os.geteuid()}:{os.getegid()}"
    subprocess.run(tools.as_root(["chown", owner, str(tmp_path / "web1.img")], seconds=60), check=True, timeout=90)
    (tmp_path / "web1.cfg").write_text(made.stdout.replace(f"{tmp_path}/web1.img", "/dev/vg0/web1"))
    with Lab() as dom0:
        put(dom0, tmp_path, "key", "web1.cfg", "web1.img")
        dom0.run(["pyxen", "volume", "create", "vg0/web1", "1000M"], check=True, timeout=60)
        dom0.run(["dd", "if=/srv/web1.img", "of=/dev/vg0/web1", "bs=1M", "status=none"], check=True, timeout=300)
        dom0.run(["rm", "/srv/web1.img"], check=True, timeout=60)
        assert boots(dom0, "/srv/web1.cfg", "root", "pv") == "web1 PV"
        assert boots(dom0, "/srv/web1.cfg", "root") == "web1 PVH"


@pytest.mark.long
@pytest.mark.timeout(TEST_SECONDS)
def test_a_cloud_image(tmp_path: Path, access: list[str]) -> None:
    """Its guest's disk is made in dom0, on a new volume. cloud-init reads name, key and password from the CD."""
    cloudimage.build(tmp_path / "cloud.qcow2")
    with Lab() as dom0:
        put(dom0, tmp_path, "key", "key.pub", "password", "cloud.qcow2")
        names = ["cloud.qcow2", "web2", "--vg", "vg0", "--seed", "web2-seed.iso", "--hostname", "web2"]
        made = dom0.run(["pyxen", "image", "cloud", *names, *access], cwd="/srv", check=True, timeout=300)
        (tmp_path / "web2.cfg").write_text(made.stdout)
        dom0.put(tmp_path / "web2.cfg", "/srv/web2.cfg")
        assert boots(dom0, "/srv/web2.cfg", "debian") == "web2 HVM"
