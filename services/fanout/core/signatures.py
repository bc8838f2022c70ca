"""The data plane: admitted batches become segments for the audiences at `full`, once for each form."""

from __future__ import annotations

from collections import deque
from typing import assert_never

from services.fanout.core.city import City
from services.fanout.core.lifts import Said
from services.fanout.core.openings import Numbering, Verdict
from services.fanout.core.presences import FIELD, RECORD, UNSEALED_MAX, Presence
from services.fanout.core.strands import Strand
from shared import subjects
from shared.codec import Refused, encode, seal_of
from shared.contracts.client import Released, SealShown, Skipped, StrandEnded
from shared.contracts.fanout import FeedWindow, Segment
from shared.contracts.ingest import (
    Admitted,
    KeyReleased,
    NumbersSkipped,
    Openings,
    OpeningsAsk,
    OpenStrand,
    SigBatch,
    SigEntry,
    StrandClosed,
    StrandOpened,
    StrandRow,
    WindowSealed,
)
from shared.contracts.refusals import Refusal
from shared.contracts.sample import BODY_BYTES_MAX
from shared.identifiers import MonotonicNs, WallMs
from shared.subjects import Ask

EPOCH_HOLD_NS = 1_000_000_000
"""How long a sample waits for the consent record it was made under, or for a doubt to end."""
HELD_ENTRIES_MAX = 512
"""Entries of one strand that wait; then the oldest sample goes as if its time were over."""

_BIN = tuple(
    b"\xc4" + bytes((length,)) if length < 256 else b"\xc5" + length.to_bytes(2, "big")
    for length in range(BODY_BYTES_MAX + 1)
)
"""MessagePack's header of a byte string, by its length."""


def sample_shown(prefix: bytes, body: bytes) -> bytes:
    """`SampleShown`, encoded, from its strand's prefix."""
    return prefix + _BIN[len(body)] + body


