"""Files that appear at once and whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyxen import InvalidArgument, Operation
from pyxen._common.atomic_file import appearing_whole

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
