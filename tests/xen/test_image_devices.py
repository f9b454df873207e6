"""Images on real block devices: who else may use one while an image is made on it. They are loop devices."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyxen.images.cloud
import pyxen.images.distribution
from pyxen import VolumeInUse
from pyxen.images import Access, from_cloud_image, from_distribution
from pyxen.images.programs import run

ACCESS = Access("web1", ssh_keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFy me@desk"])


def call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A device of 300 MiB with nothing on it."""
    backing = tmp_path / "backing"
    backing.touch()
    os.truncate(backing, 300 << 20)
    made = call("losetup", "--find", "--show", str(backing)).strip()
    yield Path(made)
    call("losetup", "--detach", made)


@pytest.fixture
def cloud_image(tmp_path: Path) -> Path:
    """An image as distributions offer them: qcow2, of a disk of 64 MiB."""
    raw, path = tmp_path / "raw", tmp_path / "cloud.qcow2"
    raw.write_bytes(b"\x55" * (1 << 20))
    os.truncate(raw, 64 << 20)
    call("qemu-img", "convert", "-O", "qcow2", str(raw), str(path))
    return path


@pytest.fixture
def mounted(device: Path, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Return a function that makes a file system on the device and mounts it."""
    place = tmp_path / "mounted"
    place.mkdir()

    def mount() -> Path:
        call("mke2fs", "-q", "-t", "ext4", str(device))
        call("mount", str(device), str(place))
        (place / "precious").write_text("kept")
        return place

    yield mount
    if place.is_mount():
        call("umount", str(place))


def unpacked(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Let a tree with one file stand in for the packages, and something happen while they are unpacked."""

    def unpack(tree: Path, *_: object) -> None:
        tree.mkdir()
        (tree / "file").write_text("of the system")
        meanwhile()

    monkeypatch.setattr(pyxen.images.distribution, "program", lambda name, **_: name)
    monkeypatch.setattr(pyxen.images.distribution, "_unpack", unpack)
    monkeypatch.setattr(pyxen.images.distribution, "_settle", lambda *_, **__: None)


def claim(device: Path) -> None:
    os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))


def test_nobody_gets_the_device_while_packages_are_unpacked(
    device: Path, mounted: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    def meanwhile() -> None:
        with pytest.raises(subprocess.CalledProcessError) as caught:
            mounted()
        refused.append(caught.value.stderr)
        with pytest.raises(VolumeInUse, match="cannot be used: Device or resource busy"):
            from_distribution(device, ACCESS, overwrite=True)

    unpacked(monkeypatch, meanwhile)
    image = from_distribution(device, ACCESS)
    assert image.disks[0].target == str(device)
    assert "in use" in refused[0]
    assert call("debugfs", "-R", "cat /file", str(device)) == "of the system"
    claim(device)  # it is free again


def test_a_mount_just_before_mke2fs(
    device: Path, mounted: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mke2fs refuses the device and writes nothing, and what is mounted stays whole."""
    unpacked(monkeypatch, lambda: None)

    def late(command: list[str], **options: Any) -> list[str]:
        mounted()
        return run(command, **options)

    monkeypatch.setattr(pyxen.images.distribution, "run", late)
    with pytest.raises(VolumeInUse, match="was mounted or claimed just before mke2fs"):
        from_distribution(device, ACCESS)
    call("umount", str(tmp_path / "mounted"))
    assert call("debugfs", "-R", "cat /precious", str(device)) == "kept"
    call("e2fsck", "-f", "-n", str(device))


def test_mke2fs_that_is_interrupted(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has written is no system, and nobody else uses the device: its start goes."""
    unpacked(monkeypatch, lambda: None)

    def interrupted(command: list[str], **options: Any) -> list[str]:
        run(command, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(pyxen.images.distribution, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        from_distribution(device, ACCESS)
    with device.open("rb") as file:
        assert file.read(1 << 20) == bytes(1 << 20)


def test_nobody_gets_the_device_while_a_cloud_image_is_copied(
    device: Path, cloud_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int | None] = []

    def refuse() -> None:
        with pytest.raises(OSError, match="busy") as caught:
            claim(device)
        refused.append(caught.value.errno)

    def watched(command: list[str], **options: Any) -> list[str]:
        refuse()
        lines = run(command, **options)
        refuse()
        return lines

    monkeypatch.setattr(pyxen.images.cloud, "run", watched)
    from_cloud_image(cloud_image, device, ACCESS, seed=tmp_path / "web1.iso")
    assert refused == [errno.EBUSY] * 4
    with device.open("rb") as file:
        assert file.read(1 << 20) == b"\x55" * (1 << 20)
    claim(device)


def test_the_name_leads_to_another_device_meanwhile(
    device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image lands on the device that was looked at."""
    name, other = tmp_path / "name", tmp_path / "other"
    other.write_bytes(b"kept")
    name.symlink_to(device)

    def meanwhile() -> None:
        name.unlink()
        name.symlink_to(other)

    unpacked(monkeypatch, meanwhile)
    from_distribution(name, ACCESS)
    assert other.read_bytes() == b"kept"
    assert call("debugfs", "-R", "cat /file", str(device)) == "of the system"
