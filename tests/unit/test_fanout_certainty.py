"""Nothing is delivered before it is certain, nor while it is not: starts, silence, holes, restarts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.fanout.core import Superseded
from shared import subjects
from shared.contracts import (
    Clear,
    EdgeBatch,
    Enter,
    FanoutBeat,
    GatewayBeat,
    Kind,
    MembersAsk,
    OpeningsAsk,
    SampleShown,
    SigBatch,
    Skipped,
    SnapshotAsk,
    StateAsk,
    StrandEnded,
    StrandShown,
    Struck,
    Tier,
    TombstonesWanted,
)
from shared.identifiers import slot_of
from tests.support.fanout_stage import MS, Stage, Viewer, Voice


class Room:
    """`ada` speaks at full from gateway-1, `ben` looks on from gateway-0."""

    def __init__(self) -> None:
        self.stage = Stage().start()
        self.gate = self.stage.gate()
        self.hers = self.stage.gate("gateway-1")
        self.sanctuary = self.stage.room()
        self.slot = slot_of(self.sanctuary)
        self.ada = self.stage.citizen("ada")
        self.ben = self.stage.citizen("ben")
        self.cleo = self.stage.citizen("cleo")
        for citizen in (self.ada, self.cleo):
            self.stage.record(citizen, citizen.grant(Tier.FULL))
        self.viewer: Viewer = self.stage.join(self.ben, self.sanctuary)
        self.stage.join(self.ada, self.sanctuary, self.hers)
        self.voice: Voice = self.stage.voice(self.ada, self.sanctuary)
        self.other: Voice = self.stage.voice(self.cleo, self.sanctuary)
        self.voice.speak()

    def samples(self, voice: Voice | None = None) -> int:
        return len(
            [m for m in self.viewer.of(SampleShown) if m.strand == (voice or self.voice).strand]
        )

    def speak(self, times: int, *, every_ms: int) -> None:
        for _ in range(times):
            self.voice.speak()
            self.other.speak()
            self.stage.advance(every_ms)


# ── the start ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("missing", [StateAsk, MembersAsk, OpeningsAsk, "beat", "tombstones"])
def test_a_fanout_that_starts_delivers_nothing_before_it_has_everything(missing: Any) -> None:
    room = Room()
    stage = room.stage
    match missing:
        case "beat":
            stage.registry_beats = False
        case "tombstones":
            room.hers.answers = False
        case _:
            stage.answers.discard(missing)
    room.viewer.is_in = False
    stage.restart()
    for _ in range(10):
        room.voice.speak()
        stage.advance(500 if missing == "beat" else 200)
    if missing == "beat":
        # it is heard by its answers, then falls silent
        assert not stage.core.is_certain
        assert "the registry" in " ".join(stage.core.pending())
    else:
        assert not room.viewer.is_in
        assert stage.core.pending()
    stage.registry_beats = room.hers.answers = True
    stage.answers |= {StateAsk, MembersAsk, OpeningsAsk}
    stage.advance(1000)
    assert stage.core.pending() == []
    assert room.viewer.is_in
    assert room.viewer.screen.strands[room.voice.strand].next_seq == room.voice.next_seq


def test_what_came_before_a_start_was_certain_is_in_its_snapshots_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when it shares a turn with the last answer: else it would follow the snapshot, as samples
    that the snapshot holds already, or of strands that it does not show.
    """
    room = Room()
    stage = room.stage
    stage.answers.discard(OpeningsAsk)
    room.viewer.is_in = False
    stage.restart()
    stage.advance(900)  # the gateways have answered: there are streams, and nothing flows
    asked = next(
        ask
        for ask in reversed(stage.asked)
        if isinstance(ask.event, OpeningsAsk) and ask.event.slot == room.slot
    )
    stage.answers.add(OpeningsAsk)
    answer = stage.answer_to(asked)
    room.viewer.log.clear()
    with monkeypatch.context() as turn:
        turn.setattr(stage, "flush", lambda: None)
        room.voice.speak()
        room.other.speak()
        room.other.close()
        stage.carry_out(stage.core.answered(asked, answer, stage.now_ns, stage.now_ms))
    stage.flush()
    assert room.viewer.is_in
    assert [type(message) for message in room.viewer.log] == [StrandShown]
    assert room.viewer.screen.strands[room.voice.strand].next_seq == room.voice.next_seq
    room.voice.speak()
    stage.flush()
    assert room.samples() == 1


