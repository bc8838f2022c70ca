"""Enrolment, consent chains, pages of the state: accepted in order, told only when durable."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from services.registry.core.citizen import (
    Ahead,
    Allowance,
    Citizen,
    Early,
    Waiter,
    by_identity_key,
    identity_of,
    read_inception,
)
from services.registry.core.pages import PAGE_BYTES_MAX, records_before, rows_after
from services.registry.core.stored import read_stored, stored_form
from shared import subjects
from shared.codec import Refused, decode, encode, sha256
from shared.consent import fold, narrows, read_record, widens
from shared.contracts import (
    MEANING,
    Answer,
    Answers,
    Chain,
    ChainAsk,
    ConsentForwarded,
    ConsentRecord,
    ConsentRecorded,
    ConsentRefused,
    EnrolAsk,
    Enrolled,
    Identity,
    IdentityRecorded,
    Inception,
    RecordAnswered,
    Recorded,
    Refusal,
    RegistryBeat,
    Signed,
    StateAsk,
    StatePage,
)
from shared.contracts import Refused as RefusedMessage
from shared.identifiers import MonotonicNs, WallMs
from shared.subjects import Ask, Publish, Reply

BEAT_NS = 250_000_000
EARLY_NS = 2_000_000_000
"""A record whose predecessor is missing waits this long: gateways repeat theirs every 250 ms."""
EARLY_MAX = 16
"""Such records of one citizen; more are refused at once."""
AHEAD_MAX = 16
"""Records of one citizen on their way to the stream; the next one is taken when it is repeated."""
SKEW_MS_MAX = 300_000


class Append(NamedTuple):
    """Store `payload` (what `load` is given at the next start) as the `number`-th record of the
    subject, after all earlier appends to the same citizen; then `appended(token, …)`.
    """

    stream: str
    subject: str
    number: int
    """0 for the inception, then the counter of the consent record."""
    payload: bytes
    token: int


Effect = Publish | Reply | Append


class Damaged(Exception):  # noqa: N818  (the state of what was read)
    """A stored record does not verify or does not follow; the text names no citizen."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates; a record that narrows is always taken."""

    records_per_s: float = 2.0
    """Consent records of one citizen that do not narrow, sustained."""
    records_burst: int = 64
    enrolments_per_s: float = 50.0
    """Of the whole city, sustained."""
    enrolments_burst: int = 5000


@dataclass(slots=True)
class _Enrolment:
    identity: Identity
    inception: Signed
    waiters: list[Waiter]


class _Candidate(NamedTuple):
    """A consent record whose signature holds."""

    event: ConsentForwarded
    record: ConsentRecord
    payload_hash: bytes
    known: Citizen
    is_repeat: bool
    is_by_identity_key: bool


