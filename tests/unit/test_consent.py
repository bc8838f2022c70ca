"""The consent decision: its laws, against a reference that reads the raw records backwards."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import ZERO_HASH, Refused, encode, sha256
from shared.consent import (
    APPROVED_MAX,
    LIMITS_MAX,
    SCOPES_MAX,
    effective_tier,
    empty_state,
    fold,
    granted_tier,
    limit_for,
    may_follow,
    narrows,
    next_expiry,
    preview,
    widens,
)
from shared.contracts import (
    Approval,
    Approved,
    Audience,
    ConsentException,
    ConsentRecord,
    ConsentState,
    Grant,
    Kind,
    Policy,
    Purpose,
    Refusal,
    Scope,
    Setting,
    Tier,
    Withdrawal,
)
from shared.identifiers import WallMs

law = settings(deadline=None)
"""A busy machine may stand still for longer than an example's deadline."""

ME = b"m" * 16
PLACES = [b"a" * 16, b"b" * 16, b"c" * 16]
PEOPLE = [b"1" * 16, b"2" * 16, b"3" * 16]
NOW = WallMs(1000)
TIMES = [0, 999, 1000, 1001, 1500, 2000, 2001, 5000]

places = st.sampled_from([None, *PLACES[:2]])
ends = st.sampled_from([None, 900, 1000, 1500, 2000])
tiers = st.sampled_from(Tier)
grants = st.builds(
    Grant,
    citizen=st.just(ME),
    counter=st.just(1),
    previous=st.just(ZERO_HASH),
    t_ms=st.just(1),
    sanctuary=places,
    audience=st.sampled_from([Audience.MEMBERS, Audience.PUBLIC, Audience.FOLLOWERS]),
    tier=tiers,
    purpose=st.sampled_from(Purpose),
    until_ms=ends,
)
exceptions = st.builds(
    ConsentException,
    citizen=st.just(ME),
    counter=st.just(1),
    previous=st.just(ZERO_HASH),
    t_ms=st.just(1),
    sanctuary=places,
    person=st.sampled_from(PEOPLE[:2]),
    tier=tiers,
    until_ms=ends,
)
withdrawals = st.builds(
    Withdrawal,
    citizen=st.just(ME),
    counter=st.just(1),
    previous=st.just(ZERO_HASH),
    t_ms=st.just(1),
    sanctuary=places,
    audience=st.sampled_from([None, Audience.MEMBERS, Audience.PUBLIC, Audience.FOLLOWERS]),
    purpose=st.sampled_from([None, *Purpose]),
)
approvals = st.builds(
    Approval,
    citizen=st.just(ME),
    counter=st.just(1),
    previous=st.just(ZERO_HASH),
    t_ms=st.just(1),
    person=st.sampled_from(PEOPLE[:2]),
    is_approved=st.booleans(),
    until_ms=ends,
)
records = st.one_of(grants, exceptions, withdrawals, approvals)
histories = st.lists(records, max_size=8)


def chained(history: list[ConsentRecord]) -> list[tuple[ConsentRecord, bytes]]:
    """The records as one chain, each with its payload's hash."""
    head, chain = ZERO_HASH, []
    for counter, record in enumerate(history, 1):
        linked = _replace(record, counter=counter, previous=head)
        head = sha256(encode(linked))
        chain.append((linked, head))
    return chain


def _replace(record: ConsentRecord, *, counter: int, previous: bytes) -> ConsentRecord:
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return type(record)(**{**fields, "counter": counter, "previous": previous})


def folded(history: list[ConsentRecord]) -> ConsentState:
    state = empty_state(ME)
    for record, head in chained(history):
        state = fold(state, record, head)
    return state


def grant_now(
    state: ConsentState, place: bytes, audience: Audience, purpose: Purpose, at: int
) -> Tier:
    return granted_tier(
        state, sanctuary=place, audience=audience, purpose=purpose, now_ms=WallMs(at)
    )


