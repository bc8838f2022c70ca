"""How much a city of so many citizens needs: a cost model, fitted to measurements and checked by others.

Pure. `docs/capacity.md` tells the assumptions, the formulae and what they say. All rates are a second,
all costs seconds of one core, all sizes bytes.

    costs = costs_of(result)                          # of a file in load/results/
    needs = needs_of(Behaviour(citizens=1e6), costs)
    for row in checks(result, costs): ...             # measurements that the costs were not fitted to
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from load.least_squares import CannotFitError, Point, fit, total
from shared.contracts.sample import WINDOW_SAMPLES_MAX
from shared.identifiers import SLOTS

BEATS_PER_S: Final = 4
"""Every gateway, fanout, sanctuary and registry says so on `control.*`, and each of them and every
ingest hears all of it (ARCHITECTURE.md, "Numbered replicas")."""
SAMPLE_BYTES: Final = 128
SEAL_BYTES: Final = 200
"""A seal and its signature, without the hashes: 16 bytes a sample more."""
HEADS_BYTES: Final = 70
"""Of one write to a viewer: Ethernet, IPv4, TCP with time stamps, and the WebSocket's frame."""
KINDS_OF_ROOMS: Final = 2
"""Of whom samples come here: commons and stages have subjects of their own."""
BUS_BYTES: Final = 60
"""Of one sample on the bus beside its own: citizen, segment, a share of the batch."""
GATEWAY, FANOUT, NATS, INGEST = "gateway", "fanout", "nats-server", "ingest"
CHECKED_WINDOW: Final = 8
"""Samples a seal of the admission bench's row that is held back."""
KINDS: Final = {
    GATEWAY: ("process", "frame", "message", "sample", "sweep", "write", "byte"),
    FANOUT: ("process", "sample", "form", "message"),
    INGEST: ("process", "sample", "seal", "message"),
    NATS: ("process", "message", "byte"),
}
"""The kinds of work that have a cost, by service. `form`: one sample prepared for one (form, gateway,
audience). `sweep`: one slice of it, a turn of writing. `frame`: one of a client. `message`: read
from the bus or written to it. `byte`: written to viewers, or carried on the bus."""


@dataclass(frozen=True)
class Costs:
    """Seconds of a core for one of each kind of work, by service; and bytes."""

    of: Mapping[str, Mapping[str, float]]
    bytes_per_connection: float
    """Of the gateway's memory; an idle viewer with a seat."""
    replica_bytes_per_citizen: float
    """Of a fanout's memory, for everybody whom the city knows, present or not."""


# ── measurements ─────────────────────────────────────────────────────────────────────────────────────


def costs_of(result: Mapping[str, Any]) -> Costs:
    """Fitted to the rows of a result file that are meant for it. Raises: CannotFitError."""
    points: dict[str, list[Point]] = {service: [] for service in KINDS}
    for row in _rows(result, "fit"):
        for service, _, point in points_of(row):
            points[service].append(point)
    points[INGEST] += [
        _admission(row)
        for row in _part(result, "admission")["rows"]
        if row["samples_a_seal"] != CHECKED_WINDOW
    ]
    costs = {service: fit(points[service], kinds, of=service) for service, kinds in KINDS.items()}
    memory = _part(result, "memory")
    return Costs(
        costs,
        float(memory["gateway_bytes_a_connection"]),
        float(memory["replica_bytes_a_citizen"]),
    )


def points_of(row: Mapping[str, Any]) -> Iterator[tuple[str, str, Point]]:
    """(service, instance, what it did a second and took) of one row of the scaling bench."""
    everybodys = dict.fromkeys(("message", "byte"), 0.0)
    for name, counted in row["work_per_s"].items():
        service = name.partition("-")[0]
        messages = counted["bus_received"] + counted["bus_published"]
        everybodys["message"] += messages
        everybodys["byte"] += counted["bus_received_bytes"] + counted["bus_published_bytes"]
        work = {"message": messages}
        match service:
            case "gateway":
                work |= {
                    "process": 1.0,
                    "frame": counted["gateway_frames_in"],
                    "sample": counted["gateway_messages_prepared"],
                    "sweep": counted["gateway_slices"],
                    "write": counted["gateway_writes"],
                    "byte": counted["gateway_bytes_out"],
                }
            case "fanout":
                samples = counted["fanout_samples"]
                forms = samples * row["gateways"] * ("viewers" in row)
                work |= {"process": 1.0, "sample": samples, "form": forms}
                if "viewers" in row:  # the bench itself stood in for ingest, and counted nothing
                    everybodys["message"] += samples
                    everybodys["byte"] += counted["bus_received_bytes"]
            case "ingest":
                work |= {
                    "process": 1.0,
                    "sample": counted["ingest_samples_admitted"],
                    "seal": counted["ingest_seals_taken"],
                }
        yield service, name, Point(work, row["cpu_cores"][name])
    yield NATS, NATS, Point({"process": 1.0} | everybodys, row["cpu_cores"][NATS])


