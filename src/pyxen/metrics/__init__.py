"""Metrics of a host and its domains for Prometheus, which need an extra: ``pip install 'pyxen[metrics]'``.

``pyxen exporter`` serves them; a program that has an HTTP server of its own registers a `HostCollector`.
"""

from __future__ import annotations

try:
    import prometheus_client  # noqa: F401 (without it, the modules below have nothing to build on)
except ModuleNotFoundError as error:
    if error.name != "prometheus_client":
        raise
    raise ModuleNotFoundError(
        "pyxen.metrics needs prometheus-client, which is not installed: pip install 'pyxen[metrics]'",
        name="prometheus_client",
    ) from None

from pyxen.metrics.catalogue import METRICS, Metric
from pyxen.metrics.collector import HostCollector
from pyxen.metrics.exporter import Exporter

__all__ = ["METRICS", "Exporter", "HostCollector", "Metric"]
