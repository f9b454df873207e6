"""CPU pools and schedulers that the lab's Xen does not have: rtds, and more than one NUMA node."""

from __future__ import annotations

import contextlib
import errno
import signal

import pytest

import pyxen
from pyxen import CpuSet, Domain, Host, InvalidArgument, OperationFailed, Scheduler, UnsupportedFeature
from pyxen.errors import ConnectFailed, GuestTimeout, XenstoreError
from tests.offhost.conftest import Configure
from tests.offhost.host import OffHost
from tests.offhost.internals import let_dom0_use, when_a_pool_is_made
from tests.offhost.store import StoreError
from tests.offhost.sweep import bounded
from tests.offhost.world import How, Kind


@pytest.fixture
def real_time(host: Host, config: Configure) -> Domain:
    """A domain with two vCPUs under rtds."""
    host.cpupools[0].remove_cpus("3")
    host.cpupools.create("rt", cpus="3", scheduler="rtds")
    domain = host.create(config(vcpus=2))
    domain.set_cpupool("rt")
    return domain


def test_shares_of_a_domain_under_rtds(real_time: Domain) -> None:
    default = Scheduler(kind="rtds", period=10_000, budget=4000, extratime=1)
    assert real_time.scheduler() == default
    real_time.set_scheduler(Scheduler(period=5000, budget=1000, extratime=0))
    expected = Scheduler(kind="rtds", period=5000, budget=1000, extratime=0)
    assert [real_time.scheduler(vcpu=vcpu) for vcpu in (0, 1)] == [expected, expected]
    with pytest.raises(UnsupportedFeature, match="rtds, has no parameter weight"):
        real_time.set_scheduler(Scheduler(weight=5))


def test_shares_of_vcpus_under_rtds(real_time: Domain) -> None:
    real_time.set_scheduler(Scheduler(budget=2000), vcpu=1)
    first, second = (real_time.scheduler(vcpu=vcpu) for vcpu in (0, 1))
    assert (first.period, first.budget, first.extratime) == (10_000, 4000, 1)
    assert (second.period, second.budget, second.extratime) == (10_000, 2000, 1)
    real_time.set_scheduler(Scheduler(extratime=0), vcpu="all")
    assert [real_time.scheduler(vcpu=vcpu) for vcpu in (0, 1)] == [
        first.replace(extratime=0),
        second.replace(extratime=0),
    ]
    wrong = (
        (Scheduler(budget=20_000), "budget=20000 is longer than period=10000"),
        (Scheduler(period=9), "period=9 is too short: use 10 µs or more"),
        (Scheduler(budget=0), "budget=0 is too short"),
        (Scheduler(extratime=2), "extratime=2 is out of range"),
    )
    for given, problem in wrong:
        with pytest.raises(InvalidArgument, match=problem):
            real_time.set_scheduler(given, vcpu=0)
        with pytest.raises(InvalidArgument, match=problem):
            real_time.set_scheduler(given)
    with pytest.raises(InvalidArgument, match="no vCPU 2; the domain has 0 to 1"):
        real_time.set_scheduler(Scheduler(budget=2000), vcpu=2)
    assert real_time.scheduler(vcpu=1) == second.replace(extratime=0)


def used_by_dom0(offhost: OffHost) -> list[bool]:
    """Return which vCPUs domain 0 is to use."""
    return [_availability(offhost, vcpu) != "offline" for vcpu in range(4)]


def _availability(offhost: OffHost, vcpu: int) -> str | None:
    try:
        return offhost.store.read(f"/local/domain/0/cpu/{vcpu}/availability")
    except StoreError:
        return None


def shares(offhost: OffHost, host: Host) -> tuple[list[tuple[int, str | None, CpuSet]], list[bool]]:
    """Return the pools, and which vCPUs domain 0 is to use."""
    return [(info.number, info.name, info.cpus) for info in host.cpupools.list()], used_by_dom0(offhost)


