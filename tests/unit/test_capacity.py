"""The capacity model: costs out of measurements, and what a city needs. Its laws, not its figures."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.capacity import (
    BEATS_PER_S,
    Behaviour,
    Costs,
    checks,
    costs_of,
    needs_of,
    occupied,
    spread_over,
    traffic_of,
)
from load.least_squares import CannotFitError, Point, fit, total

COSTS = Costs(
    {
        "gateway": {
            "process": 0.01,
            "frame": 30e-6,
            "message": 15e-6,
            "sample": 10e-6,
            "sweep": 90e-6,
            "write": 6e-6,
            "byte": 1e-10,
        },
        "fanout": {"process": 0.01, "sample": 12e-6, "form": 8e-6, "message": 20e-6},
        "ingest": {"process": 0.02, "sample": 5e-6, "seal": 80e-6, "message": 20e-6},
        "nats-server": {"process": 0.005, "message": 4e-6, "byte": 1e-9},
    },
    10_000.0,
    1000.0,
)
people = st.floats(10, 1e6)
parts = st.floats(0.01, 1)


def bus(received: float, published: float) -> dict[str, float]:
    return {
        "bus_received": received,
        "bus_published": published,
        "bus_received_bytes": 150 * received + 7 * published,
        "bus_published_bytes": 260 * published + 3 * received,
    }


def row(
    use: str, *, viewers: int, rate: float, gateways: int = 1, flushes: float
) -> dict[str, Any]:
    """Of the bench's form, from a city in which everything costs exactly what COSTS say."""
    fanout = {"fanout_samples": rate, **bus(rate, rate * gateways / (1 + rate / 900))}
    work: dict[str, dict[str, float]] = {"fanout-0": fanout}
    for number in range(gateways):
        work[f"gateway-{number}"] = {
            "gateway_frames_in": viewers / 5,
            "gateway_slices": flushes * (1 + viewers / 3000) / gateways,
            "gateway_writes": viewers * flushes / gateways,
            "gateway_bytes_out": viewers * (rate * 128 + flushes * 4) / gateways,
            "gateway_messages_prepared": rate,
            **bus(fanout["bus_published"] / gateways, 4),
        }
    return costing({"use": use, "gateways": gateways, "viewers": viewers, "work_per_s": work})


def uplink(use: str, rate: float) -> dict[str, Any]:
    work = {
        "ingest-0": {
            "ingest_samples_admitted": rate,
            "ingest_seals_taken": rate / 32,
            **bus(rate / (1 + rate / 300), 3 + rate / (2 + rate / 100)),
        },
        "fanout-0": {"fanout_samples": rate, **bus(rate / 9, 4)},
        "gateway-0": {
            "gateway_frames_in": rate * 1.03,
            "gateway_slices": rate / 40,
            "gateway_writes": rate / 32,
            "gateway_bytes_out": rate,
            "gateway_messages_prepared": 0.0,
            **bus(9, rate / 8),
        },
    }
    return costing({"use": use, "gateways": 1, "work_per_s": work})


def costing(told: dict[str, Any]) -> dict[str, Any]:
    """The same, with what each process takes."""
    of = COSTS.of
    spent: dict[str, float] = {}
    messages = size = 0.0
    for name, n in told["work_per_s"].items():
        service = name.partition("-")[0]
        all_messages = n["bus_received"] + n["bus_published"]
        messages += all_messages
        size += n["bus_received_bytes"] + n["bus_published_bytes"]
        cost = of[service]
        spent[name] = cost["message"] * all_messages + cost.get("process", 0.0)
        if service == "gateway":
            spent[name] += cost["frame"] * n["gateway_frames_in"]
            spent[name] += cost["sample"] * n["gateway_messages_prepared"]
            spent[name] += cost["write"] * n["gateway_writes"]
            spent[name] += cost["sweep"] * n["gateway_slices"]
            spent[name] += cost["byte"] * n["gateway_bytes_out"]
        elif service == "fanout":
            forms = n["fanout_samples"] * told["gateways"] if "viewers" in told else 0.0
            spent[name] += cost["sample"] * n["fanout_samples"] + cost["form"] * forms
            if "viewers" in told:
                messages += n["fanout_samples"]
                size += n["bus_received_bytes"]
        else:
            spent[name] += cost["sample"] * n["ingest_samples_admitted"]
            spent[name] += cost["seal"] * n["ingest_seals_taken"]
    broker = of["nats-server"]
    spent["nats-server"] = broker["process"] + broker["message"] * messages + broker["byte"] * size
    return told | {"cpu_cores": spent}


