"""Latencies: counted in 10 µs steps while driving, as an HDR histogram afterwards. Pure."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from hdrh.histogram import HdrHistogram

STEP_NS = 10_000
_HIGHEST_STEP = 60 * 100_000
"""One minute; what took longer counts as that."""


class Percentiles(NamedTuple):
    """Milliseconds."""

    samples: int
    p50: float
    p99: float
    p999: float
    max: float


class Latencies:
    """`counts[latency_ns // STEP_NS] += 1` is the whole of recording one."""

    def __init__(self, counts: Counter[int] | None = None) -> None:
        self.counts: Counter[int] = Counter() if counts is None else counts

    def percentiles(self) -> Percentiles:
        histogram = HdrHistogram(1, _HIGHEST_STEP, 3)
        for step, count in self.counts.items():
            histogram.record_value(min(max(1, step), _HIGHEST_STEP), count)
        if not histogram.total_count:
            return Percentiles(0, 0.0, 0.0, 0.0, 0.0)
        at = [histogram.get_value_at_percentile(p) * STEP_NS / 1e6 for p in (50, 99, 99.9, 100)]
        return Percentiles(histogram.total_count, *at)
