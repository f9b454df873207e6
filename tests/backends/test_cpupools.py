"""CPU pools, the schedulers of pools, domains and vCPUs, and what is told of vCPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pyxen import (
    Cpupool,
    CpupoolExists,
    CpuSet,
    Domain,
    Host,
    InvalidArgument,
    InvalidState,
    NotFound,
    PoolScheduler,
    Scheduler,
    UnsupportedFeature,
    VcpuState,
)
from pyxen.features import Feature
from tests.backends.differences import differs
from tests.backends.support import Make, supporting, wait_until


@pytest.fixture(autouse=True)
def pools_as_before(host: Host) -> Iterator[None]:
    """Undo what a test has done to the pools."""
    if not host.supports(Feature.CPUPOOLS):
        yield
        return
    [first] = host.cpupools.list()
    yield
    for pool in host.cpupools:
        if pool.number:
            for domid in pool.info().domains:
                host.domains[domid].destroy()
            pool.destroy()
    pool = host.cpupools[0]
    pool.add_cpus(first.cpus)
    if pool.name != first.name:
        pool.rename(first.name or "")
    [now] = host.cpupools.list()
    assert (now.name, now.cpus) == (first.name, first.cpus)


def spare_cpu(host: Host) -> int | None:
    """Take the last CPU from the first pool, and return it; None if the host has only one, which must stay."""
    last = max(host.cpupools[0].info().cpus)
    if last == 0:
        with pytest.raises(InvalidState, match="Xen needs CPU 0"):
            host.cpupools[0].remove_cpus([last])
        return None
    assert host.cpupools.free_cpus() == CpuSet([])
    host.cpupools[0].remove_cpus([last])
    assert host.cpupools.free_cpus() == CpuSet([last])
    return last


def test_the_first_pool(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        [info] = host.cpupools.list()
        assert (info.number, info.name, info.uuid) == (0, "Pool-0", None)
        assert len(info.cpus) == host.info().nr_cpus
        assert 0 in info.domains
        assert str(info.to_dict()["cpus"]) == info.cpus.text
        pool = host.cpupools["Pool-0"]
        assert pool.info() == info
        assert (pool.number, pool.name) == (0, "Pool-0")
        assert repr(pool) == "<Cpupool 0 'Pool-0'>"
        assert pool == host.cpupools[0]
        assert list(host.cpupools) == [pool]
        assert len(host.cpupools) == 1
        assert pool in host.cpupools


def test_lookup(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        for key in (0, "Pool-0"):
            assert key in host.cpupools
            assert host.cpupools.get(key) == host.cpupools[0]
        others: list[Any] = ["pool", 77, "0", -1]
        for other in others:
            assert host.cpupools.get(other) is None
            assert other not in host.cpupools
            with pytest.raises(NotFound, match=rf"{other}'?; the host has 'Pool-0' \(0\)"):
                host.cpupools[other]
        wrong: list[Any] = [None, 1.5, True]
        for key in wrong:
            with pytest.raises(InvalidArgument, match="takes the name or the number of a CPU pool"):
                host.cpupools[key]


def test_a_pool_comes_and_goes(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        pool = host.cpupools.create("batch", scheduler="credit")
        info = pool.info()
        assert (info.number, info.name, info.scheduler) == (pool.number, "batch", "credit")
        assert (info.cpus, info.domains) == (CpuSet([]), ())
        assert info.uuid == pool.uuid is not None
        assert [one.name for one in host.cpupools.list()] == ["Pool-0", "batch"]
        pool.rename("late")
        assert pool.name == "late"
        assert host.cpupools["late"] == pool
        assert "batch" not in host.cpupools
        pool.rename("late")
        pool.destroy()
        assert len(host.cpupools) == 1


def test_the_default_scheduler(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        default = host.cpupools[0].info().scheduler
        assert host.cpupools.create("more").info().scheduler is default


def test_a_handle_of_a_pool_that_is_gone(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        pool = host.cpupools.create("first")
        pool.destroy()
        again = host.cpupools.create("second")
        assert again.number == pool.number  # Xen takes the lowest number
        assert again != pool
        calls = (
            pool.info,
            pool.destroy,
            pool.scheduler,
            lambda: pool.rename("third"),
            lambda: pool.add_cpus("0"),
            lambda: pool.remove_cpus("0"),
            lambda: pool.set_scheduler(PoolScheduler(ratelimit_us=1000)),
        )
        for call in calls:
            with pytest.raises(NotFound, match=f"the CPU pool {pool.number} is gone"):
                call()
        assert host.cpupools.list()[1].name == "second"


def test_names(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        pool = host.cpupools.create("batch")
        for taken in ("batch", "Pool-0"):
            with pytest.raises(CpupoolExists, match=f"already has the name '{taken}'"):
                host.cpupools.create(taken)
        with pytest.raises(CpupoolExists, match="the CPU pool 0 already has the name 'Pool-0'"):
            pool.rename("Pool-0")
        for wrong, problem in (("", "needs a name"), ("5", "taken for the number"), ("a\nb", "control characters")):
            with pytest.raises(InvalidArgument, match=problem):
                host.cpupools.create(wrong)
            with pytest.raises(InvalidArgument, match=problem):
                pool.rename(wrong)
        with pytest.raises(InvalidArgument, match="takes a str, not int"):
            host.cpupools.create(5)  # type: ignore[arg-type]  # wrong on purpose
        assert [one.name for one in host.cpupools.list()] == ["Pool-0", "batch"]


def test_schedulers_that_are_not_there(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        assert len(host.cpupools) == 1
        with pytest.raises(UnsupportedFeature, match="no scheduler sedf any more"):
            host.cpupools.create("old", scheduler="sedf")
        with pytest.raises(InvalidArgument, match="'fair' is not one of"):
            host.cpupools.create("fair", scheduler="fair")  # type: ignore[arg-type]  # wrong on purpose
        assert len(host.cpupools) == 1


def test_cpus_that_cannot_be_had(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        pool = host.cpupools.create("batch")
        with pytest.raises(InvalidState, match=r"CPU 0 belongs to the CPU pool 0 \('Pool-0'\)"):
            pool.add_cpus([0])
        with pytest.raises(InvalidState, match=r"CPU 0 belongs to the CPU pool 0 \('Pool-0'\)"):
            host.cpupools.create("more", cpus="0")
        for wrong, problem in (("900", "no CPU 900; the host has 0"), ([], "at least one CPU"), ("node:7", "node 7")):
            with pytest.raises(InvalidArgument, match=problem):
                pool.add_cpus(wrong)
            with pytest.raises(InvalidArgument, match=problem):
                pool.remove_cpus(wrong)
        with pytest.raises(InvalidArgument, match="takes a set of CPUs"):
            pool.add_cpus(5)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(ValueError, match="fast"):
            pool.add_cpus("fast")
        with pytest.raises(InvalidArgument, match="the pool has no CPU 0, and no other CPU either"):
            pool.remove_cpus("0")
        first = host.cpupools[0]
        with pytest.raises(InvalidState, match="Xen needs CPU 0 in this pool"):
            first.remove_cpus("0")
        first.add_cpus("0")  # which it has
        assert 0 in first.info().cpus
        assert not pool.info().cpus


def test_pools_that_must_stay(host: Host, make: Make) -> None:
    with supporting(host, Feature.CPUPOOLS):
        with pytest.raises(InvalidState, match="has dom0 and cannot be destroyed"):
            host.cpupools[0].destroy()
        pool = host.cpupools.create("batch")
        domain = make("web1", paused=True)
        with pytest.raises(InvalidState, match=r"pool \d+ \('batch'\) has no CPUs: give it some first"):
            domain.set_cpupool(pool)
        with pytest.raises(InvalidState, match="domain 0 is dom0, which always stays"):
            host.domains[0].set_cpupool("batch")
        with pytest.raises(InvalidState, match="has no CPUs: give it some first"):
            make("web2", pool="batch")
        with pytest.raises(NotFound, match="no CPU pool has the name 'late'"):
            domain.set_cpupool("late")
        with pytest.raises(InvalidArgument, match="takes the name or the number of a CPU pool, or its handle"):
            domain.set_cpupool(1.5)
        domain.set_cpupool(0)  # where it is
        info = domain.info()
        assert (info.pool, info.poolid) == ("Pool-0", 0)


def test_the_pool_of_a_domain(host: Host, make: Make) -> None:
    domain = make("web1", paused=True)
    if differs(host, "pools"):
        assert (domain.info().pool, domain.info().poolid) == (None, None)
        return
    assert all((info.pool, info.poolid) == ("Pool-0", 0) for info in host.list())
    host.cpupools[0].rename("first")
    assert all((info.pool, info.poolid) == ("first", 0) for info in [*host.list(), domain.info()])
    host.cpupools[0].rename("Pool-0")
    assert all((info.pool, info.poolid) == ("Pool-0", 0) for info in [*host.list(), domain.info()])


@pytest.mark.two_cpus
def test_cpus_and_domains_move(host: Host, make: Make) -> None:
    with supporting(host, Feature.CPUPOOLS):
        cpu = spare_cpu(host)
        if cpu is None:
            return
        assert cpu not in host.cpupools[0].info().cpus
        assert host.info().free_cpus == 1
        domain = make("web1", vcpus=2)
        domain.pin_vcpu("all", "0", cpus_soft="0")
        domain.set_scheduler(Scheduler(weight=512, cap=20))
        with pytest.raises(InvalidArgument, match=rf"{cpu}: the domain's CPU pool, 0 \('Pool-0'\), has none of them"):
            domain.pin_vcpu(0, [cpu])
        pool = host.cpupools.create("batch", cpus=[cpu], scheduler="credit")
        assert pool.info().cpus == CpuSet([cpu])
        assert host.info().free_cpus == 0
        with pytest.raises(InvalidState, match=rf"CPU {cpu} belongs to the CPU pool {pool.number} \('batch'\)"):
            host.cpupools[0].add_cpus([0, cpu])
        host.cpupools[0].add_cpus("all")  # what of it is free
        assert cpu not in host.cpupools[0].info().cpus
        domain.set_cpupool("batch")
        assert (domain.info().pool, domain.info().poolid) == ("batch", pool.number)
        assert pool.info().domains == (domain.domid,)
        assert domain.scheduler() == Scheduler(kind="credit", weight=256, cap=0)
        assert all(0 in vcpu.cpus and vcpu.cpus_soft == vcpu.cpus for vcpu in domain.vcpus())
        with pytest.raises(InvalidState, match=rf"the pool has domains \({domain.domid}\): move them first"):
            pool.destroy()
        with pytest.raises(InvalidState, match=rf"the pool has domains \({domain.domid}\), which need at least one"):
            pool.remove_cpus("all")
        domain.set_cpupool(host.cpupools[0])
        assert domain.scheduler().kind == host.cpupools[0].info().scheduler
        other = make("web2", pool="batch")
        assert other.info().pool == "batch"
        other.destroy()
        wait_until(lambda: not pool.info().domains)
        pool.remove_cpus("all")
        with pytest.raises(InvalidState, match="CPU 0 belongs to the CPU pool 0"):
            pool.add_cpus("0")
        pool.add_cpus("node:0")
        assert pool.info().cpus == CpuSet([cpu])
        pool.destroy()
        host.cpupools[0].add_cpus([cpu])
        assert cpu in host.cpupools[0].info().cpus


@pytest.mark.two_cpus
def test_a_cpu_that_goes_takes_its_pins_along(host: Host, make: Make) -> None:
    with supporting(host, Feature.CPUPOOLS):
        last = max(host.cpupools[0].info().cpus)
        domain = make("web1", vcpus=2)
        domain.pin_vcpu(0, [last], cpus_soft="0")
        domain.pin_vcpu(1, "0")
        if spare_cpu(host) is None:
            return
        first, second = domain.vcpus()
        assert first.cpus == CpuSet(range(last + 1))
        assert first.cpus_soft == CpuSet([0])
        assert second.cpus == CpuSet([0])


def test_a_split_into_nodes(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        assert len(host.cpupools) == 1
        if host.info().nr_nodes > 1:
            return  # nothing here can undo it: dom0 would have fewer vCPUs
        host.cpupools.numa_split()
        [info] = host.cpupools.list()
        assert info.name == "Pool-node0"
        host.cpupools[0].rename("Pool-0")
        pool = host.cpupools.create("batch")
        with pytest.raises(InvalidState, match=rf"divided into CPU pools: destroy {pool.number} \('batch'\) first"):
            host.cpupools.numa_split()


def params(pool: Cpupool) -> tuple[int | None, int | None, int | None]:
    """Return the parameters of a pool's scheduler."""
    found = pool.scheduler()
    return found.tslice_ms, found.ratelimit_us, found.vcpu_migr_delay_us