def reference_grant(
    history: list[ConsentRecord], place: bytes, audience: Audience, purpose: Purpose, at: int
) -> Tier:
    """The design's words, from the newest record back: the sanctuary's own word, then `any`'s."""
    for scope in (place, None):
        for record in reversed(history):
            match record:
                case Grant() if (record.sanctuary, record.audience, record.purpose) == (
                    scope,
                    audience,
                    purpose,
                ):
                    live = record.until_ms is None or at < record.until_ms
                    return record.tier if live else Tier.WITHHELD
                case Withdrawal() if record.audience in {None, audience} and record.purpose in {
                    None,
                    purpose,
                }:
                    if record.sanctuary is None:
                        break
                    if record.sanctuary == scope:
                        return Tier.WITHHELD
    return Tier.WITHHELD


def reference_limit(history: list[ConsentRecord], place: bytes, person: bytes, at: int) -> Tier:
    least = Tier.FULL
    for scope in (place, None):
        for record in reversed(history):
            if (
                isinstance(record, ConsentException)
                and record.person == person
                and record.sanctuary == scope
            ):
                if record.until_ms is None or at < record.until_ms:
                    least = min(least, record.tier)
                break
    return least


def reference_approval(history: list[ConsentRecord], person: bytes, at: int) -> bool:
    for record in reversed(history):
        if isinstance(record, Approval) and record.person == person:
            return record.is_approved and (record.until_ms is None or at < record.until_ms)
    return False


def cells(state: ConsentState, at: int) -> dict[object, Tier]:
    """Every decision at a time, including a place and a person that no record names."""
    decisions: dict[object, Tier] = {}
    for place in PLACES:
        for audience in Audience:
            for purpose in Purpose:
                decisions[place, audience, purpose] = grant_now(state, place, audience, purpose, at)
        for person in PEOPLE:
            decisions[place, person] = limit_for(
                state, person=person, sanctuary=place, now_ms=WallMs(at)
            )
    for person in PEOPLE:
        is_approved = may_follow(state, person, WallMs(at))
        decisions["follows", person, None] = Tier.FULL if is_approved else Tier.WITHHELD
    return decisions


def changes(before: ConsentState, after: ConsentState) -> tuple[bool, bool]:
    """Whether any decision falls, and whether any rises, from NOW on."""
    pairs = [
        (now, then)
        for at in TIMES
        if at >= NOW
        for now, then in zip(cells(before, at).values(), cells(after, at).values(), strict=True)
    ]
    return any(then < now for now, then in pairs), any(then > now for now, then in pairs)


def seen_by_people(state: ConsentState, at: int) -> dict[object, Tier]:
    """What each person sees: grant and exceptions together."""
    decisions = cells(state, at)
    return {
        (place, audience, purpose, person): min(
            decisions[place, audience, purpose], decisions[place, person]
        )
        for place in PLACES
        for audience in Audience
        for purpose in Purpose
        for person in PEOPLE
    }


@law
@given(histories, st.sampled_from(TIMES))
def test_every_look_up_agrees_with_the_records_read_backwards(
    history: list[ConsentRecord], at: int
) -> None:
    state = folded(history)
    for place in PLACES:
        for audience in Audience:
            for purpose in Purpose:
                assert grant_now(state, place, audience, purpose, at) == reference_grant(
                    history, place, audience, purpose, at
                )
        for person in PEOPLE:
            assert limit_for(
                state, person=person, sanctuary=place, now_ms=WallMs(at)
            ) == reference_limit(history, place, person, at)
    for person in PEOPLE:
        assert may_follow(state, person, WallMs(at)) == reference_approval(history, person, at)


def test_without_a_grant_everything_is_withheld() -> None:
    assert set(cells(empty_state(ME), 0).values()) == {Tier.WITHHELD, Tier.FULL}
    assert grant_now(empty_state(ME), PLACES[0], Audience.MEMBERS, Purpose.LIVE, 0) is Tier.WITHHELD


