"""Images on block devices: what is refused leaves the device as it is. A file stands in for the device."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyxen.images.distribution
from pyxen import ImageError, InvalidArgument, VolumeExists, VolumeInUse
from pyxen.images import Access, from_cloud_image, from_distribution

ACCESS = Access("web1", ssh_keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFy me@desk"])
CONTENT = b"DATA" * (512 << 10)
"""Of a device of 2 MiB."""


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as a block device: it has the sticky bit. Its number is 0:0."""
    path = tmp_path / "device"
    path.write_bytes(CONTENT)
    path.chmod(0o1600)
    plain = stat.S_ISREG
    monkeypatch.setattr(stat, "S_ISBLK", lambda mode: plain(mode) and bool(mode & stat.S_ISVTX))
    monkeypatch.setattr(stat, "S_ISREG", lambda mode: plain(mode) and not mode & stat.S_ISVTX)
    monkeypatch.setattr("pyxen.images.target._SYS", tmp_path / "sys")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return path


def failing(program: str) -> Callable[..., list[str]]:
    """Return what stands in for running programs: the one fails, the others do nothing."""

    def run(command: list[str], **_: Any) -> list[str]:
        if program in command:
            raise ImageError(f"{program} failed")
        return []

    return run


@pytest.mark.parametrize(
    ("settings", "kind", "problem"),
    [
        ({"seed": None}, InvalidArgument, "seed="),
        ({"size": 100}, InvalidArgument, "has its own size"),
        ({}, InvalidArgument, "needs 64 MiB"),
        ({"seed": "taken"}, VolumeExists, "taken exists"),
        ({"seed": "nosuch/web1.iso"}, InvalidArgument, "No such file"),
    ],
)
def test_a_cloud_image_that_is_refused(
    device: Path, cloud_image: Path, tmp_path: Path, settings: dict[str, Any], kind: type[Exception], problem: str
) -> None:
    (tmp_path / "taken").write_text("kept")
    given = {"seed": "web1.iso", "overwrite": True, **settings}
    if given["seed"] is not None:
        given["seed"] = tmp_path / given["seed"]
    if "seed" in settings:
        os.truncate(device, 64 << 20)
    if kind is VolumeExists:
        given["overwrite"] = False
    with pytest.raises(kind, match=problem):
        from_cloud_image(cloud_image, device, ACCESS, **given)
    assert device.read_bytes().startswith(CONTENT)


def test_a_cd_that_fails(device: Path, cloud_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device.write_bytes(CONTENT * 32)
    monkeypatch.setattr("pyxen.images.cloud._write_cd", lambda *_: failing("cd")(["cd"]))
    with pytest.raises(ImageError):
        from_cloud_image(cloud_image, device, ACCESS, seed=tmp_path / "web1.iso", overwrite=True)
    assert device.read_bytes().startswith(CONTENT)


@pytest.mark.parametrize(("program", "begun"), [("mmdebstrap", False), ("mke2fs", True)])
def test_a_distribution_that_is_not_finished(
    device: Path, monkeypatch: pytest.MonkeyPatch, program: str, *, begun: bool
) -> None:
    """What a program has begun to write is no system: its start goes."""
    device.write_bytes(CONTENT)
    os.truncate(device, 300 << 20)
    monkeypatch.setattr(pyxen.images.distribution, "program", lambda name, **_: name)
    monkeypatch.setattr(pyxen.images.distribution, "run", failing(program))
    with pytest.raises(ImageError):
        from_distribution(device, ACCESS, overwrite=True)
    with device.open("rb") as file:
        assert file.read(4) == (bytes(4) if begun else b"DATA")


def test_a_device_that_is_not_finished(
    device: Path, cloud_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.write_bytes(CONTENT * 32)
    monkeypatch.setattr("pyxen.images.cloud._write_cd", lambda *_: None)
    monkeypatch.setattr("pyxen.images.cloud.run", failing("convert"))
    with pytest.raises(ImageError):
        from_cloud_image(cloud_image, device, ACCESS, seed=tmp_path / "web1.iso", overwrite=True)
    assert device.read_bytes()[: 1 << 20] == bytes(1 << 20)


def test_a_device_that_is_finished(device: Path, cloud_image: Path, tmp_path: Path) -> None:
    device.write_bytes(CONTENT * 32)
    image = from_cloud_image(cloud_image, device, ACCESS, seed=tmp_path / "web1.iso", overwrite=True)
    assert image.disks[0].target == str(device)
    assert device.read_bytes()[: 1 << 20] == b"\x55" * (1 << 20)


@pytest.mark.parametrize("held", ["", "whole", "part"])
def test_a_disk_of_a_running_guest(device: Path, cloud_image: Path, tmp_path: Path, held: str) -> None:
    """Nothing claims it: the kernel serves it to the guest, and lets others open it. So with parts of it."""
    device.write_bytes(CONTENT * 32)
    sys = tmp_path / "sys"
    whole = sys / "devices" / "sda"
    own = whole / "sda1" if held == "whole" else whole
    for folder, number in ((whole, "8:0" if own != whole else "0:0"), (whole / "sda1", "8:17")):
        folder.mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
    (whole / "sda1" / "partition").write_text("1\n")
    numbers = sys / "dev" / "block"
    numbers.mkdir(parents=True)
    (numbers / "0:0").symlink_to(own)
    held_number = {"": "0:0", "whole": "8:0", "part": "8:11"}[held]  # of 8:17, as the kernel writes it there
    other, vbd = (sys / "bus" / "xen-backend" / "devices" / name for name in ("vbd-3-51712", "vbd-7-51728"))
    for folder, number in ((other, "8:20"), (vbd, held_number)):
        folder.mkdir(parents=True)
        (folder / "physical_device").write_text(f"{number}\n")
    with pytest.raises(VolumeInUse, match="is, or overlaps, a disk of domain 7"):
        from_cloud_image(cloud_image, device, ACCESS, seed=tmp_path / "web1.iso", overwrite=True)
    assert device.read_bytes() == CONTENT * 32
    (vbd / "physical_device").unlink()  # it is detached
    from_cloud_image(cloud_image, device, ACCESS, seed=tmp_path / "web1.iso", overwrite=True)