def test_openings_in_parts_are_known_when_all_are_here() -> None:
    room = Room()
    stage = room.stage
    stage.answers.discard(OpeningsAsk)
    room.viewer.is_in = False
    stage.restart()
    stage.advance(900)
    asked = next(
        ask
        for ask in reversed(stage.asked)
        if isinstance(ask.event, OpeningsAsk) and ask.event.slot == room.slot
    )
    stage.answers.add(OpeningsAsk)
    whole = stage.answer_to(asked)
    for part in (1, 0):
        assert not room.viewer.is_in
        some = whole.strands[part : part + 1]
        answer = msgspec.structs.replace(whole, strands=some, part=part, parts=2)
        stage.carry_out(stage.core.answered(asked, answer, stage.now_ns, stage.now_ms))
        stage.flush()
    assert room.viewer.is_in
    assert {*room.viewer.screen.strands} == {room.voice.strand, room.other.strand}


def test_it_listens_600_ms_for_gateways_before_it_shows_anything() -> None:
    room = Room()
    room.viewer.is_in = False
    room.stage.restart()
    room.stage.advance(590)
    assert not room.viewer.is_in
    room.stage.advance(60)
    assert room.viewer.is_in
    assert room.stage.core.is_certain


def test_a_withdrawal_that_only_a_gateway_remembers_survives_a_restart() -> None:
    room = Room()
    room.hers.forward(room.ada.withdraw())
    room.stage.flush()
    assert room.viewer.log[-1] == Struck(room.sanctuary, room.ada.id, None)
    seen = room.samples()
    room.stage.restart()
    room.stage.advance(1000)
    room.voice.speak()
    assert room.viewer.is_in
    assert room.voice.strand not in room.viewer.screen.strands
    assert room.other.strand in room.viewer.screen.strands
    assert room.samples() == seen


def test_tombstones_that_come_before_the_registrys_state_are_kept() -> None:
    room = Room()
    room.hers.forward(room.ada.withdraw())
    room.stage.answers.discard(StateAsk)
    room.stage.restart()
    room.stage.advance(900)
    room.stage.answers.add(StateAsk)
    room.stage.advance(600)
    assert room.viewer.is_in
    assert room.voice.strand not in room.viewer.screen.strands


def test_a_gateway_that_comes_later_gets_nothing_until_it_has_answered() -> None:
    room = Room()
    late = room.stage.gate("gateway-2")
    assert late.batches  # it answered
    stubborn = room.stage.gates["gateway-3"] = type(late)(room.stage, "gateway-3", 9)
    stubborn.answers = False
    stubborn.beat()
    viewer = room.stage.join(room.ben, room.sanctuary, stubborn)
    room.stage.advance(1000)
    room.voice.speak()
    assert stubborn.batches == []
    assert room.samples() == 2  # the others go on
    stubborn.answers = True
    room.stage.advance(300)
    assert viewer.screen.strands[room.voice.strand].next_seq == 2


# ── the registry's silence ───────────────────────────────────────────────────────────────────────


def test_three_seconds_without_the_registry_hold_everything_until_it_is_back() -> None:
    room = Room()
    room.stage.registry_beats = False
    room.speak(5, every_ms=500)
    assert room.samples() == 6
    room.stage.advance(700)
    room.speak(5, every_ms=500)
    assert room.samples() == 6
    assert not room.stage.core.is_certain
    # a withdrawal acts meanwhile
    room.hers.forward(room.ada.withdraw())
    room.stage.flush()
    assert room.viewer.log[-1] == Struck(room.sanctuary, room.ada.id, None)
    room.gate.operations.clear()
    room.stage.registry_beats = True
    room.stage.advance(300)
    assert room.stage.core.is_certain
    mine = [o for o in room.gate.operations if isinstance(o, Enter)]
    assert any(isinstance(o, Clear) for o in room.gate.operations)
    assert len(mine) == 1
    assert mine[0].gap
    assert set(room.viewer.screen.strands) == {room.other.strand}
    assert room.viewer.screen.strands[room.other.strand].next_seq == 10


# ── a gateway's holes and silence ────────────────────────────────────────────────────────────────


