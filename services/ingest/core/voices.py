"""Who speaks where: seats, new strands, samples taken one by one, seals. Pure.

The one way in, for what comes piece by piece from sockets and for whole windows alike.
"""

from __future__ import annotations

from typing import NamedTuple

from services.ingest.core.admission import (
    Rate,
    check_opening,
    peek_seq,
    refusal_of,
    refuses_derived,
)
from services.ingest.core.book import Book, Moment
from services.ingest.core.strands import NUMBERS_MAX, Strand
from shared.codec import Refused, decode_sample
from shared.contracts.ingest import StrandOpened, WindowSealed
from shared.contracts.records import SEAL_CLOSING, RecordKind, Seal, Signed
from shared.contracts.refusals import Refusal
from shared.contracts.sanctuary import MemberJoined
from shared.identifiers import slot_of
from shared.identity import verify_record
from shared.replica import MembersReplica, RegistryReplica

_UNREADABLE_JUMP_MAX = 1024
"""A number read out of a body that is wrong otherwise is believed if it is at most so far ahead."""


class Sender(NamedTuple):
    """Who says something, by its gateway's word."""

    gateway: str
    incarnation: int
    session: bytes
    device: bytes


class Admission(NamedTuple):
    """What was not admitted of some bodies."""

    refused: list[tuple[int, Refusal]]
    """By number, in order."""
    unreadable: list[Refusal]
    """Of bodies whose number cannot be told: it shows as lost, once the next one comes."""
    first: Refusal | None
    """The first reason of all."""


