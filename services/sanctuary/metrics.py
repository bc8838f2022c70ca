"""Sanctuary's metrics: counts by name of outcome, never by room or person."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.sanctuary.core import Sanctuary


class SanctuaryMetrics(Collector):
    def __init__(self, registry: CollectorRegistry, core: Sanctuary) -> None:
        self._core = core
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        outcomes = CounterMetricFamily(
            "sanctuary_outcomes",
            "Joins and leaves by outcome: joined, joined again, left, gateway silent, refused <reason>.",
            labels=["outcome"],
        )
        for outcome in sorted(self._core.counts):
            outcomes.add_metric([outcome], self._core.counts[outcome])
        yield outcomes
        yield GaugeMetricFamily("sanctuary_rooms", "Rooms that stand.", value=self._core.rooms)
        yield GaugeMetricFamily("sanctuary_seats", "Seats of sessions.", value=self._core.seats)
