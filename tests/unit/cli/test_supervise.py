"""``pyxen supervise``; `tests/xen` has it on a real host."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from typer.testing import CliRunner

from pyxen import Host, NotOnXen
from pyxen.cli.app import app
from tests.unit.aio.fakehost import FakeBackend
from tests.waiting import join, until


def no_host() -> Host:
    raise NotOnXen("this machine does not run on Xen")


def test_help() -> None:
    result = CliRunner().invoke(app, ["supervise", "--help"])
    assert result.exit_code == 0
    for word in ("--min-uptime", "--dump-dir", "on_crash", "exit status"):
        assert word in result.stdout


def test_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyxen.cli.supervise.connect", no_host)
    result = CliRunner().invoke(app, ["supervise"])
    assert result.exit_code == 2
    assert "does not run on Xen" in result.stderr


def test_numbers_that_make_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyxen.cli.supervise.connect", no_host)
    result = CliRunner().invoke(app, ["supervise", "--min-uptime", "-1"])
    assert result.exit_code == 2
    assert "min_uptime=-1.0" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    backend = FakeBackend()
    monkeypatch.setattr("pyxen.cli.supervise.connect", lambda: Host(backend))

    def end() -> None:
        until(lambda: backend.subscribers, "nobody supervises")
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=end)
    thread.start()
    result = CliRunner().invoke(app, ["supervise"])
    join(thread)
    assert result.exit_code == 0
    assert backend.closes > 0
    assert signal.getsignal(number) is before
