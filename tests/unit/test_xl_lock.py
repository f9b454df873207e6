"""The lock that xl and pyxen hold while they build a domain: between processes, and within one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyxen._common.xl_lock import give_back, try_to_take
from tests.forks import told_by_a_child
from tests.locks import holding


def test_another_process_has_it(tmp_path: Path) -> None:
    path = str(tmp_path / "xl")
    with holding(path):
        assert not try_to_take(path)
    assert try_to_take(path)
    give_back(path)


def test_another_process_does_not_get_it(tmp_path: Path) -> None:
    path = str(tmp_path / "xl")
    assert try_to_take(path)
    assert try_to_take(path)  # by another create of this process
    give_back(path)
    with pytest.raises(BlockingIOError), holding(path, wait=False):
        pass
    assert told_by_a_child([lambda: try_to_take(path)]) == ["False"]
    give_back(path)
    with holding(path, wait=False):
        pass


def test_its_file_is_that_of_xl(tmp_path: Path) -> None:
    path = tmp_path / "xl"
    assert try_to_take(str(path))
    give_back(str(path))
    assert path.stat().st_mode & 0o777 == 0o200
    fds = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="No such file"):
        try_to_take(str(tmp_path / "no" / "xl"))
    with pytest.raises(OSError, match="Is a directory"):
        try_to_take(str(tmp_path))
    assert os.listdir("/proc/self/fd") == fds
