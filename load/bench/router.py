"""Router: how many samples a second one fanout decides and prepares. Prints one JSON object.

    python -m load.bench.router                      # the target's shape: 200 sanctuaries, mixed tiers
    python -m load.bench.router --sweep              # viewers, sanctuaries, exceptions, one at a time

Input is what fanout gets from the bus: encoded `SigBatch`es, one a slot and turn, each with a few
samples of every strand that spoke in that turn. Counted is everything between the bus and the bus:
decoding the batch, deciding, preparing segments, and encoding every edge batch for every gateway.
The clock is this process's processor time, so that a busy machine does not speak for it, and stops
when the last batch is encoded. Nothing is sent.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from shared import codec, subjects
from shared.consent import empty_state, fold
from shared.contracts import (
    Admitted,
    Approval,
    Audience,
    Charter,
    ConsentException,
    ConsentState,
    Deliver,
    EdgeBatch,
    GatewayBeat,
    Grant,
    Identity,
    Institution,
    Kind,
    MemberFollows,
    MemberJoined,
    Opening,
    Openings,
    Policy,
    Provenance,
    Purpose,
    RegistryBeat,
    RoomOpened,
    Sample,
    Seal,
    Setting,
    SigBatch,
    SigEntry,
    Signed,
    StatePage,
    StrandOpened,
    StrandRow,
    Tier,
    Tombstones,
    WindowSealed,
)
from shared.contracts.sanctuary import Members
from shared.identifiers import SLOTS, MonotonicNs, WallMs, slot_of
from shared.subjects import Ask

# the house rule is that load knows no service; a micro-benchmark of a core starts it by name
ROUTER: Any = importlib.import_module("services.fanout.core").Router

GOAL_PER_S = 150_000
BEGAN_MS = 1_790_000_000_000
MS = 1_000_000


@dataclass(frozen=True)
class Shape:
    """What the bench is about. `exceptions`: part of the members who are excepted by a speaker."""

    sanctuaries: int = 200
    viewers: int = 20
    """Of each sanctuary."""
    speakers: int = 10
    gateways: int = 2
    exceptions: float = 0.1
    followers: float = 0.1
    """Part of the members who follow those speakers that members see less closely than in full."""
    window: int = 8
    """Samples in a window, each window with its seal (and so with a feed for the field)."""
    tiers: str = "mixed"
    """`full`, or `mixed`: of ten speakers six at full, two at coarse, one at aggregate, one withheld."""


MIXED = (
    *(Tier.FULL,) * 6,
    Tier.COARSE,
    Tier.COARSE,
    Tier.AGGREGATE,
    Tier.WITHHELD,
)


def id16(word: str) -> bytes:
    return codec.sha256(word.encode())[:16]


def body(strand: bytes, seq: int) -> bytes:
    return codec.encode(
        Sample(seq, BEGAN_MS, 120, -340, None, 900, Provenance.SCRIPTED, (), None, strand[:8])
    )


class Bench:
    """One router with its rooms, and the batches that one turn brings."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.now_ns = MonotonicNs(1000 * MS)
        self.now_ms = WallMs(BEGAN_MS)
        charter = Charter("bench", BEGAN_MS, Tier.FULL, 1, (Institution("one", bytes(32)),))
        self._charter = Signed(codec.encode(charter), bytes(64))
        self._rooms: list[Policy] = []
        self._seats: list[MemberJoined] = []
        self._follows: list[MemberFollows] = []
        self._states: list[ConsentState] = []
        self._identities: list[Identity] = []
        self._strands: dict[int, list[tuple[StrandRow, Signed]]] = {s: [] for s in range(SLOTS)}
        self._numbers: dict[int, int] = dict.fromkeys(range(SLOTS), -1)
        self._turns = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(SigBatch)
        for number in range(shape.sanctuaries):
            self._room(number)
        self.core = ROUTER(
            instance="fanout-0",
            ordinal=0,
            replicas=1,
            epochs=dict.fromkeys(range(SLOTS), 1),
            random_bytes=bytes,
        )
        self._start()

    def _room(self, number: int) -> None:
        shape = self.shape
        sanctuary = id16(f"room {number}")
        self._rooms.append(
            Policy(
                sanctuary, f"room {number}", Kind.COMMONS, Setting.OPEN, Tier.FULL, 1_000_000, 1000
            )
        )
        viewers = [id16(f"viewer {number}/{viewer}") for viewer in range(shape.viewers)]
        for index, viewer in enumerate(viewers):
            gateway = f"gateway-{index % shape.gateways}"
            self._seats.append(
                MemberJoined(
                    sanctuary, viewer, id16(f"seat {number}/{index}"), bytes(32), gateway, 7
                )
            )
        excepted = viewers[: round(shape.viewers * shape.exceptions)]
        followers = viewers[len(viewers) - round(shape.viewers * shape.followers) :]
        followed: list[bytes] = []
        for speaker in range(shape.speakers):
            citizen = id16(f"speaker {number}/{speaker}")
            self._identities.append(Identity(citizen, bytes(32), bytes(32), (bytes(32),)))
            state = empty_state(citizen)
            tier = MIXED[speaker % len(MIXED)] if shape.tiers == "mixed" else Tier.FULL
            records: list[Any] = [
                Grant(
                    *(citizen, 1, codec.ZERO_HASH, 0, None),
                    *(Audience.MEMBERS, tier, Purpose.LIVE, None),
                )
            ]
            if excepted and speaker % 2 == 0:
                records += [
                    ConsentException(
                        citizen, count, codec.ZERO_HASH, 0, None, person, Tier.COARSE, None
                    )
                    for count, person in enumerate(excepted, 2)
                ]
            if followers and tier is not Tier.FULL:
                records.append(
                    Grant(
                        *(citizen, 1, codec.ZERO_HASH, 0, None),
                        *(Audience.FOLLOWERS, Tier.FULL, Purpose.LIVE, None),
                    )
                )
                records += [
                    Approval(
                        citizen, 1, codec.ZERO_HASH, 0, person, is_approved=True, until_ms=None
                    )
                    for person in followers
                ]
                followed.append(citizen)
            for record in records:
                counter = state.counter + 1
                linked = msgspec.structs.replace(record, counter=counter, previous=state.head)
                state = fold(state, linked, codec.sha256(codec.encode(linked)))
            self._states.append(state)
            opening = Opening(
                sanctuary, citizen, bytes(32), bytes(32), bytes(32), 0, bytes(16), BEGAN_MS
            )
            signed = Signed(codec.encode(opening), bytes(64))
            row = StrandRow(codec.strand_id(signed.payload), citizen, sanctuary, 0)
            self._strands[slot_of(sanctuary)].append((row, signed))
        if followed:
            first = shape.viewers - len(followers)
            self._follows += [
                MemberFollows(sanctuary, id16(f"seat {number}/{index}"), tuple(followed))
                for index in range(first, shape.viewers)
            ]

    def _start(self) -> None:
        self._carry_out(self.core.start(self.now_ns, self.now_ms))
        for gateway in range(self.shape.gateways):
            name = f"gateway-{gateway}"
            self._receive(subjects.control(name), GatewayBeat(name, 7, 1))
            self._receive(subjects.control(name), Tombstones(name, 7, 2, "fanout-0", ()))
        for slot in range(SLOTS):
            self._numbers[slot] += 1
            rows = tuple(row for row, _ in self._strands[slot])
            entries = tuple(
                StrandOpened(index, signed) for index, (_, signed) in enumerate(self._strands[slot])
            )
            batch = SigBatch(slot, 1, self._numbers[slot], rows, entries)
            self._receive(subjects.sig(Kind.COMMONS, slot), batch)
        self.now_ns = MonotonicNs(self.now_ns + 700 * MS)
        self._carry_out(self.core.tick(self.now_ns, self.now_ms))
        self._receive("control.registry-0", RegistryBeat("registry-0", 1, 1))
        assert self.core.is_certain, self.core.pending()
        self.core.flush(self.now_ns, self.now_ms)

    def _receive(self, subject: str, event: Any) -> None:
        self._carry_out(self.core.receive(subject, event, self.now_ns, self.now_ms))

    def _carry_out(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Ask):
                self._carry_out(
                    self.core.answered(effect, self._answer(effect.event), self.now_ns, self.now_ms)
                )

    def _answer(self, event: Any) -> Any:
        match type(event).__name__:
            case "StateAsk":
                return StatePage(
                    1, 1, self._charter, tuple(self._identities), tuple(self._states), None
                )
            case "MembersAsk":
                rooms = [room for room in self._rooms if slot_of(room.sanctuary) == event.slot]
                seats = [seat for seat in self._seats if slot_of(seat.sanctuary) == event.slot]
                follows = [row for row in self._follows if slot_of(row.sanctuary) == event.slot]
                return Members(
                    event.slot,
                    1,
                    0,
                    True,
                    tuple(RoomOpened(room.sanctuary, codec.encode(room)) for room in rooms),
                    tuple(seats),
                    tuple(follows),
                )
            case _:
                return Openings(event.slot, 1, {}, ())

    def run(self, seconds: float) -> dict[str, Any]:
        """Play turns until the time is over; the inputs are made outside the measured time."""
        clock = time.process_time_ns
        core, decode, encode = self.core, self._decoder.decode, self._encoder.encode
        samples_before = core.counts.samples
        spent_ns = edge_bytes = segments = batches_out = 0
        core_ns = 0
        decode_ns = 0
        while spent_ns < seconds * 1e9:
            inputs = self._turn(self._turns)
            self._turns += 1
            self.now_ns = MonotonicNs(self.now_ns + MS)
            publishes: list[Any] = []
            began = clock()
            for subject, payload in inputs:
                began_decode = clock()
                batch = decode(payload)
                decode_ns += clock() - began_decode
                publishes += core.receive(subject, batch, self.now_ns, self.now_ms)
            publishes += core.flush(self.now_ns, self.now_ms)
            core_ns += clock() - began
            payloads = [encode(publish.event) for publish in publishes]
            spent_ns += clock() - began
            batches_out += len(payloads)
            edge_bytes += sum(map(len, payloads))
            segments += sum(
                len(operation.segments)
                for publish in publishes
                if isinstance(publish.event, EdgeBatch)
                for operation in publish.event.operations
                if isinstance(operation, Deliver)
            )
        samples = core.counts.samples - samples_before
        return {
            "samples_per_s": round(samples / spent_ns * 1e9),
            "us_per_sample": round(spent_ns / samples / 1000, 3),
            "us_per_sample_decoding": round(decode_ns / samples / 1000, 3),
            "us_per_sample_deciding": round((core_ns - decode_ns) / samples / 1000, 3),
            "us_per_sample_encoding": round((spent_ns - core_ns) / samples / 1000, 3),
            "samples": samples,
            "segments_per_sample": round(segments / samples, 3),
            "edge_bytes_per_sample": round(edge_bytes / samples, 1),
            "edge_batches": batches_out,
        }

    def _turn(self, turn: int) -> list[tuple[str, bytes]]:
        batches = []
        for slot, strands in self._strands.items():
            if not strands:
                continue
            self._numbers[slot] += 1
            entries: list[SigEntry] = [
                Admitted(index, turn, body(row.strand, turn))
                for index, (row, _) in enumerate(strands)
            ]
            if turn % self.shape.window == self.shape.window - 1:
                number = turn // self.shape.window
                entries += [
                    WindowSealed(index, number, self._seal(row.strand, number))
                    for index, (row, _) in enumerate(strands)
                ]
            rows = tuple(row for row, _ in strands)
            batch = SigBatch(slot, 1, self._numbers[slot], rows, tuple(entries))
            batches.append((subjects.sig(Kind.COMMONS, slot), codec.encode(batch)))
        return batches

    def _seal(self, strand: bytes, window: int) -> Signed:
        first = window * self.shape.window
        hashes = (bytes(16),) * self.shape.window
        return Signed(
            codec.encode(Seal(strand, window, first, BEGAN_MS, 0, hashes, bytes(32))), bytes(64)
        )


