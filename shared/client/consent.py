"""A citizen's own consent chain as its client extends it. Pure.

Records are built on the newest head, in-flight ones included, so that a withdrawal never waits for a
grant's answer; a refusal of one rebuilds those behind it. A record is repeated, byte for byte, until
it is `recorded`; a withdrawal, or the end of an approval, until it is also `acted`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from shared.codec import ZERO_HASH, Refused, encode, sha256
from shared.consent import empty_state, fold, read_record
from shared.contracts.client import Chain, Record
from shared.contracts.records import (
    Approval,
    Audience,
    ConsentException,
    ConsentRecord,
    Grant,
    Purpose,
    RecordKind,
    Signed,
    Tier,
    Withdrawal,
)
from shared.contracts.registry import ConsentState
from shared.identifiers import CitizenId, MonotonicNs, WallMs
from shared.identity import Signer

REPEAT_NS = 1_000_000_000


@dataclass(slots=True)
class InFlight:
    ref: int
    draft: ConsentRecord
    counter: int = 0
    signed: Signed | None = None
    head: bytes = ZERO_HASH
    is_acted: bool = False
    is_recorded: bool = False
    due_ns: MonotonicNs | None = None

    @property
    def is_ending(self) -> bool:
        """It can only take away: a device may sign it, it acts before it is recorded."""
        draft = self.draft
        return isinstance(draft, Withdrawal) or (
            isinstance(draft, Approval) and not draft.is_approved
        )

    @property
    def is_done(self) -> bool:
        return self.is_recorded and (self.is_acted or not self.is_ending)


class ConsentChain:
    """`counter` and `head` are the newest recorded ones; nil while unknown (ask for the chain)."""

    def __init__(self, identity: Signer, device: Signer) -> None:
        self.counter: int | None = None
        self.head = ZERO_HASH
        self.records: tuple[Signed, ...] = ()
        """The chain's end as it was last asked for; from the first record on once all pages came."""
        self.in_flight: dict[int, InFlight] = {}
        self._identity = identity
        self._device = device
        self._first = 1
        """The counter of the oldest of `records`."""
        self._is_cut = False

    @property
    def before(self) -> int | None:
        """Which page is missing: the one before this counter; nil: none, or nothing is known yet."""
        return self._first if self.records and self._first > 1 and not self._is_cut else None

    def cut(self) -> None:
        """The city did not have the page that is missing: what came is all there will be."""
        self._is_cut = True

    @property
    def epoch(self) -> int:
        """What samples state: a grant counts once recorded, a narrowing from its signing on, so that
        a fanout that has not heard of it delivers nothing.
        """
        narrowed = [each.counter for each in self.in_flight.values() if each.is_ending]
        return max([self.counter or 0, *narrowed])

    @property
    def is_wanted(self) -> bool:
        """Records wait for the chain's head."""
        return self.counter is None

    def add(self, ref: int, draft: ConsentRecord) -> None:
        self.in_flight[ref] = InFlight(ref, draft)

    def build(self, citizen: CitizenId, city: bytes) -> None:
        """Number and sign every record that is not yet, once the head is known."""
        if self.counter is None:
            return
        counter, head = self.counter, self.head
        for each in self.in_flight.values():
            if each.is_recorded:
                continue
            if each.signed is None:
                each.counter = counter + 1
                record = msgspec.structs.replace(
                    each.draft, citizen=citizen, counter=each.counter, previous=head
                )
                payload = encode(record)
                # a device may narrow; what may widen needs the person's own key
                signer = self._device if each.is_ending else self._identity
                each.signed = signer.sign_record(RecordKind.CONSENT, city, payload)
                each.head = sha256(payload)
                each.due_ns = None
            counter, head = each.counter, each.head

    def due(self, now_ns: MonotonicNs) -> list[Record]:
        """Records to send now, for the first time or again, in the chain's order."""
        out = []
        for each in self.in_flight.values():
            if each.signed is not None and (each.due_ns is None or now_ns >= each.due_ns):
                each.due_ns = MonotonicNs(now_ns + REPEAT_NS)
                out.append(Record(each.ref, each.signed))
        return out

    def next_deadline(self) -> MonotonicNs | None:
        if not self.in_flight:
            return None
        return min(
            (each.due_ns or MonotonicNs(0) for each in self.in_flight.values() if each.signed),
            default=None,
        )

    def disconnected(self) -> None:
        """Everything in flight is repeated at once on the next socket."""
        for each in self.in_flight.values():
            each.due_ns = None

    def acted(self, counter: int) -> InFlight | None:
        for ref, each in self.in_flight.items():
            if each.signed is not None and each.counter == counter:
                each.is_acted = True
                if each.is_done:
                    del self.in_flight[ref]
                return each
        return None

    def recorded(self, ref: int, counter: int, head: bytes) -> InFlight | None:
        if self.counter is None or counter > self.counter:
            self.counter, self.head = counter, head
        each = self.in_flight.get(ref)
        if each is not None:
            each.is_recorded = True
            if each.is_done:
                del self.in_flight[ref]
        return each

    def broken(self) -> None:
        """The head moved without us (another device): unsign what is in flight, ask for the chain."""
        self.counter = None
        for each in self.in_flight.values():
            if not each.is_recorded:
                each.signed = None

    def refused(self, ref: int) -> None:
        """This record will not be taken; those behind it are rebuilt without it."""
        self.in_flight.pop(ref, None)
        for each in self.in_flight.values():
            if each.ref > ref and not each.is_recorded:
                each.signed = None

    def learned(self, chain: Chain) -> list[InFlight]:
        """A page of the chain as the registry holds it. Returns those of ours that turn out to be
        recorded. The newest page comes first, so that a withdrawal need not wait for the others; a
        page that does not join on to what is held, or is older than it, changes nothing.
        """
        page = chain.records
        if page and sha256(page[-1].payload) != chain.head:
            if self.before is not None and _follows(self.records[0], page[-1]):
                self.records, self._first = page + self.records, self._first - len(page)
        elif self.counter is None or (page and chain.counter >= self.counter):
            first = chain.counter - len(page) + 1
            held = self.records[: max(0, first - self._first)]
            if held and page and _follows(page[0], held[-1]):
                self.records = held + page
            else:
                self.records, self._first, self._is_cut = page, first, False
            self.counter, self.head = chain.counter, chain.head
        durable = {sha256(record.payload) for record in page}
        found = []
        for ref, each in list(self.in_flight.items()):
            if each.signed is not None and each.head in durable and not each.is_recorded:
                each.is_recorded = True
                found.append(each)
                if each.is_done:
                    del self.in_flight[ref]
        return found


