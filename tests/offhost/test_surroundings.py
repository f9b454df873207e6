"""What an application does to the process that pyxen runs in: to its descriptors, its children, its end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import pyxen
from tests.offhost.host import OffHost

BEGINNING = """
import fcntl, os, signal, sys, threading
import pyxen
from tests.offhost.internals import use_extension
from tests.offhost.setup import release
kernel, xen, workers, report = sys.argv[1:]
use_extension(release(xen))
sys.executable = str(release(xen).python)
config = pyxen.DomainConfig("web", type="pvh", kernel=kernel, memory=16)
report = fcntl.fcntl(os.open(report, os.O_WRONLY | os.O_CREAT), fcntl.F_DUPFD_CLOEXEC, 100)
def say(text):
    os.write(report, f"{text}\\n".encode())
"""

WITHOUT_DESCRIPTORS = """
from tests.offhost.host import children
os.closerange(0, 100)
with pyxen.connect(workers=int(workers)) as host, host.events():
    web = host.create(config, timeout=60)
    say([info.name for info in host.list()])
    for pid in children():
        say([os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)])
    web.set_userdata("note", b"x")
    web.destroy(timeout=60)
say("end")
"""

WITH_A_REAPER = """
def reap():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            pass
threading.Thread(target=reap, daemon=True).start()
with pyxen.connect(workers=int(workers)) as host:
    web = host.create(config, timeout=60)
    try:
        web.destroy(timeout=60)
    except pyxen.OperationFailed:
        say("failed")
say("end")
"""

WITH_WORK_LEFT = """
host = pyxen.connect(workers=int(workers))
first = host.create(config, timeout=60)
ending = first.begin.destroy()
begun = [host.begin.create(config.replace(name=f"web{number}")) for number in range(3)]
say("end")
"""

WITH_XENSTORED_HUNG = """
host = pyxen.connect(workers=int(workers))
first = host.create(config, timeout=60)
os.kill(int(os.environ["XENSTORED"]), signal.SIGSTOP)
begun = [host.begin.create(config.replace(name=f"web{number}")) for number in range(2)]
say("end")
"""


def run(offhost: OffHost, kernels: dict[str, str], folder: Path, program: str, workers: int) -> list[str]:
    """Run a program on the host, see that it ends well, and return what it has reported."""
    report = folder / "report"
    arguments = [kernels["pvh"], offhost.release.name, str(workers), str(report)]
    done = offhost.run_python(BEGINNING + program, *arguments, timeout=240)
    assert done.returncode == 0, done.stderr
    return report.read_text().splitlines()


@pytest.fixture
def settled(host: pyxen.Host, kernels: dict[str, str], offhost: OffHost) -> pyxen.Host:
    """The host, on which what comes with the first domain is there already."""
    host.create(pyxen.DomainConfig("first", type="pvh", kernel=kernels["pvh"], memory=16)).destroy()
    assert offhost.left() == []
    return host


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("workers", [0, 1])
def test_descriptors_0_to_2_are_closed(offhost: OffHost, kernels: dict[str, str], tmp_path: Path, workers: int) -> None:
    said = run(offhost, kernels, tmp_path, WITHOUT_DESCRIPTORS, workers)
    assert said == ["['Domain-0', 'web']", *[str(["/dev/null"] * 3)] * workers, "end"]
    assert offhost.left() == []


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("workers", [0, 1])
def test_another_thread_waits_for_any_child(
    offhost: OffHost, kernels: dict[str, str], tmp_path: Path, workers: int
) -> None:
    said = run(offhost, kernels, tmp_path, WITH_A_REAPER, workers)
    # The children of a worker are its own. Of libxl's in this process, the status is known to the first who asks.
    assert said == ["end"] or (not workers and said == ["failed", "end"])
    assert offhost.left() == []


@pytest.mark.parametrize("workers", [0, 1])
def test_the_program_ends_while_domains_come_and_go(
    offhost: OffHost, settled: pyxen.Host, kernels: dict[str, str], tmp_path: Path, workers: int
) -> None:
    assert run(offhost, kernels, tmp_path, WITH_WORK_LEFT, workers) == ["end"]
    assert offhost.left() == []
    assert settled.orphans() == ()


def test_the_program_ends_while_xenstored_hangs(
    offhost: OffHost, kernels: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XENSTORED", (offhost.folder / "xenstored.pid").read_text().strip())
    try:
        assert run(offhost, kernels, tmp_path, WITH_XENSTORED_HUNG, 1) == ["end"]
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
