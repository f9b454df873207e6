"""``pyxen exporter``."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from typer.testing import CliRunner

import pyxen
from pyxen import Host
from pyxen.cli.app import app
from pyxen.errors import NotOnXen
from tests.waiting import until

COMMAND = [sys.executable, "-c", "from pyxen.cli import main; raise SystemExit(main())", "exporter"]
HIDING = (
    "import sys\n"
    "class Hide:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name == 'prometheus_client': raise ModuleNotFoundError('hidden', name=name)\n"
    "sys.meta_path.insert(0, Hide())\n"
    "from pyxen.cli import main\n"
    "sys.exit(main())\n"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(number: signal.Signals) -> None:
    arguments = ["--uri", "memory:///", "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            found = re.fullmatch(r"serving memory:/// at (http://127\.0\.0\.1:\d+/metrics)\n", said)
            assert found is not None, said
            with urllib.request.urlopen(found[1], timeout=60) as answer:  # noqa: S310 (our own)
                assert b"\nxen_up 1.0\n" in answer.read()
            process.send_signal(number)
            assert process.wait(60) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_a_host_that_does_not_answer_yet_is_down() -> None:
    arguments = ["--uri", "xen+tcp://127.0.0.1:1/system", "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = None
            for line in process.stderr:
                if (found := re.search(r"at (http://127\.0\.0\.1:\d+/metrics)", line)) is not None:
                    break
            assert found is not None
            with urllib.request.urlopen(found[1], timeout=60) as answer:  # noqa: S310 (our own)
                assert b"\nxen_up 0.0\n" in answer.read()
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "9813"], "is not an address"),
        (["--uri", "nowhere:///"], "nowhere:///"),
        (["--uri", "memory:///", "--listen", "192.0.2.1:9813"], "192.0.2.1:9813"),
        (["--uri", "memory:///", "--listen", "127.0.0.1:0", "--timeout", "-1"], "-1"),
    ],
)
def test_what_cannot_be_served(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["exporter", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr


def test_no_xen(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_host(_uri: str) -> Host:
        raise NotOnXen("this machine does not run on Xen")

    monkeypatch.setattr("pyxen.cli.exporter.connect", no_host)
    result = CliRunner().invoke(app, ["exporter"])
    assert result.exit_code == 2
    assert "does not run on Xen" in result.stderr


def test_without_the_extra() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDING, "exporter"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert "pip install 'pyxen[metrics]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_library_does_not_load_the_metrics() -> None:
    code = "import sys, pyxen; assert 'prometheus_client' not in sys.modules and 'pyxen.metrics' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert not hasattr(pyxen, "HostCollector")


@pytest.mark.parametrize("to", ["/dev/full", "/dev/null", "&-"])
def test_messages_that_go_nowhere(to: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = f'exec "$@" --uri memory:/// --listen 127.0.0.1:{port} 2>{to}'
    with subprocess.Popen(["sh", "-c", line, "sh", *COMMAND]) as process:
        try:

            def answers() -> bool:
                assert process.poll() is None, "it has ended"
                with (
                    contextlib.suppress(OSError),
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer,
                ):
                    return b"\nxen_up 1.0\n" in answer.read()
                return False

            until(answers, "it does not serve")
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
