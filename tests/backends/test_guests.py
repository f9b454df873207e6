"""Guests, and the virtual machine behind a domain."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

import pyxen
from pyxen import (
    DomainNotFound,
    DomainState,
    Feature,
    Host,
    InvalidArgument,
    InvalidState,
    OperationTimeout,
    ShutdownReason,
)
from tests.backends.differences import differs
from tests.backends.support import SECONDS, Guest, Make, supporting


def test_guests_are_the_domains_without_dom0(host: Host, make: Make) -> None:
    domain = make("web1", paused=True)
    assert [guest.domid for guest in host.guests] == [each.domid for each in host.domains if each.domid]
    assert host.guests["web1"] == host.guests[domain.domid] == host.guests[domain.uuid] == domain
    assert domain in host.guests
    assert 0 not in host.guests
    assert host.guests.get("Domain-0") is None
    assert len(host.guests) == len(list(host.guests))
    with pytest.raises(DomainNotFound):
        host.guests[0]
    assert "Guests" in repr(host.guests)
    domain.destroy()
    assert domain not in host.guests


def test_all_guests_power_off(host: Host, make: Make, willing: Guest) -> None:
    listening, paused = willing(), make("web2", paused=True)
    failed = host.guests.shutdown_all(timeout=120)
    assert list(failed) == [paused]
    assert isinstance(failed[paused], InvalidState)
    assert listening not in host.guests
    paused.destroy()
    assert host.guests.shutdown_all(timeout=120) == {}


def test_all_guests_reboot(host: Host, make: Make, willing: Guest) -> None:
    listening, paused = willing(), make("web2", paused=True)
    with supporting(host, Feature.REBOOT):
        failed = host.guests.reboot_all(wait=True, timeout=120)
        assert list(failed) == [paused]
        if not differs(host, "reboot"):
            assert listening.info().shutdown_reason is ShutdownReason.REBOOT
            assert list(host.guests.reboot_all(timeout=120)) == [paused]  # one that has ended is not asked


def test_not_knowing_how_is_no_guests_fault(host: Host, make: Make) -> None:
    make("web1")
    if not host.supports(Feature.REBOOT_FALLBACK):
        with supporting(host, Feature.REBOOT_FALLBACK, Feature.REBOOT):
            host.guests.reboot_all(fallback=True)


def test_no_ordinary_domain_is_a_stub_domain(host: Host, make: Make) -> None:
    domain = make("web1", paused=True)
    assert domain.info().stubdomain_of is None
    assert {info.stubdomain_of for info in host.list()} == {None}


def test_an_idle_guest_runs(host: Host, make: Make) -> None:
    domain = make("web1")
    info = domain.wait("running", "blocked", timeout=SECONDS)
    assert info is not None
    assert info.is_running
    with supporting(host, Feature.PAUSE):
        domain.pause()
        assert not domain.info().is_running
        domain.unpause()
        assert domain.info().is_running


def test_waiting_for_a_guest_to_be_unpaused(host: Host, make: Make) -> None:
    domain = make("web1", paused=True)
    with supporting(host, Feature.PAUSE):
        domain.unpause()
        domain.pause()
        with pytest.raises(OperationTimeout):
            domain.wait("unpaused", timeout=0.05)
        waiting = domain.begin.wait("unpaused", timeout=SECONDS)
        domain.unpause()
        info = waiting.result()
        assert info is not None
        assert info.is_running
    domain.destroy()
    assert domain.wait("unpaused", timeout=SECONDS) is None


@pytest.mark.parametrize("state", ["runing", "Unpaused", None, 7])
def test_a_state_that_is_not_valid(make: Make, state: Any) -> None:
    domain = make("web1", paused=True)
    with pytest.raises(InvalidArgument, match="blocked, unpaused"):
        domain.wait(state)


def test_a_vm_through_its_restarts(host: Host, make: Make) -> None:
    uuid = uuid4()
    vm = host.vm(uuid)
    assert vm == host.vm(str(uuid))
    assert hash(vm) == hash(host.vm(uuid))
    assert vm.uuid == uuid
    assert str(uuid) in repr(vm)
    assert vm.get() is None
    for call in (vm.domain, vm.info):
        with pytest.raises(DomainNotFound, match="does not run"):
            call()
    with pytest.raises(OperationTimeout):
        vm.wait_start(timeout=0.05)
    first = make("web1", uuid=uuid)
    assert vm.wait_start(timeout=SECONDS) == vm.domain() == vm.get() == first
    assert vm.domain().name == "web1"
    assert vm.info().domain == first
    with pytest.raises(OperationTimeout):
        vm.wait_start(after=first, timeout=0.05)
    first.destroy()
    assert vm.get() is None
    second = make("web1", uuid=uuid)
    assert vm.wait_start(after=first, timeout=SECONDS) == vm.domain() == second != first
    second.destroy()


def test_a_vm_that_is_paused_has_not_started(host: Host, make: Make) -> None:
    domain = make("web1", paused=True)
    vm = host.vm(domain.uuid)
    assert vm.domain() == domain
    assert vm.info().state is DomainState.PAUSED
    with pytest.raises(OperationTimeout):
        vm.wait_start(timeout=0.05)
    with supporting(host, Feature.PAUSE):
        domain.unpause()
        assert vm.wait_start(timeout=SECONDS) == domain


@pytest.mark.parametrize("uuid", ["", "web1", "1234", None, 7, b"", "x" * 1000])
def test_a_uuid_that_is_not_valid(host: Host, uuid: Any) -> None:
    with pytest.raises(InvalidArgument, match="takes a uuid"):
        host.vm(uuid)


def test_a_vm_of_a_host_that_is_closed(uri: str) -> None:
    other = pyxen.connect(uri)
    vm = other.vm(uuid4())
    other.close()
    for call in (vm.get, vm.domain, vm.info, vm.wait_start):
        with pytest.raises(pyxen.HostClosed):
            call()
