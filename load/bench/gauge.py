"""Withdrawal to silence, as the gateway counts it: its histograms before and after a run.

What a histogram knows is a bucket: a percentile is told as its bucket's upper bound, never below the
truth.
"""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

SILENCE = "gateway_withdrawal_silence_seconds"
ACTED = "gateway_withdrawal_acted_seconds"
FORGOTTEN_S = 6.0
"""So long after the last withdrawal the gateway has counted it: it listens 5 s for late bytes."""
Buckets = dict[float, float]
"""Upper bound in seconds → how many durations are at most so long."""


def buckets_in(text: str, name: str, **labels: str) -> Buckets:
    """One histogram out of a page of metrics."""
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"{name}_bucket"
        and all(sample.labels.get(key) == value for key, value in labels.items())
    }


def since(before: Buckets, after: Buckets) -> Buckets:
    return {bound: count - before.get(bound, 0) for bound, count in after.items()}


def percentile_ms(buckets: Buckets, share: float) -> float | None:
    """The upper bound of the bucket in which `share` of all durations have been reached."""
    total = max(buckets.values(), default=0)
    if not total:
        return None
    bound = min(bound for bound, count in buckets.items() if count >= share * total)
    return round(bound * 1000, 3)


def summary(buckets: Buckets) -> dict[str, Any]:
    return {
        "count": int(max(buckets.values(), default=0)),
        "p50_ms_at_most": percentile_ms(buckets, 0.5),
        "p99_ms_at_most": percentile_ms(buckets, 0.99),
        "max_ms_at_most": percentile_ms(buckets, 1.0),
    }


class Gauge:
    """A gateway's two histograms from now on."""

    def __init__(self, health_port: int | None) -> None:
        self._url = f"http://127.0.0.1:{health_port}/metrics"
        self._before = self._page()

    def _page(self) -> str:
        with urlopen(self._url, timeout=10) as answer:  # noqa: S310  (our own gateway)
            text: str = answer.read().decode()
        return text

    def rungs(self) -> dict[str, int]:
        """How many viewers stand on each rung below the first, now."""
        return {
            sample.labels["rung"]: int(sample.value)
            for family in text_string_to_metric_families(self._page())
            for sample in family.samples
            if sample.name == "gateway_viewers_on_rung"
        }

    def read(self) -> dict[str, Any]:
        """`silence`: to the last bytes handed to the kernel; `acted`: until every gateway had done it."""
        now = self._page()
        told = {
            "silence": since(
                buckets_in(self._before, SILENCE, read="here"),
                buckets_in(now, SILENCE, read="here"),
            ),
            "acted": since(buckets_in(self._before, ACTED), buckets_in(now, ACTED)),
        }
        cuts = "gateway_cuts_total"
        return {name: summary(buckets) for name, buckets in told.items()} | {
            "cuts": int(_value(now, cuts) - _value(self._before, cuts))
        }


def _value(text: str, name: str) -> float:
    return next(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    )