@law
@given(histories, withdrawals)
def test_a_withdrawal_silences_every_matching_scope(
    history: list[ConsentRecord], withdrawal: Withdrawal
) -> None:
    state = folded([*history, withdrawal])
    for place in PLACES:
        if withdrawal.sanctuary in {None, place}:
            for audience in Audience:
                for purpose in Purpose:
                    if withdrawal.audience in {None, audience} and withdrawal.purpose in {
                        None,
                        purpose,
                    }:
                        for at in TIMES:
                            assert grant_now(state, place, audience, purpose, at) is Tier.WITHHELD


@law
@given(histories, st.data())
def test_order_is_by_counter_so_a_late_record_cannot_revive(
    history: list[ConsentRecord], data: st.DataObject
) -> None:
    chain = chained(history)
    order = data.draw(st.permutations(range(len(chain))))
    state, waiting = empty_state(ME), dict(enumerate(chain))
    reasons = {Refusal.BROKEN_CHAIN}
    while waiting:
        before = len(waiting)
        for place in order:
            if place in waiting:
                try:
                    state = fold(state, *waiting[place])
                except Refused as refused:
                    reasons.add(refused.reason)
                else:
                    del waiting[place]
        assert len(waiting) < before
    assert reasons == {Refusal.BROKEN_CHAIN}
    assert state == folded(history)
    for record, head in chain[:-1]:
        with pytest.raises(Refused, match="stale"):
            fold(state, record, head)


@law
@given(histories.filter(bool))
def test_the_head_again_changes_nothing(history: list[ConsentRecord]) -> None:
    state = folded(history)
    record, head = chained(history)[-1]
    assert fold(state, record, head) is state
    with pytest.raises(Refused, match="stale"):
        fold(state, record, sha256(b"another record at the same counter"))


@law
@given(histories, records)
def test_a_record_that_does_not_follow_the_head_breaks_the_chain(
    history: list[ConsentRecord], record: ConsentRecord
) -> None:
    state = folded(history)
    for counter, previous in (
        (state.counter + 2, state.head),
        (state.counter + 1, sha256(b"elsewhere")),
    ):
        astray = _replace(record, counter=counter, previous=previous)
        with pytest.raises(Refused, match="broken chain"):
            fold(state, astray, sha256(encode(astray)))


@law
@given(histories, st.sampled_from(TIMES), st.sampled_from(TIMES))
def test_time_alone_never_raises_a_grant_and_never_lowers_a_limit(
    history: list[ConsentRecord], one: int, other: int
) -> None:
    state = folded(history)
    early, late = cells(state, min(one, other)), cells(state, max(one, other))
    for key, tier in early.items():
        is_limit = isinstance(key, tuple) and len(key) == 2
        assert late[key] >= tier if is_limit else late[key] <= tier


@law
@given(histories)
def test_nothing_changes_before_the_next_expiry(history: list[ConsentRecord]) -> None:
    state, at = folded(history), NOW
    while True:
        expiry = next_expiry(state, at)
        before = cells(state, at)
        for time in TIMES:
            if time >= at and (expiry is None or time < expiry):
                assert cells(state, time) == before
        if expiry is None:
            break
        assert expiry > at
        at = expiry


@law
@given(histories, histories)
def test_narrows_and_widens_find_every_change_at_every_time(
    one: list[ConsentRecord], other: list[ConsentRecord]
) -> None:
    before, after = folded(one), folded(other)
    lower, higher = changes(before, after)
    assert narrows(before, after, NOW) or not lower
    assert widens(before, after, NOW) or not higher
    for at in (at for at in TIMES if at >= NOW):
        seen_before, seen_after = seen_by_people(before, at), seen_by_people(after, at)
        if any(seen_after[key] < tier for key, tier in seen_before.items()):
            assert narrows(before, after, NOW)
        if any(seen_after[key] > tier for key, tier in seen_before.items()):
            assert widens(before, after, NOW)


