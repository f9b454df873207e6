"""The exporter of a real Xen host, scraped from outside by a real Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import Lab
from tests.oracle.prometheus import complaints, scraping
from tests.unit.metrics.test_exporter import get

GUESTS = "/usr/share/pyxen-guests"
PORT = 9813
START = (
    "cd /root/pyxen && PYTHONPATH=src python3 -c 'from pyxen.cli import main; main()' "
    f"exporter --listen 0.0.0.0:{PORT} >/run/exporter.log 2>&1 & "
    "for i in $(seq 300); do grep -q serving /run/exporter.log && exit 0; sleep 0.2; done; "
    "cat /run/exporter.log; exit 1"
)
CONFIG = f'name = "web1"\ntype = "pvh"\nkernel = "{GUESTS}/vmlinux"\nramdisk = "{GUESTS}/initramfs"\nmemory = 96\n'


@pytest.mark.parametrize("release", ["4.20"])
@pytest.mark.long
def test_a_real_host_is_scraped(release: str, tmp_path: Path) -> None:
    (tmp_path / "web1.cfg").write_text(CONFIG)
    with Lab(release) as dom0:
        dom0.put(tmp_path / "web1.cfg", "/srv/web1.cfg")
        dom0.run(["xl", "create", "-q", "-e", "/srv/web1.cfg"], check=True, timeout=120)
        started = dom0.run(["sh", "-c", START], timeout=120)
        assert started.status == 0, started.stdout
        target = f"127.0.0.1:{dom0.forward(PORT)}"
        assert complaints(get(f"http://{target}/metrics")[1]) == ""
        with scraping(target, tmp_path) as prometheus:
            [(labels, memory)] = prometheus.wait_for('xen_domain_memory_bytes{domain="web1"}')
            listed = dom0.run(["xl", "list", "web1"], check=True, timeout=60).stdout.splitlines()[-1].split()
            assert labels["domid"] == listed[1]
            assert memory / (1 << 20) == pytest.approx(int(listed[2]), abs=1)
            asked = prometheus.wait_for("xen_cpupool_info")
            assert {labels["pool"] for labels, _ in asked} == {"Pool-0"}
            prometheus.wait_for("rate(xen_domain_cpu_seconds_total[1m]) > 0")
            dom0.run(["xl", "destroy", "web1"], check=True, timeout=60)
            prometheus.wait_for("xen_domains == 1")