class Check(NamedTuple):
    """Something measured that the costs were not fitted to. In cores; ingest's in µs a sample."""

    case: str
    instance: str
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Of the measured: 0.1 is predicted ten per cent too dear."""
        return self.predicted / self.measured - 1


def checks(result: Mapping[str, Any], costs: Costs) -> list[Check]:
    """Every process of every case that was held back, and admission at eight samples a seal."""
    found = [
        Check(row["case"], instance, point.took, total(costs.of[service], point.work))
        for row in _rows(result, "check")
        for service, instance, point in points_of(row)
        if point.took > 0
    ]
    for row in _part(result, "admission")["rows"]:
        if row["samples_a_seal"] == CHECKED_WINDOW:
            point = _admission(row)
            predicted = total(costs.of[INGEST], point.work)
            case = f"{CHECKED_WINDOW} samples a seal"
            found.append(Check(case, INGEST, 1e6 * point.took, 1e6 * predicted))
    return found


def _rows(result: Mapping[str, Any], use: str) -> list[dict[str, Any]]:
    rows = _part(result, "scaling")["rows"]
    whole = {case: row for case, row in rows.items() if "cpu_cores" in row}
    return [{"case": case, **row} for case, row in whole.items() if row["use"] == use]


def _part(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = result.get(name)
    if not isinstance(part, Mapping) or "error" in part:
        raise CannotFitError(
            f"no {name} among the measurements;"
            f' make them: make bench ARGS="--only scaling,admission,memory"'
        )
    return part


def _admission(row: Mapping[str, Any]) -> Point:
    return Point({"sample": 1.0, "seal": 1 / row["samples_a_seal"]}, row["us_a_sample"] / 1e6)


# ── a city ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Behaviour:
    """What people do, all at once; and how full the machines may get."""

    citizens: float = 1e6
    """Connected."""
    watching: float = 0.2
    """The part that watches a stage; the others are in rooms."""
    room: float = 25
    """People in a room."""
    speaking: float = 0.1
    """The part of those in rooms that speaks."""
    samples_per_s: float = 2.0
    """Of each who speaks in a room."""
    close_limit: float = 50
    """More speakers than this in a room: everybody sees only those whom it follows."""
    followed: float = 5
    """Of the speakers of such a room, how many each follows."""
    stage: float = 10_000
    """People before one stage, which has one voice."""
    stage_samples_per_s: float = 10.0
    flushes_per_s: float = 50.0
    """Of a gateway or fanout under load: no viewer gets more writes. 20 ms is the pace's longest rest."""
    busy: float = 0.5
    """The part of a core that a gateway, fanout or ingest may use, and of its cores a broker."""
    broker_cores: float = 8.0
    connections_max: float = 20_000
    """Of one gateway: its setting, its file limit."""
    gateways_a_room: float | None = None
    """Over how many gateways the people of a room are spread; nil: wherever the balancer put them."""

    def __post_init__(self) -> None:
        for name in ("citizens", "room", "stage", "flushes_per_s", "busy", "broker_cores"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
        for name in ("watching", "speaking", "busy"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a part, 0 to 1")
        for name in ("samples_per_s", "stage_samples_per_s", "followed", "close_limit"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if self.connections_max < 1:
            raise ValueError("connections_max must be at least 1")
        if self.gateways_a_room is not None and self.gateways_a_room < 1:
            raise ValueError("gateways_a_room must be at least 1")


@dataclass(frozen=True)
class Traffic:
    """What has to be done a second, whatever does it."""

    samples: float
    seals: float
    deliveries: float
    """(message, viewer) pairs: samples and seals."""
    writes: float
    viewer_bytes: float
    """To viewers, with heads."""
    spread: tuple[tuple[float, float], ...]
    """(messages a second, people of their room): how far they spread depends on the gateways."""


def traffic_of(b: Behaviour) -> Traffic:
    in_rooms = b.citizens * (1 - b.watching)
    speakers = b.room * b.speaking
    seen = speakers if speakers <= b.close_limit else min(speakers, b.followed)
    of_rooms = in_rooms * b.speaking
    stages = b.citizens * b.watching / b.stage
    sample_rates = (of_rooms * b.samples_per_s, stages * b.stage_samples_per_s)
    seal_rates = (of_rooms * _seals(b.samples_per_s), stages * _seals(b.stage_samples_per_s))
    samples, seals = sum(sample_rates), sum(seal_rates)
    deliveries = writes = payload = 0.0
    for viewers, voices, rate in (
        (in_rooms, seen, b.samples_per_s),
        (b.citizens * b.watching, 1.0, b.stage_samples_per_s),
    ):
        sealed = _seals(rate)
        each = voices * (rate + sealed)
        deliveries += viewers * each
        writes += viewers * occupied(each, b.flushes_per_s)
        sealed_bytes = sealed * SEAL_BYTES + 16 * rate * (sealed > 0)
        payload += viewers * voices * (rate * SAMPLE_BYTES + sealed_bytes)
    spread = (
        (sample_rates[0] + seal_rates[0], b.room),
        (sample_rates[1] + seal_rates[1], b.stage),
    )
    return Traffic(samples, seals, deliveries, writes, payload + HEADS_BYTES * writes, spread)


def _seals(rate: float) -> float:
    """A second, of who says so many samples: a window is a second, or 32 samples."""
    return max(min(rate, 1.0), rate / WINDOW_SAMPLES_MAX)


def occupied(events: float, places: float) -> float:
    """How many of so many places hold at least one of so many events that fall anywhere."""
    return places * -math.expm1(-events / places)


def spread_over(people: float, gateways: float) -> float:
    """Over how many of the gateways a room's people are, when each is anywhere."""
    if gateways <= 1:
        return 1.0
    return gateways * -math.expm1(people * math.log1p(-1 / gateways))


@dataclass(frozen=True)
class Needs:
    """How many of each process; `cities` of them side by side, each with its 64 slots."""

    cities: int
    gateways: int
    fanouts: int
    ingests: int
    brokers: int
    connections_per_gateway: float
    gateway_memory_bytes: float
    """Of all of them."""
    replica_bytes: float
    """Identities and consent of the connected, in each fanout; of those who are away, as much more."""
    deliveries_per_s: float
    viewer_bits_per_s: float
    bus_messages_per_s: float
    bus_bits_per_s: float
    gateway_cores: float
    fanout_cores: float
    ingest_cores: float
    broker_cores: float
    gateways_bound_by: str
    """`connections` or `processor`."""


GATEWAYS_MAX: Final = 100_000
"""In one city: more are not looked for."""


def needs_of(b: Behaviour, costs: Costs) -> Needs:
    """The least number of cities that fit, each with its fewest processes.

    A city has 64 slots, so at most 64 fanouts and 64 ingests; and beats that everybody hears, so that
    with too many gateways each has no time left.
    """
    most = 1
    while (needs := _of_cities(b, costs, most)) is None:
        most *= 2
        if most > b.citizens:
            raise ValueError("no number of cities can carry this: a single room is too much")
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        tried = _of_cities(b, costs, middle)
        if tried is None:
            least = middle
        else:
            most, needs = middle, tried
    return needs


def _of_cities(b: Behaviour, costs: Costs, cities: int) -> Needs | None:
    """Nil: they do not fit into so many."""
    own = replace(b, citizens=b.citizens / cities)
    traffic = traffic_of(own)
    by_connections = math.ceil(own.citizens / b.connections_max)
    gateways, fanouts, ingests = by_connections, 1, 1
    while True:
        load = _load(own, traffic, costs, gateways=gateways, fanouts=fanouts, ingests=ingests)
        wanted = (
            max(by_connections, math.ceil(load[GATEWAY] / b.busy)),
            math.ceil(load[FANOUT] / b.busy),
            math.ceil(load[INGEST] / b.busy),
        )
        if max(wanted[1:]) > SLOTS or wanted[0] > GATEWAYS_MAX:
            return None
        grown = (max(gateways, wanted[0]), max(fanouts, wanted[1]), max(ingests, wanted[2]))
        if grown == (gateways, fanouts, ingests):
            break
        gateways, fanouts, ingests = grown
    brokers = _brokers(load[NATS], b)
    return Needs(
        cities=cities,
        gateways=gateways * cities,
        fanouts=fanouts * cities,
        ingests=ingests * cities,
        brokers=brokers * cities,
        connections_per_gateway=own.citizens / gateways,
        gateway_memory_bytes=b.citizens * costs.bytes_per_connection,
        replica_bytes=own.citizens * costs.replica_bytes_per_citizen,
        deliveries_per_s=traffic.deliveries * cities,
        viewer_bits_per_s=8 * traffic.viewer_bytes * cities,
        bus_messages_per_s=load["messages"] * cities,
        bus_bits_per_s=8 * load["bytes"] * cities,
        gateway_cores=load[GATEWAY] * cities,
        fanout_cores=load[FANOUT] * cities,
        ingest_cores=load[INGEST] * cities,
        broker_cores=load[NATS] * cities,
        gateways_bound_by="connections" if gateways == by_connections else "processor",
    )


def _load(
    b: Behaviour, t: Traffic, costs: Costs, *, gateways: int, fanouts: int, ingests: int
) -> dict[str, float]:
    """Cores by service, all processes together; messages and bytes on the bus."""
    forms = sum(rate * _gateways_of(b, people, gateways) for rate, people in t.spread)
    said = t.samples + t.seals
    # one batch for each (slot, gateway), or (slot, kind), in whose flush there is anything
    edges = occupied(forms, b.flushes_per_s * SLOTS * gateways)
    ups = occupied(said, b.flushes_per_s * SLOTS * gateways)
    sigs = occupied(said, b.flushes_per_s * SLOTS * KINDS_OF_ROOMS)
    backs = occupied(t.seals, b.flushes_per_s * gateways * ingests)
    sayers = gateways + fanouts + 2  # sanctuary and registry
    heard = BEATS_PER_S * sayers
    gateway = {
        "process": gateways,
        "frame": said,
        "message": edges + ups + backs + (heard + BEATS_PER_S) * gateways,
        "sample": forms + t.seals,
        "sweep": occupied(edges + backs, b.flushes_per_s * gateways),
        "write": t.writes,
        "byte": t.viewer_bytes - HEADS_BYTES * t.writes,
    }
    fanout = {
        "process": fanouts,
        "sample": said,
        "form": forms,
        "message": edges + sigs + (heard + BEATS_PER_S) * fanouts,
    }
    ingest = {
        "process": ingests,
        "sample": t.samples,
        "seal": t.seals,
        "message": ups + sigs + backs + heard * ingests,
    }
    bodies = edges + ups + sigs + backs
    messages = 2 * bodies + heard + heard * (sayers + ingests)
    bus_bytes = 2 * (SAMPLE_BYTES + BUS_BYTES) * (forms + 2 * said)
    return {
        GATEWAY: total(costs.of[GATEWAY], gateway),
        FANOUT: total(costs.of[FANOUT], fanout),
        INGEST: total(costs.of[INGEST], ingest),
        NATS: total(costs.of[NATS], {"process": 1.0, "message": messages, "byte": bus_bytes}),
        "messages": messages,
        "bytes": bus_bytes,
    }


def _gateways_of(b: Behaviour, people: float, gateways: int) -> float:
    spread = spread_over(people, gateways)
    return spread if b.gateways_a_room is None else min(spread, b.gateways_a_room)


def _brokers(cores: float, b: Behaviour) -> int:
    """Servers of a full mesh: of n, (n - 1) / n of all messages pass through two of them, so that
    `cores * (2 - 1 / n) <= n * each`.
    """
    each = b.broker_cores * b.busy
    if cores <= each:
        return 1
    return math.ceil((cores + math.sqrt(cores * (cores - each))) / each)
