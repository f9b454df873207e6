"""``pyxen devd``; `tests/xen` has it on a real host."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from typer.testing import CliRunner

from pyxen import Host, NotFound, NotOnXen
from pyxen.cli.app import app
from tests.unit.aio.fakehost import FakeBackend, undone


def test_help() -> None:
    result = CliRunner().invoke(app, ["devd", "--help"])
    assert result.exit_code == 0
    for word in ("--verbose", "driver domain", "exit status"):
        assert word in result.stdout


def test_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_host(_uri: str) -> Host:
        raise NotOnXen("this machine does not run on Xen")

    monkeypatch.setattr("pyxen.cli.devd.connect", no_host)
    result = CliRunner().invoke(app, ["devd"])
    assert result.exit_code == 2
    assert "does not run on Xen" in result.stderr


def test_it_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend()
    backend.refusal = NotFound("xenstore does not say which domain this is", operation="devd")
    monkeypatch.setattr("pyxen.cli.devd.connect", lambda _uri: Host(backend))
    result = CliRunner().invoke(app, ["devd"])
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
        while not backend.operations or signal.getsignal(number) is before:
            time.sleep(0.01)
        os.kill(os.getpid(), number)
        while not backend.stopped:
            time.sleep(0.01)
        undone(backend.stopped[0])

    thread = threading.Thread(target=end)
    thread.start()
    result = CliRunner().invoke(app, ["devd"])
    thread.join()
    assert result.exit_code == 0
    assert uris == ["xenlight:///driver"]
    assert backend.requests == [("devd", {"timeout": None})]
    assert backend.closes > 0
    assert signal.getsignal(number) is before
