"""What citizens say: openings, samples, seals, releases; each taken, or refused by name. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from services.ingest.core.admission import Conducts, peek_seq
from services.ingest.core.book import Book, Moment
from services.ingest.core.strands import Strand
from services.ingest.core.voices import Sender, Voices
from services.ingest.core.windows import Windows
from shared.codec import Refused, decode, seal_of, sha256, strand_id
from shared.contracts import client
from shared.contracts.gateway import UpBatch, UpEntry
from shared.contracts.ingest import KeyReleased, StrandRow
from shared.contracts.records import Kind, Seal, Signed
from shared.contracts.refusals import MEANING, Refusal
from shared.contracts.sample import WINDOW_SAMPLES_MAX
from shared.contracts.window import TakeWindow, WindowTaken
from shared.identifiers import U53, Bytes16, Bytes32
from shared.identity import Signer
from shared.replica import MembersReplica, RegistryReplica

_GATEWAYS_MAX = 4096
"""(gateway, slot) pairs whose batches are told apart; the oldest goes first."""
_REMEMBERED_BATCHES = 64

_UP_MESSAGE: Any = client.Open | client.Samples | client.SealWindow | client.Release | TakeWindow


class _LooseSamples(msgspec.Struct, frozen=True, array_like=True, tag="samples"):
    """`samples` of any bodies, so that each bad one can be refused by its number."""

    sanctuary: Bytes16
    strand: Bytes32
    epoch: U53
    bodies: tuple[bytes, ...]


_Message = (
    client.Open | client.Samples | client.SealWindow | client.Release | TakeWindow | _LooseSamples
)


class _Arrivals:
    """Which of a gateway's batches have come: a bus may repeat one, or bring two crosswise."""

    __slots__ = ("highest", "incarnation", "seen")

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.highest = -1
        self.seen = 0
        """Bit i: number `highest − i` has come."""

    def is_new(self, number: int) -> bool:
        ahead = number - self.highest
        if ahead > 0:
            kept = self.seen << ahead if ahead < _REMEMBERED_BATCHES else 0
            self.seen = (kept | 1) & (2**_REMEMBERED_BATCHES - 1)
            self.highest = number
            return True
        bit = 1 << -ahead
        if -ahead >= _REMEMBERED_BATCHES or self.seen & bit:
            return False
        self.seen |= bit
        return True


