"""Pools and clones on the real libxl: what their guests are called, what they remember, what a dead process leaves."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import pyxen
from pyxen import DomainConfig, OperationFailed, Vif
from pyxen.records.info import DomainState
from tests.offhost.host import OffHost, until
from tests.unit.remote.sockets import at_socket

Configure = Callable[..., DomainConfig]

FRAME = 0x2000  # of a guest's memory; neither its kernel nor its page tables are there
MARK = b"what a guest has in mind"


def ready(host: pyxen.Host) -> set[str]:
    """Return the names of the guests of pools that nobody has taken."""
    return {str(info.name) for info in host.list() if "--ready-" in str(info.name)}


def test_a_guest_is_taken(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    with host.pool(config(vifs=[Vif(bridge="xenbr0")]), size=2, timeout=60) as pool:
        pool.wait(timeout=60)
        before = ready(host)
        web = pool.take("web1")
        assert offhost.store.read(f"/local/domain/{web.domid}/name") == "web1"
        assert (web.info().name, web.config().name, web.config().uuid) == ("web1", "web1", web.uuid)
        (vif,) = web.config().vifs
        assert offhost.store.read(f"/libxl/{web.domid}/device/vif/0/mac") == vif.mac
        assert len(ready(host) & before) == 1
    assert ready(host) == set()
    web.destroy()
    assert offhost.left() == []


def test_a_call_of_a_take_fails(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    with host.pool(config(), size=1, timeout=60) as pool:
        pool.wait(timeout=60)
        with offhost.world.failing("domctl.unpausedomain", errno.EIO, nth=1, times=1), pytest.raises(OperationFailed):
            pool.take("web1", timeout=20)
        assert host.domains.get("web1") is None
        assert pool.take("web1", timeout=20).info().name == "web1"
    host.domains["web1"].destroy()
    assert offhost.left() == []


def test_clones_and_a_pool_of_a_saved_guest(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path
) -> None:
    web = host.create(config(memory=64))
    with offhost.world.frame(web.domid, FRAME) as frame:
        frame[: len(MARK)] = MARK
    offhost.guest(web.domid).obey()
    web.save(tmp_path / "saved", timeout=20)
    clones = host.clone(tmp_path / "saved", 3, timeout=60)
    with host.pool(saved=tmp_path / "saved", size=1, timeout=60) as pool:
        clones.append(pool.take("booted", timeout=60))
    assert [clone.info().name for clone in clones] == ["web-1", "web-2", "web-3", "booted"]
    assert len({clone.uuid for clone in clones} - {web.uuid}) == 4
    for clone in clones:
        assert clone.info().state is DomainState.BLOCKED
        assert offhost.store.read(f"/local/domain/{clone.domid}/vm") == f"/vm/{clone.uuid}"
        with offhost.world.frame(clone.domid, FRAME) as frame:
            assert frame[: len(MARK)] == MARK
        clone.destroy()
    assert offhost.left() == []


PROGRAM = """
import sys, pyxen
from tests.offhost.internals import use_extension
from tests.offhost.setup import release
use_extension(release(sys.argv[2]))
sys.executable = str(release(sys.argv[2]).python)
config = pyxen.DomainConfig(name='web', type='pvh', kernel=sys.argv[1], memory=16)
host = pyxen.connect('xenlight:///')
pool = host.pool(config, size=2)
pool.take('taken', paused=True)
pool.wait(timeout=60)
print('now', flush=True)
sys.stdin.readline()
"""


def test_the_process_of_a_pool_is_killed(
    offhost: OffHost, host: pyxen.Host, config: Configure, kernels: dict[str, str]
) -> None:
    with offhost.python(PROGRAM, kernels["pvh"], offhost.release.name) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        left = ready(host)
        assert len(left) == 2
        assert host.orphans() == ()  # its process lives
        process.kill()
    until(lambda: {orphan.info().name for orphan in host.orphans()} == left, "they are not found")
    with host.pool(config(name="other"), size=1, timeout=60):
        assert left.isdisjoint(info.name for info in host.list())
    assert host.orphans() == ()
    host.domains["taken"].destroy()  # which was handed out
    assert offhost.left() == []


REMOTE = """
import sys, pyxen
config = pyxen.DomainConfig(name='web', type='pvh', kernel=sys.argv[1], memory=16)
host = pyxen.connect(sys.argv[2])
pool = host.pool(config, size=2)
pool.take('taken', paused=True)
pool.wait(timeout=60)
print('now', flush=True)
sys.stdin.readline()
"""


def test_the_client_of_a_server_is_killed_with_its_pool(
    offhost: OffHost, host: pyxen.Host, kernels: dict[str, str]
) -> None:
    """Its server has recorded whose they are, and lets go of them."""
    with TemporaryDirectory(dir="/tmp") as folder, at_socket(Path(folder, "s"), "xenlight:///") as served:
        with offhost.python(REMOTE, kernels["pvh"], served.uri) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"now\n"
            left = ready(host)
            assert len(left) == 2
            assert host.orphans() == ()
            process.kill()
        until(lambda: {orphan.info().name for orphan in host.orphans()} == left, "they are not found")
        with pyxen.connect(served.uri) as again:
            assert {orphan.info().name for orphan in again.orphans()} == left
            for orphan in again.orphans():
                orphan.destroy()
        assert host.orphans() == ()
    host.domains["taken"].destroy()  # which was handed out
    assert offhost.left() == []