def test_parameters_of_a_pool(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        pool = host.cpupools.create("batch", scheduler="credit")
        assert pool.scheduler() == PoolScheduler(
            kind=pool.info().scheduler, tslice_ms=30, ratelimit_us=1000, vcpu_migr_delay_us=0
        )
        pool.set_scheduler(PoolScheduler(tslice_ms=5, vcpu_migr_delay_us=100))
        assert params(pool) == (5, 1000, 100)
        pool.set_scheduler(PoolScheduler(ratelimit_us=0))
        assert params(pool) == (5, 0, 100)
        wrong = (
            (PoolScheduler(tslice_ms=0), "tslice_ms=0 is out of range: use 1 to 1000"),
            (PoolScheduler(tslice_ms=1001), "tslice_ms=1001"),
            (PoolScheduler(ratelimit_us=99), "ratelimit_us=99 is out of range: use 100 to 500000, or 0"),
            (PoolScheduler(ratelimit_us=500_001), "ratelimit_us=500001"),
            (PoolScheduler(ratelimit_us=5001), "ratelimit_us=5001 is longer than tslice_ms=5"),
            (PoolScheduler(vcpu_migr_delay_us=100_001), "vcpu_migr_delay_us=100001"),
            (PoolScheduler(vcpu_migr_delay_us=-1), "vcpu_migr_delay_us=-1"),
            (PoolScheduler(tslice_ms="5"), "tslice_ms takes (a whole number|int), not ('5'|str)"),  # type: ignore[arg-type]  # wrong on purpose
        )
        for given, problem in wrong:
            with pytest.raises(InvalidArgument, match=problem):
                pool.set_scheduler(given)
        with pytest.raises(UnsupportedFeature, match="has the scheduler credit, not credit2"):
            pool.set_scheduler(PoolScheduler(kind="credit2"))  # type: ignore[arg-type]  # a name will do
        with pytest.raises(InvalidArgument, match="takes a PoolScheduler, not Scheduler"):
            pool.set_scheduler(Scheduler())  # type: ignore[arg-type]  # wrong on purpose
        assert params(pool) == (5, 0, 100)
        pool.set_scheduler(pool.scheduler())


def test_parameters_of_another_scheduler(host: Host) -> None:
    with supporting(host, Feature.CPUPOOLS):
        pool = host.cpupools.create("batch", scheduler="credit2")
        assert params(pool) == (None, 1000, None)
        pool.set_scheduler(PoolScheduler(ratelimit_us=2000))
        assert params(pool) == (None, 2000, None)
        with pytest.raises(UnsupportedFeature, match="credit2, has no parameter tslice_ms"):
            pool.set_scheduler(PoolScheduler(tslice_ms=5))


def test_shares_are_read(host: Host, make: Make) -> None:
    domain = make("web1")
    with supporting(host, Feature.SCHEDULER):
        assert domain.scheduler().weight is not None
        if not differs(host, "shares"):
            domain.set_scheduler(Scheduler(weight=77))
            assert domain.scheduler() == Scheduler(kind="credit2", weight=77, cap=0)
            assert domain.config(defaults=True).scheduler == domain.scheduler()
            domain.set_scheduler(domain.scheduler())


def test_shares_of_vcpus(host: Host, make: Make) -> None:
    domain: Domain = make("web1", vcpus=2)
    with supporting(host, Feature.VCPU_SCHEDULER):
        if not host.supports(Feature.VCPU_SCHEDULER):
            domain.set_scheduler(Scheduler(weight=77), vcpu="all")
        for call in (
            lambda: domain.scheduler(vcpu=1),
            lambda: domain.set_scheduler(Scheduler(weight=77), vcpu=1),
            lambda: domain.set_scheduler(Scheduler(weight=77), vcpu="all"),
        ):
            with pytest.raises(UnsupportedFeature, match="credit2, has no parameters for vCPUs: leave it out"):
                call()
        with pytest.raises(InvalidArgument, match="there is no vCPU 2"):
            domain.scheduler(vcpu=2)
        with pytest.raises(InvalidArgument, match="there is no vCPU -1"):
            domain.set_scheduler(Scheduler(), vcpu=-1)
        with pytest.raises(InvalidArgument, match="takes a whole number, not '0'"):
            domain.scheduler(vcpu="0")  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(InvalidArgument, match="takes a whole number, not 'each'"):
            domain.set_scheduler(Scheduler(), vcpu="each")  # type: ignore[arg-type]  # wrong on purpose


def test_vcpus_are_told(host: Host, make: Make) -> None:
    domain = make("web1", vcpus=1, maxvcpus=2)
    with supporting(host, Feature.VCPU_INFO):
        everything = CpuSet(range(host.info().nr_cpus))
        first, second = domain.vcpus()
        assert (first.number, second.number) == (0, 1)
        assert first.online
        assert first.cpu in everything
        assert first.cpus == first.cpus_soft == everything
        assert first.state in set(VcpuState) - {VcpuState.OFFLINE}
        assert (second.online, second.cpu, second.state) == (False, None, "offline")
        assert second.cpu_time_ns == 0
        wait_until(lambda: domain.vcpus()[0].cpu_time_ns > 0)
        domain.pin_vcpu(0, "0")
        domain.pin_vcpu(1, cpus_soft="0")
        assert [vcpu.cpus for vcpu in domain.vcpus()] == [CpuSet("0"), everything]
        assert [vcpu.cpus_soft for vcpu in domain.vcpus()] == [everything, CpuSet("0")]
        domain.pause()
        wait_until(lambda: domain.vcpus()[0].state in {VcpuState.READY, VcpuState.BLOCKED})


def test_vcpus_of_the_configuration(host: Host, make: Make) -> None:
    soft = {"cpus_soft": "0"} if host.supports(Feature.PIN_SOFT) else {}
    domain = make("web1", vcpus=2, cpus=["all", "0"], **soft)
    with supporting(host, Feature.VCPU_INFO):
        everything = CpuSet(range(host.info().nr_cpus))
        assert [vcpu.cpus for vcpu in domain.vcpus()] == [everything, CpuSet("0")]
        assert [vcpu.cpus_soft for vcpu in domain.vcpus()] == [CpuSet("0"), CpuSet("0")]
        assert len(host.domains[0].vcpus()) == host.domains[0].info().maxvcpus


def test_pinning_by_force(host: Host, make: Make) -> None:
    domain = make("web1", vcpus=2)
    with supporting(host, Feature.PIN, Feature.PIN_FORCE):
        domain.pin_vcpu(1, "0", force=True)
        assert domain.vcpus()[1].cpus == CpuSet("0")
        domain.pin_vcpu(1, cpus_soft="0", force=True)
        with pytest.raises(InvalidArgument, match="force is for a single vCPU"):
            domain.pin_vcpu("all", "0", force=True)
