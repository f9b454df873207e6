"""Scrapes, read as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from pyxen.metrics import HostCollector

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """What a collector said, by metric and labels."""

    def __init__(self, collector: HostCollector) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        self.text = generate_latest(registry).decode()
        self.values: Values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse(self.text)
            for sample in family.samples
        }

    def names(self) -> set[str]:
        """Return the metrics that have samples."""
        return {name for name, _ in self.values}

    def all(self, name: str, **labels: object) -> list[float]:
        """Return the values of a metric that have at least these labels."""
        wanted = {(label, str(value)) for label, value in labels.items()}
        return [value for (found, its), value in self.values.items() if found == name and wanted <= its]

    def one(self, name: str, **labels: object) -> float:
        """Return the only value of a metric with these labels."""
        (value,) = self.all(name, **labels)
        return value


def openmetrics(collector: HostCollector) -> Iterable[str]:
    """Return the names of the families of a scrape in the format OpenMetrics, whose parser is strict."""
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]  # not all of it is typed
    return [family.name for family in parse_openmetrics(text)]  # type: ignore[no-untyped-call]  # as above
