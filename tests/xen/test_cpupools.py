"""CPU pools, schedulers and vCPUs on real Xen, as xl sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from pyxen import (
    Cpupool,
    CpuSet,
    Domain,
    Host,
    PoolScheduler,
    Scheduler,
    UnsupportedFeature,
    VcpuInfo,
    VcpuState,
)
from tests.xen.support import MakeConfig, wait_until, xl


def xl_pools() -> dict[str, tuple[str, int, CpuSet]]:
    """Return the pools that xl sees: by name, the scheduler, the number of domains, and the CPUs."""
    lines = [line.split() for line in xl("cpupool-list").splitlines()[1:]]
    cpus = {line.split()[0]: line.split()[1:] for line in xl("cpupool-list", "-c").splitlines()[1:]}
    return {name: (kind, int(domains), CpuSet(",".join(cpus[name]))) for name, _, kind, _, domains in lines}


def as_xl_shows(host: Host) -> dict[str, tuple[str, int, CpuSet]]:
    """Return the same from pyxen."""
    return {info.name or "": (info.scheduler.value, len(info.domains), info.cpus) for info in host.cpupools.list()}


def xl_vcpus(domain: Domain) -> list[tuple[int, str, str, str, str]]:
    """Return what ``xl vcpu-list`` shows of each vCPU: number, CPU, state, hard and soft affinity."""
    rows = []
    for line in xl("vcpu-list", str(domain.domid)).splitlines()[1:]:
        _, _, number, cpu, state, _, *affinity = line.split()
        hard, soft = "".join(affinity).split("/")
        rows.append((int(number), cpu, state, hard, soft))
    return rows


def as_xl_shows_vcpu(vcpu: VcpuInfo, cpus: int) -> tuple[int, str, str, str, str]:
    """Return a vCPU as xl shows it."""
    state = {VcpuState.RUNNING: "r--", VcpuState.BLOCKED: "-b-", VcpuState.READY: "---", VcpuState.OFFLINE: "--p"}
    sets = ("all" if len(each) == cpus else each.text for each in (vcpu.cpus, vcpu.cpus_soft))
    return (vcpu.number, "-" if vcpu.cpu is None else str(vcpu.cpu), state[vcpu.state], *sets)  # type: ignore[return-value]  # two sets


@pytest.fixture(autouse=True)
def one_pool(host: Host) -> Iterator[None]:
    """Have one pool with all CPUs again after each test."""
    yield
    for pool in host.cpupools:
        if pool.number:
            for domid in pool.info().domains:
                host.domains[domid].destroy()
            pool.destroy()
    host.cpupools[0].add_cpus("all")
    host.cpupools[0].rename("Pool-0")


def test_pools_as_xl_lists_them(host: Host, tiny: MakeConfig) -> None:
    assert as_xl_shows(host) == xl_pools()
    domain = host.create(tiny("pv"))
    pool = host.cpupools.create("batch", scheduler="credit")
    assert as_xl_shows(host) == xl_pools()
    assert xl("list", "-c", str(domain.domid)).splitlines()[1].split()[-1] == domain.info().pool == "Pool-0"
    pool.rename("later on")
    assert "later on" in xl("cpupool-list")
    xl("cpupool-rename", "later on", "night")
    assert pool.info().name == "night"
    pool.destroy()
    assert as_xl_shows(host) == xl_pools()
    domain.destroy()


def test_a_pool_that_xl_made(host: Host) -> None:
    xl("cpupool-create", 'name="night"', 'sched="credit"')
    pool = host.cpupools["night"]
    assert pool.uuid is not None
    xl("cpupool-destroy", "night")
    xl("cpupool-create", 'name="night"')
    assert host.cpupools["night"].number == pool.number
    assert host.cpupools["night"] != pool
    host.cpupools["night"].destroy()


def test_schedulers_that_xen_was_built_without(host: Host) -> None:
    for kind in ("rtds", "arinc653", "null"):
        with pytest.raises(UnsupportedFeature, match=f"Xen makes no CPU pool with the scheduler {kind}"):
            host.cpupools.create("night", scheduler=kind)
    assert as_xl_shows(host) == xl_pools()


def xl_parameters(pool: Cpupool) -> list[int]:
    """Return the parameters of a pool with the scheduler credit, as xl shows them."""
    return [int(number) for number in re.findall(r"=(\d+)", xl("sched-credit", "-s", "-p", str(pool.name)))]


def test_parameters_of_a_pool(host: Host) -> None:
    pool = host.cpupools.create("night", scheduler="credit")
    found = pool.scheduler()
    assert [found.tslice_ms, found.ratelimit_us, found.vcpu_migr_delay_us] == xl_parameters(pool)
    pool.set_scheduler(PoolScheduler(tslice_ms=7, ratelimit_us=500, vcpu_migr_delay_us=250))
    assert xl_parameters(pool) == [7, 500, 250]
    xl("sched-credit", "-s", "-p", "night", "-t", "9")
    assert pool.scheduler().tslice_ms == 9
    first = host.cpupools[0]
    before = first.scheduler()
    first.set_scheduler(PoolScheduler(ratelimit_us=2000))
    assert "ratelimit=2000us" in xl("sched-credit2", "-s", "-p", "Pool-0")
    first.set_scheduler(before)


def test_shares_are_read(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    xl("sched-credit2", "-d", str(domain.domid), "-w", "512", "-c", "40")
    assert domain.scheduler() == Scheduler(kind="credit2", weight=512, cap=40)
    dom0 = host.domains[0].scheduler()
    assert xl("sched-credit2", "-d", "0").split()[-2:] == [str(dom0.weight), str(dom0.cap)]
    domain.destroy()


def test_vcpus_as_xl_lists_them(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv", vcpus=2, maxvcpus=3, cpus="0", cpus_soft=["all", "0", "0"]))
    cpus = host.info().nr_cpus
    wait_until(lambda: domain.vcpus()[0].state is VcpuState.BLOCKED)
    assert [as_xl_shows_vcpu(vcpu, cpus) for vcpu in domain.vcpus()] == xl_vcpus(domain)
    xl("vcpu-pin", str(domain.domid), "1", "all", "all")
    assert domain.vcpus()[1].cpus == domain.vcpus()[1].cpus_soft == CpuSet(range(cpus))
    assert [as_xl_shows_vcpu(vcpu, cpus) for vcpu in domain.vcpus()] == xl_vcpus(domain)
    domain.pin_vcpu(1, "0", force=True)
    assert [as_xl_shows_vcpu(vcpu, cpus) for vcpu in domain.vcpus()] == xl_vcpus(domain)
    domain.destroy()
    own = host.domains[0]
    assert [row[::4] for row in xl_vcpus(own)] == [as_xl_shows_vcpu(vcpu, cpus)[::4] for vcpu in own.vcpus()]
    assert sum(vcpu.cpu_time_ns for vcpu in own.vcpus()) >= own.stats().cpu_time_ns / 2


def test_a_vcpu_that_is_busy(host: Host, linux: MakeConfig) -> None:
    domain = host.create(linux("pv"))
    wait_until(lambda: domain.vcpus()[0].state in {VcpuState.RUNNING, VcpuState.READY})
    used = domain.vcpus()[0].cpu_time_ns
    wait_until(lambda: domain.vcpus()[0].cpu_time_ns > used)
    domain.destroy()


@pytest.mark.two_cpus
def test_cpus_and_domains_move(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv", vcpus=2))
    domain.set_scheduler(Scheduler(weight=512))
    domain.pin_vcpu(0, "0")
    host.cpupools[0].remove_cpus("1")
    assert as_xl_shows(host) == xl_pools()
    pool = host.cpupools.create("night", cpus="1", scheduler="credit")
    domain.set_cpupool(pool)
    assert as_xl_shows(host) == xl_pools()
    assert xl("list", "-c", str(domain.domid)).splitlines()[1].split()[-1] == domain.info().pool == "night"
    assert [one.pool for one in host.list()] == ["Pool-0", "night"]
    assert domain.scheduler() == Scheduler(kind="credit", weight=256, cap=0)
    assert [as_xl_shows_vcpu(vcpu, 2) for vcpu in domain.vcpus()] == xl_vcpus(domain)
    assert domain.config(defaults=True).scheduler == domain.scheduler()
    xl("cpupool-migrate", str(domain.domid), "Pool-0")
    assert domain.info().pool == "Pool-0"
    xl("cpupool-cpu-remove", "night", "1")
    xl("cpupool-cpu-add", "Pool-0", "1")
    assert as_xl_shows(host) == xl_pools()
    pool.destroy()
    domain.destroy()


@pytest.mark.two_cpus
def test_a_pool_whose_domain_is_destroyed(host: Host, tiny: MakeConfig) -> None:
    host.cpupools[0].remove_cpus("1")
    pool = host.cpupools.create("night", cpus="1")
    domain = host.create(tiny("pv", pool="night"))
    assert domain.info().pool == domain.config().pool == "night"
    wait_until(lambda: domain.vcpus()[0].cpu == 1)
    domain.destroy()
    wait_until(lambda: not pool.info().domains)
    pool.destroy()
    wait_until(lambda: as_xl_shows(host) == xl_pools())  # both show the domain as long as it dies, in Pool-0


@pytest.mark.two_cpus
def test_a_split_into_nodes(host: Host) -> None:
    host.cpupools.numa_split()
    ours = as_xl_shows(host)
    host.cpupools[0].rename("Pool-0")
    xl("cpupool-numa-split")
    assert ours == as_xl_shows(host) == xl_pools()
