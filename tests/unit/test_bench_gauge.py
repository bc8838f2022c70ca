"""The bench reads a percentile out of a histogram: never below the truth, and of this run alone."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from load.bench.gauge import ACTED, SILENCE, buckets_in, percentile_ms, since, summary
from services.gateway.core import Gateway
from services.gateway.metrics import GatewayMetrics, Sweeps
from services.gateway.settings import GatewaySettings
from services.gateway.turns import Turns
from shared.identifiers import MonotonicNs

MS = 1_000_000


def test_the_gateways_page_is_read_as_it_is_written() -> None:
    core = Gateway(GatewaySettings(), gateway="gateway-0", random_bytes=bytes)
    registry = CollectorRegistry()
    turns = Turns(lambda _: None, lambda: MonotonicNs(0))
    GatewayMetrics(registry, core, Sweeps(), turns, {})
    core.silences.here.observe(700 * MS)
    before = generate_latest(registry).decode()
    for milliseconds in [*[2] * 98, 7, 30]:
        core.silences.here.observe(milliseconds * MS)
    core.silences.elsewhere.observe(900 * MS)
    core.silences.acted.observe(20 * MS)
    after = generate_latest(registry).decode()
    here = since(buckets_in(before, SILENCE, read="here"), buckets_in(after, SILENCE, read="here"))
    assert summary(here) == {
        "count": 100,
        "p50_ms_at_most": 2.0,
        "p99_ms_at_most": 8.0,
        "max_ms_at_most": 30.0,
    }
    assert percentile_ms(buckets_in(after, ACTED), 0.5) == 20.0
    assert percentile_ms(buckets_in(before, ACTED), 0.5) is None
