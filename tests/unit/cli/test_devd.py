"""``pyxen devd``; `tests/xen` has it on a real host."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyxen import Host, NotFound, NotOnXen
from pyxen.cli.app import app
from tests.unit.aio.fakehost import FakeBackend, undone
from tests.waiting import join, until

IN_BACKGROUND = """
import os, sys
import pyxen.cli.devd as module
from pyxen import Host, NotOnXen
from pyxen.cli import main
from tests.unit.aio.fakehost import FakeBackend, undone

class Serving(FakeBackend):
    def devd(self, *, timeout):
        print("serving", os.getpid(), file=sys.stderr, flush=True)
        operation = super().devd(timeout=timeout)
        operation.stop = lambda reason: None
        return operation

def connect(uri):
    if {fails}:
        raise NotOnXen("this machine does not run on Xen")
    return Host(Serving())

module.connect = connect
sys.exit(main())
"""


def test_help() -> None:
    result = CliRunner().invoke(app, ["devd", "--help"])
    assert result.exit_code == 0
    for word in ("--verbose", "--foreground", "driver domain", "exit status"):
        assert word in result.stdout


def test_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_host(_uri: str) -> Host:
        raise NotOnXen("this machine does not run on Xen")

    monkeypatch.setattr("pyxen.cli.devd.connect", no_host)
    result = CliRunner().invoke(app, ["devd", "-F"])
    assert result.exit_code == 2
    assert "does not run on Xen" in result.stderr


def test_it_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend()
    backend.refusal = NotFound("xenstore does not say which domain this is", operation="devd")
    monkeypatch.setattr("pyxen.cli.devd.connect", lambda _uri: Host(backend))
    result = CliRunner().invoke(app, ["devd", "-F"])
    assert result.exit_code == 2
    assert "which domain this is" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    backend = FakeBackend()
    uris: list[str] = []

    def connect(uri: str) -> Host:
        uris.append(uri)
        return Host(backend)

    monkeypatch.setattr("pyxen.cli.devd.connect", connect)
    before = signal.getsignal(number)

    def end() -> None:
        until(lambda: backend.operations and signal.getsignal(number) is not before, "devd does not begin")
        os.kill(os.getpid(), number)
        with contextlib.suppress(AssertionError):
            until(lambda: backend.stopped, "devd is not stopped", 20)
        if not backend.stopped:  # Python itself sees a signal that comes right before a wait when that is interrupted
            os.kill(os.getpid(), number)
        until(lambda: backend.stopped, "devd is not stopped")
        undone(backend.stopped[0])

    thread = threading.Thread(target=end)
    thread.start()
    result = CliRunner().invoke(app, ["devd", "-F"])
    join(thread)
    assert result.exit_code == 0
    assert uris == ["xenlight:///driver"]
    assert backend.requests == [("devd", {"timeout": None})]
    assert backend.closes > 0
    assert signal.getsignal(number) is before


def devd(folder: Path, *, fails: bool = False) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", IN_BACKGROUND.format(fails=fails)]
    arguments = ["devd", "-p", "devd.pid", "--log", str(folder / "devd.log")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    return subprocess.run(
        [*program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_in_the_background(tmp_path: Path) -> None:
    done = devd(tmp_path)
    pid = int((tmp_path / "devd.pid").read_text())
    try:
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == f"serving {pid}\n"  # what comes before it is ready; the rest goes to the log
        assert os.getsid(pid) != os.getsid(0)
        again = devd(tmp_path)
        assert (again.returncode, again.stderr) == (2, f"error: {tmp_path}/devd.pid: a process that runs has it\n")
    finally:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the process does not end")
    once_more = devd(tmp_path)  # the file of a process that was killed is taken over
    pid = int((tmp_path / "devd.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    assert once_more.returncode == 0


def test_a_failure_before_the_background_is_said(tmp_path: Path) -> None:
    done = devd(tmp_path, fails=True)
    assert (done.returncode, done.stderr) == (2, "error: this machine does not run on Xen\n")
    assert not (tmp_path / "devd.pid").exists()
