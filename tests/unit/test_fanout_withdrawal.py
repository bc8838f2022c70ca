"""Narrowing acts, then records; widening records, then acts; `acted` means that everyone passed."""

from __future__ import annotations

import pytest

from services.fanout.core.consents import PENDING_MAX
from services.fanout.core.withdrawal import NOBODY
from shared.contracts import (
    Audience,
    Coarse,
    Kind,
    Marker,
    Purpose,
    SampleShown,
    StrandShown,
    Strike,
    Struck,
    Tier,
    Withdrawal,
)
from tests.support.fanout_stage import Citizen, Stage, Viewer, Voice


class Room:
    """A commons with `ada`, who is seen at full and has spoken, and `ben`, who looks."""

    def __init__(self, tier: Tier = Tier.FULL) -> None:
        self.stage = Stage().start()
        self.gate = self.stage.gate()
        self.sanctuary = self.stage.room()
        self.ada: Citizen = self.stage.citizen("ada")
        self.ben: Citizen = self.stage.citizen("ben")
        self.stage.record(self.ada, self.ada.grant(tier))
        self.viewer: Viewer = self.stage.join(self.ben, self.sanctuary)
        self.voice: Voice = self.stage.voice(self.ada, self.sanctuary)
        self.voice.speak()
        if tier is Tier.COARSE:
            self.stage.advance(1000)

    @property
    def struck(self) -> Struck:
        return Struck(self.sanctuary, self.ada.id, None)

    def passes(self, *, with_markers: bool) -> None:
        for gate in self.stage.gates.values():
            gate.passes = with_markers


def test_a_withdrawal_strikes_before_it_is_recorded_and_is_acted_once_passed() -> None:
    room = Room()
    room.passes(with_markers=False)
    room.gate.forward(room.ada.withdraw())
    room.stage.flush()
    assert room.viewer.log[-1] == room.struck
    room.voice.speak(3)
    assert room.viewer.log[-1] == room.struck
    assert room.gate.acted == []
    room.gate.pass_markers()
    ((acted,),) = [room.gate.acted]
    assert (acted.citizen, acted.counter, acted.ref) == (room.ada.id, 2, 1)
    assert (acted.ordinal, acted.replicas) == (0, 1)


def test_a_lower_grant_narrows_at_once_and_a_higher_one_waits_for_its_record() -> None:
    room = Room()
    lower = room.ada.grant(Tier.AGGREGATE)
    room.gate.forward(lower)
    room.stage.flush()
    assert room.viewer.log[-1] == room.struck
    assert len(room.gate.acted) == 1
    room.stage.record(room.ada, lower)
    higher = room.ada.grant(Tier.FULL)
    room.gate.forward(higher)
    room.voice.speak()
    assert room.viewer.log[-1] == room.struck
    assert len(room.gate.acted) == 1  # it takes nothing away
    room.stage.record(room.ada, higher)
    room.voice.speak()
    shown, sample = room.viewer.log[-2:]
    assert isinstance(shown, StrandShown)
    assert isinstance(sample, SampleShown)


def test_a_widening_shows_the_strand_but_nothing_that_was_said_before_it() -> None:
    room = Room(Tier.WITHHELD)
    room.voice.speak(3)
    room.voice.seal_window()
    room.stage.record(room.ada, room.ada.grant(Tier.FULL))
    (shown,) = room.viewer.log
    assert isinstance(shown, StrandShown)
    assert (shown.next_seq, shown.body, shown.seal) == (4, None, None)
    room.voice.speak()
    assert room.stage.join(room.ben, room.sanctuary).screen.state == room.viewer.screen.state


def test_pending_records_never_let_more_through_than_the_recorded_state() -> None:
    """The least over the recorded state and every prefix: a grant behind a withdrawal waits."""
    room = Room()
    withdrawal = room.ada.withdraw()
    grant = room.ada.grant(Tier.FULL, sanctuary=room.sanctuary)
    room.gate.forward(withdrawal)
    room.gate.forward(grant)
    room.voice.speak()
    assert room.viewer.log[-1] == room.struck
    room.stage.record(room.ada, withdrawal)
    room.voice.speak()
    assert room.viewer.log[-1] == room.struck
    room.stage.record(room.ada, grant)
    room.voice.speak()
    assert isinstance(room.viewer.log[-1], SampleShown)