def test_a_hole_in_control_holds_everything_and_then_it_goes_on_without_a_gap() -> None:
    room = Room()
    room.hers.answers = False
    room.hers.next_number()
    room.hers.beat()
    room.speak(3, every_ms=50)
    assert room.samples() == 1
    assert any(isinstance(p.event, TombstonesWanted) for p in room.stage.published[-40:])
    late = room.stage.join(room.cleo, room.sanctuary)
    assert not late.is_in
    room.hers.answers = True
    room.stage.advance(300)
    assert room.samples() == 4
    assert room.viewer.of(Skipped) == []
    assert late.is_in
    assert late.screen.state == room.viewer.screen.state


def test_the_withdrawal_that_was_lost_is_found_and_nothing_of_the_hold_gets_out() -> None:
    room = Room()
    room.hers.answers = False
    room.hers.next_number()
    room.hers.tombstones.append(room.ada.withdraw())
    room.hers.beat()
    room.speak(3, every_ms=50)
    room.hers.answers = True
    room.stage.advance(300)
    assert room.samples() == 1
    assert room.viewer.screen.strands.keys() == {room.other.strand}


def test_after_a_second_only_citizens_with_sessions_at_that_gateway_are_held() -> None:
    room = Room()
    room.hers.answers = False
    room.hers.next_number()
    room.hers.beat()
    room.speak(15, every_ms=100)
    assert room.samples(room.other) > 10  # nobody of hers
    assert room.samples() == 1
    late = room.stage.join(room.cleo, room.sanctuary)
    assert late.screen.strands.keys() == {room.other.strand}
    room.speak(15, every_ms=100)
    assert room.samples() == 1
    room.hers.answers = True
    room.stage.advance(300)
    assert room.viewer.screen.strands[room.voice.strand].next_seq == room.voice.next_seq
    (lost,) = room.viewer.of(Skipped)
    assert lost.reason == "lost"
    assert room.samples() + lost.last - lost.first + 1 == room.voice.next_seq
    assert late.screen.state[0].keys() == room.viewer.screen.state[0].keys()
    room.voice.speak()
    again = room.stage.join(room.cleo, room.sanctuary)
    assert again.screen.state == late.screen.state == room.viewer.screen.state


def test_a_gateway_silent_for_a_second_gets_nothing_until_it_has_answered() -> None:
    room = Room()
    room.gate.beats = room.gate.answers = False
    room.stage.advance(1100)
    before = len(room.gate.batches)
    room.voice.speak(3)
    room.stage.advance(700)
    assert len(room.gate.batches) == before
    assert room.stage.core.counts.holds == 0  # nobody else is held for it
    room.gate.beats = room.gate.answers = True
    room.stage.advance(300)
    first = room.gate.batches[before]
    assert isinstance(first.operations[0], Clear)
    assert room.viewer.screen.strands[room.voice.strand].next_seq == 4


def test_a_gateway_silent_for_three_seconds_is_gone_and_holds_nobody() -> None:
    room = Room()
    room.hers.answers = room.hers.beats = False
    room.hers.next_number()
    room.hers.say(GatewayBeat(room.hers.name, room.hers.incarnation, room.hers.number))
    room.stage.advance(3200)
    room.voice.speak()
    assert room.viewer.screen.strands[room.voice.strand].next_seq == room.voice.next_seq


def test_a_new_incarnation_begins_afresh_and_the_old_ones_words_are_ignored() -> None:
    room = Room()
    old = room.gate.incarnation
    room.gate.passes = False
    room.gate.forward(room.cleo.withdraw())
    room.gate.incarnation, room.gate.number, room.gate.passes = 8, 0, True
    room.gate.tombstones.clear()
    room.gate.numbers.clear()
    room.gate.markers.clear()
    room.gate.beat()
    room.stage.flush()
    assert len(room.gate.acted) == 1  # what the old one held is gone with it
    before = len(room.gate.batches)
    room.stage.receive(subjects.control("gateway-0"), GatewayBeat("gateway-0", old, 99))
    room.stage.advance(600)
    assert len(room.gate.batches) > before
    assert {batch.incarnation for batch in room.gate.batches[before:]} == {8}


