"""What the bus counts: plain integers on the hot path, read when Prometheus asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class BusCounts:
    """One connection's counts. `dropped` by reason; `undecodable` by the subject's first token."""

    __slots__ = (
        "asks_unanswered",
        "dropped",
        "errors",
        "published",
        "published_bytes",
        "received",
        "received_bytes",
        "reconnects",
        "undecodable",
    )

    def __init__(self) -> None:
        self.published = 0
        self.published_bytes = 0
        self.received = 0
        self.received_bytes = 0
        self.reconnects = 0
        self.asks_unanswered = 0
        self.errors = 0
        self.dropped: Counter[str] = Counter()
        self.undecodable: Counter[str] = Counter()


class BusCollector(Collector):
    """All connections of one process, by their name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._connections: dict[str, tuple[BusCounts, object]] = {}
        registry.register(self)

    def add(self, connection: str, counts: BusCounts, waiting: object) -> None:
        """`waiting` is called for the bytes that wait unsent."""
        self._connections[connection] = (counts, waiting)

    def collect(self) -> Iterator[Metric]:
        simple = ("published", "published_bytes", "received", "received_bytes", "reconnects")
        for name in (*simple, "asks_unanswered", "errors"):
            family = CounterMetricFamily(f"bus_{name}", f"{name} on the bus", labels=["connection"])
            for connection, (counts, _) in self._connections.items():
                family.add_metric([connection], getattr(counts, name))
            yield family
        dropped = CounterMetricFamily(
            "bus_dropped", "Published and not sent, by reason", labels=["connection", "reason"]
        )
        undecodable = CounterMetricFamily(
            "bus_undecodable", "Received and unreadable", labels=["connection", "subject"]
        )
        waiting = GaugeMetricFamily(
            "bus_waiting_bytes", "Published and not yet handed to the kernel", labels=["connection"]
        )
        for connection, (counts, bytes_waiting) in self._connections.items():
            for reason, count in counts.dropped.items():
                dropped.add_metric([connection, reason], count)
            for subject, count in counts.undecodable.items():
                undecodable.add_metric([connection, subject], count)
            assert callable(bytes_waiting)
            waiting.add_metric([connection], bytes_waiting())
        yield dropped
        yield undecodable
        yield waiting
