"""The registry's metrics: counts by name of outcome, never by person."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.registry.core import Registry


class RegistryMetrics(Collector):
    def __init__(self, registry: CollectorRegistry, core: Registry) -> None:
        self._core = core
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        outcomes = CounterMetricFamily(
            "registry_outcomes",
            "Records and enrolments by outcome: enrolled, recorded, repeated, refused <reason>.",
            labels=["outcome"],
        )
        for outcome in sorted(self._core.counts):
            outcomes.add_metric([outcome], self._core.counts[outcome])
        yield outcomes
        yield GaugeMetricFamily(
            "registry_citizens", "Enrolled citizens.", value=self._core.citizens
        )
        yield GaugeMetricFamily(
            "registry_appends_in_flight",
            "Records accepted and not yet durable.",
            value=self._core.in_flight,
        )
