"""What goes wrong: the fitting exception with libxl's own reason, nothing left behind, and the host usable afterwards.

That nothing is left behind is checked after each test by the fixture ``nothing_left``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import (
    Disk,
    DomainExists,
    DomainNotFound,
    DomainState,
    Error,
    FileMissing,
    Host,
    InvalidArgument,
    Scheduler,
    UnsupportedFeature,
    ValidationError,
    Vif,
)
from tests.forks import told_by_a_child
from tests.xen.support import MakeConfig, joined, wait_until


@pytest.fixture(autouse=True)
def usable_afterwards(host: Host, tiny: MakeConfig) -> object:
    """Create and destroy a domain after each test, on the same host."""
    yield
    host.create(tiny(name="afterwards")).destroy()


def test_kernel_missing(host: Host, tiny: MakeConfig) -> None:
    with pytest.raises(FileMissing, match="/no/such/kernel") as caught:
        host.create(tiny(kernel="/no/such/kernel"))
    error = caught.value
    assert isinstance(error, FileNotFoundError)
    assert (error.operation, error.domain, error.code) == ("create", "tiny", -3)
    assert any("No such file or directory" in line for line in error.log)
    assert "No such file or directory" in str(error)


def test_disk_missing(host: Host, tiny: MakeConfig) -> None:
    with pytest.raises(FileMissing, match="/no/such/disk") as caught:
        host.create(tiny(disks=[Disk("/no/such/disk", vdev="xvda")]))
    assert any("/no/such/disk" in line for line in caught.value.log)


def test_bridge_missing(host: Host, tiny: MakeConfig) -> None:
    with pytest.raises(pyxen.OperationFailed) as caught:
        host.create(tiny(vifs=[Vif(bridge="nosuchbr")]))
    assert any("vif-bridge" in line for line in caught.value.log)


def test_kernel_is_no_kernel(host: Host, tiny: MakeConfig) -> None:
    with pytest.raises(pyxen.OperationFailed) as caught:
        host.create(tiny(kernel="/etc/passwd"))
    assert caught.value.log


@pytest.mark.parametrize(
    ("guest", "settings"),
    [
        ("pv", {"memory": 4}),
        ("pvh", {"memory": 2}),
        ("hvm", {"memory": 10}),
        ("hvm", {"memory": 18, "vga": "stdvga"}),
        ("hvm", {"memory": 2, "vga": "none"}),
        ("pvh", {"memory": 32.5, "maxmem": 64}),
        ("pv", {"memory": 16, "vcpus": 1024}),
        ("pvh", {"memory": 16, "vcpus": 128}),
    ],
)
def test_the_limits_of_xen_are_not_refused(host: Host, tiny: MakeConfig, guest: str, settings: dict[str, Any]) -> None:
    host.create(tiny(guest, disks=[], **settings), paused=True).destroy()  # no disk: its script takes time


@pytest.mark.parametrize("text", ["type='pv' memory=3", "type='pvh' memory=1", "type='pvh' memory=16 maxvcpus=129"])
def test_xl_does_not_get_beyond_them_either(tmp_path: Path, tiny: MakeConfig, text: str) -> None:
    kernel = tiny("pv" if "'pv'" in text else "pvh").kernel
    (tmp_path / "beyond").write_text("\n".join([f"name='beyond' kernel='{kernel}'", text]).replace(" ", "\n"))
    command = ["xl", "create", "-p", str(tmp_path / "beyond")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0, done.stdout + done.stderr
    assert "libxl: error" in done.stderr


@pytest.mark.parametrize("guest", ["pv", "pvh"])
def test_a_kernel_that_does_not_fit(host: Host, linux: MakeConfig, guest: str) -> None:
    with pytest.raises(InvalidArgument, match="no room in the guest's memory: give it more"):
        host.create(linux(guest, memory=16))


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"cpus": "900"}, ValidationError, "cpus: 900: the domain's CPU pool has none of them; it has 0"),
        ({"cpus": ["0", "900"], "vcpus": 2}, ValidationError, "900: the domain's CPU pool has none"),
        (
            {"scheduler": Scheduler(kind="rtds")},
            UnsupportedFeature,
            "kind=rtds: .* has the scheduler credit2",
        ),
        ({"pool": "nowhere"}, InvalidArgument, "pool=nowhere: the host has no CPU pool of that name"),
    ],
)
def test_what_the_cpu_pool_has_not(
    host: Host, tiny: MakeConfig, settings: dict[str, Any], error: type[Error], says: str
) -> None:
    with pytest.raises(error, match=says):
        host.create(tiny(**settings))
    host.create(tiny(cpus="0,900", scheduler=Scheduler(kind="credit2"), pool="Pool-0")).destroy()


@pytest.mark.parametrize("guest", ["pv", "pvh", "hvm"])
def test_name_in_use(host: Host, tiny: MakeConfig, guest: str) -> None:
    first = host.create(tiny(name="taken"), paused=True)
    with pytest.raises(DomainExists, match=f"domain {first.domid} already has the name 'taken'"):
        host.create(tiny(guest, name="taken"))
    assert [info.name for info in host.list()][1:] == ["taken"]
    assert first.info().state is DomainState.PAUSED
    first.destroy()


def test_newer_than_this_xen(host: Host, tiny: MakeConfig) -> None:
    with pytest.raises(UnsupportedFeature, match="xenstore_feature_mask"):
        host.create(tiny(xenstore_feature_mask=1))


def test_domid_that_was_reused(host: Host, tiny: MakeConfig) -> None:
    old = host.create(tiny(name="old", domid=4242))
    old.destroy()
    wait_until(lambda: all(info.domid != old.domid for info in host.list()))  # until Xen has its memory back
    Path("/var/run/xen/domid-history").unlink()  # libxl would keep the domid back for a minute
    new = host.create(tiny(name="new", domid=4242))
    assert new.domid == old.domid == 4242
    for call in (old.destroy, old.pause, old.info):
        with pytest.raises(DomainNotFound):
            call()
    assert new.info().name == "new"
    assert host.list()[-1].name == "new"
    new.destroy()


def _interrupted(call: Callable[[], object], after: float) -> None:
    """Press Ctrl-C some time after a call began."""
    timer = threading.Timer(after, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        joined(timer)


@pytest.mark.parametrize(("guest", "after"), [("pvh", 0.03), ("pvh", 0.08), ("hvm", 0.1), ("hvm", 0.5)])
def test_ctrl_c_in_the_middle_of_a_create(host: Host, tiny: MakeConfig, guest: str, after: float) -> None:
    def create_until_interrupted() -> None:
        while True:  # wherever in a create the signal comes, nothing may stay
            host.create(tiny(guest)).destroy()

    _interrupted(create_until_interrupted, after)


def test_close_stops_what_runs(host: Host, tiny: MakeConfig) -> None:
    other = pyxen.connect()
    domain = other.create(tiny(cmdline="ignore"))
    failures: list[BaseException] = []

    def shut_down() -> None:
        try:
            domain.shutdown()
        except pyxen.OperationCancelled as error:
            failures.append(error)

    thread = threading.Thread(target=shut_down)
    thread.start()
    time.sleep(0.5)
    other.close()
    thread.join(30)
    assert len(failures) == 1
    assert "closed" in str(failures[0])
    host.domains["tiny"].destroy()


def test_never_closed_warns() -> None:
    other = pyxen.connect()
    with pytest.warns(ResourceWarning, match="never closed"):
        del other


def test_after_a_fork(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny())

    def open_anew() -> int:
        with pyxen.connect() as anew:
            anew.create(tiny(name="by-the-child")).destroy()
            return len(anew.domains)

    calls = [host.list, host.info, domain.destroy, domain.info, open_anew]
    assert told_by_a_child(calls) == [*["HostClosed"] * 4, "2"]
    assert domain.info().state in {DomainState.RUNNING, DomainState.BLOCKED}
    domain.destroy()


def test_not_root(tmp_path: Path) -> None:
    # A copy, since root's home, where the checkout may be, is closed to others.
    shutil.copytree(Path(pyxen.__file__).parent, tmp_path / "pyxen")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    program = """
import pyxen
try:
    pyxen.connect()
except pyxen.NotPrivileged as error:
    print(isinstance(error, PermissionError), error)
"""
    nobody = 65534
    done = subprocess.run(
        [sys.executable, "-c", program],
        user=nobody,
        group=nobody,
        extra_groups=[],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.startswith("True no permission for"), done.stderr
    assert "run this as root" in done.stdout