def test_a_hole_in_the_edge_stream_starts_it_over() -> None:
    room = Room()
    room.stage.advance(300)
    room.stage.lose = lambda publish: publish.subject == "edge.gateway-0"
    room.voice.speak()
    room.stage.lose = lambda _: False
    room.gate.operations.clear()
    room.voice.speak()
    first, *rest = [b for b in room.gate.batches if b.slot == room.slot][-1].operations
    assert isinstance(first, Clear)
    assert [operation.gap for operation in rest if isinstance(operation, Enter)] == [True]
    assert room.viewer.screen.strands[room.voice.strand].next_seq == 3
    # asked again for the same hole: not started over twice
    count = len(room.gate.batches)
    ask = SnapshotAsk("gateway-0", room.gate.incarnation, room.slot)
    room.stage.receive(subjects.ask(subjects.FANOUT, room.slot), ask)
    room.stage.flush()
    assert len(room.gate.batches) == count
    room.stage.now_ns += 250 * MS  # type: ignore[assignment]
    room.stage.receive(subjects.ask(subjects.FANOUT, room.slot), ask)
    room.stage.flush()
    assert len(room.gate.batches) == count + 1


def test_a_strand_that_ends_while_its_citizen_is_held_ends_for_everyone_afterwards() -> None:
    room = Room()
    room.hers.answers = False
    room.hers.next_number()
    room.hers.beat()
    room.stage.advance(1100)
    room.stage.sig_epoch = 2  # its ingest is gone, and with it the strand
    room.stage.sig_numbers.clear()
    room.stage.strands.clear()
    fresh = room.stage.voice(room.ada, room.sanctuary)
    fresh.speak()
    assert [m.strand for m in room.viewer.of(StrandEnded)] == [room.other.strand]
    assert fresh.strand not in room.viewer.screen.strands
    room.hers.answers = True
    room.stage.advance(300)
    assert room.viewer.screen.strands.keys() == {fresh.strand}
    assert room.viewer.screen.state == room.stage.join(room.ben, room.sanctuary).screen.state


def test_openings_that_are_answered_during_a_hold_wait_too_and_what_waits_behind_them() -> None:
    room = Room()
    stage = room.stage
    stage.answers.discard(OpeningsAsk)
    lost = Voice(stage, room.cleo, room.sanctuary, "lost opening")
    stage.strands[lost.strand] = lost
    stage.sig(lost, lost=True)
    room.voice.speak()
    room.hers.answers = False
    room.hers.next_number()
    room.hers.beat()
    # ingest answered before the last sample was admitted
    stage.sig_numbers["commons", room.slot] -= 1
    room.voice.next_seq -= 1
    stage.answers.add(OpeningsAsk)
    stage.advance(400)
    stage.sig_numbers["commons", room.slot] += 1
    room.voice.next_seq += 1
    assert lost.strand not in room.viewer.screen.strands
    assert room.samples() == 1
    room.hers.answers = True
    stage.advance(300)
    assert lost.strand in room.viewer.screen.strands
    assert room.samples() == 2


def test_a_process_that_stood_still_delivers_nothing_before_it_has_asked_everyone_again() -> None:
    room = Room()
    withdrawal = room.ada.withdraw()
    room.hers.tombstones.append(withdrawal)  # forwarded while this process stood still
    room.stage.now_ns += 2000 * MS  # type: ignore[assignment]
    room.stage.now_ms += 2000  # type: ignore[assignment]
    room.voice.speak()
    room.other.speak()
    assert room.samples() == 1
    assert room.samples(room.other) == 0
    assert not room.stage.core.is_certain
    room.stage.advance(1000)
    assert room.stage.core.is_certain
    assert room.viewer.is_in
    assert room.viewer.screen.strands.keys() == {room.other.strand}
    assert room.viewer.screen.strands[room.other.strand].next_seq == 1
    assert not room.hers.fenced


def test_a_gateway_is_not_fenced_for_the_time_in_which_this_process_stood_still() -> None:
    room = Room()
    room.gate.passes = room.hers.passes = False
    room.gate.forward(room.ada.withdraw())
    room.stage.flush()
    room.stage.now_ns += 2000 * MS  # type: ignore[assignment]
    room.stage.now_ms += 2000  # type: ignore[assignment]
    room.gate.passes = room.hers.passes = True
    room.stage.advance(900)
    assert not room.gate.fenced
    assert len(room.gate.acted) == 1


