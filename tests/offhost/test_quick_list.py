"""``pyxen list`` as a process that loads next to nothing: it says what the command itself says."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys

import pytest

import pyxen
from pyxen.backends.xenlight.quick_list import quick_list
from tests.offhost.host import OffHost
from tests.offhost.setup import Release
from tests.offhost.world import How, Kind, Reason

PROGRAM = """
import sys
sys.argv[1:] = {arguments!r}
import pyxen.backends.xenlight.libxl
pyxen.backends.xenlight.libxl.__path__.append({folder!r})
from pyxen.cli import main
try:
    status = main()
except SystemExit as end:
    status = end.code
loaded = [name for name in ("typer", "rich", "typing", "pyxen.errors", "pyxen.host") if name in sys.modules]
print(int(status or 0), *loaded, file=sys.stderr)
"""


def usual(host: pyxen.Host) -> list[tuple[object, ...]]:
    return [
        (info.domid, info.name, info.memory_kib, info.vcpus, str(info.state), info.cpu_time_ns) for info in host.list()
    ]


def test_it_lists_what_the_host_lists(offhost: OffHost, host: pyxen.Host) -> None:
    assert quick_list() == usual(host)
    domids = [offhost.add(f"web{number}", kind="pv") for number in range(70)]  # more than there are requests in flight
    offhost.world.crash(domids[0])
    offhost.world.shut_down(domids[1], Reason.POWEROFF)
    offhost.world.linger(domids[2])
    host.domains[domids[2]].destroy()
    host.domains[domids[3]].pause()
    offhost.store.remove(f"/local/domain/{domids[4]}/name")
    found = quick_list()
    assert found == usual(host)
    assert found is not None
    assert {"crashed", "shutdown", "dying", "paused"} <= {state for _, _, _, _, state, _ in found}
    assert None in {name for _, name, _, _, _, _ in found}


def test_what_is_out_of_the_ordinary_is_left_to_the_command(offhost: OffHost, monkeypatch: pytest.MonkeyPatch) -> None:
    with offhost.world.failing("sysctl.getdomaininfolist", errno.EPERM):  # all of them: xenconsoled asks, too
        assert quick_list() is None
    assert quick_list() is not None
    with offhost.world.sweeping(Kind.REQUESTS, 1, errno.ENOMEM, How.DENY):
        assert quick_list() is None
    monkeypatch.setattr("pyxen.backends.xenlight.quick_list._PATIENCE", 0.2)
    offhost.signal_xenstored(signal.SIGSTOP)
    assert quick_list() is None
    offhost.signal_xenstored(signal.SIGCONT)
    assert quick_list() is not None


def test_the_process_prints_the_same_and_loads_nothing(offhost: OffHost, xen: Release) -> None:
    offhost.add("web", kind="pv")
    folder = str(xen.extension)
    quick = offhost.run_python(PROGRAM.format(arguments=["list"], folder=folder))
    whole = offhost.run_python(PROGRAM.format(arguments=["list", "--uri=xenlight:///"], folder=folder))
    assert (quick.stderr, quick.stdout) == ("0\n", whole.stdout)
    assert whole.stderr.startswith("0 typer ")
    assert [line.split()[:2] for line in quick.stdout.splitlines()] == [["Name", "ID"], ["Domain-0", "0"], ["web", "1"]]


@pytest.mark.parametrize(
    ("to", "status", "said"),
    [
        ("| head -0", 141, []),
        ("> /dev/full", 2, ["error: standard output: No space left on device"]),
        (">&-", 2, ["error: standard output: it is closed"]),
    ],
)
def test_an_output_that_takes_nothing(offhost: OffHost, xen: Release, to: str, status: int, said: list[str]) -> None:
    program = PROGRAM.format(arguments=["list"], folder=str(xen.extension))
    done = subprocess.run(
        ["bash", "-c", f'{{ sleep 0.1; "$0" -c "$1"; }} {to}', sys.executable, program],
        env=offhost.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    *lines, last = done.stderr.splitlines()
    assert (done.stdout, lines, last.split()[0]) == ("", said, str(status))
