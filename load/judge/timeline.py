"""A run, second by second, merged from what all its processes tell. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from load.swarm.latency import STEP_NS, Latencies, Percentiles
from load.swarm.plan import Progress

SECONDS_MAX = 86_400
LATENCY_BOUNDS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
"""Upper ends of the buckets; above the last there is one more."""


@dataclass(slots=True)
class Second:
    sent: int = 0
    delivered: int = 0
    bytes_received: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    rungs: Counter[str] = field(default_factory=Counter)
    """How many viewers stand on each rung at the second's end (on `every`: how many less than at first);
    `closed`: how many fell off so far."""


@dataclass(slots=True)
class Timeline:
    """Samples are counted in the second in which they were due; latencies and bytes in the one in which
    they were told, which is at most half a second late.
    """

    seconds: dict[int, Second] = field(default_factory=dict)
    batches: Counter[int] = field(default_factory=Counter)
    """Frames by the samples in them."""
    sent: int = 0
    delivered: int = 0
    at_ms: int = 0
    latency_buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_MS) + 1))
    """Samples of the whole run by latency."""
    latency_sum_s: float = 0.0
    rungs: Counter[str] = field(default_factory=Counter)
    """As `Second.rungs`, now."""

    def add(self, progress: Progress, *, is_sending: bool, is_slow: bool = False) -> None:
        """`is_slow`: viewers who read slowly by intent; their latencies are their own doing."""
        self.at_ms = max(self.at_ms, progress.at_ms)
        for place, count in progress.due.items():
            second = self._second(place)
            if is_sending:
                second.sent += count
            else:
                second.delivered += count
        if is_sending:
            self.sent += progress.samples
            return
        self.delivered += progress.samples
        second = self._second((progress.at_ms - 1) // 1000)
        second.bytes_received += progress.bytes_received
        self.batches.update(progress.batches)
        self.rungs.update(progress.rungs)
        second.rungs = self.rungs.copy()
        if not is_slow:
            second.latencies.update(progress.latencies)
            for step, count in progress.latencies.items():
                ends_ms = (step + 1) * STEP_NS / 1e6
                self.latency_buckets[bisect_left(LATENCY_BOUNDS_MS, ends_ms)] += count
                self.latency_sum_s += count * step * STEP_NS / 1e9

    def _second(self, place: int) -> Second:
        return self.seconds.setdefault(min(SECONDS_MAX, max(0, place)), Second())

    def percentiles(self, first_s: int, last_s: int) -> Percentiles:
        """Of these seconds, the last one included."""
        counts: Counter[int] = Counter()
        for place in range(first_s, last_s + 1):
            if place in self.seconds:
                counts.update(self.seconds[place].latencies)
        return Latencies(counts).percentiles()

    def between(self, first_s: int, last_s: int) -> Second:
        """The sum of these seconds, the last one included."""
        total = Second()
        for place in range(first_s, last_s + 1):
            each = self.seconds.get(place)
            if each is not None:
                total.sent += each.sent
                total.delivered += each.delivered
                total.bytes_received += each.bytes_received
                total.latencies.update(each.latencies)
        return total
