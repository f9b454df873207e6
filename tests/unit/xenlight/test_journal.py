"""What is being made, noted for whoever comes after a process that was killed."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pyxen.backends.xenlight.libxl.journal import Journal, abandoned
from pyxen.errors import OperationFailed
from tests.locks import locked_first, outlived_by_its_child

ONE, OTHER, THIRD = (UUID(int=number) for number in (1, 2, 3))


def leave(folder: Path, *uuids: UUID) -> None:
    """Be killed, in another process, in the middle of making domains."""
    program = """
import contextlib, os, signal, sys
from uuid import UUID
from pyxen.backends.xenlight.libxl.journal import Journal
journal = Journal(sys.argv[1])
with contextlib.ExitStack() as stack:
    with journal.noting(UUID(int=99)):
        for uuid in sys.argv[2:]:
            stack.enter_context(journal.noting(UUID(uuid)))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(folder), *map(str, uuids)], check=False, timeout=120)
    assert done.returncode == -9


def test_nothing_is_left_of_what_has_ended(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    with journal.noting(ONE), pytest.raises(ZeroDivisionError), journal.noting(OTHER):
        raise ZeroDivisionError
    journal.close()
    assert list(tmp_path.iterdir()) == []
    journal.close()


def test_what_a_living_process_makes_is_not_abandoned(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    with journal.noting(ONE):
        assert abandoned(lambda: {ONE}, str(tmp_path)) == set()
    journal.close()


def test_what_a_killed_process_was_making(tmp_path: Path) -> None:
    leave(tmp_path, ONE, OTHER)
    assert abandoned(lambda: {ONE, OTHER, THIRD, UUID(int=99)}, str(tmp_path)) == {ONE, OTHER}
    assert abandoned(lambda: {OTHER, THIRD}, str(tmp_path)) == {OTHER}
    assert abandoned(lambda: {THIRD}, str(tmp_path)) == set()
    assert list(tmp_path.iterdir()) == []


def test_a_domain_that_is_made_just_before_the_look(tmp_path: Path) -> None:
    """A process may be killed after the look at its notes began: so Xen is asked last."""
    leave(tmp_path, ONE)
    alive: list[UUID] = []
    real = os.open

    def open_late(path: str, *arguments: Any) -> int:
        alive.append(ONE)
        return real(path, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", open_late)
        assert abandoned(lambda: alive, str(tmp_path)) == {ONE}
    assert len(list(tmp_path.iterdir())) == 1


def test_many_at_once(tmp_path: Path) -> None:
    uuids = [uuid4() for _ in range(300)]
    leave(tmp_path, *uuids)
    assert abandoned(lambda: uuids, str(tmp_path)) == set(uuids)


def test_slots_are_used_again(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    for _ in range(100):
        with journal.noting(uuid4()), journal.noting(uuid4()):
            (file,) = tmp_path.iterdir()
    assert file.read_bytes() == bytes(32)
    journal.close()


def test_one_that_is_removed_before_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    lockf = fcntl.lockf
    seen: list[Path] = []

    def late(file: int, how: int) -> None:
        if not seen:
            seen.extend(tmp_path.iterdir())
            assert looked_elsewhere(tmp_path, ONE) == []
        lockf(file, how)

    monkeypatch.setattr(fcntl, "lockf", late)
    journal = Journal(str(tmp_path))
    with journal.noting(ONE):
        (file,) = tmp_path.iterdir()
        assert file not in seen
        assert file.read_bytes() == ONE.bytes
    journal.close()


def looked_elsewhere(folder: Path, *alive: UUID) -> list[UUID]:
    """Return what another process finds abandoned."""
    program = """
import sys
from uuid import UUID
from pyxen.backends.xenlight.libxl.journal import abandoned
print(*abandoned(lambda: [UUID(word) for word in sys.argv[2:]], sys.argv[1]))
"""
    command = [sys.executable, "-c", program, str(folder), *map(str, alive)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [UUID(word) for word in done.stdout.split()]


def test_a_killed_process_whose_child_lives(tmp_path: Path) -> None:
    """Python knows nothing of the children that libxl forks; they may live as long as a device model."""
    program = """
import sys
from uuid import UUID
from pyxen.backends.xenlight.libxl.journal import Journal
note = Journal(sys.argv[1]).noting(UUID(sys.argv[2]))
note.__enter__()
"""
    with outlived_by_its_child(program, str(tmp_path), str(ONE)):
        assert abandoned(lambda: {ONE, OTHER}, str(tmp_path)) == {ONE}


def test_whoever_looks_in_this_process_does_not_unlock_it(tmp_path: Path) -> None:
    """A process loses such a lock when it closes any descriptor of its file."""
    journal = Journal(str(tmp_path))
    with journal.noting(ONE):
        assert abandoned(lambda: {ONE}, str(tmp_path)) == set()
        assert looked_elsewhere(tmp_path, ONE) == []
    journal.close()


def test_without_the_right_to_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    journal = Journal(str(tmp_path / "file" / "folder"))
    with caplog.at_level(logging.DEBUG, "pyxen"), journal.noting(ONE):
        pass
    with journal.noting(ONE):
        pass
    journal.close()
    assert "no journal" in caplog.text
    assert len(caplog.records) == 1


def test_where_nobody_ever_made_anything(tmp_path: Path) -> None:
    assert abandoned(lambda: {ONE}, str(tmp_path / "none")) == set()


def test_a_file_that_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / "1.creating").write_bytes(ONE.bytes + b"xyz")
    assert abandoned(lambda: {ONE}, str(tmp_path)) == {ONE}


def test_the_child_of_a_fork_lets_go(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    with journal.noting(ONE):
        before = len(os.listdir("/proc/self/fd"))
        journal.forked()
        assert len(os.listdir("/proc/self/fd")) == before - 1
    journal.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_dom0_is_never_abandoned(tmp_path: Path) -> None:
    leave(tmp_path)  # with a free slot, which looks like dom0's uuid
    assert abandoned(lambda: {UUID(int=0)}, str(tmp_path)) == set()


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.touch()
    with pytest.raises(OperationFailed, match=r"orphans: the notes .* cannot be read: Not a directory"):
        abandoned(set, str(file))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "1.x.creating").mkdir()
    with pytest.raises(OperationFailed, match="cannot be read: Is a directory"):
        abandoned(set, str(tmp_path))


def test_a_search_that_holds_the_new_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(str(tmp_path))
    with locked_first(monkeypatch):
        with journal.noting(ONE):
            assert abandoned(lambda: {ONE}, str(tmp_path)) == set()
            assert os.path.getsize(max(tmp_path.iterdir(), key=os.path.getsize)) > 0
        journal.close()
    assert abandoned(lambda: {ONE}, str(tmp_path)) == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT])
def test_after_a_shortage_the_next_domain_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    journal = Journal(str(tmp_path))
    with monkeypatch.context() as scarce:
        scarce.setattr(os, "open", _failing(code))
        with journal.noting(ONE):
            pass
    with journal.noting(OTHER):
        [file] = tmp_path.iterdir()
        assert file.read_bytes() == OTHER.bytes
    journal.close()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_without_permission_it_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    journal = Journal(str(tmp_path))
    with monkeypatch.context() as forbidden:
        forbidden.setattr(os, "makedirs", _failing(code))
        with journal.noting(ONE):
            pass
    with journal.noting(OTHER):
        assert list(tmp_path.iterdir()) == []
    journal.close()


def _failing(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail
