"""The command on a terminal: what it asks, its bars, and its completion."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyxen import ConnectFailed
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import Run

PROGRAM = """
import sys, threading, time
from pyxen import ConnectFailed
from pyxen.testing import FakeHost
from pyxen.cli import main
from tests.unit.cli.conftest import WEB
def tell(host):
    asked, end = "/local/domain/1/control/shutdown", time.monotonic() + 120
    while time.monotonic() < end:
        if host.xenstore.exists(asked) and host.xenstore.read(asked) == "suspend":
            print("(web1 is asked)", file=sys.__stdout__, flush=True)
            break
        time.sleep(0.01)
with FakeHost(time={time!r}) as host, host.standing_in():
    host.create(WEB)
    host.guest("web1").say(b"welcome to web1\\r\\n")
    if {time!r} == "real":
        host.guest("web1").answers = False
        threading.Thread(target=tell, args=(host,), daemon=True).start()
    else:
        host.advance(60)
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    print("guests:", *(domain.name for domain in host.guests), "status:", int(status))
"""


class Terminal:
    """A command on a terminal of its own, with a host that has the guest web1."""

    def __init__(self, *arguments: str, time: str = "virtual") -> None:
        self.fd, theirs = pty.openpty()
        program = PROGRAM.format(time=time)
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def read_until(self, text: str) -> None:
        """Read until a text has been shown."""
        deadline = time.monotonic() + 120
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} does not come after {self.shown!r}"
            if not self._read():
                raise AssertionError(f"{text!r} did not come: {self.shown!r}")

    def _read(self) -> bool:
        if not select.select([self.fd], [], [], 1)[0]:
            return True
        try:
            piece = os.read(self.fd, 4096)
        except OSError:  # EIO: the program has ended
            piece = b""
        self.shown += piece.decode(errors="replace")
        return bool(piece)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self.fd, text.encode())

    def end(self) -> str:
        """Read until the program ends, and return what it said of the guests and of its status."""
        while self._read():
            pass
        assert self.process.wait(timeout=120) == 0, self.shown
        return self.shown.rpartition("guests:")[2].strip()


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Return a function that runs the command on a terminal."""
    made: list[Terminal] = []

    def start(*arguments: str, **options: str) -> Terminal:
        made.append(Terminal(*arguments, **options))
        return made[-1]

    ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which the command respects
    yield start
    signal.signal(signal.SIGHUP, ignored)
    for each in made:
        each.process.kill()
        each.process.wait()
        os.close(each.fd)


@pytest.mark.parametrize(
    ("answer", "end"),
    [("y\n", "status: 0"), ("n\n", "web1 status: 7"), ("\n", "web1 status: 7"), ("\x04", "web1 status: 7")],
)
def test_destroy_asks(terminal: Callable[..., Terminal], answer: str, end: str) -> None:
    shell = terminal("destroy", "web1")
    shell.read_until("Destroy web1 (domid 1)?")
    shell.read_until("[y/N]")
    shell.type(answer)
    assert shell.end() == end


