"""What was said while somebody was excepted never reaches them, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest

from shared.contracts import (
    Coarse,
    Enter,
    OpeningsAsk,
    SampleShown,
    SealShown,
    StrandShown,
    Struck,
    Tier,
)
from tests.support.fanout_stage import Citizen, Stage, Viewer, Voice


class Room:
    """`ada` speaks at full; `ben` is excepted, and she has said something that is not for him."""

    def __init__(self, tier: Tier = Tier.WITHHELD, *, grant: Tier = Tier.FULL) -> None:
        self.stage = Stage().start()
        self.gate = self.stage.gate()
        self.sanctuary = self.stage.room()
        self.ada: Citizen = self.stage.citizen("ada")
        self.ben: Citizen = self.stage.citizen("ben")
        self.cleo: Citizen = self.stage.citizen("cleo")
        self.stage.record(self.ada, self.ada.grant(grant))
        self.viewer: Viewer = self.stage.join(self.ben, self.sanctuary)
        self.member: Viewer = self.stage.join(self.cleo, self.sanctuary)
        self.voice: Voice = self.stage.voice(self.ada, self.sanctuary)
        self.say()
        self.stage.record(self.ada, self.ada.except_(self.ben.id, tier))
        self.say()
        self.secret = self.voice.body
        self.stage.witness = self.judge
        for viewer in (self.viewer, self.member):
            viewer.witness = self.judge

    def say(self, *, sealed: bool = True) -> None:
        """As a client does: with the number of the newest record."""
        self.voice.epoch = self.ada.state.counter
        self.voice.speak()
        if sealed:
            self.voice.seal_window()

    def judge(self, viewer: Viewer, _: bytes | None, message: Any) -> None:
        if viewer.person == self.ben.id and isinstance(message, SampleShown | StrandShown):
            assert message.body is None or message.body != self.secret

    def lift(self, tier: Tier = Tier.FULL, until_ms: int | None = None) -> None:
        self.stage.record(self.ada, self.ada.except_(self.ben.id, tier, until_ms=until_ms))

    def comes(self) -> Viewer:
        """Another session of the same person."""
        return self.stage.join(self.ben, self.sanctuary)

    def shown(self, viewer: Viewer) -> tuple[bool, bool]:
        """Whether it holds a sample, and a seal."""
        strand = viewer.screen.strands[self.voice.strand]
        return strand.body is not None, strand.seal is not None


def test_a_lifted_exception_shows_the_strand_without_what_was_said_under_it() -> None:
    room = Room()
    room.lift()
    (shown,) = room.viewer.log[-1:]
    assert isinstance(shown, StrandShown)
    assert (shown.next_seq, shown.body, shown.seal) == (2, None, None)
    assert room.comes().screen.state == room.viewer.screen.state
    assert room.shown(room.member) == (True, True)
    room.say(sealed=False)
    assert room.shown(room.viewer) == (True, False)
    assert room.comes().screen.state == room.viewer.screen.state
    room.voice.seal_window()
    assert room.viewer.screen.state == room.member.screen.state == room.comes().screen.state


def test_a_window_said_in_part_under_the_exception_shows_its_seal_and_is_incomplete() -> None:
    room = Room()
    room.say(sealed=False)
    room.secret = room.voice.body
    room.lift()
    room.say(sealed=False)
    room.voice.seal_window()
    assert [type(message) for message in room.viewer.log[-3:]] == [
        StrandShown,
        SampleShown,
        SealShown,
    ]
    assert room.viewer.log[-3].next_seq == 3


def test_who_comes_after_the_lift_and_after_others_got_more_is_shown_only_what_came_since() -> None:
    room = Room()
    room.stage.leave(room.viewer)
    room.lift()
    first = room.comes()
    assert room.shown(first) == (False, False)
    room.stage.leave(first)
    room.stage.advance(20_000)
    assert room.shown(room.comes()) == (False, False)
    room.say()
    assert room.shown(room.comes()) == (True, True)


def test_two_sessions_and_a_change_of_gateway_hold_the_same() -> None:
    room = Room()
    other = room.comes()
    room.lift()
    assert room.shown(room.viewer) == room.shown(other) == (False, False)
    room.stage.leave(other)
    there = room.stage.join(room.ben, room.sanctuary, room.stage.gate("gateway-1"))
    assert there.screen.state == room.viewer.screen.state
    room.say()
    assert there.screen.state == room.viewer.screen.state == room.member.screen.state


def test_a_hole_in_the_edge_stream_brings_nothing_back() -> None:
    room = Room()
    room.lift()
    lost = [1]
    room.stage.lose = lambda publish: (
        publish.subject.startswith("edge") and bool(lost and lost.pop())
    )
    room.stage.sig_beat(room.sanctuary)
    room.stage.leave(room.stage.join(room.cleo, room.sanctuary))
    room.stage.advance(700)
    assert any(isinstance(each, Enter) and each.gap for each in room.gate.operations)
    assert room.shown(room.viewer) == (False, False)
    assert room.shown(room.member) == (True, True)


@pytest.mark.parametrize("step", [Tier.AGGREGATE, Tier.COARSE])
def test_from_withheld_by_a_middle_tier_to_full(step: Tier) -> None:
    room = Room()
    room.lift(step)
    room.say()
    room.secret = room.voice.body
    room.stage.advance(12_000)
    room.lift()
    assert room.shown(room.viewer) == (False, False)
    room.say()
    assert room.viewer.screen.state == room.member.screen.state


def test_an_exception_made_milder_shows_no_cell_of_what_was_said_before() -> None:
    room = Room()
    room.stage.leave(room.viewer)  # nobody of them is there to be kept in the dark
    room.stage.advance(1000)
    room.lift(Tier.COARSE)
    viewer = room.comes()
    room.stage.advance(2000)
    assert viewer.of(Coarse) == []
    room.say()
    room.stage.advance(1000)
    assert len(viewer.of(Coarse)) == 1


def test_a_room_that_is_seen_coarse_shows_no_cell_from_before_the_lift() -> None:
    room = Room(grant=Tier.COARSE)
    room.stage.advance(1000)
    room.stage.leave(room.viewer)
    room.lift()
    viewer = room.comes()
    room.stage.advance(2000)
    assert viewer.of(Coarse) == []
    assert room.member.of(Coarse) != []
    room.say()
    room.stage.advance(1000)
    assert len(viewer.of(Coarse)) == 1


def test_a_grant_shows_who_is_seen_coarse_no_cell_from_before_it() -> None:
    room = Room(Tier.COARSE, grant=Tier.WITHHELD)
    room.stage.record(room.ada, room.ada.grant(Tier.FULL))
    viewer = room.comes()
    room.stage.advance(2000)
    assert viewer.of(Coarse) == room.viewer.of(Coarse) == []


def test_an_exception_that_ends_by_time_hides_what_was_said_before_its_end() -> None:
    room = Room()
    room.lift(Tier.WITHHELD, until_ms=room.stage.now_ms + 700)
    room.say()
    room.secret = room.voice.body
    room.stage.advance(699)
    assert room.viewer.screen.strands == {}
    room.stage.advance(1)
    assert room.shown(room.viewer) == room.shown(room.comes()) == (False, False)


def test_a_withdrawal_between_exception_and_grant_changes_nothing_of_it() -> None:
    room = Room()
    room.stage.record(room.ada, room.ada.withdraw())
    room.lift()
    room.stage.record(room.ada, room.ada.grant(Tier.FULL))
    for viewer in (room.viewer, room.member, room.comes()):
        assert room.shown(viewer) == (False, False)


def test_a_new_exception_after_a_lift_strikes_again_and_its_lift_hides_again() -> None:
    room = Room()
    room.lift()
    room.say()
    room.lift(Tier.WITHHELD)
    assert isinstance(room.viewer.log[-1], Struck)
    room.say()
    room.secret = room.voice.body
    room.lift()
    assert room.shown(room.viewer) == room.shown(room.comes()) == (False, False)


# ── a fanout that begins anew ────────────────────────────────────────────────────────────────────


def test_after_a_restart_what_was_said_before_the_newest_record_is_shown_to_nobody() -> None:
    room = Room()
    room.lift()
    room.stage.restart()
    room.stage.advance(1000)
    assert room.shown(room.viewer) == room.shown(room.member) == (False, False)
    room.say()
    assert room.viewer.screen.state == room.member.screen.state
    assert room.shown(room.viewer) == (True, True)


def test_after_a_restart_what_was_said_since_the_newest_record_is_shown_at_once() -> None:
    room = Room()
    room.lift()
    room.say()
    room.stage.restart()
    room.stage.advance(1000)
    assert room.shown(room.viewer) == room.shown(room.member) == (True, True)


def test_after_a_restart_an_exception_that_has_ended_still_hides() -> None:
    room = Room()
    room.lift(Tier.WITHHELD, until_ms=room.stage.now_ms + 700)
    room.say()
    room.secret = room.voice.body
    room.stage.advance(800)
    room.stage.restart()
    room.stage.advance(1000)
    assert room.shown(room.viewer) == room.shown(room.comes()) == (False, False)
    assert room.shown(room.member) == (True, True)
    room.say()
    assert room.viewer.screen.state == room.member.screen.state


# ── what was said and waits ──────────────────────────────────────────────────────────────────────


def test_a_sample_found_in_openings_is_not_shown_to_whom_the_one_before_was_not() -> None:
    room = Room()
    room.lift(Tier.WITHHELD, until_ms=room.stage.now_ms + 700)
    room.say()
    room.voice.body = room.secret = room.voice.body_of(room.voice.next_seq)
    room.voice.next_seq += 1
    room.stage.answers.discard(OpeningsAsk)
    room.stage.sig(room.voice, lost=True)
    room.stage.sig_beat(room.sanctuary)
    room.stage.advance(700)
    room.stage.answers.add(OpeningsAsk)
    room.stage.advance(300)
    assert room.shown(room.viewer) == room.shown(room.comes()) == (False, False)
    assert room.shown(room.member) == (True, True)


def test_what_waits_in_a_hold_is_not_shown_under_a_lift_that_came_behind_it() -> None:
    room = Room()
    room.gate.answers = False
    room.gate.next_number()
    room.gate.beat()
    room.say(sealed=False)
    room.secret = room.voice.body
    room.lift()
    assert room.viewer.screen.strands == {}
    room.gate.answers = True
    room.stage.advance(400)
    assert room.member.screen.strands[room.voice.strand].body == room.secret
    assert room.shown(room.viewer) == (False, False)
    room.say()
    assert room.viewer.screen.state == room.member.screen.state


def test_who_is_shown_everything_again_after_a_doubt_is_not_shown_more_than_before() -> None:
    room = Room()
    room.lift()
    room.stage.join(room.ada, room.sanctuary, room.stage.gate("gateway-1"))
    hers = room.stage.gate("gateway-1")
    hers.answers = False
    hers.next_number()
    hers.beat()
    room.stage.advance(1500)  # now only what is hers waits
    late = room.comes()
    assert late.screen.strands == {}
    hers.answers = True
    room.stage.advance(500)
    assert room.shown(late) == room.shown(room.viewer) == (False, False)
    assert room.shown(room.member) == (True, True)
