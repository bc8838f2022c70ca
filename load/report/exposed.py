"""A run's numbers for Prometheus, on loopback, as long as it lasts. Nobody's id is among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from load.judge.standing import broken_so_far, total
from load.judge.timeline import LATENCY_BOUNDS_MS, Timeline
from load.swarm.audience import CLOSED, EVERY
from load.swarm.plan import Standing

HOST = "127.0.0.1"
_PREFIX = "synchronia_load_"


class Exposed:
    """Serves until `close`. Raises: OSError if the port is taken."""

    def __init__(self, port: int) -> None:
        self._shown: list[Metric] = []
        registry = CollectorRegistry()
        registry.register(self)
        self._server, self._thread = start_http_server(port, addr=HOST, registry=registry)
        self.port: int = self._server.server_port

    def show(self, timeline: Timeline, standings: list[Standing], *, viewers: int) -> None:
        """What the next scrape reads, made whole by the run's own thread. `viewers`: of the story."""
        self._shown = [
            *_samples(timeline, standings),
            _latency(timeline),
            *_people(timeline, standings, viewers),
            _gauge("position_seconds", "Of the play.", timeline.at_ms / 1000),
        ]

    def collect(self) -> Iterator[Metric]:
        """What a registry asks of a collector."""
        yield from self._shown

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _samples(timeline: Timeline, standings: list[Standing]) -> Iterator[Metric]:
    so_far = total(standings)
    books = so_far.accounts
    yield _counter("sent", "Samples sent, by people and attackers.", timeline.sent)
    yield _counter("delivered", "Samples that viewers got.", timeline.delivered)
    yield _labelled("refused", "People's samples that the city refused.", "reason", so_far.refused)
    yield _counter("unsent", "Samples due while their person had no open strand.", so_far.unsent)
    skipped = Counter(books.skipped)
    conflated = skipped.pop("conflated", 0)
    yield _counter("conflated", "Samples that viewers were told to be conflated.", conflated)
    lost = {"on the way": skipped.pop("lost", 0), "in a gap": books.lost_in_gaps}
    yield _labelled("lost", "Samples that viewers know to have missed.", "where", lost)
    yield _labelled(
        "told_refused", "Refused samples, once for each viewer told so.", "reason", skipped
    )
    broken = broken_so_far(so_far)
    yield _labelled(
        "broken", "Breaches found so far; some laws are judged at the end.", "law", broken
    )


def _latency(timeline: Timeline) -> Metric:
    bounds = [*(str(each / 1000) for each in LATENCY_BOUNDS_MS), "+Inf"]
    return HistogramMetricFamily(
        f"{_PREFIX}latency_seconds",
        "From the intended moment to the viewer; slow readers are left out.",
        buckets=list(zip(bounds, accumulate(timeline.latency_buckets), strict=True)),
        sum_value=timeline.latency_sum_s,
    )


def _people(timeline: Timeline, standings: list[Standing], viewers: int) -> Iterator[Metric]:
    so_far = total(standings)
    connections = GaugeMetricFamily(
        f"{_PREFIX}connections", "Of the run's people and viewers.", labels=["role", "state"]
    )
    for (role, state), count in sorted(so_far.connections.items()):
        connections.add_metric([role, state], count)
    yield connections
    standing = timeline.rungs
    rungs = GaugeMetricFamily(
        f"{_PREFIX}viewers", "By their rung of the gateway's ladder.", labels=["rung"]
    )
    for rung in sorted({EVERY, *standing} - {CLOSED}):
        rungs.add_metric([rung], standing[rung] + (viewers if rung == EVERY else 0))
    yield rungs
    yield _counter("fallen_off", "Viewers closed as too slow.", standing[CLOSED])
    yield _gauge(
        "behind_seconds", "The latest sample of the last moments, by its schedule.", so_far.late_s
    )


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, about, value=value)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, about, value=value)


def _labelled(name: str, about: str, label: str, counts: dict[str, int]) -> Metric:
    found = CounterMetricFamily(_PREFIX + name, about, labels=[label])
    for value, count in sorted(counts.items()):
        found.add_metric([value], count)
    return found
