"""Connecting, listing, and what is there."""

from __future__ import annotations

import errno
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

import pyxen
from pyxen.records.info import DomainState
from tests.offhost.host import OffHost, until
from tests.offhost.internals import let_readers_say_all, libxl_lock
from tests.offhost.setup import Release
from tests.offhost.world import Reason


def test_domain_0_is_there(host: pyxen.Host, xen: Release) -> None:
    [dom0] = host.list()
    assert (dom0.domid, dom0.name, dom0.vcpus) == (0, "Domain-0", 4)
    assert host.info().xen_version == f"{xen.name}.0-pretended"


def test_what_its_xen_says(host: pyxen.Host, xen: Release) -> None:
    info = host.info()
    assert info.xen_version_info == (4, int(xen.name.split(".")[1]), ".0-pretended")
    assert info.xen_caps == ("xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_32p", "hvm-3.0-x86_64")
    assert info.xen_commandline == "dom0_mem=1024M,max:1024M"
    assert (info.xen_changeset, info.build_id) == ("unavailable", "")
    assert (info.xen_scheduler, info.cc_compiler) == ("credit2", "none")
    assert info.to_dict()["capabilities"] == ["gnttab-v1", "gnttab-v2", "hap", "hvm", "pv", "shadow"]


@pytest.mark.parametrize(
    "call",
    ["sysctl.physinfo", "sysctl.sched_id", "sysctl.cpupool_op", "memory.get_sharing_freed_pages"],
)
def test_figures_that_xen_refuses(offhost: OffHost, host: pyxen.Host, call: str) -> None:
    with offhost.world.failing(call, errno.EPERM, nth=1, times=1), pytest.raises(pyxen.OperationFailed, match="Xen"):
        host.info()
    assert host.info().nr_cpus == 4


def test_what_libxenctrl_says_meanwhile_is_logged(
    offhost: OffHost, host: pyxen.Host, caplog: pytest.LogCaptureFixture
) -> None:
    let_readers_say_all(host)
    with (
        caplog.at_level(logging.DEBUG, "pyxen.libxl"),
        offhost.world.failing("sysctl.physinfo", errno.EACCES, nth=1, times=1),
        pytest.raises(pyxen.OperationFailed),
    ):
        host.info()
    assert "need to rebuild the user-space tool set" in caplog.text


@pytest.mark.parametrize("call", ["sysctl.cputopoinfo", "sysctl.numainfo", "sysctl.cpupool_op"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_topology_that_xen_refuses(offhost: OffHost, host: pyxen.Host, call: str, nth: int) -> None:
    with offhost.world.failing(call, errno.EPERM, nth=nth, times=1), pytest.raises(pyxen.OperationFailed, match="Xen"):
        host.topology()
    assert host.topology().node_cpus == {0: (0, 1, 2, 3)}


def test_a_xen_without_pci_knows_no_places(offhost: OffHost, host: pyxen.Host) -> None:
    places = host.topology().pci
    assert places is not None
    assert [place.address for place in places] == sorted(os.listdir("/sys/bus/pci/devices"))
    assert {place.node for place in places} <= {None}
    if places:
        with (
            offhost.world.failing("sysctl.pcitopoinfo", errno.EPERM, nth=1, times=1),
            pytest.raises(pyxen.OperationFailed, match="PCI"),
        ):
            host.topology()


def test_idle_times(offhost: OffHost, host: pyxen.Host) -> None:
    assert host.idle_times_ns() == {cpu: 10**9 * (cpu + 1) for cpu in range(4)}
    with (
        offhost.world.failing("sysctl.getcpuinfo", errno.EPERM, nth=1, times=1),
        pytest.raises(pyxen.OperationFailed, match="idle times"),
    ):
        host.idle_times_ns()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("1764300000.25", 1764300000.25), ("1764300000", 1764300000.0)),
        *((wrong, None) for wrong in ("", "soon", "1e99", "9" * 40, "-5", "0x10", "\u0661")),
    ],
)
def test_when_a_domain_was_created(offhost: OffHost, host: pyxen.Host, text: str, seconds: float | None) -> None:
    uuid = UUID("12345678-1234-1234-1234-123456789abc")
    offhost.add("web", uuid=uuid)
    web = host.domains["web"]
    assert (web.uptime().start_time, web.uptime().uptime_s) == (None, None)
    offhost.store.write(f"/vm/{uuid}/start_time", text)
    uptime = web.uptime()
    assert (uptime.start_time and uptime.start_time.timestamp()) == seconds
    assert (uptime.uptime_s is None) == (seconds is None)
    assert [each.start_time for each in host.uptimes()][1:] == [uptime.start_time]


def test_looking_does_not_wait_for_libxl(host: pyxen.Host) -> None:
    """Other threads hold libxl's lock for a long time."""
    with ThreadPoolExecutor(1) as pool, libxl_lock():
        for call in (host.info, host.topology, host.idle_times_ns, host.uptimes):
            pool.submit(call).result(10)


def test_domains_of_others(offhost: OffHost, host: pyxen.Host) -> None:
    uuid = UUID("12345678-1234-1234-1234-123456789abc")
    domid = offhost.add("web", uuid=uuid, kind="pv", vcpus=3, memory=128)
    info = host.domains["web"].info()
    assert (info.domid, info.uuid, info.type, info.vcpus) == (domid, uuid, "pv", 3)
    assert info.memory_kib == 128 * 1024


def test_a_domain_that_shuts_down_says_why(offhost: OffHost, host: pyxen.Host) -> None:
    domid = offhost.add("web")
    offhost.world.shut_down(domid, Reason.CRASH)
    info = host.domains["web"].info()
    assert info.state is DomainState.CRASHED
    assert info.shutdown_reason == pyxen.ShutdownReason.CRASH


def test_a_guest_writes_what_it_may(offhost: OffHost) -> None:
    guest = offhost.guest(offhost.add("web"))
    guest.store.write("data/report", "well")
    assert offhost.store.read(f"/local/domain/{guest.domid}/data/report") == "well"


@pytest.mark.parametrize("behind", range(10))
def test_a_name_that_is_written_while_domains_are_listed(offhost: OffHost, host: pyxen.Host, behind: int) -> None:
    """While an event waits to be sent, the one of a new watch too, xenstored sends no equal event for a change.

    Stopped, it finds all requests at once when it goes on. So the write comes at the same step of the list each time,
    which step depends on how many requests it is behind.
    """
    path = f"/local/domain/{offhost.add('first')}/name"
    offhost.store.remove(path)
    assert [info.name for info in host.list()] == ["Domain-0", None]
    with ThreadPoolExecutor() as pool:
        sent = offhost.world.count("xenstore.send")
        offhost.signal_xenstored(signal.SIGSTOP)
        try:
            listed = pool.submit(host.list)
            until(lambda: offhost.world.count("xenstore.send") > sent, "the list asks nothing")
            offhost.store.post_write(path, "web", behind=behind)
        finally:
            offhost.signal_xenstored(signal.SIGCONT)
        offhost.store.collect(behind + 1)
        assert [info.name for info in listed.result(10)] in (["Domain-0", None], ["Domain-0", "web"])
    assert [info.name for info in host.list()] == ["Domain-0", "web"]
