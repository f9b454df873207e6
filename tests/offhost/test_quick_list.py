"""``pyxen list`` as a process that loads next to nothing: it says what the command itself says."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import fields

import pytest

import pyxen
from pyxen import DomainInfo
from pyxen.backends.xenlight.quick_list import quick_list
from tests.offhost.host import OffHost
from tests.offhost.setup import Release
from tests.offhost.world import How, Kind, Reason
from tests.waiting import join

QUICK = "pyxen.backends.xenlight.quick_list._PATIENCE"
PATIENT = 60.0
"""Seconds for a xenstored that answers, on a busy machine."""

READ, EVENT = 2, 15  # kinds of xenstored's messages

PROGRAM = """
import sys
sys.argv[1:] = {arguments!r}
import pyxen.backends.xenlight.libxl
pyxen.backends.xenlight.libxl.__path__.append({folder!r})
import pyxen.backends.xenlight.quick_list
pyxen.backends.xenlight.quick_list._PATIENCE = 60.0
from pyxen.cli import main
try:
    status = main()
except SystemExit as end:
    status = end.code
loaded = [name for name in ("typer", "rich", "typing", "pyxen.errors", "pyxen.host") if name in sys.modules]
print(int(status or 0), *loaded, file=sys.stderr)
"""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for xenstored before all is left to the command."""
    monkeypatch.setattr(QUICK, PATIENT)


def usual(host: pyxen.Host) -> list[dict[str, object]]:
    return [info.to_dict() for info in host.list()]


@pytest.mark.usefixtures("patient")
def test_it_lists_what_the_host_lists(offhost: OffHost, host: pyxen.Host) -> None:
    assert quick_list() == usual(host)
    domids = [offhost.add(f"web{number}", kind="pv") for number in range(70)]  # more than there are requests in flight
    domids += [offhost.add("windows", kind="hvm"), offhost.add("small")]
    offhost.world.crash(domids[0])
    for domid, reason in zip(domids[1:], Reason, strict=False):
        offhost.world.shut_down(domid, reason)
    offhost.world.linger(domids[10])
    host.domains[domids[10]].destroy()
    host.domains[domids[11]].pause()
    offhost.store.remove(f"/local/domain/{domids[12]}/name")
    offhost.store.write(f"/local/domain/{domids[13]}/target", str(domids[-2]))
    offhost.store.write(f"/local/domain/{domids[14]}/target", "x")
    found = quick_list()
    assert found == usual(host)
    assert found is not None
    assert [list(domain) for domain in found] == [[field.name for field in fields(DomainInfo)]] * len(found)
    assert {"crashed", "shutdown", "dying", "paused"} <= {domain["state"] for domain in found}
    assert {"pv", "pvh", "hvm"} == {domain["type"] for domain in found}
    assert {"poweroff", "reboot", "suspend", "crash", None} <= {domain["shutdown_reason"] for domain in found}
    assert [domain["domid"] for domain in found if domain["name"] is None] == [domids[10], domids[12]]
    assert {domain["domid"]: domain["stubdomain_of"] for domain in found if domain["stubdomain_of"] is not None} == {
        domids[13]: domids[-2]
    }