@law
@given(
    st.lists(st.one_of(grants, withdrawals, approvals), max_size=8),
    st.one_of(grants, withdrawals, approvals),
)
def test_without_exceptions_the_comparison_is_exact(
    history: list[ConsentRecord], record: ConsentRecord
) -> None:
    before, after = folded(history), preview(folded(history), record)
    assert (narrows(before, after, NOW), widens(before, after, NOW)) == changes(before, after)


@law
@given(histories, withdrawals)
def test_a_withdrawal_never_widens(history: list[ConsentRecord], withdrawal: Withdrawal) -> None:
    before = folded(history)
    assert not widens(before, preview(before, withdrawal), NOW)


@law
@given(histories, records)
def test_a_state_neither_narrows_nor_widens_itself(
    history: list[ConsentRecord], record: ConsentRecord
) -> None:
    state = folded(history)
    assert not narrows(state, state, NOW)
    again = preview(preview(state, record), record)
    assert not narrows(preview(state, record), again, NOW)
    assert not widens(preview(state, record), again, NOW)


@law
@given(histories, st.lists(records, max_size=4))
def test_pending_records_lower_a_decision_only_if_one_of_them_narrows(
    history: list[ConsentRecord], pending: list[ConsentRecord]
) -> None:
    recorded = folded(history)
    prefixes = [recorded]
    for record in pending:
        prefixes.append(preview(prefixes[-1], record))
    has_narrowed = any(narrows(a, b, NOW) for a, b in pairwise(prefixes))
    for at in TIMES:
        known, *others = (cells(prefix, at) for prefix in prefixes)
        for key, tier in known.items():
            least = min([tier, *(other[key] for other in others)])
            assert least == tier or at < NOW or has_narrowed


@law
@given(histories, records)
def test_a_preview_decides_what_the_fold_will_decide(
    history: list[ConsentRecord], record: ConsentRecord
) -> None:
    guessed, settled = preview(folded(history), record), folded([*history, record])
    for at in TIMES:
        assert cells(guessed, at) == cells(settled, at)


def _grant(
    place: bytes | None, tier: Tier, until_ms: int | None = None, *, to: Audience = Audience.MEMBERS
) -> Grant:
    return Grant(ME, 1, ZERO_HASH, 1, place, to, tier, Purpose.LIVE, until_ms)


def test_an_own_entry_shadows_any_even_when_expired() -> None:
    state = folded([_grant(None, Tier.FULL), _grant(PLACES[0], Tier.COARSE, 1500)])
    assert grant_now(state, PLACES[0], Audience.MEMBERS, Purpose.LIVE, 1499) is Tier.COARSE
    assert grant_now(state, PLACES[0], Audience.MEMBERS, Purpose.LIVE, 1500) is Tier.WITHHELD
    assert grant_now(state, PLACES[1], Audience.MEMBERS, Purpose.LIVE, 1500) is Tier.FULL


def test_a_sanctuary_once_withdrawn_from_stays_silent_under_a_later_grant_to_any() -> None:
    withdrawal = Withdrawal(ME, 1, ZERO_HASH, 1, PLACES[0], None, None)
    state = folded([withdrawal, _grant(None, Tier.FULL)])
    assert grant_now(state, PLACES[0], Audience.MEMBERS, Purpose.LIVE, 1) is Tier.WITHHELD
    assert grant_now(state, PLACES[1], Audience.MEMBERS, Purpose.LIVE, 1) is Tier.FULL


def test_a_longer_time_is_a_widening_and_a_shorter_one_a_narrowing() -> None:
    short, long = folded([_grant(None, Tier.FULL, 1500)]), folded([_grant(None, Tier.FULL, 2000)])
    assert widens(short, long, NOW)
    assert not narrows(short, long, NOW)
    assert narrows(long, short, NOW)
    assert not widens(long, short, NOW)
    # both ended before now: nothing left to compare
    assert not widens(short, long, WallMs(2000))


