"""The topology of the host, against what xl and dom0's kernel tell."""

from __future__ import annotations

import os
import time

import pytest

from pyxen import Host
from tests.xen.support import xl


def sections() -> dict[str, list[list[str]]]:
    """Return the tables of ``xl info -n``, by the words at their beginning, without the lines with their columns."""
    tables: dict[str, list[list[str]]] = {}
    name = ""
    for line in xl("info", "-n").splitlines():
        words = line.replace(":", " : ").split()
        if words[0] in {"cpu_topology", "device", "numa_info"} and line.rstrip().endswith(":"):
            name = words[0]
            tables[name] = []
        elif words[0] == "xen_major":
            name = ""
        elif name and words[0] not in {"cpu", "device", "node", "No"}:
            tables[name].append(words)
    return tables


def cpus_by_xl(host: Host) -> list[list[str]]:
    cpus = host.topology().cpus
    return [[str(cpu.number), ":", str(cpu.core), str(cpu.socket), str(cpu.node)] for cpu in cpus]


def test_nodes_agree_with_xl(host: Host) -> None:
    told = sections()["numa_info"]
    nodes = host.topology().nodes
    assert len(nodes) == len(told) == host.info().nr_nodes
    for node, (number, _, size, free, *distances) in zip(nodes, told, strict=True):
        assert str(node.number) == number
        assert str(node.memory_kib // 1024) == size
        assert abs((node.free_memory_kib or 0) // 1024 - int(free)) <= 1
        assert ",".join(map(str, node.distances)) == "".join(distances)


def test_the_only_cpu(host: Host) -> None:
    """Xen tells nothing about the core of a host's only CPU, and then xl does not list it."""
    cpus = host.topology().cpus
    if len(cpus) > 1:
        return
    assert sections()["cpu_topology"] == []
    assert [(cpu.number, cpu.core, cpu.node, cpu.poolid) for cpu in cpus] == [(0, None, 0, 0)]
    assert host.topology().node_cpus == {0: (0,)}


def test_the_nodes_of_domains_agree_with_xl(host: Host) -> None:
    for line in xl("list", "-n").splitlines()[1:]:
        domain = host.domains[line.split()[0]]
        expected = line.split()[-1]
        nodes = domain.node_affinity()
        told = "all" if len(nodes) == len(host.topology().nodes) else ",".join(map(str, nodes))
        assert expected in {told, ",".join(map(str, nodes))}


@pytest.mark.two_cpus
def test_cpus_agree_with_xl(host: Host) -> None:
    assert len(host.topology().cpus) == host.info().nr_cpus == 2
    assert cpus_by_xl(host) == sections()["cpu_topology"]
    assert host.topology().node_cpus == {0: (0, 1)}


@pytest.mark.two_cpus
def test_a_cpu_that_leaves_its_pool(host: Host) -> None:
    xl("cpupool-cpu-remove", "Pool-0", "1")
    try:
        assert [cpu.poolid for cpu in host.topology().cpus] == [0, None]
        assert host.info().free_cpus == 1
        xl("cpupool-create", 'name="other"', 'cpus=["1"]')
        try:
            assert [cpu.poolid for cpu in host.topology().cpus] == [0, 1]
            assert host.info().free_cpus == 0
        finally:
            xl("cpupool-destroy", "other")
    finally:
        xl("cpupool-cpu-add", "Pool-0", "1")
    assert [cpu.poolid for cpu in host.topology().cpus] == [0, 0]


def test_every_pci_device_is_there(host: Host) -> None:
    places = host.topology().pci
    assert places
    assert [place.address for place in places] == sorted(os.listdir("/sys/bus/pci/devices"))
    told = {f"{words[0]}:{words[2]}:{words[4]}": int(words[5]) for words in sections()["device"]}
    assert {place.address: place.node for place in places if place.node is not None} == told


def test_idle_times_grow_while_a_cpu_rests(host: Host) -> None:
    started, before = time.monotonic_ns(), host.idle_times_ns()
    assert list(before) == [cpu.number for cpu in host.topology().cpus]
    deadline = time.monotonic() + 60
    while host.idle_times_ns()[0] == before[0]:
        assert time.monotonic() < deadline, "the CPU is never idle"
        time.sleep(0.1)
    after = host.idle_times_ns()
    passed = time.monotonic_ns() - started
    assert all(0 <= after[cpu] - before[cpu] <= passed for cpu in before)