def test_a_withdrawal_behind_a_lost_record_acts_all_the_same() -> None:
    room = Room()
    lost = room.ada.grant(Tier.COARSE)
    withdrawal = room.ada.withdraw()
    room.gate.forward(withdrawal)
    room.stage.flush()
    assert room.viewer.log[-1] == room.struck
    room.gate.forward(lost)
    room.stage.record(room.ada, lost, withdrawal)
    room.voice.speak()
    assert room.viewer.log[-1] == room.struck


def test_a_record_behind_a_lost_one_is_acted_since_it_may_take_something_away() -> None:
    room = Room(Tier.COARSE)
    room.ada.grant(Tier.FULL)  # lost on the way here; another fanout may have shown it
    room.gate.forward(room.ada.grant(Tier.COARSE))
    room.stage.flush()
    assert len(room.gate.acted) == 1


def test_a_refused_record_is_taken_back() -> None:
    room = Room()
    withdrawal = room.ada.withdraw()
    room.gate.forward(withdrawal)
    room.stage.refuse(room.ada, withdrawal)
    room.voice.speak()
    assert [type(m) for m in room.viewer.log[-2:]] == [StrandShown, SampleShown]


def test_a_record_that_is_not_signed_by_the_citizen_does_nothing() -> None:
    room = Room()
    ada = room.ada
    record = Withdrawal(ada.id, ada.counter + 1, ada.head, room.stage.now_ms, None, None, None)
    forged = ada.sign(record, signer=room.ben.identity)
    room.gate.forward(forged)
    room.voice.speak()
    assert isinstance(room.viewer.log[-1], SampleShown)
    assert room.gate.acted == []
    assert room.stage.core.counts.bad_signatures == 1


def test_more_pending_records_than_are_kept_withhold_everything() -> None:
    room = Room()
    for _ in range(PENDING_MAX + 1):
        room.gate.forward(room.ada.grant(Tier.FULL))
    room.stage.flush()
    assert room.viewer.log[-1] == room.struck


# ── acted ────────────────────────────────────────────────────────────────────────────────────────


def test_a_withdrawal_that_narrows_nothing_strikes_nobody_and_is_acted() -> None:
    room = Room()
    room.gate.operations.clear()
    room.gate.forward(room.ada.withdraw(purpose=Purpose.RECORD))
    room.stage.flush()
    (marker,) = room.gate.operations
    assert isinstance(marker, Marker)
    assert marker.citizen == NOBODY  # still on show: nothing of it is purged
    assert len(room.gate.acted) == 1
    room.voice.speak()
    assert isinstance(room.viewer.log[-1], SampleShown)


def test_acted_waits_for_every_gateway_and_a_late_one_is_fenced() -> None:
    room = Room()
    other = room.stage.gate("gateway-1")
    far = room.stage.join(room.ben, room.sanctuary, other)
    other.passes = False
    room.gate.forward(room.ada.withdraw())
    room.stage.advance(900)
    assert far.log[-1] == room.struck
    assert room.gate.acted == []
    assert not other.fenced
    room.stage.advance(200)
    assert other.fenced
    assert len(room.gate.acted) == 1
    before = len(other.batches)
    room.stage.advance(2000)
    assert len(other.batches) == before  # nothing more under this incarnation
    # its successor answers for itself
    other.incarnation, other.fenced, other.passes = 8, False, True
    other.tombstones.clear()
    other.numbers.clear()
    room.stage.seats = {
        key: seat for key, seat in room.stage.seats.items() if seat.gateway != "gateway-1"
    }
    room.stage.advance(500)
    assert len(other.batches) > before


def test_what_was_about_to_be_sent_to_a_fenced_gateway_is_dropped() -> None:
    room = Room()
    room.passes(with_markers=False)
    room.gate.forward(room.ben.withdraw())
    room.stage.flush()
    room.stage.flush, flush = (lambda: None), room.stage.flush  # type: ignore[method-assign]
    room.voice.speak()
    room.stage.advance(1100)
    room.stage.flush = flush  # type: ignore[method-assign]
    room.stage.flush()
    assert room.gate.fenced
    assert len(room.viewer.of(SampleShown)) == 1


def test_a_repeat_is_answered_again_once_it_is_done_and_only_then() -> None:
    room = Room()
    room.passes(with_markers=False)
    withdrawal = room.ada.withdraw()
    for again in (False, True, True):
        room.gate.forward(withdrawal, again=again)
    room.stage.flush()
    assert len([o for o in room.gate.operations if isinstance(o, Marker)]) == 1
    room.gate.pass_markers()
    assert len(room.gate.acted) == 1
    room.gate.forward(withdrawal, again=True)
    assert len(room.gate.acted) == 2
    room.gate.forward(withdrawal, ref=9, again=True)
    assert room.gate.acted[-1].ref == 9