@pytest.fixture
def result() -> dict[str, Any]:
    return measurements()


def measurements() -> dict[str, Any]:
    """Measurements without an error, of a machine whose costs are COSTS."""
    rows = {
        "a": row("fit", viewers=50, rate=200, flushes=190),
        "b": row("fit", viewers=100, rate=2000, flushes=400),
        "c": row("fit", viewers=500, rate=200, flushes=120),
        "d": row("fit", viewers=500, rate=2000, flushes=90),
        "e": row("fit", viewers=1000, rate=1000, flushes=60),
        "f": row("fit", viewers=1000, rate=3000, flushes=40),
        "g": row("fit", viewers=400, rate=1000, gateways=2, flushes=150),
        "h": uplink("fit", 250),
        "i": uplink("fit", 1000),
        "l": uplink("fit", 2000),
        "j": row("check", viewers=1000, rate=2000, gateways=2, flushes=50),
        "k": uplink("check", 500),
    }
    ingest = COSTS.of["ingest"]
    admission = [
        {"samples_a_seal": size, "us_a_sample": 1e6 * (ingest["sample"] + ingest["seal"] / size)}
        for size in (1, 8, 32)
    ]
    return {
        "scaling": {"rows": rows},
        "admission": {"rows": admission},
        "memory": {"gateway_bytes_a_connection": 10_000, "replica_bytes_a_citizen": 1000},
    }


# ── least squares ────────────────────────────────────────────────────────────────────────────────────


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(1e-6, 1e-3), min_size=1),
    st.lists(st.floats(0.8, 1.2), min_size=8, max_size=8),
)
def test_exact_measurements_give_exact_costs(costs: dict[str, float], sizes: list[float]) -> None:
    """Each of the measurements does most of one kind, and some of every other."""
    works = [
        {kind: 1e4 * size if place % len(costs) == at else 10.0 for at, kind in enumerate(costs)}
        for place, size in enumerate(sizes)
    ]
    points = [Point(work, total(costs, work)) for work in works]
    for kind, cost in fit(points, list(costs)).items():
        assert math.isclose(cost, costs[kind], rel_tol=1e-4, abs_tol=1e-12)


def test_a_cost_is_never_negative() -> None:
    points = [Point({"a": n, "b": n * n}, 5.0 * n - 0.001 * n * n) for n in range(1, 9)]
    costs = fit(points, ["a", "b"])
    assert costs["b"] == 0
    assert 4.9 < costs["a"] <= 5


def test_too_few_measurements_are_refused_with_their_number() -> None:
    points = [Point({"a": 1.0, "b": 2.0}, 3.0), Point({"a": 2.0, "b": 1.0}, 3.0)]
    with pytest.raises(CannotFitError, match=r"gateway: 2 unknown .* at least 3 .* there are 2"):
        fit(points, ["a", "b"], of="gateway")


def test_work_that_always_grows_together_is_refused_by_name() -> None:
    points = [Point({"a": float(n), "b": 2.0 * n}, 5.0 * n) for n in range(1, 9)]
    with pytest.raises(CannotFitError, match="b cannot be told apart"):
        fit(points, ["a", "b"])


# ── from a result file ───────────────────────────────────────────────────────────────────────────────