class Registry:
    """The city's identities and consent. `epoch` must be above that of every earlier start; `charter`
    is the one in force, `genesis` the SHA-256 of the first one (nil: it is still in force).
    """

    def __init__(
        self,
        instance: str,
        *,
        charter: Signed,
        genesis: bytes | None = None,
        epoch: int,
        random_bytes: Callable[[int], bytes],
        limits: Limits,
    ) -> None:
        self.instance = instance
        self.charter = charter
        self.city = genesis or sha256(charter.payload)
        self.epoch = epoch
        self.counts: Counter[str] = Counter()
        """`enrolled`, `recorded`, `repeated`, `refused <reason>`."""
        self._random_bytes = random_bytes
        self._limits = limits
        self._control = subjects.control(instance)
        self._number = 0
        self._citizens: dict[bytes, Citizen] = {}
        self._order: list[bytes] = []
        """Citizen ids, ascending, for pages."""
        self._by_key: dict[bytes, bytes] = {}
        """Identity key → citizen, enrolments on their way included."""
        self._enrolments: dict[bytes, _Enrolment] = {}
        self._tokens: dict[int, bytes] = {}
        """Appends on their way → citizen."""
        self._token = 0
        self._early: dict[tuple[bytes, bytes], int] = {}
        """(citizen, payload hash) → when it is refused, in that order."""
        self._enrolments_left = Allowance(limits.enrolments_per_s, limits.enrolments_burst)
        self._beat_ns = 0

    # ── what stands ──────────────────────────────────────────────────────────────────────────────

    @property
    def citizens(self) -> int:
        return len(self._citizens)

    @property
    def in_flight(self) -> int:
        """Appends that were not yet answered."""
        return len(self._tokens)

    def pending(self) -> str:
        """What is still under way, in words; empty when nothing is."""
        parts = []
        if self._tokens:
            parts.append(f"{len(self._tokens)} appends")
        if self._early:
            parts.append(f"{len(self._early)} records wait for their predecessor")
        return ", ".join(parts)

    # ── rebuilding ───────────────────────────────────────────────────────────────────────────────

    def load(self, stream: str, citizen: bytes, payload: bytes, now_ms: WallMs) -> None:
        """One stored record; all of `identity` come before those of `consent`.

        Signatures, chains and who may widen are checked again (0.1 ms a record): who could write to
        the disk cannot thereby widen, a stolen device key in hand or not. Raises: Damaged.
        """
        try:
            if stream == "identity":
                self._load_identity(citizen, decode(payload, Signed))
            else:
                self._load_consent(citizen, *read_stored(payload, now_ms))
        except Refused as refused:
            why = f"does not hold: {refused.reason}"
            if refused.reason is Refusal.SKEW:
                why = "was accepted after this start: set the clock right"
            raise Damaged(f"a record of stream {stream} {why}") from None

    def _load_identity(self, citizen: bytes, record: Signed) -> None:
        inception = read_inception(record, self.city)
        if citizen in self._citizens or inception.identity_key in self._by_key:
            raise Refused(Refusal.REPEATED)
        self._by_key[inception.identity_key] = citizen
        self._settle_identity(identity_of(citizen, inception), record)

    def _load_consent(self, citizen: bytes, record: Signed, accepted_ms: WallMs) -> None:
        known = self._citizens.get(citizen)
        consent = read_record(record.payload)
        if known is None or consent.citizen != citizen:
            raise Refused(Refusal.UNKNOWN_CITIZEN)
        is_by_identity_key = by_identity_key(known.identity, record, self.city)
        if consent.counter <= known.state.counter:
            raise Refused(Refusal.STALE)
        after = fold(known.state, consent, sha256(record.payload))
        if not is_by_identity_key and widens(known.state, after, accepted_ms):
            raise Refused(Refusal.NEEDS_IDENTITY_KEY)
        known.settle(record, after)

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────

    def start(self, now_ns: MonotonicNs, _now_ms: WallMs) -> list[Effect]:
        return self._beat(now_ns)

    def receive(
        self, subject: str, event: Any, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        match event:
            case ConsentForwarded():
                # the broker lets a gateway publish on its own control subject only
                if subject != subjects.control(event.gateway):
                    return []
                return self._forwarded(event, now_ns, now_ms)
            case EnrolAsk():
                return self._enrol(event, now_ns, now_ms)
            case ChainAsk():
                return [self._chain(event, now_ms)]
            case StateAsk():
                return [Reply(self._page(event))]
            case _:
                return []

    def answered(self, _ask: Ask, _event: Any, _ns: MonotonicNs, _ms: WallMs) -> list[Effect]:
        raise AssertionError("the registry asks nobody")

    def appended(self, token: int, _now_ns: MonotonicNs, _now_ms: WallMs) -> list[Effect]:
        """The append is durable: now the city and the waiting clients may be told."""
        citizen = self._tokens.pop(token)
        enrolment = self._enrolments.pop(citizen, None)
        if enrolment is not None:
            self._settle_identity(enrolment.identity, enrolment.inception)
            self.counts["enrolled"] += 1
            told = IdentityRecorded(
                self.instance, self.epoch, self._next_number(), enrolment.identity
            )
            return [
                Publish(self._control, told),
                *(self._enrolled(waiter, citizen) for waiter in enrolment.waiters),
            ]
        known = self._citizens[citizen]
        ahead = known.ahead.pop(0)
        assert ahead.token == token, "appends to one citizen are answered in order"
        known.settle(ahead.record, ahead.state)
        self.counts["recorded"] += 1
        recorded = ConsentRecorded(
            self.instance, self.epoch, self._next_number(), ahead.record, ahead.state
        )
        answers = [
            self._recorded(waiter, ahead.state.counter, ahead.payload_hash, citizen)
            for waiter in ahead.waiters
        ]
        return [Publish(self._control, recorded), *answers]

    def tick(self, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        effects: list[Effect] = []
        for (citizen, payload_hash), refused_ns in tuple(self._early.items()):
            if refused_ns > now_ns:
                break
            early = self._citizens[citizen].early.pop(payload_hash)
            del self._early[citizen, payload_hash]
            effects += self._refuse(early.event, Refusal.BROKEN_CHAIN, now_ms, citizen=citizen)
        if now_ns >= self._beat_ns:
            effects += self._beat(now_ns)
        return effects

    def next_deadline(self) -> MonotonicNs | None:
        return MonotonicNs(min(self._beat_ns, next(iter(self._early.values()), self._beat_ns)))

    # ── enrolment ────────────────────────────────────────────────────────────────────────────────

    def _enrol(self, ask: EnrolAsk, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        waiter = Waiter(ask.gateway, ask.session, ask.ref)
        try:
            inception = read_inception(ask.record, self.city)
            citizen = self._by_key.get(inception.identity_key)
            if citizen is not None:
                return self._enrol_again(citizen, inception, waiter)
            return self._enrol_new(ask.record, inception, waiter, now_ns, now_ms)
        except Refused as refused:
            self.counts[f"refused {refused.reason}"] += 1
            return [self._answer(waiter, _refused(ask.ref, refused.reason, now_ms))]

    def _enrol_new(
        self,
        record: Signed,
        inception: Inception,
        waiter: Waiter,
        now_ns: MonotonicNs,
        now_ms: WallMs,
    ) -> list[Effect]:
        if inception.created_ms > now_ms + SKEW_MS_MAX:
            raise Refused(Refusal.SKEW)
        if not self._enrolments_left.spend(now_ns):
            raise Refused(Refusal.TOO_FAST)
        citizen = self._random_bytes(16)
        while citizen in self._citizens or citizen in self._enrolments:
            citizen = self._random_bytes(16)
        self._by_key[inception.identity_key] = citizen
        self._enrolments[citizen] = _Enrolment(identity_of(citizen, inception), record, [waiter])
        return [self._append("identity", citizen, 0, encode(record))]

    def _enrol_again(self, citizen: bytes, inception: Inception, waiter: Waiter) -> list[Effect]:
        """The same person again. Another inception by the same key would promise devices that are
        not recorded: only a different `created_ms` is overlooked. Raises: Refused(STALE).
        """
        enrolment = self._enrolments.get(citizen)
        known = self._citizens[citizen] if enrolment is None else enrolment
        if known.identity != identity_of(citizen, inception):
            raise Refused(Refusal.STALE)
        self.counts["repeated"] += 1
        if enrolment is None:
            return [self._enrolled(waiter, citizen)]
        if waiter not in enrolment.waiters:
            enrolment.waiters.append(waiter)
        return []

    def _settle_identity(self, identity: Identity, inception: Signed) -> None:
        left = Allowance(self._limits.records_per_s, self._limits.records_burst)
        self._citizens[identity.citizen] = Citizen.of(identity, inception, left)
        insort(self._order, identity.citizen)

    # ── consent ──────────────────────────────────────────────────────────────────────────────────

    def _forwarded(
        self, event: ConsentForwarded, now_ns: MonotonicNs, now_ms: WallMs
    ) -> list[Effect]:
        try:
            candidate = self._read(event)
        except Refused as refused:
            return self._refuse(event, refused.reason, now_ms, citizen=None)
        try:
            return self._judge(candidate, now_ns, now_ms)
        except Refused as refused:
            # a key of the citizen stands behind it: whoever acted on it takes that back
            return self._refuse(event, refused.reason, now_ms, citizen=candidate.record.citizen)

    def _read(self, event: ConsentForwarded) -> _Candidate:
        """Raises: Refused unless it is a consent record that a key of a known citizen signed."""
        record = read_record(event.record.payload)
        payload_hash = sha256(event.record.payload)
        known = self._citizens.get(record.citizen)
        if known is None:
            raise Refused(Refusal.UNKNOWN_CITIZEN)
        accepted = known.accepted(record.counter)
        is_repeat = accepted is not None and accepted.payload == event.record.payload
        # repeats come every 250 ms: the same bytes were verified the first time
        is_verified = accepted == event.record
        is_by_identity_key = is_verified or by_identity_key(known.identity, event.record, self.city)
        return _Candidate(event, record, payload_hash, known, is_repeat, is_by_identity_key)

    def _judge(self, candidate: _Candidate, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        """The chain's next record. What only narrows is taken whatever its stamp and the rate:
        saying less must never fail. (It bounds itself: there is only so much to end.)

        Raises: Refused.
        """
        event, record, payload_hash, known, is_repeat, is_by_identity_key = candidate
        if is_repeat:
            return self._again(candidate)
        before = known.tail
        if record.counter > before.counter + 1:
            return self._hold(candidate, now_ns)
        after = fold(before, record, payload_hash)
        is_widening = widens(before, after, now_ms)
        if is_widening and not is_by_identity_key:
            raise Refused(Refusal.NEEDS_IDENTITY_KEY)
        if is_widening or not narrows(before, after, now_ms):
            if abs(record.t_ms - now_ms) > SKEW_MS_MAX:
                raise Refused(Refusal.SKEW)
            if not known.allowance.spend(now_ns):
                raise Refused(Refusal.TOO_FAST)
        if len(known.ahead) >= AHEAD_MAX:
            return []
        stored = stored_form(event.record, now_ms)
        append = self._append("consent", record.citizen, record.counter, stored)
        known.ahead.append(Ahead(append.token, event.record, payload_hash, after, [_waiter(event)]))
        return [append, *self._catch_up(known, now_ns, now_ms)]

    def _again(self, candidate: _Candidate) -> list[Effect]:
        self.counts["repeated"] += 1
        known, counter = candidate.known, candidate.record.counter
        waiter = _waiter(candidate.event)
        if counter <= known.state.counter:
            return [self._recorded(waiter, counter, candidate.payload_hash, known.identity.citizen)]
        waiters = known.ahead[counter - known.state.counter - 1].waiters
        if waiter not in waiters:
            waiters.append(waiter)
        return []

    def _hold(self, candidate: _Candidate, now_ns: MonotonicNs) -> list[Effect]:
        """Raises: Refused(BROKEN_CHAIN) when too many wait already."""
        known, payload_hash = candidate.known, candidate.payload_hash
        if payload_hash not in known.early:
            if len(known.early) >= EARLY_MAX:
                raise Refused(Refusal.BROKEN_CHAIN)
            known.early[payload_hash] = Early(candidate.record.counter, candidate.event)
            self._early[known.identity.citizen, payload_hash] = now_ns + EARLY_NS
        return []

    def _catch_up(self, known: Citizen, now_ns: MonotonicNs, now_ms: WallMs) -> list[Effect]:
        """Take the records that waited for the one just accepted."""
        counter = known.tail.counter + 1
        effects: list[Effect] = []
        for payload_hash, early in tuple(known.early.items()):
            # one that is accepted takes care of those behind it, before this loop goes on
            if early.counter <= counter and payload_hash in known.early:
                del known.early[payload_hash]
                del self._early[known.identity.citizen, payload_hash]
                effects += self._forwarded(early.event, now_ns, now_ms)
        return effects

    def _refuse(
        self, event: ConsentForwarded, reason: Refusal, now_ms: WallMs, *, citizen: bytes | None
    ) -> list[Effect]:
        """`citizen` nil: nobody can have acted on it."""
        self.counts[f"refused {reason}"] += 1
        payload_hash = sha256(event.record.payload)
        message = encode(_refused(event.ref, reason, now_ms))
        answer = RecordAnswered(event.session, event.ref, payload_hash, False, message)
        effects: list[Effect] = [Publish(subjects.back(event.gateway), answer)]
        if citizen is not None:
            told = ConsentRefused(
                self.instance, self.epoch, self._next_number(), citizen, payload_hash
            )
            effects.insert(0, Publish(self._control, told))
        return effects

    # ── answers ──────────────────────────────────────────────────────────────────────────────────

    def _chain(self, ask: ChainAsk, now_ms: WallMs) -> Effect:
        """One's own chain; "no such citizen" and "not your device" are one answer."""
        waiter = Waiter(ask.gateway, ask.session, ask.ref)
        known = self._citizens.get(ask.citizen)
        if known is None or ask.device not in known.identity.devices:
            self.counts[f"refused {Refusal.UNKNOWN_CITIZEN}"] += 1
            return self._answer(waiter, _refused(ask.ref, Refusal.UNKNOWN_CITIZEN, now_ms))
        state, records = known.state, records_before(known.records, ask.before)
        message = Chain(ask.ref, ask.citizen, state.counter, state.head, records)
        return self._answer(waiter, message)

    def _page(self, ask: StateAsk) -> StatePage:
        rows = rows_after(
            ask.after,
            self._order,
            self._citizens,
            with_consent=ask.consent,
            room_bytes=PAGE_BYTES_MAX - len(self.charter.payload),
        )
        return StatePage(self.epoch, self._number, self.charter, *rows, genesis=self.city)

    def _enrolled(self, waiter: Waiter, citizen: bytes) -> Effect:
        return self._answer(waiter, Enrolled(waiter.ref, citizen))

    def _recorded(
        self, waiter: Waiter, counter: int, payload_hash: bytes, citizen: bytes
    ) -> Effect:
        message = encode(Recorded(waiter.ref, citizen, counter, payload_hash))
        answer = RecordAnswered(waiter.session, waiter.ref, payload_hash, True, message)
        return Publish(subjects.back(waiter.gateway), answer)

    def _answer(self, waiter: Waiter, message: msgspec.Struct) -> Effect:
        entry = Answer(waiter.session, msgspec.Raw(encode(message)))
        return Publish(subjects.back(waiter.gateway), Answers(self.instance, (entry,)))

    # ── numbers ──────────────────────────────────────────────────────────────────────────────────

    def _append(self, stream: str, citizen: bytes, number: int, payload: bytes) -> Append:
        self._token += 1
        self._tokens[self._token] = citizen
        return Append(stream, f"{stream}.{citizen.hex()}", number, payload, self._token)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _beat(self, now_ns: MonotonicNs) -> list[Effect]:
        self._beat_ns = now_ns + BEAT_NS
        return [Publish(self._control, RegistryBeat(self.instance, self.epoch, self._number))]


def _waiter(event: ConsentForwarded) -> Waiter:
    return Waiter(event.gateway, event.session, event.ref)


def _refused(ref: int, reason: Refusal, now_ms: WallMs) -> RefusedMessage:
    return RefusedMessage(ref, reason.value, MEANING[reason], now_ms)