def _follows(later: Signed, earlier: Signed) -> bool:
    try:
        return read_record(later.payload).previous == sha256(earlier.payload)
    except Refused:
        return False


def grant_draft(
    sanctuary: bytes | None,
    tier: Tier,
    *,
    audience: Audience = Audience.MEMBERS,
    purpose: Purpose = Purpose.LIVE,
    until_ms: WallMs | None = None,
    now_ms: WallMs,
) -> Grant:
    return Grant(bytes(16), 0, ZERO_HASH, now_ms, sanctuary, audience, tier, purpose, until_ms)


def exception_draft(
    sanctuary: bytes | None,
    person: bytes,
    tier: Tier,
    *,
    until_ms: WallMs | None = None,
    now_ms: WallMs,
) -> ConsentException:
    return ConsentException(bytes(16), 0, ZERO_HASH, now_ms, sanctuary, person, tier, until_ms)


def withdrawal_draft(
    sanctuary: bytes | None,
    *,
    audience: Audience | None = None,
    purpose: Purpose | None = None,
    now_ms: WallMs,
) -> Withdrawal:
    return Withdrawal(bytes(16), 0, ZERO_HASH, now_ms, sanctuary, audience, purpose)


def approval_draft(
    person: bytes, *, is_approved: bool, until_ms: WallMs | None = None, now_ms: WallMs
) -> Approval:
    return Approval(bytes(16), 0, ZERO_HASH, now_ms, person, is_approved, until_ms)


def folded(citizen: bytes, records: tuple[Signed, ...]) -> ConsentState:
    """A chain's state, by the same fold that the city decides with; ends before a record that does
    not follow its predecessor. While only the newest records are there, what older ones allow is not
    in the state (see `is_whole`).
    """
    state = empty_state(citizen)
    for signed in records:
        try:
            record = read_record(signed.payload)
            if signed is records[0] and record.counter > 1:
                state = ConsentState(citizen, record.counter - 1, record.previous, (), ())
            state = fold(state, record, sha256(signed.payload))
        except Refused:
            break
    return state


def is_whole(counter: int, records: tuple[Signed, ...]) -> bool:
    """Whether the records are all that a chain of `counter` records holds."""
    return len(records) == counter