def test_the_costs_of_a_machine_come_out_of_its_measurements(result: dict[str, Any]) -> None:
    costs = costs_of(result)
    for service, kinds in COSTS.of.items():
        for kind, cost in kinds.items():
            assert math.isclose(costs.of[service][kind], cost, rel_tol=1e-3), (service, kind)
    found = checks(result, costs)
    assert {each.case for each in found} == {"j", "k", "8 samples a seal"}
    assert max(abs(each.error) for each in found) < 1e-3


def test_what_is_held_back_is_not_fitted_to(result: dict[str, Any]) -> None:
    costs = costs_of(result)
    changed = copy.deepcopy(result)
    changed["scaling"]["rows"]["j"]["cpu_cores"]["gateway-0"] *= 2
    changed["admission"]["rows"][1]["us_a_sample"] *= 2
    assert costs_of(changed) == costs
    wrong = [each for each in checks(changed, costs) if abs(each.error + 0.5) < 1e-3]
    assert {(each.case, each.instance) for each in wrong} == {
        ("j", "gateway-0"),
        ("8 samples a seal", "ingest"),
    }


def test_a_result_file_without_enough_says_what_to_do(result: dict[str, Any]) -> None:
    for part in ("scaling", "admission", "memory"):
        less = {name: each for name, each in result.items() if name != part}
        with pytest.raises(CannotFitError, match=rf"no {part} .* make bench"):
            costs_of(less)
    for case in "abcde":
        result["scaling"]["rows"][case] = {"use": "fit", "error": "TimeoutError"}
    with pytest.raises(CannotFitError, match="gateway: 7 unknown costs"):
        costs_of(result)


# ── a city ───────────────────────────────────────────────────────────────────────────────────────────


@given(st.floats(0, 1e9, allow_subnormal=False), st.floats(1, 1e6))
def test_events_occupy_at_most_the_places_and_at_most_as_many_as_they_are(
    events: float, places: float
) -> None:
    assert 0 <= occupied(events, places) <= min(events, places) * (1 + 1e-9)


@given(st.floats(1, 1e7), st.floats(1, 1e5))
def test_a_room_is_spread_over_no_more_gateways_than_it_has_people(
    people: float, gateways: float
) -> None:
    spread = spread_over(people, gateways)
    assert 1 - 1e-9 <= spread <= min(people, gateways) * (1 + 1e-9)


@given(people, st.floats(1, 20), parts, st.floats(0.1, 20), st.floats(2, 500))
def test_more_people_need_no_less(
    citizens: float, factor: float, speaking: float, samples: float, room: float
) -> None:
    behaviour = Behaviour(citizens=citizens, speaking=speaking, samples_per_s=samples, room=room)
    less, more = (
        needs_of(replace(behaviour, citizens=n), COSTS) for n in (citizens, factor * citizens)
    )
    assert less.cities <= more.cities
    if less.cities == more.cities:  # one city more has fewer beats and a smaller spread in each
        for name in ("gateways", "fanouts", "ingests", "brokers"):
            assert getattr(less, name) <= getattr(more, name), name
    assert less.viewer_bits_per_s <= more.viewer_bits_per_s * (1 + 1e-9)


@given(st.floats(0.1, 20), st.floats(1, 5))
def test_more_samples_are_more_work(samples: float, factor: float) -> None:
    less, more = (
        needs_of(Behaviour(citizens=1e5, samples_per_s=n), COSTS)
        for n in (samples, factor * samples)
    )
    for name in ("gateway_cores", "fanout_cores", "ingest_cores", "broker_cores"):
        assert getattr(less, name) <= getattr(more, name) * (1 + 1e-9), name


def test_dearer_work_needs_more_processes() -> None:
    dear = {
        service: {kind: 3 * c for kind, c in kinds.items()} for service, kinds in COSTS.of.items()
    }
    less, more = (needs_of(Behaviour(), costs) for costs in (COSTS, replace(COSTS, of=dear)))
    assert less.gateways < more.gateways
    assert less.fanouts < more.fanouts