def test_a_record_that_was_recorded_before_it_was_forwarded_is_acted_if_it_took_something() -> None:
    room = Room()
    withdrawal = room.ada.withdraw()
    room.stage.record(room.ada, withdrawal)
    assert room.viewer.log[-1] == room.struck
    room.gate.forward(withdrawal)
    room.stage.flush()
    assert len(room.gate.acted) == 1
    grant = room.ada.grant(Tier.COARSE)
    room.stage.record(room.ada, grant)
    room.gate.forward(grant)
    room.stage.flush()
    assert len(room.gate.acted) == 1


def test_markers_that_a_gateway_lost_are_sent_again_with_the_stream() -> None:
    room = Room()
    room.stage.lose = lambda publish: publish.subject.startswith("edge.")
    room.gate.forward(room.ada.withdraw())
    room.stage.flush()
    room.stage.lose = lambda _: False
    room.stage.advance(800)
    assert len(room.gate.acted) == 1
    assert not room.gate.fenced
    assert room.viewer.is_in
    assert room.viewer.screen.strands == {}


def test_a_predecessors_marker_is_not_taken_for_ours() -> None:
    room = Room()
    room.passes(with_markers=False)
    room.gate.forward(room.ada.withdraw())
    room.stage.flush()
    (first,) = [marker.marker for _, marker in room.gate.markers]
    room.gate.markers.clear()
    room.stage.restart()
    room.stage.advance(700)
    numbers = [marker.marker for _, marker in room.gate.markers]
    assert first not in numbers


# ── exceptions, expiry, coarse ───────────────────────────────────────────────────────────────────


def test_an_exception_strikes_one_person_and_no_other() -> None:
    room = Room()
    cleo = room.stage.citizen("cleo")
    other = room.stage.join(cleo, room.sanctuary)
    room.gate.forward(room.ada.except_(room.ben.id, Tier.WITHHELD))
    room.voice.speak()
    assert room.viewer.log[-1] == room.struck
    assert isinstance(other.log[-1], SampleShown)
    assert other.of(Struck) == []
    strikes = [o for o in room.gate.operations if isinstance(o, Strike)]
    assert [strike.session is None for strike in strikes] == [False]


def test_who_is_excepted_is_not_told_of_a_strike_of_somebody_it_does_not_see() -> None:
    room = Room()
    cleo = room.stage.citizen("cleo")
    room.stage.record(room.ada, room.ada.except_(cleo.id, Tier.WITHHELD))
    denied = room.stage.join(cleo, room.sanctuary)
    room.gate.forward(room.ada.withdraw())
    room.stage.flush()
    assert room.viewer.log[-1] == room.struck
    assert denied.log == []


def test_a_lifted_exception_shows_the_strand_to_that_person_alone() -> None:
    room = Room()
    cleo = room.stage.citizen("cleo")
    other = room.stage.join(cleo, room.sanctuary)
    room.stage.record(room.ada, room.ada.except_(room.ben.id, Tier.COARSE))
    room.stage.advance(12_000)
    room.voice.speak()
    room.stage.advance(1000)
    assert isinstance(room.viewer.log[-1], Coarse)
    seen = len(other.log)
    room.stage.record(room.ada, room.ada.except_(room.ben.id, Tier.FULL))
    assert isinstance(room.viewer.log[-2], Struck)
    assert room.viewer.log[-2].pseudonym is not None
    assert isinstance(room.viewer.log[-1], StrandShown)
    assert len(other.log) == seen
    room.voice.speak()
    assert isinstance(room.viewer.log[-1], SampleShown)


