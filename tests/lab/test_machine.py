"""A booted dom0 takes commands and files, and gives back what they did."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lab import BootFailed, CommandFailed, CommandTimeout, Lab, LabError, MachineHangs, agent

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_a_dom0_of_the_release_asked_for(any_dom0: Lab) -> None:
    listing = any_dom0.run(["xl", "list"], check=True).stdout.splitlines()
    assert listing[1].split()[:2] == ["Domain-0", "0"]
    info = any_dom0.run(["xl", "info"], check=True).stdout
    major, minor = any_dom0.release.xen.split(".")
    assert f"xen_major              : {major}\nxen_minor              : {minor}\n" in info


def test_it_has_the_processors_asked_for(dom0: Lab) -> None:
    assert "nr_cpus                : 1\n" in dom0.run(["xl", "info"], check=True).stdout
    with Lab(cpus=2) as two:
        assert "nr_cpus                : 2\n" in two.run(["xl", "info"], check=True).stdout


def test_dom0_runs_the_python_that_the_release_names(any_dom0: Lab) -> None:
    version = any_dom0.run(["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()
    assert version == any_dom0.release.python


def test_pyxen_is_imported_from_this_checkout(any_dom0: Lab) -> None:
    result = any_dom0.run(["python3", "-c", "import pyxen; print(pyxen.__file__)"], cwd="/", check=True)
    assert result.stdout == "/root/pyxen/src/pyxen/__init__.py\n"


def test_python_finds_its_compiled_files_up_to_date(any_dom0: Lab) -> None:
    result = any_dom0.run(["python3", "-v", "-c", "import pyxen"], check=True)
    assert "matches /root/pyxen/src/pyxen/__init__.py" in result.stderr


def test_the_bridge_is_up(any_dom0: Lab) -> None:
    assert "192.168.77.1/24" in any_dom0.run(["ip", "address", "show", "xenbr0"], check=True).stdout


def test_libvirt_drives_the_same_host(any_dom0: Lab) -> None:
    any_dom0.run(["lab-libvirtd"], check=True, timeout=60)
    assert "Domain-0" in any_dom0.run(["virsh", "--connect", "xen:///system", "list"], check=True).stdout


def test_a_port_of_ours_leads_into_dom0(any_dom0: Lab) -> None:
    any_dom0.run(["lab-sshd"], check=True, timeout=180)
    with socket.create_connection(("127.0.0.1", any_dom0.forward(22)), timeout=30) as link:
        assert link.recv(4) == b"SSH-"


def test_status_and_both_streams_come_back(dom0: Lab) -> None:
    result = dom0.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (result.status, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_a_signal_shows_as_128_and_its_number(dom0: Lab) -> None:
    assert dom0.run(["sh", "-c", "kill -TERM $$"]).status == 143


def test_a_program_that_is_missing(dom0: Lab) -> None:
    result = dom0.run(["no-such-program"])
    assert result.status == 127
    assert "no-such-program" in result.stderr


def test_much_output_comes_complete(dom0: Lab) -> None:
    result = dom0.run(["seq", "200000"], check=True)
    assert result.stdout == "".join(f"{number}\n" for number in range(1, 200001))


def test_output_comes_while_the_command_runs(dom0: Lab) -> None:
    read, write = os.pipe()
    shown = b""

    def show(data: bytes) -> None:
        nonlocal shown
        if not shown:
            os.write(write, b"second\n")  # which the command waits for
        shown += data

    try:
        dom0.run(["sh", "-c", "echo first; read line; echo $line"], stdin=read, on_stdout=show, timeout=120, check=True)
    finally:
        os.close(read)
        os.close(write)
    assert shown == b"first\nsecond\n"


def test_a_child_left_in_the_background_does_not_hold_the_command(dom0: Lab) -> None:
    started = time.monotonic()
    assert dom0.run(["sh", "-c", "sleep 300 & echo left"]).stdout == "left\n"
    assert time.monotonic() - started < 200


def test_folder_and_environment(dom0: Lab) -> None:
    assert dom0.run(["pwd"]).stdout == "/root/pyxen\n"
    assert dom0.run(["sh", "-c", "pwd; echo $NAME"], cwd="/srv", env={"NAME": "value"}).stdout == "/srv\nvalue\n"


def test_standard_input_is_empty_unless_given(dom0: Lab) -> None:
    assert dom0.run(["wc", "-c"]).stdout == "0\n"
    read, write = os.pipe()
    data = bytes(range(256)) * 400

    def feed() -> None:
        with os.fdopen(write, "wb") as pipe:
            pipe.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        assert dom0.run(["wc", "-c"], stdin=read, timeout=60).stdout == f"{len(data)}\n"
    finally:
        feeder.join(60)
        os.close(read)


def test_a_command_that_takes_too_long_is_killed(dom0: Lab) -> None:
    with pytest.raises(CommandTimeout, match="did not end within 10 s") as caught:
        dom0.run(["sh", "-c", "echo begun; sleep 100"], timeout=10)
    assert caught.value.stdout == "begun\n"
    assert dom0.run(["pgrep", "-f", "sleep 100"]).status == 1
    assert dom0.run(["true"]).status == 0


def test_check_raises_with_the_reason(dom0: Lab) -> None:
    with pytest.raises(CommandFailed, match=r"(?s)status 2 in dom0.*No such file"):
        dom0.run(["ls", "/nowhere"], check=True)


def test_files_go_in_and_come_out(dom0: Lab, tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    (tmp_path / "in").write_bytes(data)
    dom0.put(tmp_path / "in", "/srv/new folder/file")
    dom0.get("/srv/new folder/file", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


def test_a_later_smaller_file_is_not_mixed_with_an_earlier_one(dom0: Lab, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 3_000_000)
    dom0.put(tmp_path / "in", "/srv/big")
    (tmp_path / "in").write_bytes(b"small")
    dom0.put(tmp_path / "in", "/srv/small")
    dom0.get("/srv/small", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"small"


def test_folders_go_in_and_come_out(dom0: Lab, tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/script").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "tree/sub/script").chmod(0o755)
    dom0.put(tmp_path / "tree", "/srv/tree")
    assert dom0.run(["/srv/tree/sub/script"]).stdout == "ran\n"
    dom0.get("/srv/tree", tmp_path / "back")
    assert (tmp_path / "back/sub/script").read_text() == "#!/bin/sh\necho ran\n"


def test_files_that_are_missing(dom0: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there is no"):
        dom0.put(tmp_path / "missing", "/srv/missing")
    with pytest.raises(CommandFailed, match="No such file"):
        dom0.get("/srv/missing", tmp_path / "missing")


def test_the_clock_is_right(dom0: Lab) -> None:
    before = time.time()
    told = float(dom0.run(["date", "+%s.%N"]).stdout)
    assert before - 3 < told < time.time() + 3


def test_two_run_side_by_side(dom0: Lab) -> None:
    with Lab() as other:
        other.run(["touch", "/srv/only-here"], check=True)
        assert other.pid != dom0.pid
        assert dom0.run(["test", "-e", "/srv/only-here"]).status == 1
        assert dom0.run(["xl", "list"]).status == 0
        assert other.run(["xl", "list"]).status == 0


def test_a_machine_that_dies_says_so() -> None:
    with Lab() as lab:
        os.kill(lab.pid, 9)
        with pytest.raises(BootFailed, match="dom0 died"):
            lab.run(["true"])


def test_a_machine_that_hangs_is_told_from_a_command_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "_SILENCE", 2.0)
    with Lab() as lab:
        assert lab.run(["sleep", "5"]).status == 0
        os.kill(lab.pid, signal.SIGSTOP)
        try:
            with pytest.raises(MachineHangs, match="no sign of life"):
                lab.run(["true"])
        finally:
            os.kill(lab.pid, signal.SIGCONT)


def test_a_lab_that_is_not_running() -> None:
    lab = Lab()
    with pytest.raises(LabError, match="not running"):
        lab.run(["true"])
    lab.close()


def test_an_unknown_release() -> None:
    with pytest.raises(LabError, match=r"does not carry Xen 3\.0; it has 4\.20, 4\.17"):
        Lab(xen="3.0")
