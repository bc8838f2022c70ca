"""Followers at fanout: the laws over random lives among followers, and what each change looks like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.contracts import (
    Audience,
    Closeness,
    Coarse,
    ConsentActed,
    SampleShown,
    Signed,
    StrandShown,
    Struck,
    Tier,
)
from shared.contracts.fanout import Deliver, DepartFollowers, EnterFollowers
from tests.support.fanout_stage import Citizen, Gate, Stage, Viewer, Voice
from tests.unit.test_fanout_laws import Life, play

few, two = st.integers(0, 2), st.integers(0, 1)
tiers = st.integers(0, 3)
often = st.one_of(
    st.tuples(st.just("speak"), st.integers(0, 3), st.integers(1, 2), st.booleans()),
    st.tuples(st.just("follow"), st.integers(0, 5), st.sampled_from((0, 1, 1, 3))),
    st.tuples(
        st.just("decide"),
        st.sampled_from(
            ("members", "followers", "approve", "revoke", "except", "no followers", "nothing")
        ),
        tiers,
        st.booleans(),
    ),
)
step = st.one_of(
    often,
    often,
    often,
    st.tuples(st.just("open"), st.integers(1, 2), st.just(0)),
    st.tuples(st.just("close"), st.integers(1, 3)),
    st.tuples(st.just("advance"), st.sampled_from((40, 1000, 1000, 11_000))),
    st.tuples(st.just("join"), few, st.just(0), two),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("lose_edge")),
    st.tuples(st.just("lose_control"), two),
    st.tuples(st.just("compare")),
)


class Fellowship(Life):
    """Ada speaks in a commons; Ben, at two gateways, may follow her."""

    def __init__(self, *, close_limit: int, members: Tier, followers: Tier) -> None:
        super().__init__(close_limit=close_limit)
        ada, ben, _ = self.citizens
        self.stage.record(
            ada,
            ada.grant(members),
            ada.grant(followers, audience=Audience.FOLLOWERS),
            ada.approve(ben.id),
        )
        self.open(0, 0)

    def decide(self, what: str, tier: int, is_brief: bool) -> None:  # noqa: FBT001  (as drawn)
        """One of Ada's records, recorded at once; some end by themselves."""
        ada, ben, _ = self.citizens
        until_ms = self.stage.now_ms + 700 if is_brief else None
        signed: Signed
        match what:
            case "members":
                signed = ada.grant(Tier(tier), until_ms=until_ms)
            case "followers":
                signed = ada.grant(Tier(tier), audience=Audience.FOLLOWERS, until_ms=until_ms)
            case "approve":
                signed = ada.approve(ben.id, until_ms=until_ms)
            case "revoke":
                signed = ada.approve(ben.id, is_approved=False)
            case "except":
                signed = ada.except_(ben.id, Tier(tier), until_ms=until_ms)
            case "no followers":
                signed = ada.withdraw(audience=Audience.FOLLOWERS)
            case _:
                signed = ada.withdraw()
        self.forwarded[ada.id].append(signed)
        self.gates[0].forward(signed)
        self.stage.flush()
        self.settle(0, recorded=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    script=st.lists(step, min_size=3, max_size=30),
    close_limit=st.sampled_from((1, 1, 2, 50)),
    members=st.sampled_from((Tier.WITHHELD, Tier.COARSE, Tier.FULL)),
    followers=st.sampled_from((Tier.COARSE, Tier.FULL)),
)
def test_the_laws_hold_among_followers(
    script: list[tuple[Any, ...]], close_limit: int, members: Tier, followers: Tier
) -> None:
    """As in any life: no signature without a live grant and an approval, nobody gets a citizen twice,
    nothing after struck, order and every number, snapshot + events == state, nobody starves.
    """
    life = Fellowship(close_limit=close_limit, members=members, followers=followers)
    for viewer in life.viewers:
        life.stage.follow(viewer, life.citizens[0])
    life.speak(0, 1, seals=True)
    play(life, script)


# ── one by one ───────────────────────────────────────────────────────────────────────────────────


