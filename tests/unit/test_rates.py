"""Rates between two samples, and the sampler that takes them."""

from __future__ import annotations

import asyncio
import dataclasses
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyxen.aio
from pyxen import Disk, DiskStats, DomainRates, DomainState, DomainStats, Sampler, Vif, VifStats
from pyxen.records.rates import domain_rates
from pyxen.testing import FakeHost
from tests.unit.infos import domain_info
from tests.unit.memory.configs import config

INFO = dataclasses.replace(domain_info(3, "web1", UUID(int=3), DomainState.RUNNING), cpu_time_ns=10**9)
DISK = DiskStats("xvda", 100, 4096, 10, 512)
VIF = VifStats(0, 1000, 10, 0, 0, 500, 5, 0, 0)
BEFORE = DomainStats(INFO, 5 * 10**9, (10**9,), (True,), (DISK,), (VIF,))


def later(seconds: float, *, cpu_s: float = 1, **changes: object) -> DomainStats:
    """Return `BEFORE` as it is some time later."""
    info = dataclasses.replace(INFO, cpu_time_ns=INFO.cpu_time_ns + int(cpu_s * 10**9))
    moment = BEFORE.monotonic_ns + int(seconds * 10**9)
    return dataclasses.replace(BEFORE, info=info, monotonic_ns=moment, **changes)  # type: ignore[arg-type]  # any field


def rates_of(before: DomainStats, after: DomainStats) -> DomainRates:
    """Return the rates on a host with 4 CPUs."""
    rates = domain_rates(before, after, 4)
    assert rates is not None
    return rates


def test_what_is_between() -> None:
    after = later(
        2,
        cpu_s=3,
        disks=(DiskStats("xvda", 120, 8192, 14, 1536),),
        vifs=(VifStats(0, 3000, 30, 0, 0, 700, 9, 0, 0),),
    )
    rates = rates_of(BEFORE, after)
    assert rates.stats is after
    assert (rates.seconds, rates.cpu_percent, rates.host_cpu_percent) == (2, 150, 37.5)
    assert (rates.read_requests_per_s, rates.read_bytes_per_s) == (10, 2048)
    assert (rates.write_requests_per_s, rates.write_bytes_per_s) == (2, 512)
    assert (rates.rx_bytes_per_s, rates.tx_bytes_per_s) == (1000, 100)
    assert (rates.vifs[0].rx_packets_per_s, rates.vifs[0].tx_packets_per_s) == (10, 2)


def test_what_was_attached_in_between_counted_from_0() -> None:
    disks = (DISK, DiskStats("xvdb", 2, 200, 4, 400))
    vifs = (VIF, VifStats(1, 80, 8, 0, 0, 40, 4, 0, 0))
    rates = rates_of(BEFORE, later(2, disks=disks, vifs=vifs))
    assert [(disk.vdev, disk.read_bytes_per_s) for disk in rates.disks] == [("xvda", 0), ("xvdb", 100)]
    assert [(vif.devid, vif.rx_bytes_per_s) for vif in rates.vifs] == [(0, 0), (1, 40)]


def test_what_was_attached_again_counted_from_0() -> None:
    """One counter that is lower is enough: the others may have grown beyond what they were."""
    disks = (DiskStats("xvda", 1, 8192, 1, 100),)
    vifs = (VifStats(0, 2000, 4, 0, 0, 600, 6, 0, 0),)
    rates = rates_of(BEFORE, later(2, disks=disks, vifs=vifs))
    assert (rates.read_requests_per_s, rates.read_bytes_per_s, rates.write_bytes_per_s) == (0.5, 4096, 50)
    assert (rates.rx_bytes_per_s, rates.tx_bytes_per_s) == (1000, 300)


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_not_known(turned: bool) -> None:
    unknown = DiskStats("xvda", None, None, None, None)
    first, second = (unknown, DISK) if turned else (DISK, unknown)
    before = dataclasses.replace(BEFORE, disks=(first, DiskStats("xvdb", 0, 0, 0, 0)))
    rates = rates_of(before, later(2, disks=(second, DiskStats("xvdb", 2, 20, 4, 40))))
    assert rates.disks[0].read_bytes_per_s is None
    assert (rates.read_bytes_per_s, rates.write_requests_per_s) == (10, 2)


def test_nothing_to_compare() -> None:
    assert domain_rates(BEFORE, BEFORE, 4) is None
    assert domain_rates(BEFORE, later(-1), 4) is None
    assert domain_rates(BEFORE, later(1, cpu_s=-0.5), 4) is None  # another domain, which has used less so far


COUNTERS = st.none() | st.integers(0, 2**64)
DISKS = st.builds(DiskStats, st.sampled_from(["xvda", "xvdb"]), COUNTERS, COUNTERS, COUNTERS, COUNTERS)
VIFS = st.builds(VifStats, st.integers(0, 1), *[st.integers(0, 2**64)] * 8)
STATS = st.builds(
    DomainStats,
    st.builds(lambda used: dataclasses.replace(INFO, cpu_time_ns=used), st.integers(0, 2**63)),
    st.integers(0, 2**63),
    st.just(()),
    st.just(()),
    st.lists(DISKS, max_size=2, unique_by=lambda disk: disk.vdev).map(tuple),
    st.lists(VIFS, max_size=2, unique_by=lambda vif: vif.devid).map(tuple),
)


@given(STATS, STATS)
def test_no_rate_is_negative(before: DomainStats, after: DomainStats) -> None:
    rates = domain_rates(before, after, 2)
    if rates is not None:
        told = rates.to_dict()
        tables = [told, *told["disks"], *told["vifs"]]
        values = [value for table in tables for name, value in table.items() if name.endswith(("_per_s", "_percent"))]
        assert all(value is None or value >= 0 for value in values)


def test_a_sampler() -> None:
    with FakeHost() as fake:
        web = fake.create(config(disks=[Disk("/dev/a", vdev="xvda")], vifs=[Vif()]))
        sampler = Sampler(fake)
        assert sampler.sample() == ()
        late = fake.create(config("late"))
        fake.advance(10)
        rates = {each.stats.info.name: each for each in sampler.sample()}
        assert rates.keys() == {"Domain-0", "web1"}
        assert rates["web1"].stats.info.domain == web
        assert rates["web1"].seconds >= 10
        assert rates["web1"].read_requests_per_s == pytest.approx(50, rel=0.1)
        assert rates["web1"].rx_bytes_per_s == pytest.approx(20 * 128, rel=0.1)
        web.destroy()
        fake.advance(10)
        assert {each.stats.info.name for each in sampler.sample()} == {"Domain-0", late.name}
        assert sampler.sample() == ()  # no time has passed


def test_a_sampler_in_asyncio() -> None:
    async def main() -> None:
        async with pyxen.aio.connect("memory:///rates") as host:
            web = await host.create(config())
            sampler = pyxen.aio.Sampler(host)
            assert await sampler.sample() == ()
            rates = {each.stats.info.name: each for each in await sampler.sample()}
            assert rates["web1"].stats.info.domain == web
            assert isinstance(rates["web1"].stats.info.domain, pyxen.aio.Domain)

    asyncio.run(main())