def test_a_process_whose_name_was_taken_over_ends() -> None:
    room = Room()
    beats = [word for word in room.stage.words_heard if isinstance(word, FanoutBeat)]
    room.stage.receive("control.fanout-0", beats[-1])  # its own, heard again
    with pytest.raises(Superseded):
        room.stage.receive(
            "control.fanout-0", FanoutBeat("fanout-0", 0, 1, 0, False, beats[-1].epoch + 1)
        )


# ── ingest's holes and restarts ──────────────────────────────────────────────────────────────────


def test_samples_lost_on_the_bus_are_announced_by_their_numbers() -> None:
    room = Room()
    voice = room.voice
    for _ in range(3):
        voice.body = voice.body_of(voice.next_seq)
        voice.next_seq += 1
        room.stage.sig(voice, lost=True)
    voice.speak()
    assert room.viewer.of(Skipped) == [Skipped(voice.strand, 1, 4, "lost")]
    late = room.stage.join(room.ben, room.sanctuary)
    assert late.screen.state == room.viewer.screen.state
    voice.speak()
    assert room.samples() == 2


def test_a_lost_tail_shows_by_the_next_beat() -> None:
    room = Room()
    room.voice.next_seq += 2
    room.stage.sig(room.voice, lost=True)
    room.stage.sig_beat(room.sanctuary)
    assert room.viewer.of(Skipped) == [Skipped(room.voice.strand, 1, 2, "lost")]


def test_lost_openings_and_endings_are_found() -> None:
    room = Room()
    lost = Voice(room.stage, room.cleo, room.sanctuary, "lost opening")
    room.stage.strands[lost.strand] = lost
    room.stage.sig(lost, lost=True)
    del room.stage.strands[room.voice.strand]
    room.stage.sig(room.voice, lost=True)
    room.stage.sig_beat(room.sanctuary)
    assert lost.strand in room.viewer.screen.strands
    assert room.viewer.of(StrandEnded) == [
        StrandEnded(room.voice.strand, "interrupted", None, None)
    ]


def test_what_comes_while_ingest_is_asked_waits_and_follows_in_order() -> None:
    room = Room()
    room.stage.answers.discard(OpeningsAsk)
    room.stage.sig(room.other, lost=True)
    room.voice.speak(3)
    assert room.samples() == 1
    room.stage.answers.add(OpeningsAsk)
    asked = room.voice
    asked.next_seq, later = 1, asked.next_seq  # ingest answered before these were admitted
    room.stage.sig_numbers["commons", room.slot] -= 3
    room.stage.advance(300)
    asked.next_seq = later
    room.stage.sig_numbers["commons", room.slot] += 3
    assert room.samples() == 4
    assert room.viewer.of(Skipped) == []


def test_a_new_ingest_interrupts_its_predecessors_strands() -> None:
    room = Room()
    old_number = room.stage.sig_numbers["commons", room.slot]
    room.stage.sig_epoch = 2
    room.stage.sig_numbers.clear()
    room.stage.strands.clear()
    fresh = room.stage.voice(room.ada, room.sanctuary)
    fresh.speak()
    assert [m.reason for m in room.viewer.of(StrandEnded)] == ["interrupted", "interrupted"]
    assert set(room.viewer.screen.strands) == {fresh.strand}
    asks = [a for a in room.stage.asked if isinstance(a.event, OpeningsAsk)]
    # a stale instance speaks on
    room.stage.receive(
        f"sig.commons.{room.slot}",
        SigBatch(room.slot, 1, old_number + 1, (room.voice.row,), ()),
    )
    room.voice.speak()
    assert set(room.viewer.screen.strands) == {fresh.strand}
    assert len([a for a in room.stage.asked if isinstance(a.event, OpeningsAsk)]) == len(asks)


def test_an_ask_for_openings_names_the_highest_epoch_seen() -> None:
    """So that an ingest which has been superseded, and is asked, ends itself."""
    room = Room()
    first, *_ = [ask.event for ask in room.stage.asked if isinstance(ask.event, OpeningsAsk)]
    assert first.epoch == -1, "none was seen yet"
    room.stage.sig_epoch = 7
    room.stage.sig_numbers.clear()
    room.stage.voice(room.ada, room.sanctuary)
    # its predecessor answers instead of it: not taken, and asked again
    room.stage.sig_epoch, asked = 3, len(room.stage.asked)
    room.stage.sig_numbers["commons", room.slot] += 1
    room.stage.receive(
        f"sig.commons.{room.slot}",
        SigBatch(room.slot, 7, room.stage.sig_numbers["commons", room.slot] + 1, (), ()),
    )
    room.stage.advance(600)
    asks = [ask.event for ask in room.stage.asked[asked:] if isinstance(ask.event, OpeningsAsk)]
    assert asks == [OpeningsAsk(room.slot, 7)] * 3