class Hall:
    """A commons that one voice more outgrows. Ada speaks; Ben may follow her, Cleo may not."""

    def __init__(self, *, members: Tier = Tier.FULL, followers: Tier = Tier.FULL) -> None:
        self.stage = Stage().start()
        self.room = self.stage.room("hall", close_limit=1, close_back=1)
        self.gate: Gate = self.stage.gate()
        self.ada, self.ben, self.cleo, self.dara = (
            self.stage.citizen(name) for name in ("ada", "ben", "cleo", "dara")
        )
        self.record(
            self.ada.grant(members),
            self.ada.grant(followers, audience=Audience.FOLLOWERS),
            self.ada.approve(self.ben.id),
        )
        self.follower, self.stranger = (
            self.stage.join(who, self.room) for who in (self.ben, self.cleo)
        )
        self.voice: Voice = self.stage.voice(self.ada, self.room)
        self.other: Voice | None = None

    def record(self, *records: Signed, by: Citizen | None = None) -> None:
        self.stage.record(by or self.ada, *records)
        self.stage.flush()

    def outgrow(self) -> None:
        self.other = self.stage.voice(self.dara, self.room)

    def shrink(self) -> None:
        assert self.other is not None
        self.other.close()

    def say(self, count: int = 1) -> None:
        self.voice.speak(count)
        self.stage.flush()

    def follow(self, viewer: Viewer | None = None, *whom: Citizen) -> None:
        self.stage.follow(viewer or self.follower, *(whom or (self.ada,)))


def numbers(viewer: Viewer) -> int:
    return len(viewer.of(SampleShown))


def kinds(viewer: Viewer, since: int) -> list[str]:
    return [type(message).__name__ for message in viewer.log[since:]]


def test_beyond_the_limit_a_follower_goes_on_seeing_and_nobody_else_does() -> None:
    hall = Hall()
    hall.follow()
    hall.say(2)
    before = len(hall.follower.log)
    hall.outgrow()
    hall.say(3)
    assert kinds(hall.follower, before) == ["Closeness", *["SampleShown"] * 3]
    assert numbers(hall.stranger) == 2
    assert isinstance(hall.stranger.log[-1], Struck)
    before = len(hall.follower.log)
    hall.shrink()
    hall.say()
    assert kinds(hall.follower, before) == ["Closeness", "StrandShown", "SampleShown"]
    assert numbers(hall.follower) == 6
    assert numbers(hall.stranger) == 3


def test_a_sample_goes_out_once_for_all_followers_of_a_gateway() -> None:
    hall = Hall(members=Tier.WITHHELD)
    more = [hall.stage.join(hall.ben, hall.room) for _ in range(5)]
    for viewer in (hall.follower, *more):
        hall.follow(viewer)
    hall.gate.operations.clear()
    hall.say()
    delivered = [each for each in hall.gate.operations if isinstance(each, Deliver)]
    assert [each.audience for each in delivered] == [b"f" + hall.ada.id + hall.room]
    assert all(numbers(viewer) == 1 for viewer in more)


@pytest.mark.parametrize("missing", ["the grant", "the approval", "the follow"])
def test_a_follower_needs_grant_approval_and_wish(missing: str) -> None:
    hall = Hall(members=Tier.WITHHELD)
    if missing != "the follow":
        hall.follow()
    if missing == "the grant":
        hall.record(hall.ada.withdraw(audience=Audience.FOLLOWERS))
    if missing == "the approval":
        hall.record(hall.ada.approve(hall.ben.id, is_approved=False))
    hall.say()
    assert numbers(hall.follower) == 0
    if missing == "the grant":
        hall.record(hall.ada.grant(Tier.FULL, audience=Audience.FOLLOWERS))
    if missing == "the approval":
        hall.record(hall.ada.approve(hall.ben.id))
    if missing == "the follow":
        hall.follow()
    hall.say()
    assert numbers(hall.follower) == 1


def test_a_stranger_who_follows_learns_nothing_and_nothing_is_said_to_its_gateway() -> None:
    hall = Hall(members=Tier.WITHHELD)
    before = len(hall.stranger.log)
    hall.gate.operations.clear()
    hall.follow(hall.stranger, hall.ada, hall.dara)
    hall.say(3)
    hall.stage.advance(1100)
    assert len(hall.stranger.log) == before
    assert not [
        each for each in hall.gate.operations if isinstance(each, EnterFollowers | DepartFollowers)
    ]


