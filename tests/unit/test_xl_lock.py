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


def test_whoever_else_may_have_put_something_there(tmp_path: Path) -> None:
    """The folder of xl's lock may be one where every user writes."""
    victim = tmp_path / "victim"
    link, pipe, other_name, foreign = (tmp_path / name for name in ("link", "pipe", "other", "foreign"))
    link.symlink_to(victim)
    os.mkfifo(pipe)
    kept = tmp_path / "kept"
    kept.touch()
    other_name.hardlink_to(kept)
    fds = os.listdir("/proc/self/fd")
    for path, why in ((link, "symbolic link"), (pipe, "no regular file"), (other_name, "another name")):
        with pytest.raises(OSError, match=why):
            try_to_take(str(path))
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # now the pipe can be opened for writing
    with pytest.raises(OSError, match="no regular file"):
        try_to_take(str(pipe))
    os.close(reader)
    if os.geteuid() == 0:
        foreign.touch()
        os.chown(foreign, 65534, 65534)
        with pytest.raises(OSError, match="user 65534"):
            try_to_take(str(foreign))
    assert not victim.exists()
    assert os.listdir("/proc/self/fd") == fds


def test_its_file_is_made_only_if_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux may refuse O_CREAT for a file that is there (fs.protected_regular)."""
    path = tmp_path / "xl"
    path.touch()
    asked: list[int] = []
    real = os.open

    def noting(path: str, flags: int, mode: int = 0o777) -> int:
        asked.append(flags)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", noting)
    assert try_to_take(str(path))
    give_back(str(path))
    assert [flags & os.O_CREAT for flags in asked] == [0]
