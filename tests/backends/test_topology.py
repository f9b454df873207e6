"""The host's figures, its CPUs and its NUMA nodes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from pyxen import DomainNotFound, Feature, Host, InvalidArgument, PciAddress
from tests.backends.support import Make, supporting

A_SECOND = timedelta(seconds=1)
"""The hypervisor's clock may be that much beside Python's."""


def test_the_figures(host: Host) -> None:
    info = host.info()
    assert info.xen_version.startswith("{}.{}".format(*info.xen_version_info))
    assert (0, 0) < info.xen_version_info < (100, 0)
    assert info.hostname
    assert info.machine
    assert json.loads(json.dumps(info.to_dict()))["xen_version"] == info.xen_version


def test_figures_that_a_backend_knows_agree(host: Host) -> None:
    info = host.info()
    if info.capabilities is None:
        assert not host.supports(Feature.ALL_DOMAINS)
        return
    assert {"pv", "hvm"} & info.capabilities
    assert info.xen_caps
    assert info.xen_pagesize == 4096
    assert info.max_cpu_id is not None
    assert info.max_cpu_id >= info.nr_cpus - 1
    assert info.uptime_s is not None
    assert info.uptime_s <= (host.info().uptime_s or 0)
    assert info.to_dict()["capabilities"] == sorted(info.capabilities)
    for kib in (info.scrub_memory_kib, info.claimed_memory_kib, info.sharing_freed_kib, info.sharing_used_kib):
        assert kib is not None
        assert 0 <= kib < info.memory_kib


def test_the_nodes_of_a_domain(host: Host, make: Make) -> None:
    domain = make("web1")
    nodes = tuple(node.number for node in host.topology().nodes)
    assert domain.node_affinity() == nodes
    with supporting(host, Feature.SET_NODE_AFFINITY):
        domain.set_node_affinity({nodes[-1]})
        assert domain.node_affinity() == (nodes[-1],)
        with pytest.raises(InvalidArgument, match=f"no NUMA node {nodes[-1] + 1}; the host has the nodes 0"):
            domain.set_node_affinity([nodes[0], nodes[-1] + 1])
        with pytest.raises(InvalidArgument, match="needs at least one"):
            domain.set_node_affinity([])
        with pytest.raises(InvalidArgument, match="takes whole numbers such as"):
            domain.set_node_affinity("0")
        with pytest.raises(InvalidArgument, match="takes a whole number, not 'a'"):
            domain.set_node_affinity(["a"])
        assert domain.node_affinity() == (nodes[-1],)
        domain.set_node_affinity(None)
    assert domain.node_affinity() == nodes
    domain.destroy()
    with pytest.raises(DomainNotFound):
        domain.node_affinity()
    with supporting(host, Feature.SET_NODE_AFFINITY), pytest.raises(DomainNotFound):
        domain.set_node_affinity(None)


def test_the_topology_agrees_with_the_figures(host: Host) -> None:
    with supporting(host, Feature.TOPOLOGY):
        topology, info = host.topology(), host.info()
        assert len(topology.cpus) == info.nr_cpus
        assert len(topology.nodes) == info.nr_nodes
        assert 1 <= topology.nr_sockets <= info.nr_cpus
        assert [cpu.number for cpu in topology.cpus] == sorted({cpu.number for cpu in topology.cpus})
        assert [node.number for node in topology.nodes] == sorted({node.number for node in topology.nodes})
        assert {cpu.node for cpu in topology.cpus} <= {node.number for node in topology.nodes}
        assert sum(map(len, topology.node_cpus.values())) == info.nr_cpus
        for node in topology.nodes:
            assert node.memory_kib > 0
            assert len(node.distances) == len(topology.nodes)
            assert node.free_memory_kib is None or 0 <= node.free_memory_kib <= node.memory_kib
        assert json.loads(json.dumps(topology.to_dict()))["nodes"][0]["number"] == topology.nodes[0].number


def test_where_the_pci_devices_are(host: Host) -> None:
    with supporting(host, Feature.TOPOLOGY):
        topology = host.topology()
        places = topology.pci or ()
        addresses = [place.address for place in places]
        assert addresses == sorted(set(addresses))
        assert [str(PciAddress(address)) for address in addresses] == addresses
        assert {place.node for place in places} <= {None, *(node.number for node in topology.nodes)}


def test_a_configuration_is_resolved_with_the_topology(host: Host, config: Make) -> None:
    with supporting(host, Feature.TOPOLOGY):
        topology = host.topology()
        everything = [cpu.number for cpu in topology.cpus]
        wanted = config("web1", cpus="all", cpus_soft="nodes:0")
        resolved = wanted.resolve_cpus(everything, topology.node_cpus)
        assert list(resolved.cpus) == everything
        assert tuple(resolved.cpus_soft) == topology.node_cpus[0]


def test_idle_times(host: Host) -> None:
    with supporting(host, Feature.IDLE_TIMES):
        started, before = time.monotonic_ns(), host.idle_times_ns()
        assert len(before) == host.info().nr_cpus
        after = host.idle_times_ns()
        passed = time.monotonic_ns() - started
        assert all(0 <= after[cpu] - idle <= passed for cpu, idle in before.items())


def test_memory_beside_what_a_domain_has(host: Host, make: Make) -> None:
    info = make("web1", paused=True).info()
    if host.supports(Feature.ALL_DOMAINS):
        assert (info.claimed_kib, info.shared_kib, info.paged_kib) == (0, 0, 0)
    else:
        assert (info.claimed_kib, info.shared_kib, info.paged_kib) == (None, None, None)


def test_since_when_domains_exist(host: Host, make: Make) -> None:
    with supporting(host, Feature.UPTIME):
        before = datetime.now(UTC)
        domain = make("web1", paused=True)
        uptime, after = domain.uptime(), datetime.now(UTC)
        assert (uptime.domid, uptime.uuid, uptime.name, uptime.domain) == (domain.domid, domain.uuid, "web1", domain)
        assert uptime.start_time is not None
        assert before - A_SECOND <= uptime.start_time <= after + A_SECOND
        assert uptime.uptime_s is not None
        assert 0 <= uptime.uptime_s <= (after - before + A_SECOND).total_seconds()
        dom0, *_ = all_of_them = host.uptimes()
        assert [each.domid for each in all_of_them] == [info.domid for info in host.list()]
        assert (dom0.name, dom0.uuid.int, dom0.domain.domid) == ("Domain-0", 0, 0)
        assert dom0.start_time is not None
        assert dom0.start_time < uptime.start_time + A_SECOND
        [again] = [each for each in all_of_them if each.uuid == domain.uuid]
        assert again.start_time == uptime.start_time
        assert again.uptime_s is not None
        assert again.uptime_s >= uptime.uptime_s
        domain.destroy()
        with pytest.raises(DomainNotFound):
            domain.uptime()
