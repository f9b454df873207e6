"""The exporter as a real Prometheus sees it, what promtool says of it, and what the dashboard asks."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxen import Disk, DomainConfig, Host, Vif
from pyxen.metrics import METRICS, Exporter, HostCollector
from pyxen.testing import FakeHost
from tests.oracle.prometheus import Prometheus, complaints, scraping
from tests.unit.metrics.test_exporter import DASHBOARD, expressions

WEB = DomainConfig(
    "web1",
    type="pvh",
    kernel="/boot/vmlinuz",
    memory=128,
    disks=[Disk("/srv/web1.qcow2", vdev="xvda", format="qcow2", backendtype="qdisk"), Disk("/dev/vg/a", vdev="xvdb")],
    vifs=[Vif(bridge="xenbr0")],
)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with FakeHost(nodes=2, time="real") as fake:
        fake.create(WEB)
        yield fake


@pytest.fixture(scope="module")
def exporter(host: Host) -> Iterator[Exporter]:
    with Exporter(HostCollector(host), port=0) as exporter:
        yield exporter


@pytest.fixture(scope="module")
def prometheus(exporter: Exporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with scraping(f"127.0.0.1:{exporter.port}", tmp_path_factory.mktemp("prometheus")) as prometheus:
        yield prometheus


def test_promtool_has_no_complaints(exporter: Exporter) -> None:
    with urllib.request.urlopen(exporter.url, timeout=60) as answer:  # noqa: S310 (our own)
        text = answer.read().decode()
    assert complaints(text) == ""
    assert set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)) == {metric.name for metric in METRICS}


def test_promtool_finds_what_is_wrong() -> None:
    assert "no help text" in complaints("# TYPE xen_x gauge\nxen_x 1\n")
    assert complaints('xen_x{domain="a"b"} 1\n') != ""


def test_a_real_prometheus_scrapes_it(host: Host, prometheus: Prometheus) -> None:
    web = host.domains["web1"]
    found = prometheus.wait_for('xen_domain_memory_bytes{domain="web1"}')
    [(labels, value)] = found
    assert value == web.info().memory_kib * 1024
    assert (labels["uuid"], labels["domid"]) == (str(web.uuid), str(web.domid))
    assert [value for _, value in prometheus.ask("xen_up")] == [1]
    assert {labels["type"] for labels, _ in prometheus.ask("xen_domain_info")} == {"pv", "pvh"}
    prometheus.wait_for("rate(xen_domain_cpu_seconds_total[1m])")
    (target,) = prometheus.targets()
    assert (target["health"], target["lastError"]) == ("up", "")


def test_a_real_prometheus_reads_every_name(host: Host, prometheus: Prometheus) -> None:
    odd = host.create(WEB.replace(name="web2", disks=[], vifs=[]))
    try:
        odd.rename("a ☃ {b}='c' \\d")
        found = prometheus.wait_for(f'xen_domain_info{{uuid="{odd.uuid}", domain!="web2"}}')
        assert found[0][0]["domain"] == "a ☃ {b}='c' \\d"
    finally:
        odd.destroy()


def _asked() -> list[str]:
    text = DASHBOARD.read_text()
    asked = [text for text in expressions(json.loads(text)) if "xen_" in text and not text.startswith("label_values(")]
    for name, value in {"$__rate_interval": "1m", "$instance": ".*", "$domain": ".*"}.items():
        asked = [text.replace(name, value) for text in asked]
    return asked


MAY_BE_EMPTY = ("xen_domain_disk_failed",)
"""What a host that is well has none of."""


@pytest.mark.parametrize("expression", _asked())
def test_the_dashboard_gets_answers(prometheus: Prometheus, expression: str) -> None:
    if expression.startswith(MAY_BE_EMPTY):
        assert prometheus.ask(expression) == []
    else:
        assert prometheus.wait_for(expression) != []


def test_a_dashboard_that_asks_nonsense_is_found(prometheus: Prometheus) -> None:
    with pytest.raises(ValueError, match="parse error"):
        prometheus.ask("rate(xen_up{")


def test_a_host_that_is_gone(tmp_path: Path) -> None:
    with FakeHost() as fake, Exporter(HostCollector(fake), port=0) as exporter:
        fake.vanish()
        with scraping(f"127.0.0.1:{exporter.port}", tmp_path) as prometheus:
            prometheus.wait_for("xen_up == 0")
            assert prometheus.ask("up") != []
            assert [value for _, value in prometheus.ask("up")] == [1]  # the scrape itself is fine
