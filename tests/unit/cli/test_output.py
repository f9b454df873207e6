"""What is printed, how the command ends, and what it asks."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxen import LossWarning, errors
from pyxen.cli.output import cell, document, lines, table
from pyxen.cli.session import told
from pyxen.cli.status import ExitStatus, status_of
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import Run
from tests.waiting import join

ANY = st.one_of(st.text(), st.text("\x1b\x9b\r\n\t\x07\x7f\u202e[]m0;", max_size=12))


def controls(text: str) -> list[str]:
    return [char for char in text if unicodedata.category(char) in ("Cc", "Cs") or char in "\u202e\u2066\u2028"]


@given(ANY)
def test_a_cell_controls_nothing(text: str) -> None:
    assert controls(cell(text)) == []


@given(ANY)
def test_lines_control_nothing(text: str) -> None:
    assert [char for char in controls(lines(text)) if char not in "\n\t"] == []


class Stdout(io.TextIOWrapper):
    """Standard output that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    @property
    def text(self) -> str:
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode()


@given(ANY, ANY)
def test_a_table_controls_nothing_and_loses_nothing(name: str, other: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out := Stdout())
        table(["Name", "Other"], [(name, other)], numbers=["Other"])
    assert [char for char in controls(out.text) if char != "\n"] == []
    assert len(out.text.splitlines()) <= 2
    assert cell(name).strip() in out.text
    assert cell(other).strip() in out.text


@given(ANY)
def test_a_document_controls_nothing_and_is_what_it_was(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out := Stdout())
        document({"value": text}, on_one_line=True)
    assert controls(out.text) == ["\n"]
    assert json.loads(out.text) == {"value": text}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ValidationError("x"), ExitStatus.USAGE),
        (errors.NotOnXen("x"), ExitStatus.NO_HOST),
        (errors.UnsupportedFeature("x"), ExitStatus.UNSUPPORTED),
        (errors.DomainNotFound("x"), ExitStatus.NOT_FOUND),
        (errors.FileMissing("x"), ExitStatus.NOT_FOUND),
        (errors.GuestTimeout("x"), ExitStatus.TIMED_OUT),
        (errors.InvalidState("x"), ExitStatus.FAILED),
        (errors.InvalidArgument("x"), ExitStatus.FAILED),
    ],
)
def test_a_status_for_each_error(error: errors.Error, status: ExitStatus) -> None:
    assert status_of(error) is status


def test_a_host_that_is_not_there(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    def none(uri: str, workers: int) -> Any:  # noqa: ARG001 (as open_backend)
        raise errors.NotOnXen(f"{uri} is not there")

    with monkeypatch.context() as patch:  # ended before the host that stands in for all others
        patch.setattr("pyxen.connection.open_backend", none)
        result = run("--uri", "xen:///a", "list")
        assert (result.exit_code, result.stderr) == (4, "error: xen:///a is not there\n")
        assert "xen:///b is not" in run("list", "--uri", "xen:///b").stderr
        assert "xen:///b is not" in run("--uri", "xen:///a", "list", "--uri", "xen:///b").stderr
        assert "xen:///c is not" in run("list", env={"PYXEN_URI": "xen:///c"}).stderr
        assert "xenlight:/// is not" in run("list").stderr


def test_what_a_backend_cannot_do(host: FakeHost, run: Run) -> None:
    host.fail("stats", errors.UnsupportedFeature("no statistics here"))
    assert run("top", "--once").exit_code == 5


def test_what_a_conversion_loses_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with told():
            thread = threading.Thread(target=lambda: warnings.warn("a\x1bb", LossWarning, stacklevel=1))
            thread.start()
            join(thread)
    assert capsys.readouterr().err == "warning: a\\x1bb\n"


ENVIRONMENT = {**os.environ, "PYXEN_URI": "memory:///", "TERM": "xterm", "COLUMNS": "100"}


def command(*arguments: str, **options: Any) -> subprocess.Popen[Any]:
    return subprocess.Popen([sys.executable, "-m", "pyxen", *arguments], env=ENVIRONMENT, **options)


def test_a_reader_that_has_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with command("list", "--json", stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (ExitStatus.NO_READER, b"")


@pytest.mark.parametrize("arguments", [["events"], ["xenstore", "watch", "/tool"], ["dmesg", "-f"]])
def test_ctrl_c_ends_what_follows_quietly(arguments: list[str]) -> None:
    with command(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _until_it_waits(process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (ExitStatus.INTERRUPTED, b"")


def _until_it_waits(process: subprocess.Popen[Any]) -> None:
    """Wait until a process has loaded all that it needs, and all of its threads sleep.

    While a thread begins, the other one sleeps, too; on a busy machine for long.
    """
    deadline = time.monotonic() + 120
    asleep = 0
    while asleep < 20:
        assert process.poll() is None
        assert time.monotonic() < deadline, "the command never waits"
        states = _states(process.pid)
        asleep = asleep + 1 if {*states} == {"S"} and len(states) > 1 else 0
        time.sleep(0.01)


def _states(pid: int) -> list[str]:
    """Return the state of each thread of a process; one that has just ended has none that is known."""
    states = []
    for path in Path(f"/proc/{pid}/task").iterdir():
        try:
            states.append((path / "stat").read_text().rpartition(")")[2].split()[0])
        except OSError:
            states.append("?")
    return states
