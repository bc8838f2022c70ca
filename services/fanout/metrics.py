"""fanout's metrics: counts by reason, never by person or room."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.fanout.core import Router


class FanoutMetrics(Collector):
    """Read from the core when asked, so that the data plane pays nothing."""

    def __init__(self, registry: CollectorRegistry, core: Router) -> None:
        self._core = core
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        for field in dataclasses.fields(self._core.counts):
            yield CounterMetricFamily(
                f"fanout_{field.name}",
                f"{field.name.replace('_', ' ').capitalize()} since the start.",
                value=getattr(self._core.counts, field.name),
            )
        yield GaugeMetricFamily(
            "fanout_certain",
            "1 while every slot of this process delivers.",
            value=int(self._core.is_certain),
        )
