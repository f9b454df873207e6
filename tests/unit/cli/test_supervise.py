"""``pyxen supervise``; `tests/xen` has it on a real host."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyxen import Host, NotOnXen
from pyxen.cli.app import app
from pyxen.xlconf import XlConf
from tests.unit.aio.fakehost import FakeBackend
from tests.waiting import join, until


def no_host(*_arguments: object, **_options: object) -> Host:
    raise NotOnXen("this machine does not run on Xen")


@pytest.fixture(autouse=True)
def left_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the standard streams of this process from migrate-receive, and give the signals their handlers back."""
    monkeypatch.setattr("pyxen.cli.migrate_receive.take_over", lambda _: (5, 6))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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
    monkeypatch.setattr("pyxen.cli.supervise.connect", lambda *_, **__: Host(backend))

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


@pytest.mark.parametrize(
    ("before", "after", "environment", "uri"),
    [
        ([], [], {}, "xenlight:///"),
        ([], [], {"PYXEN_URI": "memory:///a"}, "memory:///a"),
        (["--uri", "memory:///b"], [], {"PYXEN_URI": "memory:///a"}, "memory:///b"),
        ([], ["--uri", "memory:///c"], {}, "memory:///c"),
    ],
)
def test_the_host_and_the_settings_of_xl(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    before: list[str],
    after: list[str],
    environment: dict[str, str],
    uri: str,
) -> None:
    (tmp_path / "xl.conf").write_text("max_grant_frames = 9\n")
    asked: list[tuple[str, object]] = []

    def connect(uri: str, *, xl_conf: XlConf | None, **_: int) -> Host:
        asked.append((uri, None if xl_conf is None else xl_conf.max_grant_frames))
        raise NotOnXen("not here")

    for command in ("supervise", "migrate-receive"):
        monkeypatch.setattr(f"pyxen.cli.{command.replace('-', '_')}.connect", connect)
        given = environment | {"PYXEN_XL_CONF": str(tmp_path / "xl.conf")}
        CliRunner().invoke(app, [*before, command, *after], env=given)
    assert asked == [(uri, 9), (uri, 9)]


@pytest.mark.parametrize(("command", "status"), [("supervise", 2), ("migrate-receive", 1)])
def test_settings_of_xl_that_cannot_be_read(command: str, status: int, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [command], env={"PYXEN_XL_CONF": str(tmp_path / "nothing")})
    assert result.exit_code == status
    assert "PYXEN_XL_CONF: " in result.stderr
    (tmp_path / "xl.conf").write_text("max_grant_frames=many many\n")
    result = CliRunner().invoke(app, [command], env={"PYXEN_XL_CONF": str(tmp_path / "xl.conf")})
    assert (result.exit_code, "xl.conf" in result.stderr) == (status, True)