@pytest.mark.parametrize(
    "arguments",
    [
        ["block-detach", "--force", "web1", "xvda"],
        ["shutdown", "--all"],
        ["trigger", "web1", "reset"],
        ["sysrq", "web1", "b"],
        ["debug-keys", "R"],
        ["xenstore", "rm", "/local/domain/1"],
    ],
)
def test_what_else_asks(host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr("pyxen.cli.session._can_ask", lambda: True)
    before = host.domains["web1"].info(), host.domains["web1"].config(), host.debug_keys_sent
    result = run(*arguments, input="n\n")
    assert result.exit_code == 7
    assert "[y/N]" in result.stderr
    assert "nothing was done" in result.stderr
    assert (host.domains["web1"].info(), host.domains["web1"].config(), host.debug_keys_sent) == before
    assert host.xenstore.exists("/local/domain/1")


def test_yes_does_not_ask(terminal: Callable[..., Terminal]) -> None:
    shell = terminal("destroy", "--yes", "web1")
    assert shell.end() == "status: 0"
    assert "?" not in shell.shown


def test_dom0_is_refused_without_a_question(terminal: Callable[..., Terminal]) -> None:
    shell = terminal("destroy", "Domain-0")
    assert shell.end() == "web1 status: 1"
    assert "dom0" in shell.shown


def test_a_table_has_a_line_below_its_head(terminal: Callable[..., Terminal]) -> None:
    shell = terminal("list")
    shell.end()
    assert "───" in shell.shown


def test_a_bar_while_it_lasts(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    shell = terminal("save", "web1", str(tmp_path / "web1.save"))
    assert shell.end() == "status: 0"
    assert "save web1" in shell.shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_and_is_said(
    terminal: Callable[..., Terminal], tmp_path: Path, number: signal.Signals
) -> None:
    shell = terminal("save", "web1", str(tmp_path / "web1.save"), time="real")  # its guest hangs
    shell.read_until("(web1 is asked)")  # the bar is there before the save has begun
    shell.process.send_signal(number)
    assert shell.end() == "web1 status: 130"
    assert "interrupted: what had begun was cancelled and undone" in shell.shown
    assert list(tmp_path.iterdir()) == []


def test_a_console(terminal: Callable[..., Terminal]) -> None:
    shell = terminal("console", "web1", time="real")
    shell.read_until("welcome to web1\r\n")
    shell.type("\x1d")  # Ctrl-]
    assert shell.end() == "web1 status: 0"


def test_a_console_needs_input() -> None:
    line = '"$0" -m pyxen --uri memory:/// console 0 <&-'
    done = subprocess.run(["sh", "-c", line, sys.executable], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: a console needs standard input and standard output, and one of them is closed\n"


def test_ctrl_c_leaves_top(terminal: Callable[..., Terminal]) -> None:
    shell = terminal("top", "-d", "1000")
    shell.read_until("CPU(%)")
    shell.process.send_signal(signal.SIGINT)
    assert shell.end() == "web1 status: 130"
    assert "interrupted" not in shell.shown


COMPLETIONS = [
    ("pyxen destroy w", 2, "web1"),
    ("pyxen --uri memory:///x destroy w", 4, "web1"),
    ("pyxen block-list 1", 2, "1"),
    ("pyxen cpupool-destroy P", 2, "Pool-0"),
    ("pyxen sched-credit2 -d we", 3, "web1"),
    ("pyxen vcpu-l", 1, "vcpu-list"),
    ("pyxen xenstore w", 2, "write"),
]


@pytest.mark.parametrize(("line", "place", "word"), COMPLETIONS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_words_are_completed(run: Run, line: str, place: int, word: str, shell: str) -> None:
    environment = {"COMP_WORDS": line, "COMP_CWORD": str(place), "_TYPER_COMPLETE_ARGS": line}
    environment |= {"_PYXEN_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = run(prog_name="pyxen", env=environment)
    assert result.stderr == ""
    assert word in result.stdout.replace('"', " ").replace("\t", " ").split(), result.stdout


def test_uuids_are_completed(host: FakeHost, run: Run) -> None:
    uuid = str(host.domains["web1"].uuid)
    line = f"pyxen destroy {uuid[:6]}"
    environment = {"COMP_WORDS": line, "COMP_CWORD": "2", "_PYXEN_COMPLETE": "complete_bash"}
    assert run(prog_name="pyxen", env=environment).stdout.split() == [uuid]


@pytest.mark.parametrize(
    ("line", "variable", "uri"),
    [
        ("pyxen destroy w", "", "xenlight:///"),
        ("pyxen destroy w", "xen:///env", "xen:///env"),
        ("pyxen --uri xen:///a destroy w", "xen:///env", "xen:///a"),
        ("pyxen destroy --uri xen:///b w", "xen:///env", "xen:///b"),
        ("pyxen --uri xen:///a config show --uri xen:///b w", "", "xen:///b"),
        ("pyxen --uri xen:///a config show w", "", "xen:///a"),
    ],
)
def test_completion_asks_the_host_that_the_line_names(
    run: Run, monkeypatch: pytest.MonkeyPatch, line: str, variable: str, uri: str
) -> None:
    asked = []

    def refuse(uri: str, workers: int) -> Any:  # noqa: ARG001 (as open_backend)
        asked.append(uri)
        raise ConnectFailed("not here")

    environment = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_PYXEN_COMPLETE": "complete_bash"}
    with monkeypatch.context() as patch:  # ended before the host that stands in for all others
        patch.setattr("pyxen.connection.open_backend", refuse)
        run(prog_name="pyxen", env=environment | {"PYXEN_URI": variable})
    assert asked == [uri]


def test_completion_is_silent_when_there_is_no_host(host: FakeHost, run: Run) -> None:
    host.vanish()
    environment = {"COMP_WORDS": "pyxen destroy w", "COMP_CWORD": "2", "_PYXEN_COMPLETE": "complete_bash"}
    result = run(prog_name="pyxen", env=environment)
    assert (result.stdout.strip(), result.stderr) == ("", "")


def test_completion_does_not_wait_for_a_host_that_hangs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    released, tried = threading.Event(), threading.Event()

    def hang(uri: str, workers: int) -> Any:  # noqa: ARG001 (as open_backend)
        released.wait(120)
        tried.set()
        raise ConnectFailed("too late")

    environment = {"COMP_WORDS": "pyxen destroy w", "COMP_CWORD": "2", "_PYXEN_COMPLETE": "complete_bash"}
    with monkeypatch.context() as patch:  # ended before the host that stands in for all others
        patch.setattr("pyxen.cli.completion._PATIENCE", 0.01)
        patch.setattr("pyxen.connection.open_backend", hang)
        result = run(prog_name="pyxen", env=environment)
    assert (result.stdout.strip(), result.stderr) == ("", "")
    assert not tried.is_set()
    released.set()
    assert tried.wait(120)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyxen", "completion", shell], capture_output=True, text=True, check=True, timeout=120
    )
    assert "_PYXEN_COMPLETE=complete_" in done.stdout
    assert done.stderr == ""
