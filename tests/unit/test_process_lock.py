"""Locks of a process: between its own users, between processes, and after a fork."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyxen._common.process_lock import lock_file, unlock_file
from tests.forks import told_by_a_child
from tests.locks import holding


def test_one_user_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    lock = lock_file(path, os.O_CREAT)
    assert lock is not None
    assert lock_file(path) is None
    os.link(path, tmp_path / "link")
    assert lock_file(str(tmp_path / "link")) is None  # by another name
    with pytest.raises(BlockingIOError), holding(path, wait=False):
        pass  # other processes see it still
    unlock_file(lock)
    with holding(path):
        assert lock_file(path) is None
    again = lock_file(path)
    assert again is not None
    unlock_file(again)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        lock_file(str(tmp_path / "none"))
    with pytest.raises(IsADirectoryError):
        lock_file(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_child_of_a_fork_has_none(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    lock = lock_file(path, os.O_CREAT)
    assert lock is not None
    assert told_by_a_child([lambda: lock_file(path)]) == ["None"]  # the parent has it
    assert told_by_a_child([lambda: unlock_file(lock)]) == ["None"]
    with pytest.raises(BlockingIOError), holding(path, wait=False):
        pass
    unlock_file(lock)
