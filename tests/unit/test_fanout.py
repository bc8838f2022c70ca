"""What fanout's core shows to whom: forms, audiences, snapshots, feeds, bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.fanout.core.coarse import cell_of
from services.fanout.core.signatures import sample_shown
from services.fanout.core.streams import BATCH_BYTES_MAX
from shared import codec
from shared.contracts import (
    BODY_BYTES_MAX,
    Audience,
    Clear,
    Closeness,
    Coarse,
    Deliver,
    EdgeBatch,
    EnterPublic,
    Kind,
    PolicyChanged,
    Provenance,
    Purpose,
    Released,
    RoomClosed,
    Sample,
    SampleShown,
    SealShown,
    Skipped,
    StrandEnded,
    StrandShown,
    Struck,
    Tier,
)
from shared.identifiers import slot_of
from shared.subjects import Publish
from tests.support.fanout_stage import Citizen, Stage, id16


def city(tier: Tier = Tier.FULL, **policy: Any) -> tuple[Stage, bytes, Citizen, Citizen]:
    """A certain fanout, a commons, `ada` who grants its members a tier, and `ben`."""
    stage = Stage().start()
    stage.gate()
    sanctuary = stage.room(**policy)
    ada, ben = stage.citizen("ada"), stage.citizen("ben")
    if tier is not Tier.WITHHELD:
        stage.record(ada, ada.grant(tier))
    return stage, sanctuary, ada, ben


# ── full ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_member_at_full_sees_the_strand_then_everything_in_order() -> None:
    stage, sanctuary, ada, ben = city()
    viewer = stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    voice.speak(3)
    voice.seal_window()
    voice.skip(2)
    voice.close()
    voice.release()
    assert [type(message) for message in viewer.log] == [
        StrandShown,
        SampleShown,
        SampleShown,
        SampleShown,
        SealShown,
        Skipped,
        StrandEnded,
        Released,
    ]
    assert [codec.decode_sample(m.body).seq for m in viewer.of(SampleShown)] == [0, 1, 2]
    assert viewer.of(Skipped) == [Skipped(voice.strand, 3, 4, "skew")]
    assert viewer.of(StrandEnded) == [StrandEnded(voice.strand, "closed", 5, None)]


def test_one_is_delivered_to_oneself_like_anyone() -> None:
    stage, sanctuary, ada, _ = city()
    mine = stage.join(ada, sanctuary)
    stage.voice(ada, sanctuary).speak()
    assert len(mine.of(SampleShown)) == 1


def test_aggregate_and_withheld_show_nothing_at_all() -> None:
    for tier in (Tier.WITHHELD, Tier.AGGREGATE):
        stage, sanctuary, ada, ben = city(tier)
        viewer = stage.join(ben, sanctuary)
        voice = stage.voice(ada, sanctuary)
        voice.speak(3)
        voice.seal_window()
        stage.advance(2000)
        voice.close()
        assert viewer.log == []
        assert stage.join(ben, sanctuary).log == []


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=1, max_size=BODY_BYTES_MAX))
def test_a_sample_prepared_by_hand_is_the_bytes_that_msgspec_makes(
    strand: bytes, body: bytes
) -> None:
    prefix = b"\x93\xa6sample\xc4\x20" + strand
    assert sample_shown(prefix, body) == codec.encode(SampleShown(strand, body))


def test_one_delivery_for_an_audience_however_many_sit_in_it_and_adjacent_ones_merge() -> None:
    stage, sanctuary, ada, ben = city()
    for _ in range(5):
        stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    gate = stage.gate()
    gate.operations.clear()
    stage.flush, flush = (lambda: None), stage.flush  # type: ignore[method-assign]
    voice.speak(4)
    stage.flush = flush  # type: ignore[method-assign]
    stage.flush()
    (delivery,) = gate.operations
    assert isinstance(delivery, Deliver)
    assert delivery.audience == b"m" + sanctuary
    assert len(delivery.segments) == 4
    assert delivery.deny == ()


def test_who_has_left_is_sent_nothing_more_and_may_come_back() -> None:
    stage, sanctuary, ada, ben = city()
    viewer, other = stage.join(ben, sanctuary), stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    stage.leave(viewer)
    before = len(viewer.log)
    voice.speak()
    assert not viewer.is_in
    assert len(viewer.log) == before
    assert stage.join(ben, sanctuary).screen.state == other.screen.state


def test_what_nobody_watches_is_not_prepared() -> None:
    stage, sanctuary, ada, _ = city()
    voice = stage.voice(ada, sanctuary)
    before = len(stage.published)
    voice.speak(3)
    assert not any(
        isinstance(publish.event, EdgeBatch) and publish.event.operations
        for publish in stage.published[before:]
    )


# ── coarse ───────────────────────────────────────────────────────────────────────────────────────


def test_coarse_shows_a_cell_on_the_tick_never_on_arrival() -> None:
    stage, sanctuary, ada, ben = city(Tier.COARSE)
    viewer = stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    voice.speak(5, valence=1000, arousal=-1000)
    assert viewer.log == []
    stage.advance(1000)
    (record,) = viewer.log
    assert isinstance(record, Coarse)
    assert record.cell == 4
    assert 0 <= stage.now_ms - 1000 * record.tick <= 1000
    assert record.pseudonym != ada.id[:8]


def test_the_last_cell_is_held_ten_seconds_then_absent_then_nothing_then_a_new_pseudonym() -> None:
    stage, sanctuary, ada, ben = city(Tier.COARSE)
    viewer = stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    voice.speak()
    stage.advance(30_000)
    cells = [message.cell for message in viewer.of(Coarse)]
    assert cells == [12] * 10 + [None]
    voice.speak()
    stage.advance(1000)
    first, last = viewer.log[0], viewer.log[-1]
    assert last.cell == 12
    assert last.pseudonym != first.pseudonym


def test_a_strand_that_ends_leaves_its_cell_for_the_rest_of_ten_seconds() -> None:
    stage, sanctuary, ada, ben = city(Tier.COARSE)
    viewer = stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    voice.speak()
    voice.close()
    stage.advance(30_000)
    assert [message.cell for message in viewer.of(Coarse)] == [12] * 10 + [None]


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_a_cell_is_the_fifth_of_the_plane_in_which_the_sample_lies(v: int, a: int) -> None:
    sample = Sample(0, 0, v, a, None, 0, Provenance.SCRIPTED, (), None, bytes(8))
    row, column = divmod(cell_of(sample), 5)
    for value, place in ((v, column), (a, row)):
        assert -1000 + 400 * place <= value <= -1000 + 400 * (place + 1)
        assert 0 <= place < 5


# ── audiences ────────────────────────────────────────────────────────────────────────────────────


def test_anonymous_viewers_of_a_public_stage_enter_with_a_snapshot_and_see_what_the_public_may() -> (
    None
):
    stage = Stage().start()
    gate = stage.gate()
    sanctuary = stage.room("stage", Kind.STAGE, public=True)
    ada, ben = stage.citizen("ada"), stage.citizen("ben")
    stage.record(ada, ada.grant(Tier.FULL, audience=Audience.PUBLIC))
    stage.record(ben, ben.grant(Tier.FULL))
    voices = [stage.voice(ada, sanctuary), stage.voice(ben, sanctuary)]
    for voice in voices:
        voice.speak(2)
    viewer = gate.watch(sanctuary)
    for voice in voices:
        voice.speak(1)
    assert [m.strand for m in viewer.of(StrandShown)] == [voices[0].strand]
    assert {m.strand for m in viewer.of(SampleShown)} == {voices[0].strand}
    # members could watch anonymously anyway: the higher of the two, once
    member = stage.join(ben, sanctuary)
    assert len(member.screen.strands) == 2
    voices[0].speak()
    assert len(member.of(SampleShown)) == 1
    # a second viewer of the same gateway is a new generation
    gate.operations.clear()
    gate.interest(sanctuary, 2, 2)
    stage.flush()
    assert [operation.generation for operation in gate.operations] == [2]
    gate.interest(sanctuary, 2, 2)
    stage.flush()
    assert len([o for o in gate.operations if isinstance(o, EnterPublic)]) == 1


def test_interest_that_is_silent_for_two_seconds_is_over_and_comes_back_with_a_snapshot() -> None:
    stage = Stage().start()
    gate = stage.gate()
    sanctuary = stage.room("stage", Kind.STAGE, public=True)
    ada = stage.citizen("ada")
    stage.record(ada, ada.grant(Tier.FULL, audience=Audience.PUBLIC))
    voice = stage.voice(ada, sanctuary)
    viewer = gate.watch(sanctuary)
    stage.advance(2100)
    gate.operations.clear()
    voice.speak()
    assert gate.operations == []
    viewer.is_in = False
    gate.interest(sanctuary, 1)
    voice.speak()
    assert viewer.screen.strands[voice.strand].next_seq == 2


def test_a_room_that_is_not_public_has_no_anonymous_viewers() -> None:
    stage, sanctuary, ada, _ = city()
    stage.record(ada, ada.grant(Tier.FULL, audience=Audience.PUBLIC))
    viewer = stage.gate().watch(sanctuary)
    stage.voice(ada, sanctuary).speak()
    assert not viewer.is_in


def test_an_excepted_person_gets_a_coarser_form_on_every_session_and_the_others_their_own() -> None:
    stage, sanctuary, ada, ben = city()
    cleo = stage.citizen("cleo")
    stage.record(ada, ada.except_(ben.id, Tier.COARSE))
    one, two = stage.join(ben, sanctuary), stage.join(ben, sanctuary, stage.gate("gateway-1"))
    other = stage.join(cleo, sanctuary)
    voice = stage.voice(ada, sanctuary)
    voice.speak(2)
    stage.advance(1000)
    assert [type(m) for m in one.log] == [Coarse]
    assert one.log == two.log  # one pseudonym for one person
    assert other.of(Coarse) == []
    assert len(other.of(SampleShown)) == 2
    third = stage.join(ben, sanctuary)
    assert third.screen.state == one.screen.state


def test_an_exception_on_a_public_stage_binds_the_member_and_not_the_anonymous() -> None:
    stage = Stage().start()
    gate = stage.gate()
    sanctuary = stage.room("stage", Kind.STAGE, public=True)
    ada, ben = stage.citizen("ada"), stage.citizen("ben")
    stage.record(ada, ada.grant(Tier.FULL, audience=Audience.PUBLIC))
    stage.record(ada, ada.except_(ben.id, Tier.WITHHELD))
    member, anonymous = stage.join(ben, sanctuary), gate.watch(sanctuary)
    stage.voice(ada, sanctuary).speak()
    assert member.log == []
    assert len(anonymous.of(SampleShown)) == 1


# ── snapshots ────────────────────────────────────────────────────────────────────────────────────


def test_who_joins_later_holds_what_a_member_since_the_beginning_holds() -> None:
    stage, sanctuary, ada, ben = city()
    cleo = stage.citizen("cleo")
    stage.record(cleo, cleo.grant(Tier.COARSE))
    first = stage.join(ben, sanctuary)
    voice, other = stage.voice(ada, sanctuary), stage.voice(cleo, sanctuary)
    voice.speak(3)
    voice.seal_window()
    voice.speak(1)
    voice.skip(1)
    other.speak()
    stage.advance(1000)
    late = stage.join(ben, sanctuary)
    assert late.screen.state == first.screen.state
    assert late.screen.strands[voice.strand].next_seq == 5
    assert len(late.screen.cells) == 1


def test_a_snapshot_too_big_for_one_operation_is_whole_all_the_same() -> None:
    stage, sanctuary, ada, ben = city()
    voices = [stage.voice(ada, sanctuary) for _ in range(900)]
    for voice in voices:
        voice.speak()
    gate = stage.gate()
    before = len(gate.batches)
    viewer = stage.join(ben, sanctuary)
    assert len(viewer.screen.strands) == 900
    sizes = [len(codec.encode(batch)) for batch in gate.batches[before:]]
    assert max(sizes) < BATCH_BYTES_MAX + 150_000 < 1_048_576
    assert len(sizes) > 1


def test_a_policy_that_changes_is_announced_and_applied() -> None:
    stage, sanctuary, ada, ben = city()
    viewer = stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    voice.speak()
    stage.policy(sanctuary, tier_max=Tier.COARSE)
    voice.speak()
    announced, struck = viewer.log[-2:]
    assert isinstance(announced, PolicyChanged)
    assert announced.policy_hash == codec.sha256(announced.policy)
    assert struck == Struck(sanctuary, ada.id, None)
    stage.policy(sanctuary, tier_max=Tier.FULL)
    voice.speak()
    assert [type(m) for m in viewer.log[-3:]] == [PolicyChanged, StrandShown, SampleShown]


def test_the_charter_bounds_every_tier() -> None:
    stage = Stage(tier_max=Tier.AGGREGATE).start()
    sanctuary = stage.room()
    ada, ben = stage.citizen("ada"), stage.citizen("ben")
    stage.record(ada, ada.grant(Tier.FULL))
    viewer = stage.join(ben, sanctuary)
    stage.voice(ada, sanctuary).speak()
    assert viewer.log == []


def test_a_commons_that_outgrows_closeness_strikes_and_shows_again_when_it_shrinks() -> None:
    stage = Stage().start()
    sanctuary = stage.room(close_limit=2, close_back=1)
    people = [stage.citizen(name) for name in ("ada", "ben", "cleo")]
    for person in people:
        stage.record(person, person.grant(Tier.FULL))
    viewer = stage.join(people[0], sanctuary)
    voices = [stage.voice(person, sanctuary) for person in people[:2]]
    third = stage.voice(people[2], sanctuary)
    assert viewer.log[2:] == [
        Closeness(sanctuary, close=False),
        Struck(sanctuary, people[0].id, None),
        Struck(sanctuary, people[1].id, None),
    ]
    voices[0].speak()
    late = stage.join(people[1], sanctuary)
    assert late.log == [Closeness(sanctuary, close=False)]
    third.close()
    assert not viewer.screen.is_close  # it comes back at close_back, not at close_limit
    voices[1].close()
    assert viewer.screen.is_close
    assert set(viewer.screen.strands) == {voices[0].strand}
    voices[0].speak()
    assert late.screen.state[0].keys() == viewer.screen.state[0].keys()


def test_a_room_that_closes_takes_its_strands_along() -> None:
    stage, sanctuary, ada, ben = city()
    viewer = stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    stage.leave(viewer)
    stage.members(sanctuary, RoomClosed(sanctuary))
    voice.speak()
    assert stage.core.counts.unknown_strands == 1


def test_a_strand_whose_room_is_not_known_yet_waits_for_its_policy() -> None:
    stage, sanctuary, ada, ben = city()
    viewer = stage.join(ben, sanctuary)
    other = id16("late room")
    stage.rooms[other] = stage.rooms[sanctuary]
    voice = stage.voice(ada, other)
    voice.speak()
    assert viewer.log == []
    del stage.rooms[other]
    stage.room("late room")
    assert stage.join(ben, other).screen.strands[voice.strand].next_seq == 1


# ── feeds ────────────────────────────────────────────────────────────────────────────────────────


def test_the_field_gets_a_window_once_it_is_sealed_and_only_from_those_who_are_counted() -> None:
    for tier, fed in ((Tier.AGGREGATE, 1), (Tier.FULL, 1), (Tier.WITHHELD, 0)):
        stage, sanctuary, ada, _ = city(tier)
        voice = stage.voice(ada, sanctuary)
        voice.speak(3)
        assert stage.fed == []
        first = voice.body_of(0)
        voice.seal_window()
        voice.speak(2)
        assert len(stage.fed) == fed
        for feed, window in stage.fed:
            assert feed == "field"
            assert len(window.bodies) == 3
            assert window.bodies[0] == first


def test_a_seal_takes_its_own_window_along_and_leaves_the_next_one_waiting() -> None:
    stage, sanctuary, ada, _ = city()
    voice = stage.voice(ada, sanctuary)
    voice.speak(5)
    voice.seal_window(3)
    voice.seal_window()
    numbers = [[codec.decode_sample(b).seq for b in window.bodies] for _, window in stage.fed]
    assert numbers == [[0, 1, 2], [3, 4]]


def test_an_unsealed_window_feeds_nobody() -> None:
    stage, sanctuary, ada, _ = city()
    voice = stage.voice(ada, sanctuary)
    voice.speak(3)
    voice.close("unsealed")
    stage.advance(3000)
    assert stage.fed == []


def test_a_withdrawal_takes_the_open_window_out_of_the_field_even_if_a_grant_follows() -> None:
    stage, sanctuary, ada, _ = city()
    voice = stage.voice(ada, sanctuary)
    voice.speak(2)
    stage.record(ada, ada.withdraw())
    voice.speak(1)
    stage.record(ada, ada.grant(Tier.FULL, sanctuary=sanctuary))
    voice.speak(1)
    voice.seal_window()
    ((_, window),) = stage.fed
    assert [codec.decode_sample(body).seq for body in window.bodies] == [3]


def test_the_record_holds_stages_under_their_own_purpose_and_a_circle_has_no_field() -> None:
    stage = Stage().start()
    ada = stage.citizen("ada")
    stage.record(ada, ada.grant(Tier.FULL), ada.grant(Tier.FULL, audience=Audience.PUBLIC))
    rooms = [
        stage.room("stage", Kind.STAGE, public=True),
        stage.room("circle", Kind.CIRCLE),
        stage.room("commons"),
    ]

    def feeds() -> list[list[str]]:
        result = []
        for room in rooms:
            stage.fed.clear()
            voice = stage.voice(ada, room)
            voice.speak()
            voice.seal_window()
            voice.close()
            result.append([feed for feed, _ in stage.fed])
        return result

    assert feeds() == [["field"], [], ["field"]]
    stage.record(ada, ada.grant(Tier.COARSE, audience=Audience.PUBLIC, purpose=Purpose.RECORD))
    assert feeds() == [["field", "record"], [], ["field"]]
    stage.record(ada, ada.withdraw(purpose=Purpose.RECORD))
    assert feeds() == [["field"], [], ["field"]]


# ── streams ──────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_begins_with_clear_at_zero_and_beats_faster_while_a_loss_may_go_unseen() -> None:
    stage = Stage().start()
    gate = stage.gate()
    batches = gate.batches
    stage.advance(2000)
    first = [batch for batch in batches if batch.slot == batches[0].slot]
    assert isinstance(first[0].operations[0], Clear)
    assert [batch.number for batch in first] == list(range(len(first)))
    assert 4 <= len(first) - 1 <= 5, "every 450 ms"
    stage.advance(2000)
    batches.clear()
    stage.advance(12_500)
    idle = [batch for batch in batches if batch.slot == first[0].slot]
    assert 9 <= len(idle) <= 10, "one may be lost within the 3 s that a gateway waits"
    assert {batch.operations for batch in batches} == {()}
    sanctuary, ada = stage.room(), stage.citizen("ada")
    viewer = stage.join(ada, sanctuary)
    batches.clear()
    stage.advance(2000)
    here = [batch for batch in batches if batch.slot == slot_of(sanctuary)]
    assert viewer.is_in
    assert 4 <= len(here) <= 5
    assert len(batches) - len(here) <= 2 * 63


def test_a_new_beginning_that_is_lost_shows_as_a_hole() -> None:
    """Were its numbers those of before, its gateway would take what follows for repeats."""
    stage, sanctuary, ada, ben = city()
    gate, viewer = stage.gate(), stage.join(ben, sanctuary)
    voice = stage.voice(ada, sanctuary)
    for _ in range(9):
        voice.speak()
    stage.registry_beats = False
    stage.advance(3500)
    voice.speak(2)
    lost: list[int] = []

    def lose(publish: Publish) -> bool:
        event = publish.event
        if not isinstance(event, EdgeBatch) or event.slot != slot_of(sanctuary) or lost:
            return False
        if event.operations[:1] != (Clear(),):
            return False
        lost.append(event.number)
        return True

    stage.lose = lose
    stage.registry_beats = True
    stage.advance(500)
    voice.speak()
    stage.advance(500)
    assert lost[0] > 9
    assert viewer.is_in
    assert viewer.screen.strands[voice.strand].next_seq == voice.next_seq
    assert gate.numbers[slot_of(sanctuary)][1] > lost[0]