class Uplink:
    """Takes the gateways' batches."""

    def __init__(self, book: Book, members: MembersReplica, registry: RegistryReplica) -> None:
        settings = book.settings
        self._book = book
        self._members = members
        self._registry = registry
        self._voices = Voices(book, members, registry)
        self._windows = Windows(book, self._voices)
        self._arrivals: dict[tuple[str, int], _Arrivals] = {}
        self.conducts = Conducts(settings)

    def take(self, batch: UpBatch, *, is_ready: bool, now: Moment) -> None:
        """Every entry in order; each is acted on and answered, or refused by name."""
        if not self._is_new(batch):
            self._book.counts.repeated_batches += 1
            return
        for entry in batch.entries:
            sender = Sender(batch.gateway, batch.incarnation, entry.session, entry.device)
            reason: Refusal | None
            message = self._read(entry)
            if isinstance(message, Refusal):
                reason = message
                self._refuse(sender, None, reason, now)
            else:
                reason = self._dispatch(sender, message, is_ready=is_ready, now=now)
            # what is refused for a reason of ours, or during a suspension, is no misconduct
            if reason is not None and reason not in (Refusal.NOT_READY, Refusal.SUSPENDED):
                self.conducts.count(entry.device, now.ns)

    def _is_new(self, batch: UpBatch) -> bool:
        key = (batch.gateway, batch.slot)
        arrivals = self._arrivals.get(key)
        if arrivals is None or arrivals.incarnation != batch.incarnation:
            self._arrivals.pop(key, None)
            if len(self._arrivals) >= _GATEWAYS_MAX:
                del self._arrivals[next(iter(self._arrivals))]
            arrivals = self._arrivals[key] = _Arrivals(batch.incarnation)
        return arrivals.is_new(batch.number)

    def _read(self, entry: UpEntry) -> _Message | Refusal:
        try:
            message: _Message = decode(entry.message, _UP_MESSAGE)
        except Refused as refused:
            reason = refused.reason
        else:
            return message
        try:
            loose = decode(entry.message, _LooseSamples)
        except Refused:
            return reason
        return loose if 0 < len(loose.bodies) <= WINDOW_SAMPLES_MAX else Refusal.OUT_OF_RANGE

    def _dispatch(
        self, sender: Sender, message: _Message, *, is_ready: bool, now: Moment
    ) -> Refusal | None:
        """Act on one message and answer it; why it was refused (in part), if it was."""
        early: Refusal | None = None
        if not is_ready:
            early = Refusal.NOT_READY
        elif self.conducts.is_suspended(sender.device, now.ns):
            early = Refusal.SUSPENDED
        elif self._voices.seat(
            sender, message.sanctuary
        ) is None and not self._is_good_from_outside(sender, message):
            early = Refusal.NOT_A_MEMBER
        if isinstance(message, client.Samples | _LooseSamples):
            return self._take_samples(sender, message, early=early, now=now)
        if early is None:
            early = self._refusal_of_record(sender, message, now)
        if early is not None:
            ref = message.ref if isinstance(message, client.Open | TakeWindow) else None
            self._refuse(sender, ref, early, now)
        return early

    def _is_good_from_outside(self, sender: Sender, message: _Message) -> bool:
        """An ended strand's key is; and the seal of a strand that is still open: it adds nothing to what
        was said by a member, and the word that its session left may have overtaken it on another way.
        """
        if isinstance(message, client.SealWindow):
            return self._voices.strand(sender, message.sanctuary, message.strand) is not None
        return isinstance(message, client.Release)

    def _refusal_of_record(
        self,
        sender: Sender,
        message: client.Open | client.SealWindow | client.Release | TakeWindow,
        now: Moment,
    ) -> Refusal | None:
        try:
            match message:
                case client.Open():
                    self._open(sender, message, now)
                case client.SealWindow():
                    self._seal(sender, message, now)
                case client.Release():
                    self._release(sender, message)
                case TakeWindow():
                    self._say(sender, self._windows.take(sender, message, now))
        except Refused as refused:
            return refused.reason
        return None

    # ── samples ──────────────────────────────────────────────────────────────────────────────────

    def _take_samples(
        self,
        sender: Sender,
        message: client.Samples | _LooseSamples,
        *,
        early: Refusal | None,
        now: Moment,
    ) -> Refusal | None:
        """Answers refusals only."""
        strand = self._voices.strand(sender, message.sanctuary, message.strand)
        if strand is None:
            reason = early or Refusal.UNKNOWN_STRAND
            self._refuse_all(sender, message, reason, now)
            return reason
        if early is None:
            self._voices.heard_from(strand, sender, message.epoch)
        refused, unreadable, first_reason = self._voices.admit(
            strand, message.bodies, early=early, now=now
        )
        for refusal in unreadable:
            self._refuse(sender, None, refusal, now)
        if refused:
            self._tell_refused(sender, strand.id, refused, now)
        return first_reason

    def _refuse_all(
        self, sender: Sender, message: client.Samples | _LooseSamples, reason: Refusal, now: Moment
    ) -> None:
        """Samples without a strand of ours: nobody has to be told but the sender."""
        if reason is Refusal.UNKNOWN_STRAND:
            self._say_reopen(sender, message, now)
        self._book.counts.refused_samples[reason.value] += len(message.bodies)
        numbers = [peek_seq(body) for body in message.bodies]
        refusals = [(seq, reason) for seq in numbers if seq is not None]
        if refusals:
            self._tell_refused(sender, message.strand, refusals, now)
        else:
            self._refuse(sender, None, reason, now)

    def _say_reopen(
        self, sender: Sender, message: client.Samples | _LooseSamples, now: Moment
    ) -> None:
        """A strand we never knew, of a device without any other here: one of an earlier life, and
        the `reopen` was lost.
        """
        member = self._voices.seat(sender, message.sanctuary)
        if member is None or message.strand in self._book.ended:
            return
        strands = self._book.voices(member.sanctuary, member.citizen)
        if not any(strand.device == sender.device for strand in strands):
            self._book.challenge_to(member, reopen=True, now_ms=now.ms)

    def _tell_refused(
        self, sender: Sender, strand: bytes, refusals: list[tuple[int, Refusal]], now: Moment
    ) -> None:
        """`refused samples` for each run of numbers with one reason."""
        first, reason = refusals[0]
        last = first
        for seq, other in (*refusals[1:], (-1, reason)):
            if seq == last + 1 and other is reason:
                last = seq
                continue
            self._say(sender, client.RefusedSamples(strand, first, last, reason.value, now.ms))
            first, last, reason = seq, seq, other

    # ── openings ─────────────────────────────────────────────────────────────────────────────────

    def _open(self, sender: Sender, message: client.Open, now: Moment) -> None:
        """A new strand, or the same opening again: a reconnect, or an answer that was lost."""
        name = strand_id(message.record.payload)
        strand = self._voices.strand(sender, message.sanctuary, name)
        if strand is None:
            strand = self._voices.new(sender, message.sanctuary, message.record, name=name, now=now)
            self._voices.open(strand)
        else:
            strand.session, strand.gateway = sender.session, sender.gateway
        opened = client.Opened(message.ref, strand.id, strand.next_seq, strand.next_window)
        self._say(sender, opened)

    # ── seals ────────────────────────────────────────────────────────────────────────────────────

    def _seal(self, sender: Sender, message: client.SealWindow, now: Moment) -> None:
        record = message.record
        strand = self._voices.strand(sender, message.sanctuary, message.strand)
        if strand is None:
            self._seal_again(sender, message)
            return
        if self._voices.seat(sender, message.sanctuary) is not None:  # else nobody is asked there
            strand.session, strand.gateway = sender.session, sender.gateway
        seal = seal_of(record.payload)
        payload_hash = sha256(record.payload)
        if payload_hash == strand.previous:  # taken already, and the answer was lost
            self._say(sender, client.Sealed(strand.id, seal.window, strand.last_admitted))
            return
        end = self._checked(strand, seal, record, now)
        self._voices.seal(strand, seal, record, payload_hash=payload_hash, end=end, now=now)
        self._say(sender, client.Sealed(strand.id, seal.window, strand.last_admitted))

    def _checked(self, strand: Strand, seal: Seal, record: Signed, now: Moment) -> int:
        """The number after the window's last, of a seal that is good. The signature comes last: it
        costs more than all else. Raises: Refused(BAD_SEAL).
        """
        book = self._book
        try:
            end = strand.check_seal(seal, skew_ms=book.settings.skew_ms, now_ms=now.ms)
        except Refused:
            if seal.window > strand.next_window:  # one before it was lost
                book.ask_seal(strand)
            elif seal.window < strand.next_window and self._voices.is_signed(strand, seal, record):
                book.counts.equivocations += 1
            raise
        if not self._voices.is_signed(strand, seal, record):
            raise Refused(Refusal.BAD_SEAL)
        return end

    def _seal_again(self, sender: Sender, message: client.SealWindow) -> None:
        """A closing seal whose answer was lost is answered again; anything else is too late."""
        ended = self._book.ended.get(message.strand)
        if (
            ended is None
            or ended.device != sender.device
            or ended.window < 0
            or sha256(message.record.payload) != ended.previous
        ):
            raise Refused(Refusal.UNKNOWN_STRAND)
        self._say(sender, client.Sealed(message.strand, ended.window, ended.admitted))

    # ── releases ─────────────────────────────────────────────────────────────────────────────────

    def _release(self, sender: Sender, message: client.Release) -> None:
        """Publish an ended strand's key. There is no answer; a repeat is silent."""
        book = self._book
        ended = book.ended.get(message.strand)
        if ended is None or ended.device != sender.device or ended.sanctuary != message.sanctuary:
            raise Refused(Refusal.UNKNOWN_STRAND)
        if ended.kind is Kind.STAGE:  # stages keep theirs
            raise Refused(Refusal.WRONG_SANCTUARY)
        if Signer(message.seed).public_key != ended.key:
            raise Refused(Refusal.BAD_SIGNATURE)
        if message.strand in book.released:
            return
        book.released[message.strand] = None
        lane = book.lane(ended.slot, ended.kind)
        row = StrandRow(message.strand, ended.citizen, ended.sanctuary, ended.epoch)
        lane.add(KeyReleased(lane.row_of_ended(row), message.seed))
        book.counts.released += 1

    # ── answers ──────────────────────────────────────────────────────────────────────────────────

    def _say(self, sender: Sender, message: client.ServerMessage | WindowTaken) -> None:
        self._book.outbox.say(sender.gateway, sender.session, message)

    def _refuse(self, sender: Sender, ref: int | None, reason: Refusal, now: Moment) -> None:
        self._book.counts.refused_messages[reason.value] += 1
        self._say(sender, client.Refused(ref, reason.value, MEANING[reason], now.ms))
