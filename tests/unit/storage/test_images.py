"""Image files without any tool: sparse ones, and what is refused. tests/xen has those that qemu-img makes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pyxen import (
    Disk,
    DiskFormat,
    FileMissing,
    InvalidArgument,
    NotEnoughSpace,
    StorageError,
    ToolMissing,
    VolumeExists,
)
from pyxen._common import programs
from pyxen.storage import Image, create_image, image_info


def test_a_sparse_file(tmp_path: Path) -> None:
    image = create_image(tmp_path / "web1.img", "64M")
    assert image == Image(path=str(tmp_path / "web1.img"), format="raw", size_bytes=64 << 20, used_bytes=0)
    assert os.stat(image.path).st_size == 64 << 20
    assert os.stat(image.path).st_mode & 0o777 == 0o600
    assert image.disk("xvdb", readonly=True) == Disk(image.path, vdev="xvdb", readonly=True)


def test_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("kept")
    with pytest.raises(VolumeExists, match="already: use another name"):
        create_image(tmp_path / "a", 512)
    with pytest.raises(VolumeExists):
        create_image(tmp_path / "a", 512, format="qcow2")
    assert (tmp_path / "a").read_text() == "kept"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({}, InvalidArgument),
        ({"size": "big"}, InvalidArgument),
        ({"size": 512, "format": "vmdk"}, InvalidArgument),
        ({"size": 512, "backing": "/base"}, InvalidArgument),
        ({"size": 512, "backing": "/base", "backing_format": "raw"}, InvalidArgument),
        ({"format": "qcow2", "backing": "/base", "backing_format": "vmdk"}, InvalidArgument),
        ({"format": "qcow2", "backing": "/nosuch/base", "backing_format": "raw"}, FileMissing),
        ({"path": "", "size": 512}, InvalidArgument),
        ({"path": "a\0b", "size": 512}, InvalidArgument),
        ({"path": 7, "size": 512}, InvalidArgument),
        ({"path": "a\ud800", "size": 512}, InvalidArgument),
        ({"format": "qcow2", "backing": "/a\ud800", "backing_format": "raw"}, InvalidArgument),
        ({"path": "/nosuch/folder/a", "size": 512}, FileMissing),
        ({"path": "/dev/null/a", "size": 512}, FileMissing),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        create_image(**{"path": tmp_path / "a", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    with pytest.raises(NotEnoughSpace, match="No space left on device"):
        create_image(tmp_path / "a", 512)
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_puts_in_its_place_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder where everybody may rename what others have made."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    real = os.open

    def swapped(path: str, flags: int, mode: int = 0o777) -> int:
        fd = real(path, flags, mode)
        os.unlink(path)
        os.symlink(victim, path)
        return fd

    monkeypatch.setattr(os, "open", swapped)
    create_image(tmp_path / "a", 512)
    assert victim.read_text() == "precious"


def test_a_host_without_qemu_img(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_SBIN", ())
    with pytest.raises(ToolMissing, match="apt install qemu-utils"):
        create_image(tmp_path / "a", 512, format="qcow2")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(ToolMissing, match="qemu-img is not installed"):
        image_info(tmp_path / "b")


def test_what_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        image_info(tmp_path / "a")
    with pytest.raises(InvalidArgument, match="neither a file nor a block device"):
        image_info(tmp_path)


@pytest.mark.parametrize("arguments", [{"format": 5}, {"path": "a\ud800"}, {"path": "a\0b"}, {"path": None}])
def test_what_cannot_be_looked_at(tmp_path: Path, arguments: dict[str, Any]) -> None:
    (tmp_path / "a").write_bytes(bytes(512))
    with pytest.raises(InvalidArgument):
        image_info(**{"path": tmp_path / "a", **arguments})


def test_formats_of_disks() -> None:
    image = Image(path="/a", format="vpc", size_bytes=1, used_bytes=0)
    assert image.disk("xvda").format is DiskFormat.VHD
    with pytest.raises(StorageError, match="qemu-img convert"):
        Image(path="/a", format="vmdk", size_bytes=1, used_bytes=0).disk()
