"""Who is alive keeps what it claims, and what a killed process has claimed is found."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pyxen import OperationFailed
from pyxen._common.claims import Claim, Claims, abandoned
from tests.backends.support import wait_until
from tests.locks import locked_first, outlived_by_its_child
from tests.waiting import SECONDS

ONE, TWO = Claim(uuid4(), ("/srv/a b.qcow2", "/srv/c\n.qcow2")), Claim(uuid4())


def left(folder: Path) -> list[Claim]:
    """Return the claims of processes that are gone."""
    with abandoned(str(folder)) as found:
        return sorted((claim for one in found for claim in one.claims), key=lambda claim: claim.uuid)


def test_who_is_alive_is_left_alone(tmp_path: Path) -> None:
    claims = Claims(str(tmp_path))
    claims.add(ONE)
    claims.add(TWO)
    assert left(tmp_path) == []
    claims.drop(ONE.uuid)
    claims.drop(ONE.uuid)
    claims.close()
    assert left(tmp_path) == [TWO]
    with abandoned(str(tmp_path)) as (one,), abandoned(str(tmp_path)) as others:
        assert list(others) == []  # only one program removes them
        one.drop(TWO.uuid)
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_of_who_has_nothing(tmp_path: Path) -> None:
    claims = Claims(str(tmp_path / "run" / "pyxen"))
    claims.add(ONE)
    claims.drop(ONE.uuid)
    claims.close()
    claims.close()
    assert list((tmp_path / "run" / "pyxen").iterdir()) == []
    assert left(tmp_path / "nowhere") == []


def test_a_process_that_is_killed(tmp_path: Path) -> None:
    program = """
import sys, time
from uuid import UUID
from pyxen._common.claims import Claim, Claims
claims = Claims(sys.argv[1])
claims.add(Claim(UUID(sys.argv[2]), ("/srv/a",)))
print("ready", flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", program, str(tmp_path), str(ONE.uuid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert left(tmp_path) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert left(tmp_path) == [Claim(ONE.uuid, ("/srv/a",))]


def test_a_killed_process_whose_child_lives(tmp_path: Path) -> None:
    """Python knows nothing of the children that libxl forks; they may live as long as a device model."""
    program = """
import sys
from uuid import UUID
from pyxen._common.claims import Claim, Claims
claims = Claims(sys.argv[1])
claims.add(Claim(UUID(sys.argv[2])))
"""
    with outlived_by_its_child(program, str(tmp_path), str(TWO.uuid)):
        assert left(tmp_path) == [TWO]


def test_whoever_looks_in_this_process_does_not_unlock_them(tmp_path: Path) -> None:
    """A process loses such a lock when it closes any descriptor of its file."""
    claims = Claims(str(tmp_path))
    claims.add(ONE)
    assert left(tmp_path) == []
    look = f"""
from pathlib import Path
from tests.unit.test_claims import left
assert left(Path({str(tmp_path)!r})) == []
"""
    subprocess.run([sys.executable, "-c", look], check=True, timeout=SECONDS)
    claims.close()


def test_a_fork_keeps_nothing_locked(tmp_path: Path) -> None:
    claims = Claims(str(tmp_path))
    claims.add(ONE)
    ends, begins = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(begins)
        os.read(ends, 1)  # until the parent has looked
        claims.close()
        os._exit(0)
    os.close(ends)
    try:
        assert left(tmp_path) == []
        claims.close()  # as if the parent had died
        wait_until(lambda: left(tmp_path) == [ONE])  # the child may not have begun yet
    finally:
        os.close(begins)
        os.waitpid(child, 0)
    assert left(tmp_path) == [ONE]


def test_what_is_not_ours_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = Claims(str(tmp_path))
    claims.add(ONE)
    claims.close()
    (folder,) = tmp_path.iterdir()
    (folder / "notes").write_text("of someone else")
    (folder / f"{TWO.uuid}.new").write_text("half")
    (tmp_path / "1.creating").touch()
    (tmp_path / "other.claims").symlink_to(folder)
    assert left(tmp_path) == [ONE]
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert left(tmp_path) == []


def test_what_cannot_be_read_stays(tmp_path: Path) -> None:
    claims = Claims(str(tmp_path))
    claims.add(ONE)
    claims.close()
    (folder,) = tmp_path.iterdir()
    unreadable = folder / str(TWO.uuid)
    unreadable.mkdir()  # as where there are no descriptors, or the disk fails
    assert left(tmp_path) == []
    unreadable.rmdir()
    assert left(tmp_path) == [ONE]


def test_a_process_that_was_killed_between_two_calls(tmp_path: Path) -> None:
    (tmp_path / "1.x.claims").mkdir()
    assert left(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_recorded(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperationFailed, match="cannot record"):
        Claims(str(tmp_path / "file")).add(ONE)
    nothing = Claims(None)
    nothing.add(ONE)
    nothing.drop(ONE.uuid)
    nothing.close()


def test_a_search_that_holds_the_new_lock_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = Claims(str(tmp_path))
    with locked_first(monkeypatch):
        claims.add(ONE)
    assert left(tmp_path) == []
    claims.close()
    assert left(tmp_path) == [ONE]


def test_one_that_vanishes_hides_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program ends its pool while somebody looks."""
    for name in ("a", "b"):
        folder = tmp_path / f"{name}.claims"
        folder.mkdir()
        (folder / "lock").touch()
        (folder / str(UUID(int=1))).touch()
    scan = os.scandir

    def meanwhile(path: str) -> list[os.DirEntry[str]]:
        entries = list(scan(path))
        (tmp_path / "b.claims").rename(tmp_path / "gone")
        return entries

    monkeypatch.setattr(os, "scandir", meanwhile)
    with abandoned(str(tmp_path)) as found:
        assert [len(one.claims) for one in found] == [1]


def test_all_claims_are_dropped_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = Claims(str(tmp_path))
    for number in range(3):
        claims.add(Claim(UUID(int=number)))
    before = sorted(next(tmp_path.iterdir()).iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", _read_only)
        patch.setattr(os, "unlink", _read_only)
        with pytest.raises(OperationFailed, match="Read-only"):
            claims.drop_all()
        with pytest.raises(OperationFailed, match="Read-only"):
            claims.drop(UUID(int=1))
    assert sorted(next(tmp_path.iterdir()).iterdir()) == before
    claims.drop_all()
    assert list(tmp_path.iterdir()) == []
    claims.add(Claim(UUID(int=7)))  # the set can be used again
    claims.close()
    with abandoned(str(tmp_path)) as found:
        assert [claim.uuid for one in found for claim in one.claims] == [UUID(int=7)]


def _read_only(*_: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_what_a_process_that_was_killed_had_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nobody's, and the next search removes what is left of it."""
    claims = Claims(str(tmp_path))
    claims.add(Claim(UUID(int=1)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", _read_only)
        claims.drop_all()
    assert len(list(tmp_path.iterdir())) == 1
    with abandoned(str(tmp_path)) as found:
        assert list(found) == []
    assert list(tmp_path.iterdir()) == []


def test_claims_that_somebody_has_removed_are_dropped(tmp_path: Path) -> None:
    claims = Claims(str(tmp_path))
    claims.add(ONE)
    for folder in tmp_path.iterdir():
        shutil.rmtree(folder)
    claims.drop_all()
    claims.close()
    assert left(tmp_path) == []