def test_repeated_and_unordered_batches_deliver_nothing_twice() -> None:
    room = Room()
    number = room.stage.sig_numbers["commons", room.slot]
    for repeated in (number, number - 1, 0):
        room.stage.receive(
            f"sig.commons.{room.slot}",
            SigBatch(room.slot, 1, repeated, (room.voice.row,), ()),
        )
    room.stage.flush()
    room.voice.next_seq = 0
    room.voice.speak()
    assert room.samples() == 1
    assert room.stage.core.counts.repeated == 1


# ── consent epochs ───────────────────────────────────────────────────────────────────────────────


def test_samples_of_an_unknown_epoch_wait_for_their_record_and_go_out_in_order() -> None:
    room = Room()
    grant = room.ada.grant(Tier.FULL)
    room.voice.epoch = 2
    room.voice.speak(2)
    room.voice.seal_window()
    room.stage.advance(500)
    assert room.samples() == 1
    room.stage.record(room.ada, grant)
    assert room.samples() == 3
    assert room.viewer.of(Skipped) == []
    room.voice.speak()
    assert room.samples() == 4


def test_a_pending_withdrawal_makes_its_epoch_known() -> None:
    room = Room()
    room.voice.epoch = 2
    room.voice.speak()
    room.hers.forward(room.ada.withdraw())
    room.stage.advance(100)
    assert room.samples() == 1
    assert room.viewer.log[-1] == Struck(room.sanctuary, room.ada.id, None)


def test_after_a_second_they_are_skipped_by_name() -> None:
    room = Room()
    room.voice.epoch = 2
    room.voice.speak(2)
    room.stage.advance(1100)
    assert room.viewer.of(Skipped) == [
        Skipped(room.voice.strand, 1, 1, "unknown epoch"),
        Skipped(room.voice.strand, 2, 2, "unknown epoch"),
    ]
    room.other.speak()
    assert room.samples(room.other) == 1
    room.stage.record(room.ada, room.ada.grant(Tier.FULL))
    room.voice.speak()
    assert room.samples() == 2


def test_what_waits_for_an_epoch_is_bounded() -> None:
    room = Room()
    room.voice.epoch = 2
    room.voice.speak(600)
    skipped = room.viewer.of(Skipped)
    assert len(skipped) == 600 - 512
    assert {m.reason for m in skipped} == {"unknown epoch"}


# ── beats and numbers of its own ─────────────────────────────────────────────────────────────────


def test_its_own_control_messages_are_numbered_and_beats_carry_the_last_number() -> None:
    room = Room()
    room.stage.words_heard.clear()
    room.hers.next_number()
    room.hers.beat()
    room.stage.advance(1000)
    last = None
    for word in room.stage.words_heard:
        if last is not None:
            is_beat = not isinstance(word, TombstonesWanted)
            assert word.number == (last if is_beat else last + 1)
        last = word.number
    beats = [word for word in room.stage.words_heard if not isinstance(word, TombstonesWanted)]
    assert len(beats) >= 3
    assert beats[-1].certain
    assert (beats[-1].ordinal, beats[-1].replicas) == (0, 1)


def test_other_kinds_of_rooms_have_their_own_numbers_in_a_slot() -> None:
    room = Room()
    name, words = "stage", 0
    while slot_of(room.stage.room(f"{name} {words}", Kind.STAGE)) != room.slot:
        words += 1
    stage_room = next(
        s for s, p in room.stage.rooms.items() if p.kind is Kind.STAGE and slot_of(s) == room.slot
    )
    viewer = room.stage.join(room.ben, stage_room)
    voice = room.stage.voice(room.ada, stage_room)
    voice.speak(2)
    assert len(viewer.of(SampleShown)) == 2
    assert len(viewer.of(StrandShown)) == 1
    assert all(isinstance(p.event, EdgeBatch) for p in room.stage.published[-1:])