def test_a_split_into_nodes(offhost: OffHost, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    offhost.world.set_nodes(2)
    let_dom0_use(monkeypatch, lambda: sum(used_by_dom0(offhost)))
    host.cpupools.numa_split()
    assert {info.scheduler for info in host.cpupools.list()} == {"credit2"}
    assert shares(offhost, host) == (
        [(0, "Pool-node0", CpuSet("0-1")), (1, "Pool-node1", CpuSet("2-3"))],
        [True, True, False, False],
    )
    assert host.cpupools["Pool-node1"].uuid is not None


@pytest.mark.parametrize("kind", [Kind.HYPERCALLS, Kind.REQUESTS])
def test_a_split_that_fails_is_undone(
    offhost: OffHost, host: Host, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    offhost.world.set_nodes(2)
    let_dom0_use(monkeypatch, lambda: sum(used_by_dom0(offhost)))
    before, failed = shares(offhost, host), 0
    for nth in range(1, 200):
        how = How.DENY if kind is Kind.REQUESTS else How.FAIL
        with offhost.world.sweeping(kind, nth, errno.ENOSPC, how) as swept:
            outcome = bounded(host.cpupools.numa_split)()
        if not swept.pid:
            break
        if outcome.error is None:
            host.cpupools[1].destroy()
            host.cpupools[0].add_cpus("2-3")
            host.cpupools[0].rename("Pool-0")
            host.domains[0].set_vcpus(4)
        assert shares(offhost, host) == before, f"{swept.what}, {nth}: {outcome.error}"
        failed += outcome.error is not None
    assert failed > 5
    assert len(host.cpupools) == 2


def test_a_split_ends_if_dom0_does_not_follow(offhost: OffHost, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    offhost.world.set_nodes(2)
    before = shares(offhost, host)
    let_dom0_use(monkeypatch, lambda: 4, patience=0.1)
    with pytest.raises(GuestTimeout, match="dom0 does not take its vCPUs from 2 on offline"):
        host.cpupools.numa_split()
    assert shares(offhost, host) == before


def test_cpus_of_a_node(offhost: OffHost, host: Host) -> None:
    offhost.world.set_nodes(2)
    host.cpupools[0].remove_cpus("node:1")
    assert host.cpupools[0].info().cpus == CpuSet("0-1")
    pool = host.cpupools.create("second", cpus="nodes:1,^3")
    assert pool.info().cpus == CpuSet("2")
    pool.add_cpus("node:1")
    assert pool.info().cpus == CpuSet("2-3")
    with pytest.raises(InvalidArgument, match="no NUMA node 2"):
        pool.add_cpus("node:2")


def test_a_create_that_fails_leaves_no_pool(offhost: OffHost, host: Host) -> None:
    host.cpupools[0].remove_cpus("2-3")
    for nth in (1, 2, 3):
        with (
            offhost.world.failing("sysctl.cpupool_op", errno.EIO, nth=_before_create(offhost, host) + nth, times=1),
            pytest.raises(OperationFailed),
        ):
            host.cpupools.create("batch", cpus="2-3")
        assert [info.cpus for info in host.cpupools.list()] == [CpuSet("0-1")]


@pytest.mark.usefixtures("impatient")
def test_a_pool_that_is_made_while_xenstored_hangs_is_taken_back_or_told_of(
    offhost: OffHost, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    when_a_pool_is_made(monkeypatch, lambda: offhost.signal_xenstored(signal.SIGSTOP))
    try:
        found = bounded(lambda: host.cpupools.create("batch"))()
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    assert not found.late, found.late
    assert isinstance(found.error, ConnectFailed)
    assert "the CPU pool 1 is gone again, but maybe not /local/pool/1 in xenstore: remove it" in str(found.error)
    assert [info.number for info in host.cpupools.list()] == [0]
    host.xenstore.remove("/local/pool/1")
    assert offhost.left() == []


def test_a_pool_that_cannot_be_taken_back_is_told_of(
    offhost: OffHost, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as failing:

        def fail() -> None:
            host.xenstore.remove("/local/pool/1")
            # Xen tells of the pools, and does not destroy this one.
            failing.enter_context(offhost.world.failing("sysctl.cpupool_op", errno.EBUSY, nth=4, times=1))

        when_a_pool_is_made(monkeypatch, fail)
        with pytest.raises(XenstoreError) as raised:
            host.cpupools.create("batch")
    assert "the CPU pool 1 is left: destroy it" in str(raised.value)
    host.cpupools[1].destroy()
    assert offhost.left() == []


def _before_create(offhost: OffHost, host: Host) -> int:
    """Return how many calls about pools a create makes before it creates anything."""
    before = offhost.world.count("sysctl.cpupool_op")
    with pytest.raises(pyxen.CpupoolExists):
        host.cpupools.create("Pool-0", cpus="2-3")
    return offhost.world.count("sysctl.cpupool_op") - before


def test_cpus_are_added_all_or_none(offhost: OffHost, host: Host) -> None:
    first = host.cpupools[0]
    first.remove_cpus("1-3")
    asked = len(host.cpupools) + 1  # calls that look at the pools
    with (
        offhost.world.failing("sysctl.cpupool_op", errno.EADDRNOTAVAIL, nth=asked + 2, times=1),
        pytest.raises(OperationFailed, match="add_cpus 0: failed"),
    ):
        first.add_cpus("1-3")
    assert first.info().cpus == CpuSet("0")
    first.add_cpus("1-3")
    with (
        offhost.world.failing("sysctl.cpupool_op", errno.EIO, nth=asked + 2, times=1),
        pytest.raises(OperationFailed, match="remove_cpus 0: failed"),
    ):
        first.remove_cpus("1-3")
    assert first.info().cpus == CpuSet("0-3")


def test_pools_that_xen_does_not_tell(offhost: OffHost, host: Host) -> None:
    host.cpupools.create("batch")
    for nth in (1, 2, 3):
        with (
            offhost.world.failing("sysctl.cpupool_op", errno.EIO, nth=nth, times=1),
            pytest.raises(OperationFailed, match="Xen does not list its CPU pools: Input/output error"),
        ):
            host.cpupools.list()
    assert len(host.cpupools) == 2


def test_what_xen_does_not_tell_of_vcpus(offhost: OffHost, host: Host, config: Configure) -> None:
    domain = host.create(config(vcpus=2))
    for call, verb in (
        ("getvcpuinfo", domain.vcpus),
        ("getvcpuaffinity", domain.vcpus),
        ("scheduler_op", domain.scheduler),
        ("getnodeaffinity", domain.node_affinity),
    ):
        with (
            offhost.world.failing(f"domctl.{call}", errno.EIO, times=1),
            pytest.raises(OperationFailed, match=f"Xen does not tell .* domain {domain.domid}: Input/output error"),
        ):
            verb()
