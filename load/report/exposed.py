"""A run's numbers for Prometheus, on loopback, as long as it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from load.judge.timeline import Timeline

HOST = "127.0.0.1"
WINDOW_S = 3
"""Latencies are those of the last so many seconds."""


class Shown(NamedTuple):
    """What a scrape reads: made whole by the run's own thread, so never half a second of it."""

    sent: int = 0
    delivered: int = 0
    at_s: float = 0.0
    p50_s: float = 0.0
    p99_s: float = 0.0


class Exposed:
    """Serves until `close`. Raises: OSError if the port is taken."""

    def __init__(self, port: int) -> None:
        self._shown = Shown()
        registry = CollectorRegistry()
        registry.register(self)
        self._server, self._thread = start_http_server(port, addr=HOST, registry=registry)
        self.port: int = self._server.server_port

    def show(self, timeline: Timeline) -> None:
        now_s = timeline.at_ms // 1000
        latency = timeline.percentiles(now_s - WINDOW_S, now_s)
        self._shown = Shown(
            timeline.sent,
            timeline.delivered,
            timeline.at_ms / 1000,
            latency.p50 / 1000,
            latency.p99 / 1000,
        )

    def collect(self) -> Iterator[Metric]:
        """What a registry asks of a collector."""
        shown = self._shown
        sent = CounterMetricFamily("synchronia_load_sent", "Samples sent.")
        sent.add_metric([], shown.sent)
        delivered = CounterMetricFamily("synchronia_load_delivered", "Samples that viewers got.")
        delivered.add_metric([], shown.delivered)
        yield from (sent, delivered)
        yield GaugeMetricFamily(
            "synchronia_load_position_seconds", "Of the play.", value=shown.at_s
        )
        latency = GaugeMetricFamily(
            "synchronia_load_latency_seconds",
            f"From the intended moment to the viewer, over the last {WINDOW_S} s.",
            labels=["quantile"],
        )
        latency.add_metric(["0.5"], shown.p50_s)
        latency.add_metric(["0.99"], shown.p99_s)
        yield latency

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
