"""A command at whose other end a migration's receiver is: what it says last, however much it says."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import Any

import pytest

from pyxen._common import piped_program
from pyxen.backends.xenlight.migration.peer_command import PeerCommand, command
from pyxen.errors import InvalidArgument
from pyxen.operation import Operation
from tests.waiting import SECONDS, until

OPERATION: Operation[Any] = Operation("migrate", 1)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a program the time that it needs to end on a busy machine."""
    monkeypatch.setattr(piped_program, "_TO_END", SECONDS)


def test_the_end_of_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piped_program, "_MOMENT", SECONDS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    program = "head -c 200000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo the reason >&2; exit 7"
    with PeerCommand(OPERATION, ["sh", "-c", program]) as peer:
        assert os.read(peer.read_fd, 1) == b""  # it has ended
        peer.hang_up()
        words = peer.last_words()
    assert words.startswith("; sh ended with status 7\n  xxx")
    assert words.endswith("\n  the reason")
    assert len(words) < 700
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_child_that_keeps_standard_error_open() -> None:
    with PeerCommand(OPERATION, ["sh", "-c", "echo so >&2; sleep 60 >/dev/null & exit 3"]) as peer:
        assert os.read(peer.read_fd, 1) == b""
        peer.hang_up()
        until(lambda: peer._errors._kept, "nothing was said")
        assert peer.last_words() == "; sh ended with status 3\n  so"


CAREFREE = """
import os, signal, socket
from pyxen._common import piped_program
from pyxen.backends.xenlight.migration.peer_command import PeerCommand
from pyxen.operation import Operation
piped_program._TO_END = piped_program._MOMENT = 60.0
for number in (signal.SIGCHLD, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
with socket.create_server(("127.0.0.1", 0)) as listener:
    listener.set_inheritable(True)
    show = "ls /proc/self/fd; grep -E 'Sig(Ign|Blk)' /proc/self/status"
    with PeerCommand(Operation("migrate", 1), ["sh", "-c", f"exec >&2; {show}; exit 3"]) as peer:
        peer.hang_up()
        print(peer.last_words())
"""


def test_it_has_nothing_of_the_application_and_no_status_is_made_up() -> None:
    done = subprocess.run([sys.executable, "-c", CAREFREE], capture_output=True, text=True, check=True, timeout=120)
    head, *said = done.stdout.splitlines()
    assert head.startswith("; sh ended with an unknown status: this process ignores SIGCHLD, or ")
    descriptors = [line.strip() for line in said if line.strip().isdigit()]
    assert descriptors == ["0", "1", "2", "3"]  # the last is that of ls itself
    assert [int(line.split()[1], 16) & 0x7FFFFFFF for line in said if "Sig" in line] == [
        0,
        0,
    ]  # not the C library's own


def test_no_such_program() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InvalidArgument, match="cannot run /no/such"):
        PeerCommand(OPERATION, ["/no/such"])
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("destination", [[1, 2], [None], ["sh", b"x"], None, 5, b"host2", {"sh": 1}, object()])
def test_what_is_no_destination(destination: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"remus: .* is no destination: give a host as for ssh"):
        command(destination, verb="remus")


def test_what_is_a_destination() -> None:
    assert command(("sh", "-c", "true")) == ("sh", "-c", "true")
    assert command("host2")[:2] == ("ssh", "host2")
    for empty in ((), ""):
        with pytest.raises(InvalidArgument):
            command(empty)
