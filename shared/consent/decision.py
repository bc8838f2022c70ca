"""Folding a chain of consent records, and the look-ups in what it folded to. Pure.

One entry for each scope (purpose, audience, sanctuary or any). The sanctuary's own entry decides if
there is one, even if it has expired or was withdrawn (then: withheld); else the `any` entry; else
withheld. An entry is live while `now_ms < until_ms`.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never, cast

from shared.codec import ZERO_HASH, Refused, decode_canonical
from shared.contracts.records import (
    Approval,
    Audience,
    ConsentException,
    ConsentRecord,
    Grant,
    Policy,
    Purpose,
    Tier,
    Withdrawal,
)
from shared.contracts.refusals import Refusal
from shared.contracts.registry import Approved, ConsentState, Limit, Scope
from shared.identifiers import WallMs

SCOPES_MAX = 1024
"""Scopes of one citizen: some 30 kB of state, well inside a page of 200 kB."""
LIMITS_MAX = 1024
"""People whom one citizen may except, counted with their sanctuaries: some 45 kB of state."""
APPROVED_MAX = 1024
"""People who may follow one citizen: some 30 kB of state."""

_STATES_INDEXED_MAX = 16384
"""Indexes kept; the oldest go first. A small one takes some 500 bytes."""


class Index(NamedTuple):
    """A state by key: scopes by (sanctuary, `facet`), limits by (person, sanctuary), approved by
    person.
    """

    scopes: dict[tuple[bytes | None, int], Scope]
    limits: dict[tuple[bytes, bytes | None], Limit]
    approved: dict[bytes, Approved]


_indexed: dict[int, tuple[ConsentState, Index]] = {}


def facet(purpose: Purpose, audience: Audience) -> int:
    """(purpose, audience) as one small integer: an IntEnum's own hash costs a call in Python."""
    return purpose * 16 + audience


FACETS: tuple[tuple[Purpose, Audience], ...] = tuple((p, a) for p in Purpose for a in Audience)


def index_of(state: ConsentState) -> Index:
    """The state's index, made once for each state object.

    Keyed by the object's identity (hashing a state would read every row); the entry holds the state,
    so its identity cannot be taken over by another one meanwhile.
    """
    found = _indexed.get(id(state))
    if found is not None:
        return found[1]
    index = Index(
        {(row.sanctuary, facet(row.purpose, row.audience)): row for row in state.scopes},
        {(row.person, row.sanctuary): row for row in state.limits},
        {row.person: row for row in state.approved},
    )
    while len(_indexed) >= _STATES_INDEXED_MAX:
        del _indexed[next(iter(_indexed))]
    _indexed[id(state)] = (state, index)
    return index


def read_record(payload: bytes) -> ConsentRecord:
    """A consent record from its canonical payload. Raises: as `shared.codec.decode_canonical`."""
    return decode_canonical(payload, cast("type[ConsentRecord]", ConsentRecord))


def empty_state(citizen: bytes) -> ConsentState:
    """A citizen who has said nothing yet: withheld from everyone."""
    return ConsentState(citizen, 0, ZERO_HASH, (), ())


def fold(state: ConsentState, record: ConsentRecord, payload_hash: bytes) -> ConsentState:
    """The state after `record`, whose payload has the SHA-256 `payload_hash`.

    The head's record again changes nothing. Order is by counter and previous hash, so a late record
    cannot revive what a later one ended.

    Raises: Refused(STALE) if the counter is taken (a repeat of a record before the head looks the
    same here: who keeps the chain compares hashes first); Refused(BROKEN_CHAIN) if the record does
    not follow the head; Refused(OUT_OF_RANGE) above `SCOPES_MAX`, `LIMITS_MAX` or `APPROVED_MAX`.
    """
    if record.counter <= state.counter:
        if record.counter == state.counter and payload_hash == state.head:
            return state
        raise Refused(Refusal.STALE)
    if record.counter != state.counter + 1 or record.previous != state.head:
        raise Refused(Refusal.BROKEN_CHAIN)
    after = _apply(state, record, payload_hash)
    if (
        len(after.scopes) > SCOPES_MAX
        or len(after.limits) > LIMITS_MAX
        or len(after.approved) > APPROVED_MAX
    ):
        raise Refused(Refusal.OUT_OF_RANGE)
    return after


def preview(state: ConsentState, record: ConsentRecord) -> ConsentState:
    """What `record` would make of `state`, whatever the chain says: for records not yet recorded.

    Keeps the head, so the result is for look-ups and comparison only, never for `fold`.
    """
    return _apply(state, record, state.head)


def _apply(state: ConsentState, record: ConsentRecord, head: bytes) -> ConsentState:
    assert record.citizen == state.citizen
    scopes, limits, approved = state.scopes, state.limits, state.approved
    match record:
        case Grant():
            key = (record.purpose, record.audience, record.sanctuary)
            scopes = (
                *(row for row in scopes if (row.purpose, row.audience, row.sanctuary) != key),
                Scope(*key, record.tier, record.until_ms),
            )
        case ConsentException():
            pair = (record.person, record.sanctuary)
            limits = tuple(row for row in limits if (row.person, row.sanctuary) != pair)
            if record.tier is not Tier.FULL:
                limits = (*limits, Limit(*pair, record.tier, record.until_ms))
        case Withdrawal():
            scopes = _withdrawn(scopes, record)
        case Approval():
            approved = tuple(row for row in approved if row.person != record.person)
            if record.is_approved:
                approved = (*approved, Approved(record.person, record.until_ms))
        case _:
            assert_never(record)
    return ConsentState(state.citizen, record.counter, head, scopes, limits, approved)


