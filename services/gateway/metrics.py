"""The gateway's metrics: counts by reason, never by person or room."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.gateway.core import Gateway
from services.gateway.core.silence import BOUNDS_MS, Histogram
from services.gateway.turns import Turns


class Sweeps:
    """What the shell measures: sums and counts; rates are the reader's."""

    def __init__(self) -> None:
        self.writes = 0
        self.bytes_out = 0
        self.slices = 0
        self.slice_ns = 0
        self.slice_ns_max = 0
        self.faults = 0

    def slice(self, cost_ns: int) -> None:
        """One slice of a sweep was written."""
        self.slices += 1
        self.slice_ns += cost_ns
        self.slice_ns_max = max(self.slice_ns_max, cost_ns)


class GatewayMetrics(Collector):
    def __init__(
        self,
        registry: CollectorRegistry,
        core: Gateway,
        sweeps: Sweeps,
        turns: Turns,
        refused_at_door: dict[str, int],
    ) -> None:
        self._core = core
        self._sweeps = sweeps
        self._turns = turns
        self._refused_at_door = refused_at_door
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        core, sweeps = self._core, self._sweeps
        for name, meaning, value in (
            ("connections", "Sessions that are open.", core.sessions),
            ("posters", "Devices that post, with a seat for a minute.", len(core.posts)),
            ("backlog_bytes", "Waiting for viewers that read slowly.", core.egress.backlog_bytes()),
            ("records_unanswered", "Consent records being repeated.", core.unanswered_records),
            ("slice_seconds_max", "The longest slice so far.", sweeps.slice_ns_max / 1e9),
        ):
            yield GaugeMetricFamily(f"gateway_{name}", meaning, value=value)
        for name, meaning, count in (
            ("frames_in", "Data messages of clients.", core.frames_in),
            ("bytes_in", "Bytes in them.", core.bytes_in),
            ("writes", "Socket writes.", sweeps.writes),
            ("bytes_out", "Bytes in them.", sweeps.bytes_out),
            ("slices", "Slices of the sweeps over the viewers.", sweeps.slices),
            ("slice_seconds", "Time spent in them.", sweeps.slice_ns / 1e9),
            ("messages_prepared", "Messages in prepared payloads.", core.egress.messages_flushed),
            ("stalls", "Times that the loop stood still for over 0.5 s.", core.stalls),
            ("fences", "Times that viewers were cut off to be sure.", core.fences),
            ("gaps", "Viewers told `gap`.", core.gaps),
            ("windows_posted", "Windows taken from devices that post.", core.posts.taken),
            ("posts_passed_on", "Posts of other gateways' sessions.", core.siblings.passed_on),
            ("cuts", "Viewers cut off with struck bytes in their transport.", core.cuts),
            (
                "put_off",
                "Frames and arrivals that a later turn of the loop took.",
                self._turns.put_off,
            ),
            ("faults", "Frames at which our own code failed.", sweeps.faults),
        ):
            yield CounterMetricFamily(f"gateway_{name}", meaning, value=count)
        for name, meaning, label, counts in (
            ("refusals", "Messages refused.", "reason", core.refusals),
            ("closes", "Sessions closed from here.", "code", core.closes),
            (
                "door_refusals",
                "Requests refused before any session.",
                "name",
                self._refused_at_door,
            ),
            ("bus_drops", "Bus messages not taken.", "reason", {**core.edge_drops, **core.dropped}),
        ):
            family = CounterMetricFamily(f"gateway_{name}", meaning, labels=[label])
            for key in sorted(counts):
                family.add_metric([key], counts[key])
            yield family
        rungs = GaugeMetricFamily(
            "gateway_viewers_on_rung", "Viewers who cannot keep up, by rung.", labels=["rung"]
        )
        for rung, viewers in core.egress.rungs().items():
            rungs.add_metric([rung], viewers)
        yield rungs
        yield from self._silences()

    def _silences(self) -> Iterator[Metric]:
        silences = self._core.silences
        silence = HistogramMetricFamily(
            "gateway_withdrawal_silence_seconds",
            "From a withdrawal read here (or heard of from another gateway) to the last bytes of its"
            " citizen that this gateway handed to the kernel, at any of its viewers.",
            labels=["read"],
        )
        for read, histogram in (("here", silences.here), ("elsewhere", silences.elsewhere)):
            silence.add_metric([read], _buckets(histogram), histogram.sum_ns / 1e9)
        yield silence
        yield HistogramMetricFamily(
            "gateway_withdrawal_acted_seconds",
            "From a withdrawal read here until every gateway of the city had carried it out.",
            buckets=_buckets(silences.acted),
            sum_value=silences.acted.sum_ns / 1e9,
        )


def _buckets(histogram: Histogram) -> list[tuple[str, int]]:
    """Cumulated, as Prometheus wants them."""
    total, buckets = 0, []
    bounds = [str(bound / 1000) for bound in BOUNDS_MS] + ["+Inf"]
    for bound, count in zip(bounds, histogram.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
