"""The files of images: who may read them, and file systems that are full or have no hard links."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from pyxen import ImageError, NotEnoughSpace, VolumeExists
from pyxen.images import Access, from_cloud_image, from_distribution
from pyxen.images.programs import run
from pyxen.images.target import new_target

ACCESS = Access("web1", password="$6$salt$hash")  # noqa: S106 (of no guest)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_others_do_not_read_them(cloud_image: Path, tmp_path: Path) -> None:
    """They have the hash of the password, and keys."""
    disk, cd = tmp_path / "web1.qcow2", tmp_path / "web1-seed.iso"
    from_cloud_image(cloud_image, disk, ACCESS)
    assert (mode(disk), mode(cd)) == (0o600, 0o600)


def test_an_older_file_leaves_its_mode_and_its_owner(cloud_image: Path, tmp_path: Path) -> None:
    disk, cd = tmp_path / "web1.qcow2", tmp_path / "web1-seed.iso"
    for path, bits in ((disk, 0o640), (cd, 0o600)):
        path.write_text("old")
        path.chmod(bits)
    group = next((each for each in os.getgroups() if each != os.getegid()), os.getegid())
    if os.geteuid() == 0:
        group = 12345
    os.chown(disk, -1, group)
    from_cloud_image(cloud_image, disk, ACCESS, overwrite=True)
    assert (mode(disk), disk.stat().st_gid, mode(cd)) == (0o640, group, 0o600)


def test_an_owner_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its group would be another one: nobody of it reads what has keys."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path = tmp_path / "disk"
    path.write_text("old")
    path.chmod(0o640)
    monkeypatch.setattr(os, "chown", refused)
    with new_target(path, overwrite=True) as place:
        Path(place.path).write_text("new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "disk"
    with new_target(path, overwrite=False) as place:
        Path(place.path).write_text("new")
    assert path.read_text() == "new"

    def meanwhile() -> None:
        with new_target(tmp_path / "other", overwrite=False) as place:
            Path(place.path).write_text("new")
            (tmp_path / "other").write_text("kept")

    with pytest.raises(VolumeExists, match="meanwhile, and was left alone"):
        meanwhile()
    assert (tmp_path / "other").read_text() == "kept"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["disk", "other"]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NotEnoughSpace), (errno.EIO, ImageError)])
def test_a_disk_that_fails(
    cloud_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    before = sorted(tmp_path.iterdir())

    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for owner, name in ((Path, "mkdir"), (Path, "write_text"), (Path, "replace"), (os, "chmod")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, fails)
            with pytest.raises(kind, match=os.strerror(number)):
                from_cloud_image(cloud_image, tmp_path / "web1.qcow2", ACCESS)
        assert sorted(tmp_path.iterdir()) == before
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchmod", fails)
    monkeypatch.setattr("pyxen.images.distribution.program", lambda name, **_: name)
    monkeypatch.setattr("pyxen.images.distribution.run", lambda *_, **__: [])
    with pytest.raises(kind, match=os.strerror(number)):
        from_distribution(tmp_path / "web1.img", ACCESS)
    assert sorted(tmp_path.iterdir()) == before


def test_no_space_for_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(NotEnoughSpace), new_target(tmp_path / "disk", overwrite=False):
        raise AssertionError


def test_a_program_that_finds_no_space() -> None:
    with pytest.raises(NotEnoughSpace, match=r"not enough free space: .*\n  error while writing: No space left"):
        run(["sh", "-c", "echo 'error while writing: No space left on device' >&2; exit 1"], package="dash")


def test_a_folder_that_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The image is complete all the same."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("shutil.rmtree", fails)
    monkeypatch.setattr("pyxen.images.target._TO_VANISH", 0.0)
    with new_target(tmp_path / "disk", overwrite=False) as place:
        Path(place.path).write_text("new")
    assert (tmp_path / "disk").read_text() == "new"
    assert "is left" in caplog.text
