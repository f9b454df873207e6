"""``pyxen migrate-receive``; `tests/xen` has it on a real host."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyxen import Host, NotOnXen
from pyxen.cli.app import app
from tests.unit.aio.fakehost import FakeBackend


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Give the signals their handlers back, which the command changes for its process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("options", "paused", "remus"),
    [
        ([], False, False),
        (["-e"], False, False),
        (["-e", "-p"], True, False),
        (["-F"], False, False),
        (["-d", "-p"], True, False),
        (["-r"], False, True),
        (["--remus", "-p"], True, True),
        (["-r", "-e"], False, True),
    ],
)
def test_as_xl_calls_it(monkeypatch: pytest.MonkeyPatch, options: list[str], paused: bool, remus: bool) -> None:
    backend = FakeBackend()
    backend.at_once = {"receive_migration"}
    monkeypatch.setattr("pyxen.cli.migrate_receive.connect", lambda *_, **__: Host(backend))
    monkeypatch.setattr("pyxen.cli.migrate_receive.take_over", lambda _: (5, 6))
    result = CliRunner().invoke(app, ["migrate-receive", *options])
    assert result.exit_code == 0, result.output
    [(verb, arguments)] = backend.requests
    assert verb == "receive_migration"
    assert arguments == {"read_fd": 5, "write_fd": 6, "remus": remus, "paused": paused, "timeout": None}
    assert result.stdout == ""
    assert backend.closes > 0


def test_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_host(*_arguments: object, **_options: object) -> Host:
        raise NotOnXen("this machine does not run on Xen")

    monkeypatch.setattr("pyxen.cli.migrate_receive.connect", no_host)
    monkeypatch.setattr("pyxen.cli.migrate_receive.take_over", lambda _: (5, 6))
    result = CliRunner().invoke(app, ["migrate-receive"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "does not run on Xen" in result.stderr


def test_what_is_not_done() -> None:
    result = CliRunner().invoke(app, ["migrate-receive", "--colo"])
    assert result.exit_code == 2
    assert result.stdout == ""


def test_nobody_else_can_write_to_the_source() -> None:
    program = """
import os
from pyxen.cli.migrate_receive import take_over
read_fd, write_fd = take_over("serve")
os.system("cat; echo from a script")
os.write(write_fd, os.read(read_fd, 99))
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, input=b"the stream", capture_output=True, check=True, timeout=120)
    assert ended.stdout == b"the stream"
    assert ended.stderr == b"from a script\n"


@pytest.mark.parametrize("command", ["migrate-receive", "serve --stdio"])
@pytest.mark.parametrize(("closed", "name"), [("<&-", "input"), (">&-", "output")])
def test_a_standard_stream_that_is_closed(command: str, closed: str, name: str) -> None:
    line = f"exec {shlex.quote(sys.executable)} -m pyxen {command} --uri memory:/// {closed}"
    ended = subprocess.run(["/bin/sh", "-c", line], input=b"", capture_output=True, check=False, timeout=120)
    assert ended.returncode == 1
    assert f"standard {name} is closed" in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr


def test_a_server_without_standard_error() -> None:
    line = f"exec {shlex.quote(sys.executable)} -m pyxen serve --stdio --uri memory:/// 2>&-"
    ended = subprocess.run(["/bin/sh", "-c", line], input=b"", stdout=subprocess.PIPE, check=False, timeout=120)
    assert ended.returncode == 0


def test_what_scripts_say_without_standard_error_goes_nowhere(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("""
import os
from pyxen.cli.migrate_receive import take_over
read_fd, write_fd = take_over("serve")
os.system("echo from a script; echo its complaint >&2")
os.write(write_fd, os.read(read_fd, 99))
""")
    line = f"exec {shlex.quote(sys.executable)} {program} 2>&-"
    ended = subprocess.run(
        ["/bin/sh", "-c", line], input=b"the stream", stdout=subprocess.PIPE, check=True, timeout=120
    )
    assert ended.stdout == b"the stream"
