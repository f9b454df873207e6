"""Files that appear at once and whole, or not at all."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from pyxen import InvalidArgument, Operation
from pyxen._common.atomic_file import appearing_whole, place

OPERATION: Operation[Any] = Operation("save", 1)


def test_it_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("an older one, which is longer")
    with appearing_whole(OPERATION, str(path)) as (fd, partial):
        os.write(fd, b"a new one")
        assert path.read_text() == "an older one, which is longer"
        assert partial != str(path)
    assert path.read_text() == "a new one"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("an older one")
    with pytest.raises(ZeroDivisionError), appearing_whole(OPERATION, str(path)):
        raise ZeroDivisionError
    assert [each.read_text() for each in tmp_path.iterdir()] == ["an older one"]


@pytest.mark.parametrize(
    ("path", "problem"), [("nowhere/file", "No such file or directory"), ("folder", "not a regular file")]
)
def test_what_cannot_be_written(tmp_path: Path, path: str, problem: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidArgument, match=f"save 1: cannot write .*{problem}"):
        appearing_whole(OPERATION, str(tmp_path / path)).__enter__()
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_link_leads_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with appearing_whole(OPERATION, str(tmp_path / "link")) as (fd, _):
        os.write(fd, b"there")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "there"


def everybodys(tmp_path: Path) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.mark.parametrize("where", ["", "inner/"])
def test_a_link_of_somebody_elses(tmp_path: Path, where: str) -> None:
    folder = everybodys(tmp_path)
    os.chown(folder, 0, 0)
    victim = tmp_path / "victim"
    if where:
        victim.mkdir()
        link = folder / "inner"
        target = victim / "file"
    else:
        link = folder / "file"
        target = victim
    target.write_text("precious")
    link.symlink_to(victim)
    os.lchown(link, 12345, 12345)
    with pytest.raises(InvalidArgument, match="a symbolic link that another user put"):
        appearing_whole(OPERATION, f"{folder}/{where}file").__enter__()
    assert target.read_text() == "precious"


def test_a_link_that_comes_meanwhile_is_replaced_itself(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    with appearing_whole(OPERATION, str(tmp_path / "file")) as (fd, _):
        os.write(fd, b"saved")
        (tmp_path / "file").symlink_to(tmp_path / "victim")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "saved"
    assert not (tmp_path / "file").is_symlink()


def test_a_folder_that_is_moved_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "victim").mkdir()
    with appearing_whole(OPERATION, str(tmp_path / "folder" / "file")) as (_, partial):
        (tmp_path / "folder").rename(tmp_path / "moved")
        (tmp_path / "folder").symlink_to(tmp_path / "victim")
        Path(partial).write_text("by its path")
    assert (tmp_path / "moved" / "file").read_text() == "by its path"
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize("path", ["a\0b", "/", "..", "folder/"])
def test_what_is_no_path_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InvalidArgument, match="cannot write"):
        appearing_whole(OPERATION, path).__enter__()
    assert len(os.listdir("/proc/self/fd")) == before


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InvalidArgument, match="Too many levels"):
        appearing_whole(OPERATION, str(tmp_path / "a")).__enter__()


def test_it_is_on_the_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, order = tmp_path / "file", list[str]()
    fsync = os.fsync

    def note(fd: int) -> None:
        order.append(f"{os.path.basename(os.readlink(f'/proc/self/fd/{fd}'))[:5]} {path.exists()}")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    with appearing_whole(OPERATION, str(path)) as (fd, _):
        os.write(fd, b"saved")
    assert [entry.split()[1] for entry in order] == ["False", "True"]
    assert order[0].startswith(".pyxe")


@pytest.mark.parametrize("name", ["a" * 255, "\u00e9" * 127, "\u5b57" * 85])
def test_names_of_every_length_that_the_file_system_takes(tmp_path: Path, name: str) -> None:
    with appearing_whole(OPERATION, str(tmp_path / name)):
        pass
    assert os.listdir(tmp_path) == [name]


def test_folders_need_not_be_readable(tmp_path: Path) -> None:
    """A file may be written below a folder that one may only pass through; root could read it anyhow."""
    folder, name = place(str(tmp_path / "file"))
    try:
        assert name == "file"
        assert fcntl.fcntl(folder, fcntl.F_GETFL) & os.O_PATH
    finally:
        os.close(folder)
