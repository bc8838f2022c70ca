"""How many samples a second one ingest process admits: `python -m load.bench.admission [--json]`.

The core alone, fed with encoded uplink batches as they come from the bus, and flushed into encoded
batches as they go out: decoding, every check, hashes, seals' signatures, and encoding, without the
broker. 64 citizens, one strand each; every batch holds one message of each. The goal of the issue is
60 000 samples/s at 8 samples a seal. CPU time is counted, so that a busy machine does not lie.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from typing import Any

import msgspec

from services.ingest.core import Core
from services.ingest.settings import IngestSettings
from shared.codec import ZERO_HASH, body_hash, decode, encode, sha256
from shared.contracts import (
    Charter,
    Identity,
    Institution,
    Kind,
    MemberJoined,
    Members,
    Open,
    Opening,
    Policy,
    Provenance,
    RecordKind,
    RoomOpened,
    Sample,
    Samples,
    Seal,
    SealWindow,
    Setting,
    StatePage,
    Tier,
    UpBatch,
    UpEntry,
)
from shared.identifiers import MonotonicNs, WallMs, slot_of
from shared.identity import Signer
from shared.subjects import Publish

CITIZENS = 64
ROOM = b"sanctuary bench "
SLOT = slot_of(ROOM)
CHALLENGE = b"challenge bench "
GOAL_PER_S = 60_000
BEGAN_MS = 1_700_000_000_000


class Citizen:
    def __init__(self, number: int, city: bytes, policy: bytes) -> None:
        self.id = number.to_bytes(16, "big")
        self.session = (number + 1000).to_bytes(16, "big")
        self.device = Signer((number + 1).to_bytes(32, "big"))
        self.key = Signer((number + 10_000).to_bytes(32, "big"))
        self.city = city
        opening = Opening(
            ROOM,
            self.id,
            sha256(policy),
            self.key.public_key,
            self.device.public_key,
            0,
            CHALLENGE,
            BEGAN_MS,
        )
        self.opening = self.device.sign_record(RecordKind.OPENING, city, encode(opening))
        self.strand = sha256(self.opening.payload)
        self.seq = self.window = 0
        self.previous = ZERO_HASH

    def samples(self, count: int, now_ms: int) -> tuple[bytes, ...]:
        return tuple(
            encode(
                Sample(
                    self.seq + i,
                    now_ms,
                    (self.seq + i) % 1000,
                    -250,
                    None,
                    1000,
                    Provenance.DECLARED,
                    (3, 9),
                    None,
                    b"8 bytes.",
                )
            )
            for i in range(count)
        )

    def seal(self, bodies: tuple[bytes, ...], now_ms: int) -> SealWindow:
        hashes = tuple(body_hash(body) for body in bodies)
        seal = Seal(self.strand, self.window, self.seq, now_ms, 0, hashes, self.previous)
        payload = encode(seal)
        self.window += 1
        self.seq += len(bodies)
        self.previous = sha256(payload)
        record = self.key.sign_record(RecordKind.SEAL, self.city, payload)
        return SealWindow(ROOM, self.strand, record)


def measure(*, samples_a_seal: int, windows: int) -> dict[str, Any]:
    """Admit `windows` windows of each citizen, prepared beforehand."""
    institution = Signer(b"\x01" * 32)
    charter = encode(Charter("b", 0, Tier.FULL, 1, (Institution("b", institution.public_key),)))
    city = sha256(charter)
    policy = encode(Policy(ROOM, "bench", Kind.COMMONS, Setting.OPEN, Tier.FULL, 1000))
    citizens = [Citizen(number, city, policy) for number in range(CITIZENS)]
    settings = IngestSettings(samples_per_s=10_000, samples_burst=100_000)
    core = Core("ingest-0", settings, epochs={SLOT: 1}, challenge=CHALLENGE)
    now_ns = 10**12
    signed = institution.sign_record(RecordKind.CHARTER, ZERO_HASH, charter)
    identities = tuple(
        Identity(c.id, bytes(32), bytes(32), (c.device.public_key,)) for c in citizens
    )
    members = tuple(
        MemberJoined(ROOM, c.id, c.session, c.device.public_key, "gateway-0", 1) for c in citizens
    )
    state = Members(SLOT, 1, 0, complete=True, rooms=(RoomOpened(ROOM, policy),), members=members)
    for effect in core.start(MonotonicNs(now_ns), WallMs(BEGAN_MS)):
        assert not isinstance(effect, Publish)
        is_page = getattr(effect, "answer", None) is StatePage
        answer = StatePage(1, 0, signed, identities, (), None) if is_page else state
        core.answered(effect, answer, MonotonicNs(now_ns), WallMs(BEGAN_MS))  # type: ignore[arg-type]
    assert core.is_ready
    number = 0

    def batch(messages: list[tuple[Citizen, msgspec.Struct]]) -> bytes:
        nonlocal number
        entries = tuple(
            UpEntry(c.session, c.device.public_key, msgspec.Raw(encode(message)))
            for c, message in messages
        )
        number += 1
        return encode(UpBatch("gateway-0", 1, SLOT, number, entries))

    openings = batch([(c, Open(1, ROOM, c.opening)) for c in citizens])
    rounds: list[bytes] = []
    for _ in range(windows):
        bodies = [c.samples(samples_a_seal, BEGAN_MS) for c in citizens]
        rounds.append(
            batch(
                [(c, Samples(ROOM, c.strand, 0, b)) for c, b in zip(citizens, bodies, strict=True)]
            )
        )
        rounds.append(
            batch([(c, c.seal(b, BEGAN_MS)) for c, b in zip(citizens, bodies, strict=True)])
        )

    def take(payload: bytes) -> int:
        event = decode(payload, UpBatch)
        core.receive("up", event, MonotonicNs(now_ns), WallMs(BEGAN_MS))
        published = core.flush(MonotonicNs(now_ns), WallMs(BEGAN_MS))
        return sum(len(encode(effect.event)) for effect in published)

    take(openings)
    began_cpu, began = time.process_time(), time.perf_counter()
    published_bytes = sum(take(payload) for payload in rounds)
    cpu_s, wall_s = time.process_time() - began_cpu, time.perf_counter() - began
    admitted = core.counts.admitted
    assert admitted == CITIZENS * windows * samples_a_seal, core.counts.refused_samples
    assert core.counts.seals == CITIZENS * windows
    return {
        "samples_a_seal": samples_a_seal,
        "samples": admitted,
        "cpu_s": round(cpu_s, 3),
        "wall_s": round(wall_s, 3),
        "samples_per_cpu_s": round(admitted / cpu_s),
        "us_a_sample": round(cpu_s / admitted * 1e6, 2),
        "published_bytes": published_bytes,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="machine output")
    parser.add_argument("--samples", type=int, default=60_000, help="samples in each row")
    arguments = parser.parse_args()
    rows = [
        measure(samples_a_seal=size, windows=max(1, arguments.samples // size // CITIZENS))
        for size in (1, 8, 32)
    ]
    reached = next(row["samples_per_cpu_s"] for row in rows if row["samples_a_seal"] == 8)
    result = {
        "benchmark": "admission",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "goal_samples_per_s_at_8": GOAL_PER_S,
        "reached": reached >= GOAL_PER_S,
        "rows": rows,
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for row in rows:
            print(
                f"{row['samples_a_seal']:3} samples a seal: {row['samples_per_cpu_s']:8} samples"
                f" a CPU second ({row['us_a_sample']} µs each)"
            )
    return 0 if reached >= GOAL_PER_S else 1


if __name__ == "__main__":
    sys.exit(main())