def test_a_new_follower_is_shown_nothing_from_before_its_approval() -> None:
    hall = Hall(members=Tier.WITHHELD)
    hall.follow(hall.stranger)
    hall.say()
    hall.voice.seal_window()
    hall.record(hall.ada.approve(hall.cleo.id))
    (shown,) = hall.stranger.of(StrandShown)
    assert (shown.body, shown.seal, shown.next_seq) == (None, None, 1)
    again = hall.stage.join(hall.cleo, hall.room)
    hall.follow(again)
    assert again.of(StrandShown)[-1].body is None
    hall.say()
    assert numbers(hall.stranger) == numbers(again) == 1


@pytest.mark.parametrize("how", ["revoked", "withdrawn", "withdrawn from followers", "ended"])
def test_what_ends_silences_followers_at_once_and_is_acted(how: str) -> None:
    hall = Hall(members=Tier.WITHHELD)
    hall.follow()
    if how == "ended":
        hall.record(hall.ada.approve(hall.ben.id, until_ms=hall.stage.now_ms + 500))
    hall.say()
    acted: list[ConsentActed] = hall.gate.acted
    match how:
        case "revoked":
            hall.gate.forward(hall.ada.approve(hall.ben.id, is_approved=False))
        case "withdrawn":
            hall.gate.forward(hall.ada.withdraw())
        case "withdrawn from followers":
            hall.gate.forward(hall.ada.withdraw(audience=Audience.FOLLOWERS))
        case _:
            hall.stage.advance(500)
    hall.stage.flush()
    assert isinstance(hall.follower.log[-1], Struck)
    assert (len(acted) == 1) is (how != "ended")
    hall.voice.epoch = hall.ada.counter if how != "ended" else hall.voice.epoch
    hall.say(3)
    hall.stage.advance(1100)
    assert numbers(hall.follower) == 1


def test_the_end_of_an_approval_that_was_not_there_is_acted_too() -> None:
    hall = Hall()
    hall.gate.forward(hall.ada.approve(hall.dara.id, is_approved=False))
    hall.stage.flush()
    assert len(hall.gate.acted) == 1


def test_an_approval_on_its_way_shows_nothing_before_it_is_recorded() -> None:
    hall = Hall(members=Tier.WITHHELD)
    hall.follow(hall.stranger)
    approval = hall.ada.approve(hall.cleo.id)
    hall.gate.forward(approval)
    hall.say()
    assert numbers(hall.stranger) == 0
    hall.record(approval)
    hall.say()
    assert numbers(hall.stranger) == 1


def test_an_exception_binds_a_follower_and_policy_and_charter_bound_the_grant() -> None:
    hall = Hall(members=Tier.WITHHELD)
    hall.follow()
    hall.say()
    hall.record(hall.ada.except_(hall.ben.id, Tier.COARSE))
    hall.stage.advance(10)
    hall.say()
    hall.stage.advance(1100)
    assert not hall.follower.screen.cells  # an end and a beginning do not meet
    hall.stage.advance(10_000)
    hall.say()
    hall.stage.advance(1100)
    assert numbers(hall.follower) == 1
    assert hall.follower.of(Coarse)
    hall.record(hall.ada.except_(hall.ben.id, Tier.FULL))
    hall.say()
    assert numbers(hall.follower) == 2
    hall.stage.policy(hall.room, tier_max=Tier.AGGREGATE)
    hall.say()
    assert numbers(hall.follower) == 2


def test_a_later_window_of_a_follower_holds_what_the_first_one_holds() -> None:
    """What members were shown goes over with them; what they were not shown stays unsaid."""
    hall = Hall()
    hall.say()
    hall.outgrow()
    hall.follow()
    later = hall.stage.join(hall.ben, hall.room)
    hall.follow(later)
    assert later.of(StrandShown)[-1].body == hall.voice.body

    hall = Hall(members=Tier.WITHHELD, followers=Tier.WITHHELD)
    hall.follow()
    hall.say()
    hall.record(hall.ada.grant(Tier.FULL), hall.ada.grant(Tier.FULL, audience=Audience.FOLLOWERS))
    hall.outgrow()
    later = hall.stage.join(hall.ben, hall.room)
    hall.follow(later)
    assert later.of(StrandShown)[-1].body is None


