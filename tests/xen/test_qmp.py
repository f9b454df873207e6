"""QMP with a real QEMU, beside libxl and other clients."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest

import pyxen.aio
from pyxen import Disk, Domain, DomainState, Host, OperationTimeout, QmpError, UnsupportedFeature
from tests.xen.support import MakeConfig, wait_until, xenstore_entries, xl


def test_commands(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("hvm"), timeout=180)
    qmp = domain.qmp
    assert qmp.execute("query-status")["status"] == "running"
    assert qmp.execute("query-name")["name"] == "tiny"
    assert len(qmp.execute("query-qmp-schema")) > 100  # the longest answer that there is
    version = qmp.execute("human-monitor-command", {"command-line": "info version"}).strip()
    assert version == xl("qemu-monitor-command", str(domain.domid), "info version").strip()
    assert version == domain.monitor_command("info version").strip()
    with pytest.raises(QmpError, match="query-nothing") as caught:
        qmp.execute("query-nothing")
    assert caught.value.error_class == "CommandNotFound"
    with pytest.raises(QmpError) as caught:
        qmp.execute("blockdev-del", {"node-name": "no-such-node"})
    assert (caught.value.error_class, caught.value.domid) == ("GenericError", domain.domid)
    assert caught.value.description

    async def awaited() -> str:
        async with pyxen.aio.connect("xenlight:///") as xen:
            return str((await (await xen.domains[domain.domid]).qmp.execute("query-status"))["status"])

    assert asyncio.run(awaited()) == "running"

    # While another client is connected, QEMU does not serve this one, and libxl goes on.
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(30)
        other.connect(f"/var/run/xen/qmp-libxenstat-{domain.domid}")
        assert b"QMP" in other.recv(4096)
        with pytest.raises(OperationTimeout, match="has not been given the command"):
            qmp.execute("system_powerdown", timeout=0.5)
        assert domain.monitor_command("info version").strip() == version
    assert qmp.execute("query-status", timeout=60)["status"] == "running"
    assert host.stats()
    domain.destroy()


def test_a_guest_without_qemu(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pvh"))
    with pytest.raises(UnsupportedFeature, match="no QEMU"):
        domain.qmp.execute("query-status")
    domain.destroy()


def test_events(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("hvm"), timeout=180)
    with domain.qmp.events("STOP", "RESUME", timeout=120) as events:
        domain.qmp.execute("stop")
        assert next(events).name == "STOP"
        domain.qmp.execute("cont")
        event = next(events)
        assert (event.name, event.data) == ("RESUME", {})
        assert event.time is not None
        assert abs(time.time() - event.time.timestamp()) < 3600
        assert "VM status" in xl("qemu-monitor-command", str(domain.domid), "info status")  # by libxl's own socket
        assert "VM status" in domain.monitor_command("info status")
        assert [stats.info.domid for stats in host.stats()] == [0, domain.domid]
        assert domain.qmp.execute("query-status")["status"] == "running"
    assert domain.qmp.execute("query-status")["status"] == "running"

    async def awaited() -> None:
        async with pyxen.aio.connect() as xen:
            qmp = (await xen.domains[domain.domid]).qmp
            async with qmp.events(timeout=120) as events:
                await qmp.execute("stop")
                assert (await anext(events)).name == "STOP"
                await qmp.execute("cont")
                assert (await anext(events)).name == "RESUME"
            assert (await qmp.execute("query-status"))["status"] == "running"

    asyncio.run(awaited())
    with domain.qmp.events(timeout=120) as events:
        domain.destroy()
        list(events)  # QEMU has ended


@pytest.mark.long
def test_qemu_is_killed(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    config = tiny("hvm")
    domain = host.create(config.replace(disks=[*config.disks, Disk(None, vdev="hdc", cdrom=True)]), timeout=180)
    disc = tmp_path / "disc.iso"
    disc.write_bytes(bytes(1 << 16))
    [qemu] = qemus(domain.domid)
    os.kill(qemu, signal.SIGKILL)
    wait_until(lambda: not qemus(domain.domid))
    with pytest.raises(QmpError, match="QEMU has ended"):
        domain.insert_cdrom("hdc", disc, timeout=30)
    with pytest.raises(QmpError, match="QEMU, which would serve it, has ended"):
        domain.attach(Disk(str(disc), vdev="xvdb", backendtype="qdisk"), timeout=30)
    with pytest.raises(QmpError, match="QEMU has ended"):
        domain.save(tmp_path / "saved", timeout=30)
    assert not (tmp_path / "saved").exists()
    domain.destroy(timeout=30)


@pytest.mark.long
def test_qemu_hangs_in_a_suspend(host: Host, tiny: MakeConfig) -> None:
    before = xenstore_entries()
    domain = host.create(tiny("hvm"), timeout=180)
    wait_until(lambda: rests(domain))
    [qemu] = qemus(domain.domid)
    os.kill(qemu, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        with pytest.raises((QmpError, OperationTimeout)) as failed:
            domain.suspend(timeout=5)
        assert time.monotonic() - begin < 150  # libxl waits a minute for a QEMU that is to go on
        state = domain.info().state
    finally:
        os.kill(qemu, signal.SIGCONT)
    if state is DomainState.SHUTDOWN:
        assert "it is suspended, since its QEMU does not answer" in str(failed.value)
        domain.resume()
    else:  # its vCPU waits for QEMU, and Xen with it
        assert "undone" in str(failed.value)
    assert domain.qmp.execute("query-status", timeout=60)["status"] == "running"
    time.sleep(2)  # in which it would suspend after all
    assert domain.info().shutdown_reason is None
    domain.destroy(timeout=60)
    wait_until(lambda: not qemus(domain.domid))
    assert xenstore_entries() == before


def rests(domain: Domain) -> bool:
    """Tell whether a guest has nothing to do for a while."""
    used = domain.info().cpu_time_ns
    time.sleep(1)
    return used > 10**9 and domain.info().cpu_time_ns - used < 10**8


def qemus(domid: int) -> list[int]:
    """Return the pids of a domain's QEMUs."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"qmp-libxenstat-%d," % domid in path.read_bytes()
    ]
