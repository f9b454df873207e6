"""Connecting, listing, and what is there."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

import pyxen
from pyxen.info import DomainState
from tests.offhost.host import OffHost, until
from tests.offhost.setup import Release
from tests.offhost.world import Reason


def test_domain_0_is_there(host: pyxen.Host, xen: Release) -> None:
    [dom0] = host.list()
    assert (dom0.domid, dom0.name, dom0.vcpus) == (0, "Domain-0", 4)
    assert host.info().xen_version == f"{xen.name}.0"


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
