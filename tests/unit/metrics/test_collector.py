"""What a scrape says of a host, and what it does when the host fails."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

import pyxen
from pyxen import ConnectFailed, Disk, DomainConfig, InvalidArgument, PoolScheduler, Vif
from pyxen.metrics import METRICS, HostCollector
from pyxen.metrics.catalogue import DISK_READ, DOMAIN_CPU
from pyxen.metrics.counters import Counters
from pyxen.testing import FakeHost
from tests.unit.metrics.scrapes import Scrape, openmetrics
from tests.waiting import SECONDS, join, until

WEB = DomainConfig(
    "web1",
    type="pvh",
    kernel="/boot/vmlinuz",
    memory=128,
    maxmem=256,
    vcpus=1,
    maxvcpus=2,
    disks=[Disk("/dev/vg/web1", vdev="xvda")],
    vifs=[Vif(bridge="xenbr0")],
)
MIB = 1 << 20


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    with FakeHost(nodes=2) as fake:
        yield fake


def test_all_that_is_known(fake: FakeHost) -> None:
    domain = fake.create(WEB)
    fake.advance(100)
    scrape = Scrape(HostCollector(fake))
    web = {"domain": "web1", "uuid": domain.uuid, "domid": domain.domid}
    assert scrape.one("xen_up") == 1
    assert scrape.one("xen_scrape_duration_seconds") >= 0
    assert scrape.one("xen_host_info", xen_version="4.20.0", scheduler="credit2") == 1
    assert scrape.one("xen_host_memory_bytes") == 4096 * MIB
    assert scrape.one("xen_host_cpus") == len(scrape.all("xen_host_cpu_info")) == 4
    assert len(scrape.all("xen_host_cpu_idle_seconds_total")) == 4
    assert sum(scrape.all("xen_host_node_memory_bytes")) == 4096 * MIB
    assert scrape.one("xen_cpupool_cpus", pool="Pool-0", poolid=0) == 4
    assert scrape.one("xen_cpupool_domains") == scrape.one("xen_domains") == 2
    assert scrape.one("xen_domain_info", type="pvh", pool="Pool-0", stubdomain_of="", **web) == 1
    assert scrape.one("xen_domain_state", state="blocked", **web) == 1
    assert sum(scrape.all("xen_domain_state", **web)) == 1
    assert scrape.one("xen_domain_memory_bytes", **web) == 128 * MIB
    assert scrape.one("xen_domain_memory_maximum_bytes", **web) == domain.info().maxmem_kib * 1024
    assert (scrape.one("xen_domain_vcpus", **web), scrape.one("xen_domain_vcpus_maximum", **web)) == (1, 2)
    assert scrape.one("xen_domain_cpu_seconds_total", **web) == pytest.approx(
        sum(scrape.all("xen_domain_vcpu_seconds_total", **web))
    )
    assert scrape.one("xen_domain_vcpu_online", vcpu=0, **web) == 1
    assert scrape.one("xen_domain_vcpu_online", vcpu=1, **web) == 0
    assert scrape.one("xen_domain_disk_read_bytes_total", vdev="xvda", **web) > 0
    assert scrape.one("xen_domain_disk_connected", vdev="xvda", **web) == 1
    assert scrape.one("xen_domain_disk_failed", vdev="xvda", **web) == 0
    assert scrape.one("xen_domain_vif_receive_bytes_total", vif=0, **web) > 0
    assert scrape.one("xen_host_boot_time_seconds") == scrape.one("xen_domain_start_time_seconds", domid=0)
    start = fake.domains["web1"].uptime().start_time
    assert start is not None
    assert scrape.one("xen_domain_start_time_seconds", **web) == start.timestamp()


def test_what_is_not_known_is_absent(fake: FakeHost) -> None:
    fake.create(WEB)
    names = Scrape(HostCollector(fake)).names()
    assert {metric.name for metric in METRICS} - names == {DISK_DISCARDED}
    fake.fail("cpupools", pyxen.UnsupportedFeature("no pools", feature="cpupools"))
    fake.fail("topology", pyxen.UnsupportedFeature("no topology", feature="topology"))
    fewer = Scrape(HostCollector(fake))
    assert fewer.one("xen_up") == 1
    assert names - fewer.names() == {
        *("xen_cpupool_info", "xen_cpupool_cpus", "xen_cpupool_domains"),
        *("xen_host_cpu_info", "xen_host_node_memory_bytes", "xen_host_node_memory_free_bytes"),
    }


DISK_DISCARDED = "xen_domain_disk_discard_bytes_total"  # only QEMU counts them, and the disk is dom0's kernel's


def test_a_domain_without_a_limit_of_memory(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    dom0 = fake.stats()[0]
    endless = dataclasses.replace(dom0, info=dataclasses.replace(dom0.info, maxmem_kib=(2**32 - 1) * 4))
    monkeypatch.setattr(fake, "stats", lambda: (endless,))
    assert Scrape(HostCollector(fake)).all("xen_domain_memory_maximum_bytes") == []


def test_the_number_of_series_is_what_the_page_says(fake: FakeHost) -> None:
    fake.create(WEB.replace(disks=[], vifs=[]))
    before = Scrape(HostCollector(fake)).values
    fake.create(WEB.replace(name="web2", disks=[], vifs=[]))
    after = Scrape(HostCollector(fake)).values
    assert len(after) - len(before) == 16 + 2 * 2
    fake.create(WEB.replace(name="web3"))
    assert len(Scrape(HostCollector(fake)).values) - len(after) == 16 + 2 * 2 + (11 - 1) + 8
    cpus, nodes, pools, dom0 = 4, 2, 1, 16 + 2 * 4
    assert len(before) == 14 + 2 * cpus + 2 * nodes + 3 * pools + dom0 + 16 + 2 * 2


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ('we"b\\1', 'we"b\\1'),
        ("two\nlines", "two\nlines"),
        ("\x1b[2J", "\\x1b[2J"),
        ("caf\udce9", "caf\\udce9"),
        ("} 1\nxen_up 0", "} 1\nxen_up 0"),
        ("Straße", "Straße"),
    ],
)
def test_a_name_cannot_break_out_of_its_label(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch, name: str, label: str
) -> None:
    dom0 = fake.stats()[0]
    named = dataclasses.replace(dom0, info=dataclasses.replace(dom0.info, name=name))
    monkeypatch.setattr(fake, "stats", lambda: (named,))
    scrape = Scrape(HostCollector(fake))
    assert scrape.one("xen_up") == 1
    assert scrape.one("xen_domain_info", domain=label) == 1
    assert "xen_domain_info" in openmetrics(HostCollector(fake))


def test_registering_does_not_ask_the_host() -> None:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    with HostCollector("memory:///nobody-asks") as collector:
        registry.register(collector)
        with pytest.raises(ValueError, match="Duplicated"):
            registry.register(HostCollector("memory:///nobody-asks"))
        assert repr(collector) == "<HostCollector of memory:///nobody-asks>"


# A host that fails


DOWN = {"xen_up", "xen_scrape_duration_seconds"}


def test_a_host_that_is_gone(fake: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    fake.create(WEB)
    collector = HostCollector(fake)
    assert Scrape(collector).one("xen_up") == 1
    fake.vanish(ConnectFailed("xenstored does not answer"))
    for _ in range(3):
        scrape = Scrape(collector)
        assert scrape.one("xen_up") == 0
        assert scrape.names() == DOWN
    assert [record.message for record in caplog.records] == [
        f"{fake!r} is down: xenstored does not answer"  # once, not at each scrape
    ]


def test_a_host_that_was_closed(fake: FakeHost) -> None:
    collector = HostCollector(fake)
    fake.close()
    assert Scrape(collector).one("xen_up") == 0


def test_one_failure_passes(fake: FakeHost) -> None:
    collector = HostCollector(fake)
    fake.fail("stats", pyxen.OperationFailed("xenstored is busy", operation="stats"))
    assert [Scrape(collector).one("xen_up") for _ in range(2)] == [0, 1]


def test_a_host_without_statistics(fake: FakeHost) -> None:
    fake.fail("stats", pyxen.UnsupportedFeature("no statistics", feature="stats"))
    assert Scrape(HostCollector(fake)).names() == DOWN


def test_a_fault_of_our_own_is_logged(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fake, "stats", lambda: 1 / 0)
    assert Scrape(HostCollector(fake)).one("xen_up") == 0
    assert [(record.levelno, record.exc_info is not None) for record in caplog.records] == [(logging.ERROR, True)]


def test_a_host_is_opened_again_after_it_failed(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Callable[[], pyxen.Host]] = []
    opened = []

    def refuse() -> pyxen.Host:
        raise ConnectFailed("not yet")

    def connect(uri: str) -> pyxen.Host:
        opened.append(uri)
        return answers.pop(0)()

    lost = FakeHost()
    answers += [refuse, lambda: lost, lambda: pyxen.connect(fake.uri)]
    monkeypatch.setattr("pyxen.metrics.collector.connect", connect)
    with HostCollector("xenlight:///") as collector:
        assert Scrape(collector).one("xen_up") == 0
        assert Scrape(collector).one("xen_up") == 1
        assert Scrape(collector).one("xen_up") == 1
        lost.vanish()
        assert Scrape(collector).one("xen_up") == 0
        assert Scrape(collector).one("xen_up") == 1
        assert opened == ["xenlight:///"] * 3
    assert Scrape(collector).one("xen_up") == 0  # it is closed
    assert len(opened) == 3


def test_a_host_that_hangs(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, readings = threading.Event(), []
    whole = fake.stats

    def stats() -> tuple[pyxen.DomainStats, ...]:
        readings.append(threading.current_thread())
        assert goes_on.wait(SECONDS)
        return whole()

    monkeypatch.setattr(fake, "stats", stats)
    collector = HostCollector(fake, timeout=0.01)
    assert Scrape(collector).names() == DOWN
    assert Scrape(collector).names() == DOWN
    until(lambda: readings, "the reading does not begin")
    goes_on.set()
    join(readings[0])
    assert len(readings) == 1  # the second scrape waited for the same reading
    patient = HostCollector(fake, timeout=SECONDS)
    assert Scrape(patient).one("xen_up") == 1


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
def test_a_timeout_that_is_not_valid(fake: FakeHost, timeout: float) -> None:
    with pytest.raises(InvalidArgument):
        HostCollector(fake, timeout=timeout)


# Counters

A, B = (1, UUID(int=1)), (1, UUID(int=2))


def test_counters_that_begin_again() -> None:
    counters = Counters()
    assert [counters.value(A, DISK_READ, "xvda", raw) for raw in (100, 150, 20, 30, 0, 7)] == [
        *(100, 150, 170, 180, 180, 187)
    ]
    assert counters.value(A, DISK_READ, "xvdb", 5) == 5
    assert counters.value(A, DOMAIN_CPU, "", 6) == 6


def test_counters_of_another_domain_begin_at_0() -> None:
    counters = Counters()
    assert counters.value(A, DISK_READ, "xvda", 100) == 100
    assert counters.value(B, DISK_READ, "xvda", 1) == 1
    counters.keep({B})
    assert counters.value(A, DISK_READ, "xvda", 2) == 2


def test_a_disk_that_is_attached_again(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = fake.create(WEB)
    fake.advance(100)
    whole = fake.stats()
    collector = HostCollector(fake)
    read = []
    for read_bytes in (1000, None, 10):
        web = whole[1]
        disks = () if read_bytes is None else (dataclasses.replace(web.disks[0], read_bytes=read_bytes),)
        shown = whole[0], dataclasses.replace(web, disks=disks)
        monkeypatch.setattr(fake, "stats", lambda shown=shown: shown)
        read.append(Scrape(collector).all("xen_domain_disk_read_bytes_total", domid=domain.domid))
    assert read == [[1000], [], [1010]]


def test_pools(fake: FakeHost) -> None:
    fake.cpupools["Pool-0"].remove_cpus("2-3")
    fake.cpupools.create("fast", cpus="2", scheduler="credit").set_scheduler(PoolScheduler(tslice_ms=5))
    scrape = Scrape(HostCollector(fake))
    assert scrape.one("xen_cpupool_info", pool="fast", scheduler="credit") == 1
    assert scrape.one("xen_cpupool_cpus", pool="fast") == 1
    assert scrape.one("xen_host_cpus_without_pool") == 1
