"""Programs of the host, run within bounds: what they print, and how they end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyxen import OperationFailed, OperationTimeout, ToolMissing
from pyxen._common import programs
from pyxen._common.programs import Output, find_program, run_program
from tests.waiting import until


def run(*command: str, timeout: float = 60, gentle: bool = False) -> Output:
    return run_program(command, verb="try", package="some-package", timeout=timeout, gentle=gentle)


def test_what_a_program_prints() -> None:
    assert run("sh", "-c", "echo out; echo err >&2; exit 3") == Output(3, "out\n", "err\n")
    assert run("sh", "-c", "kill -9 $$").status == -signal.SIGKILL
    assert run("sh", "-c", "cat; printf '\\377'") == Output(0, "\udcff", "")


def test_messages_are_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    assert run("sh", "-c", "echo $LC_ALL $LANGUAGE").stdout == "C.UTF-8\n"


def test_what_it_prints_just_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints and ends after a look that has found nothing, before this thread goes on."""
    polls: list[list[tuple[int, int]]] = []

    class Late:
        def __init__(self) -> None:
            self._poller = poll()
            self.register, self.unregister = self._poller.register, self._poller.unregister

        def poll(self, _: float) -> list[tuple[int, int]]:
            ready = self._poller.poll(0)
            polls.append(ready)
            if not ready:
                until(lambda: os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT), "it ends")
            return ready

    poll = select.poll
    monkeypatch.setattr(select, "poll", Late)
    assert run("sh", "-c", "sleep 0.2; echo the answer") == Output(0, "the answer\n", "")
    assert polls[0] == []


def test_more_than_a_pipe_holds() -> None:
    program = "import sys; sys.stderr.write('e' * 300000); sys.stdout.write('o' * 300000)"
    output = run(sys.executable, "-c", program)
    assert (len(output.stdout), len(output.stderr)) == (300000, 300000)


def test_a_program_that_is_not_installed() -> None:
    with pytest.raises(
        ToolMissing, match=r"try: the program no-such-program is not installed.*apt install some-package"
    ):
        run("no-such-program")


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("\0")
    (tmp_path / "broken").chmod(0o755)
    with pytest.raises(OperationFailed, match="cannot run"):
        run(str(tmp_path / "broken"))


@pytest.mark.parametrize("gentle", [False, True])
def test_a_program_that_does_not_end(tmp_path: Path, gentle: bool) -> None:
    with pytest.raises(OperationTimeout, match=r"has not ended after 0\.05 s"):
        run("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 1000", timeout=0.05, gentle=gentle)
    if (tmp_path / "pid").exists() and (pid := (tmp_path / "pid").read_text().strip()):
        assert not os.path.exists(f"/proc/{pid}")  # it was ended, and waited for


def test_a_program_that_prints_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_MOST", 1000)
    with pytest.raises(OperationFailed, match="has printed more than 1000 bytes"):
        run("yes")


def test_a_child_that_keeps_the_output_open() -> None:
    started = run("sh", "-c", "sleep 1000 & echo $!")
    os.kill(int(started.stdout), signal.SIGKILL)
    assert started.status == 0


def test_a_status_that_another_part_has_taken() -> None:
    program = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from pyxen._common.programs import run_program\n"
        "print(run_program(['echo', 'hello'], verb='try', package='p', timeout=60))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "Output(status=None, stdout='hello\\n', stderr='')\n"


def test_programs_below_a_folder(tmp_path: Path) -> None:
    assert find_program("sh", str(tmp_path)) is None
    (tmp_path / "usr/sbin").mkdir(parents=True)
    (tmp_path / "usr/sbin/sh").write_text("")
    assert find_program("sh", str(tmp_path)) is None  # it cannot be run
    (tmp_path / "usr/sbin/sh").chmod(0o755)
    assert find_program("sh", str(tmp_path)) == str(tmp_path / "usr/sbin/sh")