def test_every_delivery_of_a_small_room_is_counted() -> None:
    """Ten people in one room, two of them speak once a second, a seal each second: 10 x 2 x 2."""
    one = Behaviour(citizens=10, watching=0, room=10, speaking=0.2, samples_per_s=1)
    traffic = traffic_of(one)
    assert math.isclose(traffic.samples, 2)
    assert math.isclose(traffic.seals, 2)
    assert math.isclose(traffic.deliveries, 40)


def test_the_close_limit_ends_the_square() -> None:
    """Twice the room is twice what each sees, until the limit; beyond it, what each follows."""

    def seen(room: float) -> float:
        all_in_rooms = Behaviour(citizens=1e5, watching=0, room=room, speaking=0.5)
        return traffic_of(all_in_rooms).deliveries / 1e5

    assert math.isclose(seen(100), 2 * seen(50))
    assert seen(102) < seen(20)
    assert math.isclose(seen(102), seen(10_000))


def test_a_voice_before_a_million_is_prepared_once_for_each_gateway() -> None:
    stage = Behaviour(citizens=1e6, watching=1, stage=1e6)
    needs = needs_of(stage, COSTS)
    assert (needs.fanouts, needs.ingests) == (1, 1)
    assert math.isclose(needs.deliveries_per_s, 1e6 * 11)
    assert needs.gateways > 50
    samples = traffic_of(stage).samples
    bodies = 2 * needs.gateways * (samples + 1)
    beats = BEATS_PER_S * (needs.gateways + 3) * (needs.gateways + 5)
    assert needs.bus_messages_per_s < (bodies + beats) * 1.01


def test_a_city_has_64_slots_and_what_needs_more_is_more_cities() -> None:
    many = needs_of(Behaviour(citizens=1e8), COSTS)
    assert many.cities > 1
    assert many.fanouts <= 64 * many.cities
    assert many.ingests <= 64 * many.cities
    less = needs_of(Behaviour(citizens=1e8 * (many.cities - 1) / many.cities), COSTS)
    assert less.cities < many.cities


def test_brokers_carry_what_passes_through_two_of_them() -> None:
    needs = needs_of(Behaviour(citizens=1e7, broker_cores=2), COSTS)
    each = needs.brokers / needs.cities
    assert each > 1
    cores = needs.broker_cores / needs.cities
    assert cores * (2 - 1 / each) <= each * 2 * 0.5
    assert cores * (2 - 1 / (each - 1)) > (each - 1) * 2 * 0.5


def test_who_is_silent_costs_beats_that_everybody_hears() -> None:
    needs = needs_of(Behaviour(citizens=1e6, watching=0, speaking=0, connections_max=20_000), COSTS)
    assert (needs.cities, needs.gateways, needs.gateways_bound_by) == (1, 50, "connections")
    sayers = 50 + 1 + 2
    hearers = sayers + 1
    assert math.isclose(needs.bus_messages_per_s, BEATS_PER_S * sayers * (1 + hearers))
    heard = BEATS_PER_S * (sayers + 1) * COSTS.of["gateway"]["message"]
    assert math.isclose(needs.gateway_cores, 50 * (COSTS.of["gateway"]["process"] + heard))


def test_people_of_a_room_at_one_gateway_cost_the_fanout_less() -> None:
    apart = needs_of(Behaviour(), COSTS)
    together = needs_of(Behaviour(gateways_a_room=1), COSTS)
    assert together.fanout_cores < apart.fanout_cores / 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"citizens": 0},
        {"speaking": 1.1},
        {"watching": -0.1},
        {"busy": 0},
        {"room": -1},
        {"samples_per_s": -1},
        {"connections_max": 0},
        {"gateways_a_room": 0.5},
    ],
)
def test_an_impossible_behaviour_is_refused_by_name(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(ValueError, match=name):
        Behaviour(**wrong)
