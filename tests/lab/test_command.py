"""`python3 -m lab` from outside: streams, status, the shell, and that nothing outlives it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import cache

COMMAND = [sys.executable, "-m", "lab"]
TOP = Path(__file__).resolve().parents[2]


def run(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=TOP, input=stdin or b"", capture_output=True, check=False, timeout=120
    )


def test_run_passes_streams_and_status_on() -> None:
    done = run("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, b"out\n")
    assert b"err\n" in done.stderr


def test_run_copies_files_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("given ")
    result = tmp_path / "result"
    script = "cat /srv/given - > /srv/result"
    puts = ["--put", f"{tmp_path}/given:/srv/given", "--get", f"/srv/result:{result}"]
    done = run("run", "--stdin", *puts, "--", "sh", "-c", script, stdin=b"typed")
    assert done.returncode == 0, done.stderr
    assert result.read_text() == "given typed"


def test_run_ends_a_command_that_takes_too_long() -> None:
    done = run("run", "--timeout", "1", "--", "sleep", "100")
    assert done.returncode == 124
    assert b"did not end within 1 s" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["run"], b"nothing to run"), (["run", "--put", "x", "--", "true"], b"SRC:DST"), (["shell"], b"needs a terminal")],
)
def test_mistakes_are_named(arguments: list[str], reason: bytes) -> None:
    done = run(*arguments)
    assert done.returncode == 125
    assert reason in done.stderr


def test_shell_is_a_terminal_of_dom0() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(TOP)
        os.execv(sys.executable, [*COMMAND, "shell"])  # noqa: S606 (only fork and exec give the child a terminal)
    try:
        read_until(terminal, b"# ")
        os.write(terminal, b"stty size; sh -c 'tty; sleep 100'\r")
        shown = read_until(terminal, b"/dev/pts/0")
        assert b"24 80" in shown
        os.write(terminal, b"\x03echo $((6 * 7))yes\r")  # Ctrl-C is for the command, not for the lab
        read_until(terminal, b"42yes")
        os.write(terminal, b"exit 3\r")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    finally:
        os.close(terminal)


def read_until(terminal: int, text: bytes) -> bytes:
    shown = b""
    deadline = time.monotonic() + 60
    while text not in shown:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], f"no {text!r} in {shown!r}"
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            pytest.fail(f"the lab ended: {shown.decode()}")
    return shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_qemu_ends_with_the_lab_however_that_ends(number: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "run", "--", "sh", "-c", "echo up; sleep 100"], cwd=TOP, stdout=subprocess.PIPE
    ) as lab:
        assert lab.stdout is not None
        assert lab.stdout.readline() == b"up\n"
        (qemu,) = children(lab.pid)
        assert b"qemu-system" in Path(f"/proc/{qemu}/cmdline").read_bytes()
        lab.send_signal(number)
        status = lab.wait(timeout=20)
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 10
    while is_running(qemu):
        assert time.monotonic() < deadline, "QEMU is still there"
        time.sleep(0.05)
    left = [folder.name for folder in (cache.root() / "runs").glob(f"{lab.pid}-*")]
    if number != signal.SIGKILL:
        assert left == []
        return
    assert len(left) == 1  # nobody was left to tidy up: the next run does
    assert run("run", "--", "true").returncode == 0
    assert not list((cache.root() / "runs").glob(f"{lab.pid}-*"))


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