SWEEPS: tuple[tuple[str, str, tuple[Shape, ...]], ...] = (
    (
        "viewers of each of 20 sanctuaries, no exceptions",
        "viewers",
        tuple(
            Shape(sanctuaries=20, viewers=n, exceptions=0, followers=min(0.1, 100 / n))
            for n in (1, 10, 100, 1000, 10_000)
        ),
    ),
    ("sanctuaries", "sanctuaries", tuple(Shape(sanctuaries=n) for n in (1, 10, 100, 1000))),
    (
        "part of the members who are excepted",
        "exceptions",
        tuple(Shape(exceptions=part) for part in (0.0, 0.1, 0.2, 0.3)),
    ),
    ("gateways", "gateways", tuple(Shape(gateways=n) for n in (1, 2, 4, 8))),
    ("everybody at full", "exceptions", (Shape(tiers="full", exceptions=0.0, followers=0.0),)),
)
"""(what changes, the field that says so, shapes)"""


def measure(shape: Shape, seconds: float) -> dict[str, Any]:
    bench = Bench(shape)
    bench.run(seconds / 4)  # warm
    return {"shape": msgspec.to_builtins(shape), **bench.run(seconds)}


def sweep(seconds: float) -> list[dict[str, Any]]:
    """Microseconds a sample while one thing of the target's shape changes."""
    rows = []
    for about, name, shapes in SWEEPS:
        print(f"router: {about} …", file=sys.stderr, flush=True)
        measured = [measure(shape, seconds) for shape in shapes]
        rows.append({"about": about, "changed": name, "measured": measured})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench.router",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="measured time of each shape")
    parser.add_argument("--sweep", action="store_true", help="one dimension after the other")
    parser.add_argument("--json", action="store_true", help="one object in one line")
    options = parser.parse_args()
    result: dict[str, Any] = {"goal_samples_per_s": GOAL_PER_S}
    result["target"] = measure(Shape(), options.seconds)
    if options.sweep:
        result["sweeps"] = sweep(options.seconds)
    print(json.dumps(result, indent=None if options.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
