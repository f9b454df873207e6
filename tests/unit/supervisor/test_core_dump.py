"""The process that writes a core dump."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pyxen import DomainConfig, LockFailed, OperationFailed
from pyxen.supervisor import work
from pyxen.supervisor.core_dump import Dumper
from pyxen.testing import FakeHost
from tests.unit.supervisor.support import Told, supervise

CRASHES = DomainConfig("web1", type="pvh", kernel="/k", memory=16, on_crash="coredump_restart")


def test_its_arguments_have_no_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user can read the arguments of a process, and the URI of a host may have a secret."""
    seen: list[str] = []
    real = subprocess.Popen

    def begin(command: list[str], **how: Any) -> subprocess.Popen[str]:
        seen.extend(command)
        return real(command, **how)

    monkeypatch.setattr(subprocess, "Popen", begin)
    with FakeHost() as fake:
        domain = fake.create(DomainConfig("web1", type="pvh", kernel="/k", memory=16))
        with pytest.raises(OperationFailed, match="libxl reaches only this machine") as caught:  # it has come there
            Dumper("xenlight:///?word=s3cret", str(tmp_path)).dump(domain, "web1")
    assert "s3cret" not in str(caught.value)
    assert "pyxen.supervisor.dump_process" in seen
    assert [each for each in seen if "xenlight:" in each or "s3cret" in each] == []
    assert "Warning" not in str(caught.value)


def dumped(folder: Path) -> None:
    """Have a core dump written of a domain that the other process does not find."""
    with FakeHost() as fake:
        Dumper("test:///default", str(folder)).dump(fake.create(CRASHES.replace(uuid=UUID(int=9))), "web1")


def test_a_domain_of_a_host_in_memory(tmp_path: Path) -> None:
    """No other process has that host."""
    with FakeHost() as fake:
        path = Dumper(fake.uri, str(tmp_path)).dump(fake.create(CRASHES), "web1")
    assert path == str(tmp_path / "web1")
    assert Path(path).is_file()


def test_a_path_of_modules_that_is_no_text_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    with pytest.raises(OperationFailed, match="is gone"):
        dumped(tmp_path)


def test_a_complaint_that_is_no_text_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"#!/bin/sh\nread uri\nprintf 'no \\377 here' >&2\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(OperationFailed, match=r"no \\xff here"):
        dumped(tmp_path)


@pytest.mark.parametrize("executable", [None, ""])
def test_python_does_not_say_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str | None
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(OperationFailed, match=r"sys\.executable is empty"):
        dumped(tmp_path)


def test_a_frozen_program_is_not_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(OperationFailed, match="this program is frozen"):
        dumped(tmp_path)


def test_the_interpreter_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(OperationFailed, match=r"cannot start a process: .*No such file") as caught:
        dumped(tmp_path)
    assert "ulimit" not in str(caught.value)


def test_a_guest_is_restarted_whatever_its_core_dump_fails_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise TypeError("broken")

    monkeypatch.setattr(Dumper, "dump", broken)
    told = Told()
    with FakeHost() as fake, supervise(fake, told, dump_dir=str(tmp_path)):
        fake.guest(fake.create(CRASHES)).crash()
        outcome = told.next()
    assert outcome.restarted is not None
    assert (outcome.core, str(outcome.error)) == (None, "broken")


@pytest.mark.parametrize("is_dumped", [True, False])
def test_a_domain_that_cannot_be_removed_yet_is_dumped_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_dumped: bool
) -> None:
    monkeypatch.setattr(work, "_LEAST_APART", 0.01)
    told = Told()
    with FakeHost() as fake, supervise(fake, told, dump_dir=str(tmp_path)):
        domain = fake.create(CRASHES)
        fake.fail("destroy", LockFailed("another has it"), times=4)
        if not is_dumped:
            fake.fail("core_dump", OperationFailed("no"), times=None)
        fake.guest(domain).crash()
        outcome = told.next()
        assert [call.verb for call in fake.calls].count("core_dump") == 1
    assert outcome.restarted is not None
    assert (outcome.core, outcome.error is None) == ((str(tmp_path / "web1"), True) if is_dumped else (None, False))
    assert is_dumped or "no" in str(outcome.error)
