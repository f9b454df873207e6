"""Stub domains: told as libxl tells them, and without a request a domain each time."""

from __future__ import annotations

import os

import pyxen
from tests.offhost.host import OffHost
from tests.offhost.internals import target_by_libxl


def make_stub(offhost: OffHost, domid: int, target: int) -> None:
    """Have a domain be the stub domain of another one, as libxl writes it."""
    offhost.store.write(f"/local/domain/{domid}/target", str(target))


def sent_since(offhost: OffHost, mark: int) -> int:
    """Return how many requests this process has sent to xenstored since then: xenconsoled sends some, too."""
    calls = offhost.world.calls_since(mark)
    return sum(call.name == "xenstore.send" and call.pid == os.getpid() for call in calls)


def test_a_stub_domain(offhost: OffHost, host: pyxen.Host) -> None:
    guest = offhost.add("web", kind="hvm")
    stub, other = (offhost.add(name, kind="pv") for name in ("web-dm", "other-dm"))
    make_stub(offhost, stub, guest)
    assert {info.domid: info.stubdomain_of for info in host.list()} == {0: None, guest: None, stub: guest, other: None}
    assert host.domains["web-dm"].info().stubdomain_of == guest
    assert host.domains["other-dm"].info().stubdomain_of is None
    assert [domain.name for domain in host.guests] == ["web", "other-dm"]
    assert host.guests.get("web-dm") is None
    for domid in (guest, stub, other):
        assert target_by_libxl(host, domid) == host.domains[domid].info().stubdomain_of


def test_a_domain_that_has_run_is_asked_for_once(offhost: OffHost, host: pyxen.Host) -> None:
    """The pretended hypervisor says of every domain that it has run."""
    guest, stub = offhost.add("web", kind="hvm"), offhost.add("web-dm")
    make_stub(offhost, stub, guest)
    for _ in range(3):  # the names are watched from the second list on
        host.list()
    mark = offhost.world.mark()
    assert [info.stubdomain_of for info in host.list()] == [None, None, guest]
    assert sent_since(offhost, mark) <= 1


def test_a_domid_that_is_used_again(offhost: OffHost, host: pyxen.Host) -> None:
    guest, stub = offhost.add("served", kind="hvm"), offhost.add("served-dm")
    make_stub(offhost, stub, guest)
    assert [found.name for found in host.guests] == ["served"]
    offhost.world.remove(stub)
    offhost.store.remove(f"/local/domain/{stub}")
    offhost.add("web")
    assert [found.name for found in host.guests] == ["served", "web"]


def test_a_node_that_is_no_number(offhost: OffHost, host: pyxen.Host) -> None:
    offhost.add("web", kind="hvm")
    stub = offhost.add("web-dm")
    offhost.store.write(f"/local/domain/{stub}/target", "x")
    assert host.domains["web-dm"].info().stubdomain_of is None
    assert len(host.guests) == 2


def test_without_hvm_guests_there_are_no_stub_domains(offhost: OffHost, host: pyxen.Host) -> None:
    """So the first list begins some watches and reads names, and asks nothing else of any domain."""
    for number in range(40):
        offhost.add(f"web{number}", kind="pv", introduced=False)
    mark = offhost.world.mark()
    assert len(host.list()) == 41
    assert sent_since(offhost, mark) == 2, "watches; and names"
    guest = offhost.add("new", kind="hvm")
    make_stub(offhost, offhost.add("new-dm", kind="pv"), guest)
    assert [info.stubdomain_of for info in host.list() if info.stubdomain_of is not None] == [guest]