def test_lifting_an_exception_widens_even_while_nothing_is_granted() -> None:
    excepted = ConsentException(ME, 1, ZERO_HASH, 1, None, PEOPLE[0], Tier.WITHHELD, None)
    lifted = ConsentException(ME, 1, ZERO_HASH, 1, None, PEOPLE[0], Tier.FULL, None)
    state = folded([excepted])
    assert widens(state, preview(state, lifted), NOW)
    assert not preview(state, lifted).limits


def _approval(person: bytes, *, is_approved: bool = True, until_ms: int | None = None) -> Approval:
    return Approval(ME, 1, ZERO_HASH, 1, person, is_approved, until_ms)


def followed(state: ConsentState, person: bytes | None, *, most: Tier = Tier.FULL) -> Tier:
    commons = Policy(PLACES[0], "commons", Kind.COMMONS, Setting.OPEN, most, 9)
    return effective_tier(
        state,
        policy=commons,
        charter_tier_max=Tier.FULL,
        audience=Audience.FOLLOWERS,
        now_ms=NOW,
        person=person,
    )


def test_a_follower_sees_what_is_granted_to_followers_once_approved() -> None:
    granted = folded([_grant(None, Tier.FULL, to=Audience.FOLLOWERS)])
    approved = folded([_grant(None, Tier.FULL, to=Audience.FOLLOWERS), _approval(PEOPLE[0])])
    assert followed(granted, PEOPLE[0]) is Tier.WITHHELD
    assert followed(approved, PEOPLE[0]) is Tier.FULL
    assert followed(approved, PEOPLE[1]) is Tier.WITHHELD
    assert followed(approved, PEOPLE[0], most=Tier.COARSE) is Tier.COARSE
    assert followed(folded([_approval(PEOPLE[0])]), PEOPLE[0]) is Tier.WITHHELD
    excepted = ConsentException(ME, 1, ZERO_HASH, 1, None, PEOPLE[0], Tier.COARSE, None)
    assert followed(preview(approved, excepted), PEOPLE[0]) is Tier.COARSE


def test_an_approval_stays_through_a_withdrawal_and_shows_nothing_by_itself() -> None:
    state = folded([_grant(None, Tier.FULL, to=Audience.FOLLOWERS), _approval(PEOPLE[0])])
    silent = preview(state, Withdrawal(ME, 1, ZERO_HASH, 1, None, None, None))
    assert followed(silent, PEOPLE[0]) is Tier.WITHHELD
    assert may_follow(silent, PEOPLE[0], NOW)
    again = preview(silent, _grant(None, Tier.COARSE, to=Audience.FOLLOWERS))
    assert followed(again, PEOPLE[0]) is Tier.COARSE


def test_approving_widens_and_revoking_narrows_even_while_nothing_is_granted() -> None:
    before, after = empty_state(ME), folded([_approval(PEOPLE[0])])
    assert widens(before, after, NOW)
    assert not narrows(before, after, NOW)
    revoked = preview(after, _approval(PEOPLE[0], is_approved=False))
    assert narrows(after, revoked, NOW)
    assert not widens(after, revoked, NOW)
    assert not revoked.approved
    shorter = preview(after, _approval(PEOPLE[0], until_ms=1500))
    assert narrows(after, shorter, NOW)
    assert not widens(after, shorter, NOW)


