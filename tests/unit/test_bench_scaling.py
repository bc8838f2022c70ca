"""What the scaling benches make of their readings."""

from __future__ import annotations

from typing import Any

import pytest

from load.bench.connections import FILES_KEPT, most
from load.bench.scaling import CASES, CHECK, FIT, GROWTH, Arrangement, Reading, growth
from shared.identifiers import MonotonicNs


def row(cores: dict[str, float], *, delivered: float = 1e6, late_ms: float = 1.0) -> dict[str, Any]:
    return {
        "cpu_cores": {"nats-server": 0.1, "fanout-0": 0.2, **cores},
        "work_per_s": {"gateway-0": {"gateway_bytes_out": delivered}, "fanout-0": {}},
        "p50_ms": 4.0,
        "p99_ms": 9.0,
        "publisher_late_p99_ms": late_ms,
    }


def test_a_case_is_gateways_fanouts_viewers_and_rate() -> None:
    shape = Arrangement.parse("2x3:400x500")
    assert shape == Arrangement(2, 3, 400, 500)
    assert shape.options == ("--workers", "2", "--fanouts", "3")
    assert (shape.case.viewers, shape.case.rate) == (400, 500)


def test_what_the_model_is_judged_by_it_is_not_fitted_to() -> None:
    assert not set(FIT) & set(CHECK)
    assert set(GROWTH) <= set(CHECK)
    assert sorted(CASES) == sorted((*FIT, *CHECK))


def test_two_that_share_the_work_are_half_as_busy_and_cost_the_same() -> None:
    told = growth(
        {
            GROWTH[0]: row({"gateway-0": 0.4}),
            GROWTH[1]: row({"gateway-0": 0.2, "gateway-1": 0.2}),
        }
    )
    assert set(told) == {GROWTH[1]}
    two = told[GROWTH[1]]
    assert (two["gateway_busiest"], two["gateway_whole"], two["fanout_whole"]) == (0.5, 1.0, 1.0)
    assert not two["is_late"]


def test_growth_is_of_a_byte_delivered_and_says_when_the_source_was_late() -> None:
    half = row({"gateway-0": 0.2}, delivered=5e5, late_ms=60.0)
    [told] = growth({GROWTH[0]: row({"gateway-0": 0.4}), GROWTH[2]: half}).values()
    assert (told["gateway_whole"], told["delivered_bytes"]) == (1.0, 0.5)
    assert told["is_late"]


def test_without_the_first_case_there_is_nothing_to_compare() -> None:
    assert growth({GROWTH[1]: row({"gateway-0": 0.2})}) == {}
    assert growth({GROWTH[0]: {"error": "TimeoutError"}}) == {}


def test_cores_and_work_are_differences_by_the_second() -> None:
    first = Reading(MonotonicNs(10**9), {"fanout-0": 1.0}, {"fanout-0": {"bus_received": 10.0}})
    later = Reading(MonotonicNs(3 * 10**9), {"fanout-0": 1.5}, {"fanout-0": {"bus_received": 50.0}})
    assert first.until(later) == ({"fanout-0": 0.25}, {"fanout-0": {"bus_received": 20.0}})


@pytest.mark.parametrize("files_max", [1024, 20_000, 1_048_576])
def test_more_than_one_gateway_holds_and_never_more_than_two_may(files_max: int) -> None:
    each = files_max - FILES_KEPT
    assert each < most(files_max) < 2 * each
