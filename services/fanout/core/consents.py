"""What a citizen's consent is here and now: the recorded state and what is pending above it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.codec import sha256
from shared.consent import empty_state, may_follow, narrows, next_expiry, preview
from shared.contracts.records import (
    Approval,
    ConsentException,
    ConsentRecord,
    Grant,
    Tier,
    Withdrawal,
)
from shared.contracts.registry import ConsentState
from shared.identifiers import WallMs

PENDING_MAX = 32
"""Records of one citizen waiting for the registry; above it the citizen is withheld from everyone."""


@dataclass(frozen=True, slots=True)
class _Pending:
    counter: int
    payload_hash: bytes
    record: ConsentRecord


class Consent:
    """The states that may be true of one citizen; the least of them decides.

    A pending record narrows at once and widens never: `states` holds the recorded state and what each
    further prefix of the pending records (in the order of their counters) would make of it. Records
    before a hole in the counters are on their way; those behind it narrow already now.
    """

    __slots__ = ("_pending", "citizen", "known", "recorded", "states")

    def __init__(self, citizen: bytes, recorded: ConsentState | None) -> None:
        self.citizen = citizen
        self.recorded = recorded if recorded is not None else empty_state(citizen)
        self._pending: list[_Pending] = []
        self.states: tuple[ConsentState, ...] = (self.recorded,)
        self.known = self.recorded.counter
        """The highest counter known, recorded or pending."""

    @property
    def is_pending(self) -> bool:
        return bool(self._pending)

    def add_pending(self, record: ConsentRecord, payload_hash: bytes) -> bool:
        """Hold a verified record above the recorded state. False: nothing new."""
        if record.counter <= self.recorded.counter:
            return False
        if any(held.payload_hash == payload_hash for held in self._pending):
            return False
        if len(self._pending) < PENDING_MAX + 1:
            self._pending.append(_Pending(record.counter, payload_hash, record))
            self._pending.sort(key=lambda held: (held.counter, held.payload_hash))
        self._fold()
        return True

    def narrows_with(self, payload_hash: bytes, now_ms: WallMs) -> bool:
        """Whether this pending record lets somebody see less than the prefix before it."""
        state = self.recorded
        for held in self._pending:
            after = preview(state, held.record)
            if held.payload_hash == payload_hash:
                return narrows(state, after, now_ms)
            state = after
        return True  # too many are pending: everything is withheld

    def record(self, state: ConsentState | None) -> None:
        """The registry's state; pending records up to its counter are settled."""
        self.recorded = state if state is not None else empty_state(self.citizen)
        self._pending = [held for held in self._pending if held.counter > self.recorded.counter]
        self._fold()

    def refuse(self, payload_hash: bytes) -> bool:
        """The registry did not take it. False: it was not pending."""
        kept = [held for held in self._pending if held.payload_hash != payload_hash]
        if len(kept) == len(self._pending):
            return False
        self._pending = kept
        self._fold()
        return True

    def next_expiry(self, now_ms: WallMs) -> WallMs | None:
        """When time alone changes what is allowed."""
        ends = [end for state in self.states if (end := next_expiry(state, now_ms)) is not None]
        return min(ends) if ends else None

    def persons(self) -> dict[bytes, None]:
        """Everybody an exception names, in a stable order."""
        return {row.person: None for state in self.states for row in state.limits}

    def approved(self, now_ms: WallMs) -> dict[bytes, None]:
        """Everybody who may follow now, in a stable order; whoever is not approved in every state that
        may be true is not.
        """
        first, *others = self.states
        return {
            row.person: None
            for row in first.approved
            if may_follow(first, row.person, now_ms)
            and all(may_follow(state, row.person, now_ms) for state in others)
        }

    def past_limits(self, now_ms: WallMs) -> dict[bytes, None]:
        """Everybody whom an exception named that has ended by now."""
        return {
            row.person: None
            for state in self.states
            for row in state.limits
            if row.until_ms is not None and row.until_ms <= now_ms
        }

    def _fold(self) -> None:
        states = [self.recorded]
        for held in self._pending:
            states.append(preview(states[-1], held.record))
        self.known = max(state.counter for state in states)
        if len(self._pending) > PENDING_MAX:
            states.append(empty_state(self.citizen))
        self.states = tuple(states)


def may_narrow(record: ConsentRecord) -> bool:
    """Whether a record can take something away, judged by itself (its state before is not known)."""
    match record:
        case Withdrawal():
            return True
        case ConsentException():
            return record.tier is not Tier.FULL or record.until_ms is not None
        case Grant():
            return record.tier is not Tier.FULL or record.until_ms is not None
        case Approval():
            return not record.is_approved or record.until_ms is not None


def is_ending(record: ConsentRecord) -> bool:
    """Whether a record can only take away: it is acted on and answered even where it finds nothing."""
    return isinstance(record, Withdrawal) or (
        isinstance(record, Approval) and not record.is_approved
    )


def hash_of(payload: bytes) -> bytes:
    """A record's idempotency key."""
    return sha256(payload)