def test_what_waits_while_something_is_in_doubt_is_not_shown_under_a_later_approval() -> None:
    hall = Hall(members=Tier.WITHHELD)
    hall.follow(hall.stranger)
    hall.gate.answers = False
    hall.gate.next_number()  # a control message of the gateway is lost: everything waits
    hall.gate.beat()
    hall.say()
    hall.record(hall.ada.approve(hall.cleo.id))
    hall.gate.answers = True
    hall.stage.advance(1300)
    assert numbers(hall.stranger) == 0
    hall.say()
    hall.stage.advance(100)
    assert numbers(hall.stranger) == 1
    assert hall.stranger.screen.strands[hall.voice.strand].body == hall.voice.body


def test_members_and_followers_know_a_citizen_by_two_pseudonyms() -> None:
    hall = Hall(members=Tier.COARSE, followers=Tier.COARSE)
    hall.follow()
    hall.say()
    hall.stage.advance(1100)
    (as_member,) = hall.stranger.screen.cells
    assert list(hall.follower.screen.cells) == [as_member]  # a tie goes to the members
    hall.outgrow()
    assert not hall.follower.screen.cells
    hall.stage.advance(9_000)
    hall.say()
    hall.stage.advance(1_100)
    assert not hall.follower.screen.cells  # an end and a beginning do not meet
    hall.say()
    hall.stage.advance(1_100)
    (as_follower,) = hall.follower.screen.cells
    assert as_follower != as_member
    assert not hall.stranger.screen.cells


def test_whoever_sees_more_as_a_follower_is_told_as_one_alone() -> None:
    hall = Hall(members=Tier.COARSE)
    hall.say()
    hall.stage.advance(1100)
    assert hall.follower.screen.cells
    hall.follow()
    assert not hall.follower.screen.cells
    hall.say()
    hall.stage.advance(1100)
    assert (numbers(hall.follower), numbers(hall.stranger)) == (1, 0)
    assert hall.stranger.screen.cells
    assert not hall.follower.screen.cells
    before = len(hall.follower.log)
    hall.stage.follow(hall.follower)
    assert isinstance(hall.follower.log[before], Struck)
    hall.say()
    hall.stage.advance(1100)
    assert not hall.follower.screen.cells  # coarse begins 10 s later, by a pseudonym of its own
    hall.stage.advance(9_000)
    hall.say()
    hall.stage.advance(1100)
    assert hall.follower.screen.cells
    assert hall.follower.screen.cells.keys().isdisjoint(hall.stranger.screen.cells)


def test_a_pseudonym_that_was_struck_for_a_follower_comes_back_to_none_of_its_windows() -> None:
    """Who has seen somebody in full could know a cell again that went on without a break."""
    hall = Hall(members=Tier.COARSE)
    window = hall.stage.join(hall.ben, hall.room)
    hall.say()
    hall.stage.advance(1100)
    (members,) = hall.stranger.screen.cells
    assert list(window.screen.cells) == [members]
    hall.follow()
    assert not window.screen.cells
    hall.stage.leave(hall.follower)
    hall.stage.leave(window)
    back = hall.stage.join(hall.ben, hall.room)
    hall.say()
    hall.stage.advance(1100)
    assert list(hall.stranger.screen.cells) == [members]
    assert members not in back.screen.cells
    assert len(back.screen.cells) == 1


def test_a_follow_outlives_a_hole_and_a_restart_of_fanout() -> None:
    hall = Hall(members=Tier.WITHHELD)
    hall.follow()
    hall.say()
    hall.gate.numbers.clear()  # as if a batch were lost
    hall.say()
    hall.stage.advance(1300)
    hall.say()
    assert hall.follower.is_in
    hall.stage.restart()
    hall.stage.advance(1300)
    hall.voice.epoch = hall.ada.state.counter
    before = numbers(hall.follower)
    hall.say(2)
    assert numbers(hall.follower) == before + 2
    assert numbers(hall.stranger) == 0


def test_who_leaves_and_comes_back_follows_nobody() -> None:
    hall = Hall(members=Tier.WITHHELD)
    hall.follow()
    hall.say()
    hall.stage.leave(hall.follower)
    back = hall.stage.join(hall.ben, hall.room)
    hall.say()
    assert numbers(back) == 0
    hall.follow(back)
    hall.say()
    assert numbers(back) == 1
    assert numbers(hall.follower) == 1


def test_closeness_is_told_to_everybody_alike() -> None:
    hall = Hall()
    hall.follow()
    hall.outgrow()
    for viewer in (hall.follower, hall.stranger):
        assert [message.close for message in viewer.of(Closeness)] == [False]
