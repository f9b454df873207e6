"""The files of images: who may read them, and file systems that are full or have no hard links."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from pyxen import ImageError, InvalidArgument, NotEnoughSpace, Progress, VolumeExists
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


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_an_owner_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The image is complete all the same. Its group would be another one: nobody of it reads what has keys."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "disk"
    path.write_text("old")
    path.chmod(0o640)
    monkeypatch.setattr(os, "fchown", refused)
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

    for owner, name in ((Path, "mkdir"), (Path, "write_text"), (os, "rename")):
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write into folders of others")
def test_the_owner_of_the_folder_leads_root_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It renames and links what it finds beside the file: neither the content nor the owner goes through the links."""
    home, victim, temporary = (tmp_path / name for name in ("home", "victim", "temporary"))
    victim.write_text("of root alone")
    victim.chmod(0o600)
    for folder in (home, temporary):
        folder.mkdir()
    path = home / "web1.img"
    path.write_text("old")
    path.chmod(0o666)
    for each in (home, path):
        os.chown(each, 1000, 1000)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    with new_target(path, overwrite=True) as place:
        assert place.folder.parent == temporary
        for each in [*home.iterdir()]:
            if each != path:
                each.rename(home / "away")
                each.symlink_to(victim)
        Path(place.path).write_text("new")
    assert (victim.read_text(), victim.stat().st_uid, mode(victim)) == ("of root alone", 0, 0o600)
    away = home / "away"
    assert (away.read_text(), away.stat().st_uid, mode(away)) == ("new", 1000, 0o666)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_what_another_user_put_where_everybody_writes(tmp_path: Path) -> None:
    """It would be given the image, which has keys."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    file, link = shared / "web1.img", shared / "web2.img"
    file.write_text("planted")
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("kept")
    for each in (file, link):
        os.chown(each, 1000, 1000, follow_symlinks=False)
        with pytest.raises(InvalidArgument, match="another user put"), new_target(each, overwrite=True):
            raise AssertionError
    assert (tmp_path / "elsewhere").read_text() == "kept"
    assert sorted(shared.iterdir()) == [file, link]


def test_the_folder_for_the_work(tmp_path: Path) -> None:
    """It is beside the file, which has the space, as long as nobody else can rename it."""
    with new_target(tmp_path / "disk", overwrite=False) as place:
        assert place.folder.parent == tmp_path
        Path(place.path).write_text("new")
    tmp_path.chmod(0o770)
    with new_target(tmp_path / "disk", overwrite=True) as place:
        assert place.folder.parent != tmp_path


def test_a_link_in_its_place(tmp_path: Path) -> None:
    """The link is replaced, and what it leads to stays: its owner may have made it for another one to write there."""
    path, other = tmp_path / "disk", tmp_path / "other"
    other.write_text("kept")
    other.chmod(0o644)
    path.symlink_to(other)
    with new_target(path, overwrite=True) as place:
        Path(place.path).write_text("new")
    assert (path.is_symlink(), path.read_text(), mode(path), other.read_text()) == (False, "new", 0o600, "kept")


def test_a_link_to_nothing(cloud_image: Path, tmp_path: Path) -> None:
    """It is refused before anything is made, unless it may be replaced."""
    path = tmp_path / "web1.qcow2"
    path.symlink_to(tmp_path / "none")
    steps: list[Progress] = []
    with pytest.raises(VolumeExists, match="is a link to a file that is not there: remove the link"):
        from_cloud_image(cloud_image, path, ACCESS, progress=steps.append)
    assert not steps
    with new_target(path, overwrite=True) as place:
        Path(place.path).write_text("new")
    assert (path.is_symlink(), path.read_text(), (tmp_path / "none").exists()) == (False, "new", False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_ctrl_c_while_a_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, overwrite: bool
) -> None:
    """It may take seconds, as where a large older file goes with it. The new file is removed then, too."""
    rename = os.rename

    def interrupted(older: str, newer: str, **folders: int) -> None:
        rename(older, newer, **folders)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), new_target(tmp_path / "disk", overwrite=overwrite) as place:
        Path(place.path).write_text("new")
    assert not [*tmp_path.iterdir()]
    assert not caplog.text


def test_a_program_that_writes_through_no_links(
    cloud_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So xorrisofs does, and the file's descriptor is a link under /proc."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = f'#!/bin/sh\nfor each; do [ -L "$each" ] && exit 5; done\nexec {shutil.which("genisoimage")} "$@"\n'
    (folder / "genisoimage").write_text(script)
    (folder / "genisoimage").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    from_cloud_image(cloud_image, tmp_path / "web1.qcow2", ACCESS)
    assert (tmp_path / "web1-seed.iso").read_bytes()[0x8001:0x8006] == b"CD001"
