"""What the benches make of their figures: medians of rounds, the slope test, the table and the page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from load.bench.__main__ import finite
from load.bench.egress.__main__ import median_of
from load.bench.egress.measure import quantile
from load.bench.soak import judged
from load.bench.told import page, rows


def run(p50_ms: float, gateway: float) -> dict[str, Any]:
    return {
        "p50_ms": p50_ms,
        "p99_ms": 2 * p50_ms,
        "delivered_part": 1.0,
        "worst_tenth_over_best_tenth_p99": 1.1,
        "cpu_cores": {"gateway": gateway, "fanout": 0.1},
    }


def test_a_figure_is_the_median_of_its_rounds_and_a_failed_round_is_kept_beside() -> None:
    rounds = [run(3.0, 0.4), {"error": "no city"}, run(1.0, 0.2), run(2.0, 0.6)]
    told = median_of(rounds)
    assert told["p50_ms"] == 2.0
    assert told["cpu_cores"] == {"gateway": 0.4, "fanout": 0.1}
    assert told["runs"] == rounds
    assert median_of([{"error": "no city"}]) == {"error": "no city"}
    late = {"p50_ms": None, "cpu_cores": {"peer": 0.9}}  # nothing came in time
    assert median_of([late, late])["p50_ms"] is None
    assert median_of([late, run(3.0, 0.4) | {"cpu_cores": {"peer": 0.5}}])["p50_ms"] == 3.0


def soaked(
    *, p99_ms_per_min: float = 0.0, mb_per_min: float = 0.0, lost: int = 0
) -> dict[str, Any]:
    seconds = [{"at_s": s, "p99_ms": 20.0 + p99_ms_per_min * s / 60} for s in range(600)]
    services = {
        "gateway-0": {"memory_mb_per_min": mb_per_min},
        "citizens": {"memory_mb_per_min": 99.0},
    }
    return {
        "good": True,
        "unaccounted": lost,
        "delivered": 6000,
        "sent": 60,
        "elapsed_s": 600.0,
        "seconds": seconds,
        "services": services,
    }


@pytest.mark.parametrize(
    ("changed", "is_flat", "is_good"),
    [
        ({}, True, True),
        ({"p99_ms_per_min": 2.0}, False, True),
        ({"p99_ms_per_min": -2.0}, True, True),
        ({"mb_per_min": 1.5}, False, True),
        ({"lost": 1}, True, False),
    ],
    ids=["flat", "slower and slower", "faster", "a leak", "unaccounted"],
)
def test_a_soak_is_flat_in_p99_and_memory_and_accounts_for_everything(
    changed: dict[str, Any],
    is_flat: bool,  # noqa: FBT001
    is_good: bool,  # noqa: FBT001
) -> None:
    told = judged(soaked(**changed), 10.0)
    assert told["is_flat"] is is_flat
    assert told["good"] is is_good
    assert told["deliveries_per_s"] == 10.0
    minutes = told["p99_ms_by_minute"]
    assert len(minutes) == 10
    assert minutes[9] - minutes[0] == pytest.approx(9 * changed.get("p99_ms_per_min", 0.0))


def result() -> dict[str, Any]:
    cases = {
        "100x1000": {"city": run(2.0, 0.4), "uwebsockets": run(1.0, 0.5), "nats": {"error": "no"}}
    }
    shapes = [{"shape": {"viewers": n}, "us_per_sample": 4.0} for n in (1, 10_000)]
    return {
        "date": "2026-01-01",
        "commit": "abc",
        "cores": 2,
        "processor": "<one>",
        "egress": {"cases": cases},
        "router": {
            "target": {"samples_per_s": 200_000},
            "goal_samples_per_s": 150_000,
            "sweeps": [{"about": "viewers", "changed": "viewers", "measured": shapes}],
        },
        "soak": judged(soaked(), 10.0),
    }


def test_ratios_are_to_the_peer_of_the_same_run() -> None:
    table = "\n".join(rows(result()))
    assert "ours / uwebsockets: p50 2.00  p99 2.00  CPU 0.83, the gateway's 0.67" in table
    assert "nats: no" in table
    assert "router, 200 sanctuaries: 200000 samples a CPU second (goal 150000)" in table
    assert "1: 4.0, 10000: 4.0" in table
    assert "soak, 10 minutes at 10 deliveries/s" in table


def test_the_page_is_one_file_and_holds_the_table_and_the_plots() -> None:
    html = page(result())
    assert html.count("<svg") == 3
    assert "&lt;one&gt;" in html
    assert "ours / uwebsockets" in html
    assert not [word for word in ("http://", "https://", "<script", "@import") if word in html]


def test_a_peer_of_which_nothing_arrived_leaves_a_file_that_every_reader_takes() -> None:
    nothing = {**run(1.0, 0.4), "p50_ms": quantile([], 0.5), "p99_ms": quantile([], 0.99)}
    cases = {"1000x4000": {"city": run(2.0, 0.4), "nats": nothing}}
    kept = finite({"egress": {"cases": cases}, "parts": (1.5, [float("inf")])})
    read = json.loads(json.dumps(kept, allow_nan=False))
    assert read["egress"]["cases"]["1000x4000"]["nats"]["p50_ms"] is None
    assert read["egress"]["cases"]["1000x4000"]["city"] == run(2.0, 0.4)
    assert read["parts"] == [1.5, [None]]
    assert "    nats: nothing came in time" in rows(read)