def test_who_is_readmitted_to_coarse_does_not_meet_the_struck_pseudonym_again() -> None:
    room = Room(Tier.COARSE)
    (first,) = room.viewer.of(Coarse)
    room.stage.record(room.ada, room.ada.except_(room.ben.id, Tier.WITHHELD))
    assert room.viewer.log[-1] == Struck(room.sanctuary, None, first.pseudonym)
    room.stage.record(room.ada, room.ada.except_(room.ben.id, Tier.FULL))
    for _ in range(12):
        room.voice.speak()
        room.stage.advance(1000)
    second = room.stage.join(room.ben, room.sanctuary)
    assert isinstance(room.viewer.log[-1], Coarse)
    assert room.viewer.log[-1].pseudonym != first.pseudonym
    assert second.screen.state == room.viewer.screen.state
    other = room.stage.join(room.stage.citizen("cleo"), room.sanctuary)
    assert set(other.screen.cells) == {first.pseudonym}
    room.stage.record(room.ada, room.ada.grant(Tier.FULL))
    room.voice.speak()
    assert room.viewer.screen.state[:2] == other.screen.state[:2]
    assert room.viewer.screen.cells == {}


@pytest.mark.parametrize("until", [1, 40, 700])
def test_a_grant_that_ends_acts_by_the_routers_own_timer(until: int) -> None:
    room = Room()
    room.stage.record(room.ada, room.ada.grant(Tier.FULL, until_ms=room.stage.now_ms + until))
    room.stage.advance(until - 1)
    room.voice.speak()
    assert room.viewer.of(Struck) == []
    assert len(room.viewer.of(SampleShown)) == 2
    room.stage.advance(1)
    assert room.viewer.log[-1] == room.struck


def test_what_ended_is_over_before_the_next_event_even_if_the_timer_is_late() -> None:
    room = Room()
    room.stage.record(room.ada, room.ada.grant(Tier.FULL, until_ms=room.stage.now_ms + 10))
    room.stage.now_ms += 10  # type: ignore[assignment]
    room.voice.speak()
    assert room.viewer.log[-1] == room.struck


def test_coarse_begins_ten_seconds_after_full_ended_under_a_pseudonym_of_its_own() -> None:
    room = Room()
    room.stage.record(room.ada, room.ada.grant(Tier.COARSE))
    for _ in range(9):
        room.voice.speak()
        room.stage.advance(1000)
    assert room.viewer.log[-1] == room.struck
    for _ in range(3):
        room.voice.speak()
        room.stage.advance(1000)
    pseudonyms = {record.pseudonym for record in room.viewer.of(Coarse)}
    assert len(pseudonyms) == 1


def test_a_struck_pseudonym_is_never_used_again() -> None:
    room = Room(Tier.COARSE)
    (first,) = room.viewer.of(Coarse)
    room.stage.record(room.ada, room.ada.withdraw())
    assert room.viewer.log[-1] == Struck(room.sanctuary, None, first.pseudonym)
    room.stage.record(room.ada, room.ada.grant(Tier.COARSE))
    for _ in range(13):
        room.voice.speak()
        room.stage.advance(1000)
    later = {record.pseudonym for record in room.viewer.of(Coarse)[1:]}
    assert len(later) == 1
    assert first.pseudonym not in later


def test_a_strand_that_ended_is_blanked_too() -> None:
    room = Room()
    room.voice.close()
    room.stage.advance(20_000)
    room.gate.forward(room.ada.withdraw())
    room.stage.flush()
    assert room.viewer.log[-1] == room.struck


def test_a_listener_who_withdraws_is_not_announced_by_it() -> None:
    room = Room()
    room.stage.record(room.ben, room.ben.grant(Tier.FULL))
    mine = room.stage.join(room.ada, room.sanctuary)
    before = len(mine.log)
    room.gate.forward(room.ben.withdraw())
    room.stage.flush()
    assert len(mine.log) == before
    assert len(room.gate.acted) == 1


def test_a_withdrawal_of_the_public_leaves_the_members_what_they_were_granted() -> None:
    stage = Stage().start()
    gate = stage.gate()
    sanctuary = stage.room("stage", Kind.STAGE, public=True)
    ada, ben = stage.citizen("ada"), stage.citizen("ben")
    stage.record(ada, ada.grant(Tier.COARSE), ada.grant(Tier.FULL, audience=Audience.PUBLIC))
    member, anonymous = stage.join(ben, sanctuary), gate.watch(sanctuary)
    voice = stage.voice(ada, sanctuary)
    voice.speak()
    gate.forward(ada.withdraw(audience=Audience.PUBLIC))
    voice.speak()
    struck = Struck(sanctuary, ada.id, None)
    assert member.log[-1] == anonymous.log[-1] == struck
    for _ in range(12):
        stage.advance(1000)
        voice.speak()
        gate.interest(sanctuary, 1)
    assert isinstance(member.log[-1], Coarse)
    assert anonymous.log[-1] == struck