@pytest.mark.usefixtures("patient")
def test_what_is_out_of_the_ordinary_is_left_to_the_command(offhost: OffHost, monkeypatch: pytest.MonkeyPatch) -> None:
    with offhost.world.failing("sysctl.getdomaininfolist", errno.EPERM):  # all of them: xenconsoled asks, too
        assert quick_list() is None
    assert quick_list() is not None
    with offhost.world.sweeping(Kind.REQUESTS, 1, errno.ENOMEM, How.DENY):
        assert quick_list() is None
    offhost.signal_xenstored(signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(QUICK, 0.2)
        assert quick_list() is None
    offhost.signal_xenstored(signal.SIGCONT)
    assert quick_list() is not None


@pytest.mark.usefixtures("patient")
def test_what_is_no_control_domain_is_left_to_the_command(offhost: OffHost, host: pyxen.Host) -> None:
    assert quick_list() == usual(host)
    capabilities = offhost.root / "proc/xen/capabilities"
    said = capabilities.read_text()
    capabilities.write_text("")
    try:
        assert quick_list() is None
    finally:
        capabilities.write_text(said)


@pytest.mark.parametrize(
    "answer",
    [
        struct.pack("=IIII", READ, 0, 0, 6000) + b"x" * 6000,  # more than a message may have
        2 * (struct.pack("=IIII", READ, 0, 0, 1) + b"x"),
        struct.pack("=IIII", EVENT, 0, 0, 2) + b"a\0",
        b"",
    ],
    ids=["too long", "twice", "an event", "none"],
)
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_xenstored_that_makes_no_sense_is_left_to_the_command(
    offhost: OffHost, monkeypatch: pytest.MonkeyPatch, answer: bytes, pause: float
) -> None:
    path = str(offhost.folder / "odd")
    monkeypatch.setenv("XENSTORED_PATH", path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=_give_all, args=(listener, answer, pause))
        thread.start()
        assert quick_list() is None
        join(thread)


def _give_all(listener: socket.socket, answer: bytes, pause: float) -> None:
    """Be a xenstored that gives the same answer to each request, one after the other."""
    peer, _ = listener.accept()
    with peer, contextlib.suppress(ConnectionError):
        for _ in range(64):
            if not (header := peer.recv(16)):
                break
            peer.recv(struct.unpack("=IIII", header)[3])
            peer.sendall(answer)
            time.sleep(pause)


@pytest.mark.parametrize("environment", [{"XENSTORED_PATH": ""}, {"PYXEN_XL_CONF": "/no/such/file"}])
def test_settings_of_the_environment_are_left_to_the_command(
    offhost: OffHost, xen: Release, environment: dict[str, str]
) -> None:
    begin = f"import os\nos.environ.update({environment!r})\n"
    for arguments in (["list"], ["list", "--json"]):
        done = offhost.run_python(begin + PROGRAM.format(arguments=arguments, folder=str(xen.extension)))
        assert "typer" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_process_prints_the_same_and_loads_nothing(offhost: OffHost, xen: Release, options: list[str]) -> None:
    offhost.add("web", kind="pv")
    # What a table cannot show as it is, is left to the command.
    offhost.add('o"d\\d\u20ac\x7f\ufffd' if options else "db", kind="pv")
    folder = str(xen.extension)
    quick = offhost.run_python(PROGRAM.format(arguments=["list", *options], folder=folder))
    whole = offhost.run_python(PROGRAM.format(arguments=["list", "--uri=xenlight:///", *options], folder=folder))
    assert (quick.stderr, quick.stdout) == ("0\n", whole.stdout)
    assert whole.stderr.startswith("0 typer ")
    if options:
        domids = [domain["domid"] for domain in json.loads(quick.stdout)]
    else:
        domids = [int(line.split()[1]) for line in quick.stdout.splitlines()[1:]]
    assert domids == [0, 1, 2]


@pytest.mark.parametrize(
    ("to", "status", "said"),
    [
        (">&{closed}", 141, []),
        ("> /dev/full", 2, ["error: standard output: No space left on device"]),
        (">&-", 2, ["error: standard output: it is closed"]),
    ],
)
def test_an_output_that_takes_nothing(offhost: OffHost, xen: Release, to: str, status: int, said: list[str]) -> None:
    program = PROGRAM.format(arguments=["list"], folder=str(xen.extension))
    reading, closed = os.pipe()
    os.close(reading)  # nobody reads the pipe any more, before anything is written
    try:
        done = subprocess.run(
            ["bash", "-c", f'"$0" -c "$1" {to.format(closed=closed)}', sys.executable, program],
            env=offhost.environment, capture_output=True, text=True, check=False, timeout=60, pass_fds=[closed],
        )  # fmt: skip
    finally:
        os.close(closed)
    *lines, last = done.stderr.splitlines()
    assert (done.stdout, lines, last.split()[0]) == ("", said, str(status))
