"""ingest's metrics: read from the core when asked, so that no sample pays for them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.ingest.core import Core


class IngestCollector(Collector):
    """Labels are reasons of the catalogue and ends of strands, never people or rooms."""

    def __init__(self, core: Core, registry: CollectorRegistry) -> None:
        self._core = core
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        counts = self._core.counts
        singles = {
            "samples_admitted": ("samples admitted", counts.admitted),
            "numbers_lost": ("numbers that never arrived", counts.lost),
            "seals_taken": ("windows sealed", counts.seals),
            "seals_wanted": ("overdue seals asked for", counts.seals_wanted),
            "strands_opened": ("strands opened", counts.opened),
            "keys_released": ("keys of ended strands published", counts.released),
            "equivocations": ("second, different seals for one window", counts.equivocations),
            "suspensions": ("devices suspended", self._core.suspensions),
            "batches_repeated": ("uplink batches that came twice", counts.repeated_batches),
            "batches_foreign": ("uplink batches of other owners' slots", counts.foreign),
        }
        for name, (meaning, value) in singles.items():
            yield CounterMetricFamily(f"ingest_{name}", meaning, value=value)
        families = {
            "samples_refused": ("samples refused", "reason", counts.refused_samples),
            "messages_refused": ("other messages refused", "reason", counts.refused_messages),
            "strands_closed": ("strands ended", "how", counts.closed),
        }
        for name, (meaning, label, by_label) in families.items():
            family = CounterMetricFamily(f"ingest_{name}", meaning, labels=[label])
            for named, count in sorted(by_label.items()):
                family.add_metric([named], count)
            yield family
        yield GaugeMetricFamily(
            "ingest_strands_open", "open strands", value=len(self._core.book.strands)
        )