def _withdrawn(scopes: tuple[Scope, ...], record: Withdrawal) -> tuple[Scope, ...]:
    """A withdrawal of one sanctuary leaves a withheld entry in each matching scope, so that no `any`
    grant, standing or later, speaks for that sanctuary again. A withdrawal of everything removes.

    A withdrawal is never refused for its size: above `SCOPES_MAX` it ends the matching scopes of
    every sanctuary, which is less than was asked to remain, never more.
    """
    facets = [
        (purpose, audience)
        for purpose, audience in FACETS
        if record.purpose in {None, purpose} and record.audience in {None, audience}
    ]
    if record.sanctuary is not None:
        kept = tuple(
            row
            for row in scopes
            if row.sanctuary != record.sanctuary or (row.purpose, row.audience) not in facets
        )
        if len(kept) + len(facets) <= SCOPES_MAX:
            ended = (Scope(p, a, record.sanctuary, Tier.WITHHELD, None) for p, a in facets)
            return (*kept, *ended)
    return tuple(row for row in scopes if (row.purpose, row.audience) not in facets)


def scope_for(index: Index, sanctuary: bytes | None, which: int) -> Scope | None:
    """The entry that decides: the sanctuary's own shadows `any`. `sanctuary` nil: one never named."""
    own = index.scopes.get((sanctuary, which))
    return own if own is not None else index.scopes.get((None, which))


def granted_tier(
    state: ConsentState,
    *,
    sanctuary: bytes,
    audience: Audience,
    purpose: Purpose,
    now_ms: WallMs,
) -> Tier:
    """What the citizen grants to this audience there, now; WITHHELD when nothing is live."""
    row = scope_for(index_of(state), sanctuary, facet(purpose, audience))
    if row is None or (row.until_ms is not None and now_ms >= row.until_ms):
        return Tier.WITHHELD
    return row.tier


def limit_for(state: ConsentState, *, person: bytes, sanctuary: bytes, now_ms: WallMs) -> Tier:
    """The most that `person` may see there, now: the least of the citizen's exceptions that name it,
    for this sanctuary and for any; FULL without one.
    """
    limits = index_of(state).limits
    least = Tier.FULL
    if not limits:
        return least
    for row in (limits.get((person, sanctuary)), limits.get((person, None))):
        if row is not None and (row.until_ms is None or now_ms < row.until_ms):
            least = min(least, row.tier)
    return least


def may_follow(state: ConsentState, person: bytes, now_ms: WallMs) -> bool:
    """Whether the citizen lets this person follow, now."""
    row = index_of(state).approved.get(person)
    return row is not None and (row.until_ms is None or now_ms < row.until_ms)


def effective_tier(
    state: ConsentState,
    *,
    policy: Policy,
    charter_tier_max: Tier,
    audience: Audience,
    now_ms: WallMs,
    purpose: Purpose = Purpose.LIVE,
    person: bytes | None = None,
) -> Tier:
    """How closely `audience` of the policy's sanctuary sees the citizen now: the least of grant,
    policy and charter, and for one `person` its exceptions. FOLLOWERS without a `person` is what the
    approved ones see; a person who is not approved is WITHHELD.

    On a public stage members see at the higher of the members' and the public's grant: they could
    watch anonymously anyway. PUBLIC of a room that is not public is WITHHELD.
    """
    if audience is Audience.PUBLIC and not policy.public:
        return Tier.WITHHELD
    sanctuary = policy.sanctuary
    granted = granted_tier(
        state, sanctuary=sanctuary, audience=audience, purpose=purpose, now_ms=now_ms
    )
    if audience is Audience.MEMBERS and policy.public:
        public = granted_tier(
            state, sanctuary=sanctuary, audience=Audience.PUBLIC, purpose=purpose, now_ms=now_ms
        )
        granted = max(granted, public)
    effective = min(granted, policy.tier_max, charter_tier_max)
    if person is not None:
        if audience is Audience.FOLLOWERS and not may_follow(state, person, now_ms):
            return Tier.WITHHELD
        effective = min(
            effective, limit_for(state, person=person, sanctuary=sanctuary, now_ms=now_ms)
        )
    return effective


def next_expiry(state: ConsentState, now_ms: WallMs) -> WallMs | None:
    """The next moment after `now_ms` at which time alone changes a decision: the end of a grant, of an
    approval, or of an exception (which widens). None: never.
    """
    ends = [
        row.until_ms
        for row in state.scopes
        if row.until_ms is not None and row.until_ms > now_ms and row.tier is not Tier.WITHHELD
    ]
    ends += [
        row.until_ms for row in state.limits if row.until_ms is not None and row.until_ms > now_ms
    ]
    ends += [
        row.until_ms for row in state.approved if row.until_ms is not None and row.until_ms > now_ms
    ]
    return WallMs(min(ends)) if ends else None
