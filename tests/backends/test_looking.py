"""Hosts and domains as they are told."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

import pyxen
from pyxen import Domain, DomainNotFound, DomainState, Feature, Host, HostClosed
from tests.backends.differences import differs
from tests.backends.support import Make


def test_the_host(host: Host) -> None:
    info = host.info()
    assert info.nr_cpus >= 1
    assert info.nr_nodes >= 1
    assert 0 < info.free_memory_kib <= info.memory_kib


def test_memory_that_is_taken_is_given_back(host: Host, make: Make) -> None:
    before = host.info().free_memory_kib
    domain = make(memory=8, paused=True)
    assert host.info().free_memory_kib <= before
    domain.destroy()
    assert domain not in host.domains


def test_the_list(host: Host, make: Make) -> None:
    made = [make(f"web{number}", paused=True) for number in range(3)]
    infos = {info.name: info for info in host.list()}
    for number, domain in enumerate(made):
        info = infos[f"web{number}"]
        assert (info.domid, info.uuid) == (domain.domid, domain.uuid)
        if not differs(host, "time"):
            assert info == domain.info()
        assert info.type == "pvh"
        assert info.shutdown_reason is None
        assert info.memory_kib > 0
    listed = [info.domid for info in host.list()]
    assert listed == sorted(listed)


def test_lookup(host: Host, make: Make) -> None:
    uuid = uuid4()
    domain = make("web1", uuid=uuid, paused=True)
    assert domain.uuid == uuid
    keys: list[str | int | UUID] = ["web1", domain.domid, uuid, str(uuid)]
    for key in keys:
        assert host.domains[key] == domain
        assert key in host.domains
    assert domain in host.domains
    assert domain in list(host.domains)
    assert len(host.domains) == len(list(host.domains))
    others: list[str | int | UUID] = ["nobody", 30000, uuid4(), str(domain.domid)]
    for other in others:
        assert host.domains.get(other) is None
        with pytest.raises(DomainNotFound, match=str(other)):
            host.domains[other]
    with pytest.raises(DomainNotFound, match="a domid is an int, not text"):
        host.domains[str(domain.domid)]


def test_two_ways_to_one_host(uri: str, host: Host, make: Make) -> None:
    domain = make("web1", paused=True)
    with pyxen.connect(uri) as other:
        assert other.domains["web1"].uuid == domain.uuid
        other.domains["web1"].destroy()
    assert host.domains.get("web1") is None


def test_a_handle_of_a_domain_that_is_gone(host: Host, make: Make) -> None:
    domain = make("web1")
    domain.destroy()
    again = make("web1", uuid=domain.uuid)
    assert again != domain
    calls = (domain.destroy, domain.pause, domain.unpause, domain.shutdown, domain.reboot, domain.info, domain.config)
    for call in calls:
        with pytest.raises(DomainNotFound, match="gone") as caught:
            call()
        assert caught.value.domid == domain.domid
    assert domain.wait(timeout=5) is None
    assert again in host.domains


def test_a_host_that_was_closed(uri: str, host: Host, config: Make) -> None:
    other = pyxen.connect(uri)
    domain = other.create(config("web1"), paused=True)
    other.close()
    other.close()
    assert "closed" in repr(other)
    calls: list[Callable[[], object]] = [
        other.list,
        other.info,
        other.topology,
        lambda: other.create(config("web2")),
        lambda: other.domains["web1"],
        domain.info,
        domain.destroy,
        domain.shutdown,
    ]
    for call in calls:
        with pytest.raises(HostClosed):
            call()
    assert host.domains["web1"].uuid == domain.uuid


def test_what_is_said_of_a_domain(make: Make) -> None:
    domain: Domain = make("web1", vcpus=1, maxvcpus=2, paused=True)
    info = domain.info()
    assert (info.name, info.domid, info.uuid) == ("web1", domain.domid, domain.uuid)
    assert info.state is DomainState.PAUSED
    assert info.maxvcpus == 2
    assert f"{domain.domid}" in repr(domain)


def test_every_feature_has_an_answer(host: Host) -> None:
    assert all(isinstance(host.supports(feature), bool) for feature in Feature)
    assert host.supports("events") is host.supports(Feature.EVENTS)
    with pytest.raises(ValueError, match="teleport"):
        host.supports("teleport")  # type: ignore[arg-type]  # wrong on purpose
