"""The book of strands: open ones, ended ones, their lanes, their timers. Pure.

Bounds: open strands by members × `strands_max`; ended strands by `remembered_max`; speakers by the
citizens who spoke within a few seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from services.ingest.core.admission import Speaker
from services.ingest.core.counts import Counts
from services.ingest.core.lanes import Lane, Outbox
from services.ingest.core.strands import Strand
from services.ingest.settings import IngestSettings
from shared.contracts import client
from shared.contracts.ingest import StrandClosed
from shared.contracts.records import Kind
from shared.contracts.sanctuary import MemberJoined

_NS = 1_000_000


class Moment(NamedTuple):
    """Now, on both clocks."""

    ns: int
    ms: int


class Ended(NamedTuple):
    """What is remembered of a strand that ended."""

    sanctuary: bytes
    citizen: bytes
    device: bytes
    key: bytes
    kind: Kind
    slot: int
    epoch: int
    at_ns: int
    previous: bytes
    """Its last seal's hash, window and answer, should the answer have been lost."""
    window: int
    admitted: tuple[int, ...]


class Book:
    """Strands, and where what is said of them is written."""

    def __init__(
        self, instance: str, settings: IngestSettings, epochs: Mapping[int, int], challenge: bytes
    ) -> None:
        self.settings = settings
        self.epochs = dict(epochs)
        self.challenge = challenge
        self.counts = Counts()
        self.outbox = Outbox(instance)
        self.lanes: dict[tuple[int, Kind], Lane] = {}
        self.strands: dict[bytes, Strand] = {}
        self.ended: dict[bytes, Ended] = {}
        """In the order in which they ended."""
        self.released: dict[bytes, None] = {}
        self._voices: dict[tuple[bytes, bytes], list[Strand]] = {}
        self._speakers: dict[bytes, Speaker] = {}
        self._timers: list[tuple[int, int, Strand]] = []
        self._order = 0
        self._grace_ns = 0

    def lane(self, slot: int, kind: Kind) -> Lane:
        lane = self.lanes.get((slot, kind))
        if lane is None:
            lane = self.lanes[slot, kind] = Lane(slot, kind, self.epochs[slot])
        return lane

    def lane_of(self, strand: Strand) -> Lane:
        return self.lane(strand.slot, strand.kind)

    def voices(self, sanctuary: bytes, citizen: bytes) -> list[Strand]:
        """A citizen's open strands in one sanctuary."""
        return self._voices.get((sanctuary, citizen), [])

    def speaker(self, citizen: bytes) -> Speaker:
        speaker = self._speakers.get(citizen)
        if speaker is None:
            speaker = self._speakers[citizen] = Speaker()
        return speaker

    def next_order(self) -> int:
        self._order += 1
        return self._order

    def open(self, strand: Strand) -> None:
        self.strands[strand.id] = strand
        self._voices.setdefault((strand.sanctuary, strand.citizen), []).append(strand)
        strand.speaker.strands += 1
        self.counts.opened += 1

    def end(self, strand: Strand, reason: str, now_ns: int, *, total: int | None = None) -> None:
        """`closed` (with its total), `interrupted`, `unsealed` or `left`."""
        lane = self.lane_of(strand)
        unsealed_from = strand.sealed_seq if strand.pending_seqs else None
        lane.add(StrandClosed(lane.row(strand), reason, total, unsealed_from))
        self.counts.closed[reason] += 1
        strand.is_open = False
        strand.speaker.strands -= 1
        del self.strands[strand.id]
        voices = self._voices[strand.sanctuary, strand.citizen]
        voices.remove(strand)
        if not voices:
            del self._voices[strand.sanctuary, strand.citizen]
        self.ended[strand.id] = Ended(
            strand.sanctuary,
            strand.citizen,
            strand.device,
            strand.key,
            strand.kind,
            strand.slot,
            strand.epoch,
            now_ns,
            strand.previous,
            strand.next_window - 1,
            strand.last_admitted,
        )
        if len(self.ended) > self.settings.remembered_max:
            self._forget(next(iter(self.ended)))

    def interrupt(self, sanctuary: bytes, now_ns: int) -> None:
        """The room is gone, or has other rules now."""
        for strand in [s for s in self.strands.values() if s.sanctuary == sanctuary]:
            self.end(strand, "interrupted", now_ns)

    # ── words to sessions ────────────────────────────────────────────────────────────────────────

    def challenge_to(self, member: MemberJoined, *, reopen: bool, now_ms: int) -> None:
        challenge = client.Challenge(member.sanctuary, self.challenge, reopen, now_ms)
        self.outbox.say(member.gateway, member.session, challenge)

    def ask_seal(self, strand: Strand) -> None:
        self.counts.seals_wanted += 1
        wanted = client.SealWanted(strand.id, strand.next_window)
        self.outbox.say(strand.gateway, strand.session, wanted)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def forgive(self, until_ns: int) -> None:
        """No strand ends for its silence before `until_ns`; seals are asked for as ever."""
        self._grace_ns = max(self._grace_ns, until_ns)

    def arm(self, strand: Strand) -> None:
        """Look at the strand again when its next deadline comes."""
        deadline = strand.deadline_ns(self.settings)
        if deadline is None:
            return
        deadline = max(deadline, self._grace_ns)
        if strand.armed_ns is None or deadline < strand.armed_ns:
            strand.armed_ns = deadline
            heapq.heappush(self._timers, (deadline, strand.order, strand))

    def next_deadline_ns(self) -> int | None:
        return self._timers[0][0] if self._timers else None

    def tick(self, now_ns: int) -> None:
        for strand in self._due(now_ns):
            self._remind(strand, now_ns)
            if strand.is_open:
                self.arm(strand)

    def _due(self, now_ns: int) -> Iterator[Strand]:
        """Strands whose deadline may have come; it may have moved away since it was armed."""
        timers = self._timers
        while timers and timers[0][0] <= now_ns:
            at_ns, _, strand = heapq.heappop(timers)
            if strand.is_open and strand.armed_ns == at_ns:
                strand.armed_ns = None
                yield strand

    def _remind(self, strand: Strand, now_ns: int) -> None:
        settings = self.settings
        may_end = now_ns >= self._grace_ns
        due = strand.due_ns()
        if due is not None:
            if may_end and now_ns >= due + settings.unsealed_after_ms * _NS:
                self.end(strand, "unsealed", now_ns)
                return
            asks_due = (now_ns - due) // (settings.seal_wanted_after_ms * _NS)
            if asks_due > strand.seal_asks:
                strand.seal_asks = asks_due
                self.ask_seal(strand)
        absent = strand.absent_ns
        if may_end and absent is not None and now_ns >= absent + settings.absence_ms * _NS:
            self.end(strand, "left", now_ns)

    def sweep(self, now_ns: int) -> None:
        """Forget what is old: ended strands, speakers at rest."""
        before = now_ns - self.settings.remembered_s * 1000 * _NS
        for strand in [name for name, ended in self.ended.items() if ended.at_ns <= before]:
            self._forget(strand)
        for citizen in [c for c, s in self._speakers.items() if s.is_at_rest(now_ns)]:
            del self._speakers[citizen]

    def _forget(self, strand: bytes) -> None:
        del self.ended[strand]
        self.released.pop(strand, None)