@pytest.mark.parametrize(
    ("members", "public", "policy_max", "charter_max", "expected"),
    [
        (Tier.COARSE, Tier.WITHHELD, Tier.FULL, Tier.FULL, Tier.COARSE),
        (Tier.COARSE, Tier.FULL, Tier.FULL, Tier.FULL, Tier.FULL),
        (Tier.FULL, Tier.COARSE, Tier.FULL, Tier.FULL, Tier.FULL),
        (Tier.FULL, Tier.FULL, Tier.COARSE, Tier.FULL, Tier.COARSE),
        (Tier.FULL, Tier.FULL, Tier.FULL, Tier.AGGREGATE, Tier.AGGREGATE),
    ],
)
def test_members_of_a_public_stage_see_at_the_higher_of_both(
    members: Tier, public: Tier, policy_max: Tier, charter_max: Tier, expected: Tier
) -> None:
    state = folded(
        [_grant(PLACES[0], members), _grant(PLACES[0], public, to=Audience.PUBLIC)],
    )
    stage = Policy(PLACES[0], "stage", Kind.STAGE, Setting.OPEN, policy_max, 9, public=True)
    assert (
        effective_tier(
            state,
            policy=stage,
            charter_tier_max=charter_max,
            audience=Audience.MEMBERS,
            now_ms=NOW,
        )
        is expected
    )
    excepted = preview(
        state, ConsentException(ME, 3, ZERO_HASH, 1, None, PEOPLE[0], Tier.AGGREGATE, None)
    )
    assert (
        effective_tier(
            excepted,
            policy=stage,
            charter_tier_max=charter_max,
            audience=Audience.MEMBERS,
            now_ms=NOW,
            person=PEOPLE[0],
        )
        is Tier.AGGREGATE
    )


def test_a_grant_to_the_public_opens_no_room_that_is_not_public() -> None:
    state = folded([_grant(PLACES[0], Tier.FULL, to=Audience.PUBLIC)])
    commons = Policy(PLACES[0], "commons", Kind.COMMONS, Setting.OPEN, Tier.FULL, 9)
    for audience in (Audience.MEMBERS, Audience.PUBLIC):
        assert (
            effective_tier(
                state,
                policy=commons,
                charter_tier_max=Tier.FULL,
                audience=audience,
                now_ms=NOW,
            )
            is Tier.WITHHELD
        )


def test_a_citizen_at_the_bound_of_scopes_may_still_withdraw_anything() -> None:
    scopes = tuple(
        Scope(Purpose.LIVE, Audience.MEMBERS, number.to_bytes(16, "big"), Tier.FULL, None)
        for number in range(SCOPES_MAX)
    )
    full = ConsentState(ME, 7, sha256(b"head"), scopes, ())
    more = _replace(_grant(PLACES[0], Tier.FULL), counter=8, previous=full.head)
    with pytest.raises(Refused, match="out of range"):
        fold(full, more, sha256(encode(more)))
    for place in (PLACES[0], (3).to_bytes(16, "big")):
        end = Withdrawal(ME, 8, full.head, 1, place, None, None)
        after = fold(full, end, sha256(encode(end)))
        assert len(after.scopes) <= SCOPES_MAX
        assert grant_now(after, place, Audience.MEMBERS, Purpose.LIVE, 1) is Tier.WITHHELD
        assert not widens(full, after, NOW)


def test_exceptions_are_bounded() -> None:
    state = empty_state(ME)
    for number in range(LIMITS_MAX + 1):
        record = ConsentException(
            ME, number + 1, state.head, 1, None, number.to_bytes(16, "big"), Tier.COARSE, None
        )
        if number < LIMITS_MAX:
            state = fold(state, record, sha256(encode(record)))
        else:
            with pytest.raises(Refused, match="out of range"):
                fold(state, record, sha256(encode(record)))


def test_approvals_are_bounded_and_may_be_revoked_at_the_bound() -> None:
    rows = tuple(Approved(number.to_bytes(16, "big"), None) for number in range(APPROVED_MAX))
    full = ConsentState(ME, 7, sha256(b"head"), (), (), rows)
    more = _replace(_approval(PEOPLE[0]), counter=8, previous=full.head)
    with pytest.raises(Refused, match="out of range"):
        fold(full, more, sha256(encode(more)))
    less = Approval(ME, 8, full.head, 1, rows[5].person, False, None)
    assert len(fold(full, less, sha256(encode(less))).approved) == APPROVED_MAX - 1