class Voices:
    """Strands by what may be done with them."""

    def __init__(self, book: Book, members: MembersReplica, registry: RegistryReplica) -> None:
        settings = book.settings
        self._book = book
        self._members = members
        self._registry = registry
        self._samples_rate = Rate(settings.samples_per_s, settings.samples_burst)
        self._openings_rate = Rate(settings.openings_per_s, settings.openings_burst)

    def seat(self, sender: Sender, sanctuary: bytes) -> MemberJoined | None:
        """The seat from which this was said: the session's, in that room, of that device."""
        member = self._members.member(sanctuary, sender.session)
        if (
            member is None
            or member.device != sender.device
            or member.gateway != sender.gateway
            or member.incarnation != sender.incarnation
        ):
            return None
        return member

    def strand(self, sender: Sender, sanctuary: bytes, name: bytes) -> Strand | None:
        """The open strand of that name, if it is this device's, in this room."""
        strand = self._book.strands.get(name)
        if strand is None or strand.device != sender.device or strand.sanctuary != sanctuary:
            return None
        return strand

    # ── openings ─────────────────────────────────────────────────────────────────────────────────

    def new(
        self, sender: Sender, sanctuary: bytes, record: Signed, *, name: bytes, now: Moment
    ) -> Strand:
        """A strand that may be opened, and is not yet: see `open`. Raises: Refused."""
        book, settings = self._book, self._book.settings
        member = self.seat(sender, sanctuary)
        room = self._members.room(sanctuary)
        assert member is not None
        assert self._registry.city is not None
        if room is None:
            raise Refused(Refusal.NO_SUCH_ROOM)
        if name in book.ended or name in book.strands:
            raise Refused(Refusal.UNKNOWN_STRAND)
        try:
            opening = check_opening(
                record,
                sanctuary=sanctuary,
                device=sender.device,
                member=member,
                identity=self._registry.identities.get(member.citizen),
                room=room,
                city=self._registry.city,
                challenge=book.challenge,
                skew_ms=settings.skew_ms,
                now_ms=now.ms,
            )
        except Refused as refused:
            if refused.reason is Refusal.WRONG_CHALLENGE:
                book.challenge_to(member, reopen=False, now_ms=now.ms)
            raise
        if len(book.voices(sanctuary, member.citizen)) >= settings.strands_max:
            raise Refused(Refusal.TOO_MANY_STRANDS)
        speaker = book.speaker(member.citizen)
        if not speaker.may_open(self._openings_rate, now.ns):
            raise Refused(Refusal.TOO_FAST)
        return Strand(
            name,
            opening,
            record,
            slot=slot_of(sanctuary),
            kind=room.policy.kind,
            refuses_derived=refuses_derived(room.policy.setting),
            speaker=speaker,
            session=sender.session,
            gateway=sender.gateway,
            order=book.next_order(),
        )

    def open(self, strand: Strand) -> None:
        """From now on it stands, and is told."""
        self._book.open(strand)
        lane = self._book.lane_of(strand)
        lane.add(StrandOpened(lane.row(strand), strand.opening), len(strand.opening.payload))

    # ── samples ──────────────────────────────────────────────────────────────────────────────────

    def heard_from(self, strand: Strand, sender: Sender, epoch: int) -> None:
        """The strand's device speaks: from this session, knowing this consent."""
        strand.session, strand.gateway = sender.session, sender.gateway
        if epoch > strand.epoch:
            strand.epoch = epoch
            strand.row = -1  # what follows stands in a row of its own

    def admit(
        self, strand: Strand, bodies: tuple[bytes, ...], *, early: Refusal | None, now: Moment
    ) -> Admission:
        """One plain loop: this is where the city's time goes. `early` refuses them all."""
        book = self._book
        lane, settings, counts = book.lane_of(strand), book.settings, book.counts
        skew_ms, unsealed_max = settings.skew_ms, settings.unsealed_samples_max
        speaker, rate, is_derived_refused = (
            strand.speaker,
            self._samples_rate,
            strand.refuses_derived,
        )
        now_ns, now_ms = now
        seqs, pending, arrived = strand.pending_seqs, strand.pending_bodies, strand.pending_at
        refusals: list[tuple[int, Refusal]] = []
        unreadable: list[Refusal] = []
        first_reason: Refusal | None = None
        for body in bodies:
            expected = strand.next_seq
            refusal = early
            seq: int | None
            if refusal is None:
                try:
                    sample = decode_sample(body)
                except Refused as refused:
                    refusal = refused.reason
                else:
                    seq = sample.seq
                    if seq < expected:
                        refusal = Refusal.REPEATED
                    elif seq >= NUMBERS_MAX:
                        refusal = Refusal.OUT_OF_RANGE
                    elif len(seqs) >= unsealed_max:
                        refusal = Refusal.TOO_FAST
                    else:
                        refusal = refusal_of(
                            sample,
                            speaker,
                            rate,
                            is_derived_refused=is_derived_refused,
                            skew_ms=skew_ms,
                            now_ns=now_ns,
                            now_ms=now_ms,
                        )
                    if refusal is None:
                        if seq > expected:
                            lane.skip(strand, expected, seq - 1, Refusal.LOST)
                            counts.lost += seq - expected
                        strand.next_seq = seq + 1
                        strand.body = body
                        seqs.append(seq)
                        pending.append(body)
                        arrived.append(now_ns)
                        counts.admitted += 1
                        lane.admit(strand, seq, body)
                        continue
            counts.refused_samples[refusal.value] += 1
            first_reason = first_reason or refusal
            seq = peek_seq(body)
            if seq is None or seq >= NUMBERS_MAX or seq - expected > _UNREADABLE_JUMP_MAX:
                unreadable.append(refusal)
                continue
            refusals.append((seq, refusal))
            if seq >= expected:
                if seq > expected:
                    lane.skip(strand, expected, seq - 1, Refusal.LOST)
                    counts.lost += seq - expected
                lane.skip(strand, seq, seq, refusal)
                strand.next_seq = seq + 1
        book.arm(strand)
        return Admission(refusals, unreadable, first_reason)

    # ── seals ────────────────────────────────────────────────────────────────────────────────────

    def is_signed(self, strand: Strand, seal: Seal, record: Signed) -> bool:
        city = self._registry.city
        assert city is not None
        return seal.strand == strand.id and verify_record(strand.key, RecordKind.SEAL, city, record)

    def seal(
        self,
        strand: Strand,
        seal: Seal,
        record: Signed,
        *,
        payload_hash: bytes,
        end: int,
        now: Moment,
    ) -> None:
        """Take a seal that is good; the strand ends with its closing one."""
        book = self._book
        lane = book.lane_of(strand)
        if end > strand.next_seq:
            lane.skip(strand, strand.next_seq, end - 1, Refusal.LOST)
            book.counts.lost += end - strand.next_seq
        strand.take_seal(seal, record, payload_hash, end)
        lane.add(WindowSealed(lane.row(strand), seal.window, record), len(record.payload) + 70)
        book.counts.seals += 1
        if seal.flags & SEAL_CLOSING:
            book.end(strand, "closed", now.ns, total=seal.total)
        else:
            book.arm(strand)
