"""Images on block devices: what is refused leaves the device as it is. A file stands in for the device."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyxen.images.distribution
from pyxen import ImageError, InvalidArgument, Progress, VolumeExists, VolumeInUse
from pyxen.images import Access, from_cloud_image, from_distribution
from pyxen.images.device import Device

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
    monkeypatch.setattr("pyxen.images.device._SYS", tmp_path / "sys")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return path


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Return a function after which somebody else has claimed the device, as a mount does."""
    plain = os.open
    claims: list[bool] = []

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if claims and flags & os.O_EXCL and not flags & os.O_CREAT:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return plain(path, flags, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", opened)
        yield lambda: claims.append(True)


def failing(program: str, *log: str, when: Callable[[], object] = lambda: None) -> Callable[..., list[str]]:
    """Return what stands in for running programs: the one fails, the others do nothing.

    Args:
        program: The one that fails.
        log: What it says.
        when: Called when it runs.
    """

    def run(command: list[str], **_: Any) -> list[str]:
        if program in command:
            when()
            raise ImageError(f"{program} failed", log=log)
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


def serve(sys: Path) -> None:
    """Let the kernel serve the device to a guest from now on."""
    vbd = sys / "bus" / "xen-backend" / "devices" / "vbd-7-51728"
    vbd.mkdir(parents=True)
    (vbd / "physical_device").write_text("0:0\n")


def distributed(device: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., list[str]]) -> None:
    """Make a system on the device, with what stands in for running programs. What it settles is not there."""
    device.write_bytes(CONTENT)
    os.truncate(device, 300 << 20)
    monkeypatch.setattr(pyxen.images.distribution, "program", lambda name, **_: name)
    monkeypatch.setattr(pyxen.images.distribution, "_settle", lambda *_, **__: None)
    monkeypatch.setattr(pyxen.images.distribution, "run", run)
    from_distribution(device, ACCESS, overwrite=True)


def start_of(device: Path) -> bytes:
    with device.open("rb") as file:
        return file.read(len(CONTENT))


def test_a_guest_that_gets_the_device_before_mke2fs_writes(
    device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(command: list[str], **_: Any) -> list[str]:
        ran.append(command[0])
        serve(tmp_path / "sys")
        return []

    with pytest.raises(VolumeInUse, match="a disk of domain 7"):
        distributed(device, monkeypatch, run)
    assert ran == ["unshare"]
    assert start_of(device) == CONTENT


def test_a_guest_that_gets_the_device_before_qemu_img_writes(
    device: Path, cloud_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.write_bytes(CONTENT * 32)
    monkeypatch.setattr("pyxen.images.cloud._write_cd", lambda *_: serve(tmp_path / "sys"))
    with pytest.raises(VolumeInUse, match="a disk of domain 7"):
        from_cloud_image(cloud_image, device, ACCESS, seed=tmp_path / "web1.iso", overwrite=True)
    assert device.read_bytes() == CONTENT * 32
    assert not (tmp_path / "web1.iso").exists()


@pytest.mark.parametrize("log", ["will not make a filesystem here!", "Device or resource busy while setting up"])
def test_a_device_that_mke2fs_refuses(
    device: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, log: str
) -> None:
    """It has written nothing then. Whoever was quicker may be done with the device already."""
    words = f"{log} superblock" if log.endswith("up") else log
    with pytest.raises(VolumeInUse, match="device was mounted or claimed just before mke2fs, which wrote nothing"):
        distributed(device, monkeypatch, failing("mke2fs", words))
    assert start_of(device) == CONTENT
    assert not caplog.text


def test_a_device_that_others_use_after_mke2fs_has_failed(
    device: Path, taken: Callable[[], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is on it belongs to them now."""
    with pytest.raises(ImageError, match="mke2fs failed"):
        distributed(device, monkeypatch, failing("mke2fs", when=taken))
    assert start_of(device) == CONTENT
    assert f"what was written to {device} is left" in caplog.text


def test_a_guest_that_gets_the_device_while_it_is_written(
    device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ImageError, match="mke2fs failed"):
        distributed(device, monkeypatch, failing("mke2fs", when=lambda: serve(tmp_path / "sys")))
    assert start_of(device) == CONTENT
    assert "a disk of domain 7" in caplog.text


def test_a_device_whose_last_step_breaks(device: Path, cloud_image: Path, tmp_path: Path) -> None:
    """The program that is told of the end raises: nobody learns that there is an image, and so there is none."""

    def tell(step: Progress) -> None:
        if step.percent == 100:
            raise RuntimeError("broken")

    device.write_bytes(CONTENT * 32)
    with pytest.raises(RuntimeError, match="broken"):
        from_cloud_image(cloud_image, device, ACCESS, seed=tmp_path / "web1.iso", overwrite=True, progress=tell)
    assert device.read_bytes()[: 1 << 20] == bytes(1 << 20)
    assert not (tmp_path / "web1.iso").exists()


def test_a_device_whose_name_leads_to_a_file_by_now(tmp_path: Path, device: Path) -> None:
    """As where another user can change names in its folder: the file stays as it is, and a pipe holds nobody up."""
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_bytes(CONTENT)
    os.mkfifo(pipe)
    for path in (file, pipe):
        with pytest.raises(ImageError, match="is no block device any more"):
            Device(str(path))
    assert file.read_bytes() == CONTENT
    Device(str(device)).close()
