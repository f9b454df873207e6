"""What the exporter says of every host."""

from __future__ import annotations

from pyxen import Disk, Feature, Host
from pyxen.metrics import METRICS, HostCollector
from tests.backends.support import Make, supporting
from tests.unit.metrics.scrapes import Scrape, openmetrics


def test_a_scrape_has_what_the_host_knows(host: Host, make: Make, image: str) -> None:
    domain = make("web1", paused=True, disks=[Disk(image, vdev="xvda")])
    collector = HostCollector(host)
    scrape, info = Scrape(collector), domain.info()
    web = {"domain": "web1", "uuid": domain.uuid, "domid": domain.domid}
    assert scrape.one("xen_up") == 1
    assert scrape.one("xen_host_cpus") == host.info().nr_cpus
    assert scrape.one("xen_domains") == len(host.list())
    assert scrape.one("xen_domain_info", type=info.type, **web) == 1
    assert scrape.one("xen_domain_memory_bytes", **web) == info.memory_kib * 1024
    assert scrape.one("xen_domain_disk_info", vdev="xvda", **web) == 1
    assert len(scrape.all("xen_host_cpu_idle_seconds_total")) == (
        host.info().nr_cpus if host.supports(Feature.IDLE_TIMES) else 0
    )
    assert len(scrape.all("xen_cpupool_info")) == (len(host.cpupools) if host.supports(Feature.CPUPOOLS) else 0)
    assert len(scrape.all("xen_domain_start_time_seconds", **web)) == host.supports(Feature.UPTIME)
    assert scrape.names() <= {metric.name for metric in METRICS}
    assert len(list(openmetrics(collector))) == len(scrape.names())
    domain.destroy()
    assert Scrape(collector).all("xen_domain_info", **web) == []


def test_counters_only_grow(host: Host, make: Make) -> None:
    domain = make("web1")
    collector = HostCollector(host)
    counters = [metric.name for metric in METRICS if metric.kind == "counter"]
    before, after = Scrape(collector), Scrape(collector)
    with supporting(host, Feature.STATS):
        for (name, labels), value in before.values.items():
            if name in counters and ("domid", str(domain.domid)) in labels:
                assert after.values[name, labels] >= value, name