class Signatures:
    """Strands and what is done with each entry of a batch."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._numbering = {slot: Numbering() for slot in city.slots}
        self._waiting: dict[bytes, Strand] = {}
        """Strands with held entries."""

    def complete(self, slot: int) -> bool:
        return self._numbering[slot].complete

    def asking(self, slot: int) -> bool:
        return self._numbering[slot].is_asking

    def receive(self, kind: str, batch: SigBatch, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """A batch of `sig.<kind>.<slot>`."""
        numbering = self._numbering.get(batch.slot)
        if numbering is None:
            return
        verdict = numbering.judge(kind, batch, now_ns)
        if verdict is Verdict.INTERRUPT:
            self._interrupt(batch.slot, now_ns, now_ms)
            numbering.begin(batch.epoch)
            verdict = numbering.judge(kind, batch, now_ns)
        if verdict is Verdict.TAKE:
            self._take(batch, now_ns, now_ms)
        elif verdict is Verdict.WAIT:
            self._city.counts.holes += 1
            self.ask(now_ns)

    def ask(self, now_ns: MonotonicNs) -> None:
        """Ask ingest for openings where that is due; an owner that has been superseded learns it."""
        for slot, numbering in self._numbering.items():
            if numbering.asks(now_ns):
                event = OpeningsAsk(slot, numbering.epoch)
                self._city.effects.append(Ask(subjects.ask(subjects.INGEST, slot), event, Openings))

    def answered(self, answer: Openings, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """Ingest's open strands: whatever differs from ours was lost on the way."""
        numbering = self._numbering.get(answer.slot)
        openings = None if numbering is None else numbering.whole(answer)
        if numbering is None or openings is None:
            return
        is_new = openings.epoch > numbering.epoch
        waiting = numbering.answered(openings)
        if waiting is None:
            return
        if is_new:
            self._interrupt(openings.slot, now_ns, now_ms)
        known = {row.strand: row for row in openings.strands}
        for strand in self._strands_of(openings.slot):
            if strand.id not in known:
                self._drop_held(strand)
                self._end(strand, _interrupted(strand), now_ns, now_ms)
        for row in openings.strands:
            self._reconcile(row, now_ns, now_ms)
        for kind, batch in waiting:
            self.receive(kind, batch, now_ns, now_ms)

    def _take(self, batch: SigBatch, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """Every entry in order. The first branch is the hot path: one citizen's sample, in sequence."""
        city = self._city
        strands = city.strands
        table: list[Strand | None] = []
        for row in batch.strands:
            strand = strands.get(row.strand)
            if strand is not None and row.epoch > strand.epoch:
                strand.epoch = row.epoch
                if row.epoch > strand.presence.consent.known:
                    strand.blocked = True
            table.append(strand)
        dirty = city.dirty
        count = 0
        rows = len(table)
        for entry in batch.entries:
            index = entry.row
            if not 0 <= index < rows:
                city.counts.malformed += 1
                continue
            strand = table[index]
            if (
                type(entry) is Admitted
                and strand is not None
                and not strand.blocked
                and entry.seq == strand.next_seq
            ):
                body = entry.body
                if len(body) > BODY_BYTES_MAX:
                    city.counts.malformed += 1
                    continue
                count += 1
                strand.next_seq += 1
                strand.body = body
                strand.at_ns = now_ns
                presence = strand.presence
                if presence.full:
                    segment = Segment(presence.citizen, strand.prefix + _BIN[len(body)] + body)
                    for outlet in presence.full:
                        waiting = outlet.segments
                        if not waiting:
                            dirty.append(outlet)
                        waiting.append(segment)
                if presence.feeds:
                    unsealed = strand.unsealed
                    unsealed.append((entry.seq, body, presence.feeds))
                    if len(unsealed) > UNSEALED_MAX:
                        del unsealed[: UNSEALED_MAX // 2]
            elif type(entry) is StrandOpened:
                table[index] = self._open(batch.strands[index], entry, now_ns, now_ms)
            elif type(entry) is KeyReleased:
                self._release(batch.strands[index], entry, now_ns, now_ms)
            elif strand is None:
                city.counts.unknown_strands += 1
            elif strand.blocked:
                self._hold(strand, entry, now_ns, now_ms)
            else:
                self._entry(strand, entry, now_ns, now_ms)
                if type(entry) is StrandClosed:
                    table[index] = None
        city.counts.samples += count

    def _entry(self, strand: Strand, entry: SigEntry, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """An entry off the hot path."""
        match entry:
            case Admitted():
                self._sample(strand, entry, now_ns)
            case WindowSealed():
                self._seal(strand, entry)
            case NumbersSkipped():
                first = max(entry.first, strand.next_seq)
                self._lost_before(strand, first)
                if entry.last >= first:
                    self._skip(strand, first, entry.last, entry.reason)
            case StrandClosed():
                if entry.total is not None:
                    self._lost_before(strand, entry.total)
                ended = StrandEnded(strand.id, entry.reason, entry.total, entry.unsealed_from)
                self._end(strand, ended, now_ns, now_ms)
            case StrandOpened() | KeyReleased():
                pass  # the table decided
            case _:
                assert_never(entry)

    def _sample(self, strand: Strand, entry: Admitted, now_ns: MonotonicNs) -> None:
        if entry.seq < strand.next_seq:
            self._city.counts.repeated += 1
            return
        if len(entry.body) > BODY_BYTES_MAX:
            self._city.counts.malformed += 1
            return
        self._lost_before(strand, entry.seq)
        self._city.counts.samples += 1
        strand.next_seq = entry.seq + 1
        strand.body = entry.body
        strand.at_ns = now_ns
        presence = strand.presence
        if presence.full:
            presence.tell(sample_shown(strand.prefix, entry.body))
        if presence.feeds:
            strand.unsealed.append((entry.seq, entry.body, presence.feeds))
            if len(strand.unsealed) > UNSEALED_MAX:
                del strand.unsealed[: UNSEALED_MAX // 2]

    def _open(
        self, row: StrandRow, entry: StrandOpened, now_ns: MonotonicNs, now_ms: WallMs
    ) -> Strand | None:
        strand = self._city.strands.get(row.strand)
        if strand is not None:
            return strand
        room = self._city.room(row.sanctuary)
        if room is None:
            self._city.counts.malformed += 1
            return None
        presence = self._city.presence(row.citizen, room, now_ns, now_ms)
        strand = Strand(row.strand, presence, entry.opening, row.epoch)
        self._begin(strand, now_ns, now_ms)
        return strand

    def _begin(self, strand: Strand, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """An open strand enters: closeness first, so that a room it outgrows never shows it."""
        presence = strand.presence
        room = presence.room
        if not presence.strands:
            room.speakers += 1
            self._city.measure_closeness(room, now_ns, now_ms)
        presence.strands[strand.id] = strand
        self._city.strands[strand.id] = strand
        strand.blocked = presence.suspended or strand.epoch > presence.consent.known
        presence.announce(strand)

    def _end(self, strand: Strand, ended: StrandEnded, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        presence = strand.presence
        presence.tell_end(encode(ended))
        presence.newest = presence.spoken()
        presence.ended_ns = now_ns
        del presence.strands[strand.id]
        del self._city.strands[strand.id]
        self._waiting.pop(strand.id, None)
        for view in presence.views():
            view.stale.pop(strand.id, None)
        for lift in presence.lifts.values():
            lift.before.pop(strand.id, None)
        if not presence.strands:
            presence.room.speakers -= 1
            self._city.measure_closeness(presence.room, now_ns, now_ms)

    def _seal(self, strand: Strand, entry: WindowSealed) -> None:
        """To those at `full`; and the window's bodies to the feeds that its samples were meant for."""
        presence = strand.presence
        strand.seal = entry.record
        if presence.full:
            presence.tell(encode(SealShown(strand.id, entry.record)))
        if not strand.unsealed:
            return
        try:
            seal = seal_of(entry.record.payload)
        except Refused:
            self._city.counts.malformed += 1
            return
        end = seal.first_seq + len(seal.hashes)
        unsealed = strand.unsealed
        field: list[bytes] = []
        record: list[bytes] = []
        taken = 0
        for number, body, allowed in unsealed:  # in ascending order
            if number >= end:
                break
            taken += 1
            if number < seal.first_seq:
                continue
            if allowed & FIELD:
                field.append(body)
            if allowed & RECORD:
                record.append(body)
        del unsealed[:taken]
        if presence.suspended or not presence.room.slot.live:
            return
        slot = presence.room.slot.number
        if field:
            self._feed(subjects.field(slot), strand, entry, field)
        if record:
            self._feed(subjects.record(slot), strand, entry, record)

    def _feed(self, subject: str, strand: Strand, entry: WindowSealed, bodies: list[bytes]) -> None:
        presence = strand.presence
        room = presence.room
        self._city.counts.windows_fed += 1
        window = FeedWindow(
            room.slot.number,
            room.sanctuary,
            presence.citizen,
            strand.id,
            entry.window,
            entry.record,
            tuple(bodies),
        )
        self._city.effects.append(subjects.Publish(subject, window))

    def _release(
        self, row: StrandRow, entry: KeyReleased, now_ns: MonotonicNs, now_ms: WallMs
    ) -> None:
        room = self._city.room(row.sanctuary)
        if room is None or row.strand in self._city.strands:
            self._city.counts.malformed += 1
            return
        presence = self._city.presence(row.citizen, room, now_ns, now_ms)
        presence.tell(encode(Released(row.strand, entry.seed)))

    def _skip(self, strand: Strand, first: int, last: int, reason: str) -> None:
        """Numbers that will not come."""
        strand.next_seq = last + 1
        strand.presence.tell(encode(Skipped(strand.id, first, last, reason)))

    def _lost_before(self, strand: Strand, seq: int) -> None:
        """Numbers below `seq` that never came here are announced as lost."""
        if seq > strand.next_seq:
            self._city.counts.lost += seq - strand.next_seq
            self._skip(strand, strand.next_seq, seq - 1, Refusal.LOST.value)

    # after a hole or a restart of ingest

    def _strands_of(self, slot: int) -> list[Strand]:
        return [
            strand
            for room in self._city.slots[slot].rooms.values()
            for presence in room.presences.values()
            for strand in presence.strands.values()
        ]

    def _interrupt(self, slot: int, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """Ingest restarted: its strands are over, and it is nobody's offence."""
        for strand in self._strands_of(slot):
            self._drop_held(strand)
            self._end(strand, _interrupted(strand), now_ns, now_ms)

    def _reconcile(self, row: OpenStrand, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        strand = self._city.strands.get(row.strand)
        if strand is None:
            room = self._city.room(row.sanctuary)
            if room is None:
                return
            presence = self._city.presence(row.citizen, room, now_ns, now_ms)
            strand = Strand(row.strand, presence, row.opening, row.epoch)
            strand.next_seq = row.next_seq
            strand.body, strand.seal = _told(row, presence)
            strand.at_ns = now_ns
            for person in presence.consent.past_limits(now_ms):
                presence.lift(person, strand, now_ns)
            self._begin(strand, now_ns, now_ms)
            return
        self._drop_held(strand)
        if row.epoch > strand.epoch:
            strand.epoch = row.epoch
            strand.blocked = strand.blocked or row.epoch > strand.presence.consent.known
        if row.next_seq <= strand.next_seq and row.seal == strand.seal:
            return
        self._lost_before(strand, row.next_seq)
        body, seal = _told(row, strand.presence)
        if row.body is None or row.body == strand.body:
            body = strand.body
        else:
            strand.at_ns = now_ns
        if row.seal == strand.seal:
            seal = strand.seal
        strand.presence.hear_late(strand, body, seal)
        strand.presence.announce(strand)

    # entries that wait

    def _hold(self, strand: Strand, entry: SigEntry, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        strand.held.append((now_ns + EPOCH_HOLD_NS, entry))
        self._waiting[strand.id] = strand
        if len(strand.held) > HELD_ENTRIES_MAX:
            self._give_up_one(strand, now_ns, now_ms)

    def release(self, strand: Strand, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """What made a strand wait may be over: its entries go on in order."""
        presence = strand.presence
        if presence.suspended or strand.epoch > presence.consent.known:
            return
        strand.blocked = False
        self._waiting.pop(strand.id, None)
        while strand.held and strand.id in self._city.strands:
            _, entry = strand.held.popleft()
            self._entry(strand, entry, now_ns, now_ms)

    def overdue(self, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """Entries that waited long enough."""
        for strand in list(self._waiting.values()):
            if strand.presence.suspended:
                kept = [
                    (at, entry)
                    for at, entry in strand.held
                    if at > now_ns or type(entry) is not Admitted
                ]
                strand.held = deque(kept)
            while (
                not strand.presence.suspended
                and strand.held
                and strand.held[0][0] <= now_ns
                and strand.id in self._city.strands
            ):
                self._give_up_one(strand, now_ns, now_ms)
            if not strand.held:
                self._waiting.pop(strand.id, None)

    def _give_up_one(self, strand: Strand, now_ns: MonotonicNs, now_ms: WallMs) -> None:
        """The oldest entry's time is over. A sample is named as skipped if its epoch is unknown; it
        goes without a word while its citizen is in doubt (its number is announced as lost afterwards).
        """
        _, entry = strand.held.popleft()
        if type(entry) is not Admitted:
            if not strand.presence.suspended:
                self._entry(strand, entry, now_ns, now_ms)
            return
        if strand.presence.suspended:
            return
        self._city.counts.unknown_epoch += 1
        self._lost_before(strand, entry.seq)
        if entry.seq >= strand.next_seq:
            self._skip(strand, entry.seq, entry.seq, Refusal.UNKNOWN_EPOCH.value)

    def _drop_held(self, strand: Strand) -> None:
        """The openings speak for what waited, or the strand is over."""
        strand.held.clear()
        self._waiting.pop(strand.id, None)


def _told(row: OpenStrand, presence: Presence) -> Said:
    """The newest sample and seal that ingest tells of. If the strand has not stated the citizen's
    newest record they may have been said before it, when fewer were meant: then they are left out.
    """
    return (row.body, row.seal) if row.epoch >= presence.consent.known else (None, None)


def _interrupted(strand: Strand) -> StrandEnded:
    return StrandEnded(strand.id, "interrupted", None, None)
