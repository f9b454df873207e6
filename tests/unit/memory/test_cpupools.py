"""CPU pools and schedulers that only a simulated host has: two NUMA nodes, rtds, a restart, injected failures."""

from __future__ import annotations

import pytest

from pyxen import CpuSet, InvalidArgument, OperationFailed, Scheduler, UnsupportedFeature, VcpuState
from pyxen.testing import FakeHost
from tests.unit.memory.configs import config


def test_a_split_into_nodes() -> None:
    with FakeHost(cpus=4, nodes=2) as fake:
        web = fake.create(config(vcpus=2, cpus="3"))
        fake.cpupools.numa_split()
        found = [(info.name, info.cpus, info.domains) for info in fake.cpupools.list()]
        assert found == [("Pool-node0", CpuSet("0-1"), (0, 1)), ("Pool-node1", CpuSet("2-3"), ())]
        assert [cpu.poolid for cpu in fake.topology().cpus] == [0, 0, 1, 1]
        assert fake.domains[0].info().vcpus == 2
        assert [vcpu.state for vcpu in fake.domains[0].vcpus()][2:] == [VcpuState.OFFLINE, VcpuState.OFFLINE]
        assert web.vcpus()[0].cpus == CpuSet("0-3")  # its pool has no CPU 3 any more
        fake.restart()
        assert [info.name for info in fake.cpupools.list()] == ["Pool-0"]


def test_the_nodes_follow_the_cpus() -> None:
    with FakeHost(cpus=4, nodes=2) as fake:
        web = fake.create(config(vcpus=2))
        assert web.node_affinity() == (0, 1)
        web.pin_vcpu("all", "2-3")
        assert web.node_affinity() == (1,)
        web.pin_vcpu("all", "all", cpus_soft="0")
        assert web.node_affinity() == (0,)
        web.set_node_affinity([1])
        assert web.node_affinity() == (1,)
        web.set_node_affinity(None)
        assert web.node_affinity() == (0,)


def test_real_time() -> None:
    with FakeHost(cpus=4) as fake:
        fake.cpupools[0].remove_cpus("3")
        pool = fake.cpupools.create("rt", cpus="3", scheduler="rtds")
        assert pool.scheduler().to_dict() == {
            "kind": "rtds",
            "tslice_ms": None,
            "ratelimit_us": None,
            "vcpu_migr_delay_us": None,
        }
        web = fake.create(config(vcpus=2, pool="rt", scheduler=Scheduler(period=5000)))
        assert web.scheduler() == Scheduler(kind="rtds", period=5000, budget=4000, extratime=1)
        web.set_scheduler(Scheduler(budget=1000), vcpu=1)
        assert [web.scheduler(vcpu=vcpu).budget for vcpu in (0, 1)] == [4000, 1000]
        web.set_scheduler(Scheduler(extratime=0), vcpu="all")
        assert [web.scheduler(vcpu=vcpu).extratime for vcpu in (0, 1)] == [0, 0]
        with pytest.raises(InvalidArgument, match="budget=6000 is longer than period=5000"):
            web.set_scheduler(Scheduler(budget=6000))
        with pytest.raises(UnsupportedFeature, match="rtds, has no parameter weight"):
            web.set_scheduler(Scheduler(weight=5))
        web.set_scheduler(Scheduler(budget=2000))
        assert [web.scheduler(vcpu=vcpu).budget for vcpu in (0, 1)] == [2000, 2000]
        web.set_cpupool("Pool-0")
        assert web.scheduler() == Scheduler(kind="credit2", weight=256, cap=0)


def test_failures_that_a_test_injects() -> None:
    with FakeHost() as fake:
        for verb, call in (
            ("cpupools", fake.cpupools.list),
            ("create_cpupool", lambda: fake.cpupools.create("batch")),
            ("split_cpupools", fake.cpupools.numa_split),
            ("vcpus", fake.domains[0].vcpus),
            ("scheduler", fake.domains[0].scheduler),
        ):
            fake.fail(verb, OperationFailed("out of order"))
            with pytest.raises(OperationFailed, match="out of order"):
                call()
        assert len(fake.cpupools) == 1
