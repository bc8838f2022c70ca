"""Windows and seals, `seal?` and `unsealed` at their exact times, ends, releases, rooms, openings."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.ingest.core import Superseded
from services.ingest.settings import IngestSettings
from shared.codec import encode, seal_of
from shared.contracts import (
    Challenge,
    KeyReleased,
    Kind,
    MemberLeft,
    Opened,
    RecordKind,
    Refusal,
    Refused,
    Release,
    RoomClosed,
    Samples,
    Sealed,
    SealWanted,
    SealWindow,
    Signed,
    UpBatch,
    UpEntry,
    WindowSealed,
)
from shared.identity import Signer
from tests.support.ingest_city import CITY, NS, ROOM, SLOT, IngestCity, Speaker, body, policy

S = 1_000_000_000


def opened(**options: Any) -> tuple[IngestCity, Speaker]:
    speaker = Speaker(1)
    city = IngestCity(speakers=[speaker], **options)
    assert isinstance(city.open(speaker), Opened)
    return city, speaker


# ── windows ──────────────────────────────────────────────────────────────────────────────────────


def test_a_good_seal_is_acknowledged_with_what_was_admitted_and_published() -> None:
    city, speaker = opened()
    city.say(speaker, 2)
    city.say_bodies(speaker, body(2, 5))  # skew
    speaker.bodies.append(body(2, 5))
    city.say(speaker, 1)
    city.answers(speaker)
    assert city.seal(speaker, 4) == Sealed(speaker.strand, 0, (0, 1, 3))
    sealed = [e for e in city.entries(speaker.strand) if isinstance(e, WindowSealed)]
    assert [(e.window, e.record.payload) for e in sealed] == [(0, sealed[0].record.payload)]


def test_windows_follow_each_other() -> None:
    city, speaker = opened()
    for window in range(3):
        city.say(speaker, 5)
        first = window * 5
        assert city.seal(speaker, 5) == Sealed(
            speaker.strand, window, tuple(range(first, first + 5))
        )


def test_numbers_that_a_seal_shows_and_that_never_came_are_lost() -> None:
    city, speaker = opened()
    city.say(speaker, 2)
    city.say(speaker, 2, lost=True)
    assert city.seal(speaker, 4) == Sealed(speaker.strand, 0, (0, 1))
    assert city.numbers(speaker.strand)[2] == city.numbers(speaker.strand)[3] == Refusal.LOST
    city.say(speaker, 1)
    assert city.numbers(speaker.strand)[4] == "admitted"


BAD_SEALS: list[tuple[str, dict[str, Any]]] = [
    ("another strand", {"strand": bytes(32)}),
    ("the window before", {"window": 0}),
    ("a window too far", {"window": 2}),
    ("a hole before it", {"first_seq": 4}),
    ("a number twice", {"first_seq": 2}),
    ("another previous seal", {"previous": bytes(32)}),
    ("no hashes", {"hashes": ()}),
    ("a wrong hash", {"hashes": (bytes(16),) * 3}),
    ("a total without closing", {"total": 6}),
    ("closing without a total", {"flags": 1}),
    ("closing with a wrong total", {"flags": 1, "total": 7}),
    ("closing before its end", {"flags": 1, "total": 3, "hashes": ()}),
    ("an end long before the one before", {"t_end_ms": 1_700_000_000_000}),
    ("an end before the one before", {"t_end_ms": 1_700_000_995_000}),
    ("an end in the far future", {"t_end_ms": 1_800_000_000_000}),
]


@pytest.mark.parametrize("changes", [r[1] for r in BAD_SEALS], ids=[r[0] for r in BAD_SEALS])
def test_a_bad_seal_is_refused_and_the_good_one_is_still_taken(changes: dict[str, Any]) -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    city.seal(speaker, 3)
    city.say(speaker, 3)
    answer = city.send_seal(speaker, speaker.seal(city, 3, **changes))
    assert isinstance(answer, Refused)
    assert (answer.ref, answer.reason) == (None, Refusal.BAD_SEAL)
    assert len([e for e in city.entries(speaker.strand) if isinstance(e, WindowSealed)]) == 1
    assert isinstance(city.seal(speaker, 3), Sealed)


def test_a_window_of_which_nothing_came_must_begin_where_the_last_one_ended() -> None:
    city, speaker = opened()
    city.say(speaker, 3, lost=True)
    for first in (1, 5):
        answer = city.send_seal(speaker, speaker.seal(city, 3, first_seq=first))
        assert answer.reason == Refusal.BAD_SEAL
    assert city.seal(speaker, 3) == Sealed(speaker.strand, 0, ())


def test_a_seal_under_another_key_city_or_domain_is_bad() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    good = speaker.seal(city, 3)
    for forged in (
        Signed(good.payload, bytes(64)),
        speaker.device.sign_record(RecordKind.SEAL, CITY, good.payload),
        speaker.strand_key.sign_record(RecordKind.OPENING, CITY, good.payload),
        speaker.strand_key.sign_record(RecordKind.SEAL, bytes(32), good.payload),
    ):
        assert city.send_seal(speaker, forged).reason == Refusal.BAD_SEAL
    assert isinstance(city.send_seal(speaker, good), Sealed)


def test_a_seal_that_cannot_be_read_is_refused_by_name() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    payload = speaker.seal(city, 3).payload
    longer = b"\xdc\x00" + bytes([payload[0] & 0x0F]) + payload[1:]
    rows = [
        (b"\xc1", Refusal.MALFORMED),
        (longer, Refusal.NOT_CANONICAL),
        (speaker.seal(city, 3, flags=2).payload, Refusal.OUT_OF_RANGE),
        (speaker.seal(city, 3, hashes=(bytes(16),) * 33).payload, Refusal.OUT_OF_RANGE),
    ]
    for bad, reason in rows:
        record = speaker.strand_key.sign_record(RecordKind.SEAL, CITY, bad)
        assert city.send_seal(speaker, record).reason == reason


def test_a_seal_whose_answer_was_lost_is_answered_again_and_published_once() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    record = speaker.seal(city, 3)
    first = city.send_seal(speaker, record)
    city.up(speaker, seal_message(speaker, record))
    assert city.answers(speaker) == [first]
    assert len([e for e in city.entries(speaker.strand) if isinstance(e, WindowSealed)]) == 1


def seal_message(speaker: Speaker, record: Signed) -> SealWindow:
    return SealWindow(ROOM, speaker.strand, record)


def test_a_second_different_seal_of_a_window_is_counted_as_equivocation() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    other = speaker.seal(city, 2)
    city.seal(speaker, 3)
    city.up(speaker, seal_message(speaker, Signed(other.payload, bytes(64))))
    assert city.core.counts.equivocations == 0
    city.up(speaker, seal_message(speaker, other))
    assert city.core.counts.equivocations == 1
    assert {m.reason for m in city.answers(speaker)} == {Refusal.BAD_SEAL}


def test_a_seal_that_comes_before_its_predecessor_asks_for_that_one() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    lost = speaker.seal(city, 3)
    speaker.took(lost)
    city.say(speaker, 3)
    early = speaker.seal(city, 3)
    city.up(speaker, seal_message(speaker, early))
    wanted, refusal = city.answers(speaker)
    assert wanted == SealWanted(speaker.strand, 0)
    assert refusal.reason == Refusal.BAD_SEAL
    city.up(speaker, seal_message(speaker, lost), seal_message(speaker, early))
    assert [m.window for m in city.answers(speaker)] == [0, 1]


def test_another_device_cannot_seal() -> None:
    city, speaker = opened()
    other = Speaker(2)
    city.enter(other)
    city.say(speaker, 1)
    city.up(other, seal_message(speaker, speaker.seal(city, 1)))
    assert city.answers(other)[-1].reason == Refusal.UNKNOWN_STRAND


# ── overdue ──────────────────────────────────────────────────────────────────────────────────────


def test_a_seal_is_asked_for_half_a_second_after_the_window_was_due_and_not_before() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    city.wait(1500 * NS - 1)
    assert city.answers(speaker) == []
    city.wait(1)
    assert city.answers(speaker) == [SealWanted(speaker.strand, 0)]
    city.wait(500 * NS)
    assert city.answers(speaker) == [SealWanted(speaker.strand, 0)]


def test_a_full_window_is_due_with_its_32nd_number() -> None:
    city, speaker = opened()
    city.say(speaker, 31)
    city.wait(100 * NS)
    city.say(speaker, 1)
    city.wait(500 * NS - 1)
    assert city.answers(speaker) == []
    city.wait(1)
    assert city.answers(speaker) == [SealWanted(speaker.strand, 0)]


def test_after_a_late_seal_the_next_one_is_asked_for_at_once_if_it_is_late_too() -> None:
    city, speaker = opened()
    city.say(speaker, 2)
    city.wait(300 * NS)
    city.say(speaker, 2)
    city.wait(2300 * NS)
    city.answers(speaker)
    assert isinstance(city.seal(speaker, 2), Sealed)
    city.wait(0)
    assert city.answers(speaker) == [SealWanted(speaker.strand, 1)]


def test_a_sealed_window_is_not_asked_for() -> None:
    city, speaker = opened()
    city.say(speaker, 2)
    city.wait(1200 * NS)
    city.seal(speaker, 2)
    city.say(speaker, 2)
    city.wait(1400 * NS)
    assert city.answers(speaker) == []


def test_a_process_that_stood_still_takes_nobody_for_absent() -> None:
    city, speaker = opened()
    city.leave(speaker)
    city.now_ns += 12 * S
    city.carry_out(city.core.tick(city.ns, city.ms))
    city.flush()
    assert city.ends(speaker.strand) == []
    city.wait(1 * S)
    assert [end.reason for end in city.ends(speaker.strand)] == ["left"]


def test_who_speaks_from_another_session_of_its_device_is_asked_there() -> None:
    city, speaker = opened()
    second = Speaker(1, gateway="gateway-1", session=9)
    second.strand = speaker.strand
    city.enter(second)
    city.say(second, 1)
    city.told.clear()
    city.wait(1500 * NS)
    assert city.answers(second) == [SealWanted(speaker.strand, 0)]
    assert city.answers(speaker) == []


def test_two_seconds_after_it_was_due_the_strand_ends_as_unsealed() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    city.seal(speaker, 3)
    city.say(speaker, 3)
    city.wait(3 * S - 1)
    assert city.ends(speaker.strand) == []
    city.wait(1)
    (end,) = city.ends(speaker.strand)
    assert (end.reason, end.total, end.unsealed_from) == ("unsealed", None, 3)
    city.answers(speaker)
    city.say(speaker, 1)
    assert city.answers(speaker)[0].reason == Refusal.UNKNOWN_STRAND
    assert isinstance(city.open(speaker), Opened)


def test_a_seal_in_the_last_moment_keeps_the_strand() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    city.wait(3 * S - 1)
    assert isinstance(city.seal(speaker, 3), Sealed)
    city.wait(100 * S)
    assert city.ends(speaker.strand) == []


def test_a_window_of_which_nothing_was_admitted_is_never_due() -> None:
    city, speaker = opened()
    city.say_bodies(speaker, body(0, 5))
    city.wait(100 * S)
    assert city.ends(speaker.strand) == []


def test_a_process_that_stood_still_ends_nobody_before_it_has_read_its_mail() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    city.now_ns += 4 * S  # stopped, and continued
    city.carry_out(city.core.tick(city.ns, city.ms))
    city.flush()
    assert city.ends(speaker.strand) == []
    assert city.answers(speaker) == [SealWanted(speaker.strand, 0)]
    city.wait(1 * S - 1)
    assert city.ends(speaker.strand) == []
    city.wait(1)
    assert [end.reason for end in city.ends(speaker.strand)] == ["unsealed"]


def test_while_the_bus_is_away_nobody_s_strand_ends() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    for _ in range(60):
        city.core.path_broken(city.ns)
        city.wait(100 * NS)
    assert city.ends(speaker.strand) == []
    assert isinstance(city.seal(speaker, 3), Sealed)


# ── ends ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_closing_seal_ends_the_strand_with_its_total() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    assert city.seal(speaker, 3, flags=1, total=3) == Sealed(speaker.strand, 0, (0, 1, 2))
    (end,) = city.ends(speaker.strand)
    assert (end.reason, end.total, end.unsealed_from) == ("closed", 3, None)


def test_a_closing_seal_without_samples_ends_an_empty_strand() -> None:
    city, speaker = opened()
    assert city.seal(speaker, 0, flags=1, total=0) == Sealed(speaker.strand, 0, ())
    assert city.ends(speaker.strand)[0].total == 0


def test_a_seal_that_the_leave_overtook_is_taken_and_nothing_else() -> None:
    """It comes from outside the room by then, and adds nothing to what was said within."""
    city, speaker = opened()
    city.say(speaker, 3)
    city.leave(speaker)
    too_late = body(3, city.now_ms)
    city.say_bodies(speaker, too_late)
    speaker.bodies.append(too_late)
    assert [m.reason for m in city.answers(speaker)] == [Refusal.NOT_A_MEMBER]
    elsewhere = SealWindow(ROOM, bytes(32), speaker.seal(city, 4))
    city.up(speaker, elsewhere)
    assert [m.reason for m in city.answers(speaker)] == [Refusal.NOT_A_MEMBER]
    sealed = city.seal(speaker, 4, flags=1, total=4)
    assert sealed == Sealed(speaker.strand, 0, (0, 1, 2))
    assert city.ends(speaker.strand)[0].reason == "closed"


def test_a_closing_seal_whose_answer_was_lost_is_answered_again() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    record = speaker.seal(city, 3, flags=1, total=3)
    first = city.send_seal(speaker, record)
    city.up(speaker, seal_message(speaker, record))
    assert city.answers(speaker) == [first]
    city.up(speaker, seal_message(speaker, speaker.seal(city, 0)))
    assert city.answers(speaker)[0].reason == Refusal.UNKNOWN_STRAND


def test_a_strand_outlives_its_last_session_by_ten_seconds() -> None:
    city, speaker = opened()
    city.leave(speaker)
    city.wait(10 * S - 1)
    assert city.ends(speaker.strand) == []
    city.wait(1)
    (end,) = city.ends(speaker.strand)
    assert (end.reason, end.unsealed_from) == ("left", None)


def test_a_reconnect_within_ten_seconds_goes_on_where_it_was() -> None:
    city, speaker = opened()
    record = next(e.opening for e in city.entries(speaker.strand) if hasattr(e, "opening"))
    city.say(speaker, 3)
    city.seal(speaker, 3)
    city.leave(speaker)
    city.wait(9 * S)
    again = Speaker(1, gateway="gateway-1", session=9)
    again.strand = speaker.strand
    city.enter(again)
    assert city.open(again, record) == Opened(1, speaker.strand, 3, 1)
    city.wait(100 * S)
    assert city.ends(speaker.strand) == []
    city.say_bodies(again, body(3, city.now_ms))
    city.wait(1500 * NS)
    assert city.answers(again) == [SealWanted(speaker.strand, 1)]


def test_another_session_of_the_same_device_keeps_the_strand_and_another_device_does_not() -> None:
    for is_same_device in (True, False):
        city, speaker = opened()
        second = Speaker(1, session=9)
        if not is_same_device:
            second.device = Speaker(2).device
        city.enter(second)
        city.leave(speaker)
        city.wait(20 * S)
        assert bool(city.ends(speaker.strand)) is not is_same_device


def test_a_changed_policy_interrupts_strands_and_says_reopen_to_everyone_in_the_room() -> None:
    speaker, listener = Speaker(1), Speaker(2)
    city = IngestCity(speakers=[speaker, listener])
    city.open(speaker)
    city.say(speaker, 2)
    city.change_policy(policy(purpose="another"))
    city.flush()
    (end,) = city.ends(speaker.strand)
    assert (end.reason, end.unsealed_from) == ("interrupted", 0)
    for member in (speaker, listener):
        assert [c.reopen for c in city.challenges(member)] == [True]
    city.up(speaker, Samples(ROOM, speaker.strand, 0, (body(2, city.now_ms),)))
    assert city.answers(speaker)[0].reason == Refusal.UNKNOWN_STRAND
    assert isinstance(city.open(speaker), Opened)


def test_a_closed_room_interrupts_its_strands() -> None:
    city, speaker = opened()
    city.publish_members(MemberLeft(ROOM, speaker.citizen, speaker.session), RoomClosed(ROOM))
    city.flush()
    assert [end.reason for end in city.ends(speaker.strand)] == ["interrupted"]


# ── releases ─────────────────────────────────────────────────────────────────────────────────────


def ended(**options: Any) -> tuple[IngestCity, Speaker]:
    city, speaker = opened(**options)
    city.seal(speaker, 0, flags=1, total=0)
    return city, speaker


def releases(city: IngestCity, speaker: Speaker) -> list[bytes]:
    return [e.seed for e in city.entries(speaker.strand) if isinstance(e, KeyReleased)]


@pytest.mark.parametrize("kind", [Kind.COMMONS, Kind.CIRCLE])
def test_the_key_of_an_ended_strand_is_published_once(kind: Kind) -> None:
    city, speaker = ended(policy=policy(kind=kind))
    city.wait(60 * S)
    release = Release(ROOM, speaker.strand, speaker.strand_key.seed)
    city.up(speaker, release, release)
    assert city.answers(speaker) == []
    assert releases(city, speaker) == [speaker.strand_key.seed]


def test_a_key_may_be_published_by_its_device_after_it_left_the_room() -> None:
    city, speaker = ended()
    city.leave(speaker)
    city.up(speaker, Release(ROOM, speaker.strand, speaker.strand_key.seed))
    assert releases(city, speaker) == [speaker.strand_key.seed]


def test_stages_keep_their_keys() -> None:
    city, speaker = ended(policy=policy(kind=Kind.STAGE))
    city.up(speaker, Release(ROOM, speaker.strand, speaker.strand_key.seed))
    assert city.answers(speaker)[0].reason == Refusal.WRONG_SANCTUARY
    assert releases(city, speaker) == []


def test_a_wrong_key_an_open_strand_and_another_device_release_nothing() -> None:
    city, speaker = ended()
    city.up(speaker, Release(ROOM, speaker.strand, b"x" * 32))
    assert city.answers(speaker)[0].reason == Refusal.BAD_SIGNATURE
    other = Speaker(2)
    city.enter(other)
    city.answers(other)
    city.up(other, Release(ROOM, speaker.strand, speaker.strand_key.seed))
    assert city.answers(other)[0].reason == Refusal.UNKNOWN_STRAND
    city.up(speaker, Release(bytes(16), speaker.strand, speaker.strand_key.seed))
    assert city.answers(speaker)[0].reason == Refusal.UNKNOWN_STRAND
    speaker.strand_key = Signer(b"\x33" * 32)
    speaker.window = 0
    city.open(speaker)
    city.up(speaker, Release(ROOM, speaker.strand, speaker.strand_key.seed))
    assert city.answers(speaker)[0].reason == Refusal.UNKNOWN_STRAND


def test_ended_strands_are_remembered_for_five_minutes_and_bounded() -> None:
    city, speaker = ended()
    city.wait(299 * S)
    assert list(city.core.book.ended) == [speaker.strand]
    city.wait(11 * S)
    assert not city.core.book.ended
    settings = IngestSettings(remembered_max=2)
    city, speaker = opened(settings=settings)
    for key in range(4):
        speaker.window, speaker.previous = 0, bytes(32)
        city.seal(speaker, 0, flags=1, total=0)
        speaker.window, speaker.previous = 0, bytes(32)
        speaker.strand_key = Signer(bytes([key + 50]) * 32)
        city.open(speaker)
    assert len(city.core.book.ended) == 2


def test_a_speaker_s_rates_are_forgotten_once_they_are_at_rest_and_no_strand_is_open() -> None:
    city, speaker = opened()
    city.wait(30 * S)
    assert list(city.core.book._speakers) == [speaker.citizen]
    city.seal(speaker, 0, flags=1, total=0)
    city.wait(11 * S)
    assert not city.core.book._speakers


# ── members, challenges, beats ───────────────────────────────────────────────────────────────────


def test_who_joins_is_told_the_challenge_and_who_was_there_before_us_to_reopen() -> None:
    early, late = Speaker(1), Speaker(2)
    city = IngestCity(speakers=[early], ready=False)
    city.answer_members()
    city.flush()
    assert city.told == {}
    city.answer_registry()
    city.flush()
    (challenge,) = city.challenges(early)
    assert challenge == Challenge(ROOM, b"challenge of one", reopen=True, now_ms=city.now_ms)
    city.enter(late)
    city.flush()
    assert [c.reopen for c in city.challenges(late)] == [False]
    assert city.challenges(early) == []


def test_a_lost_reopen_is_said_again_to_who_speaks_on_a_strand_of_an_earlier_life() -> None:
    speaker = Speaker(1)
    city = IngestCity(speakers=[speaker])
    city.up(speaker, Samples(ROOM, b"\x05" * 32, 0, (body(0, city.now_ms),)))
    assert [c.reopen for c in city.challenges(speaker)] == [True]
    city.open(speaker)
    city.up(speaker, Samples(ROOM, b"\x05" * 32, 0, (body(0, city.now_ms),)))
    assert city.challenges(speaker) == []


def test_a_beat_every_half_second_carries_the_next_number() -> None:
    city, speaker = opened()
    city.wait(20 * S)
    city.batches.clear()
    city.wait(2 * S)
    numbers = [batch.number for batch in city.batches]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
    assert all(batch.entries == () for batch in city.batches)
    assert {batch.epoch for batch in city.batches} == {5}
    city.leave(speaker)
    city.wait(30 * S)
    city.batches.clear()
    city.wait(2 * S)
    assert city.batches == []


def test_batches_are_numbered_without_holes_and_bounded_in_bytes() -> None:
    city, speaker = opened(
        settings=IngestSettings(samples_per_s=10_000, samples_burst=10_000, skew_ms=100_000)
    )
    messages: list[Samples | SealWindow] = []
    for _ in range(40):
        first = len(speaker.bodies)
        bodies = tuple(body(first + i, city.now_ms, note="\U0001f600" * 140) for i in range(32))
        speaker.bodies += bodies
        record = speaker.seal(city, 32)
        speaker.took(record)
        messages += [Samples(ROOM, speaker.strand, 0, bodies), seal_message(speaker, record)]
    city.up(speaker, *messages)
    assert len(city.batches) > 3
    assert [batch.number for batch in city.batches] == list(range(len(city.batches)))
    assert max(len(encode(batch)) for batch in city.batches) < 300 * 1024
    assert city.numbers(speaker.strand) == dict.fromkeys(range(1280), "admitted")


def test_a_raised_consent_epoch_stands_in_the_rows_from_then_on() -> None:
    city, speaker = opened()
    messages = [
        Samples(ROOM, speaker.strand, epoch, (body(seq, city.now_ms),))
        for seq, epoch in enumerate((2, 2, 5, 1))
    ]
    city.up(speaker, *messages)
    batch = city.batches[-1]
    assert [(batch.strands[e.row].epoch, e.seq) for e in batch.entries] == [  # type: ignore[union-attr]
        (2, 0),
        (2, 1),
        (5, 2),
        (5, 3),
    ]


# ── fanout's question ────────────────────────────────────────────────────────────────────────────


def test_openings_and_later_batches_are_the_state() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    city.seal(speaker, 2)
    # collected and not yet published when the question comes
    number = city.up_numbers["gateway-0"] = city.up_numbers["gateway-0"] + 1
    message = msgspec.Raw(encode(Samples(ROOM, speaker.strand, 7, (body(3, city.now_ms),))))
    entry = UpEntry(speaker.session, speaker.device.public_key, message)
    city.receive("up", UpBatch("gateway-0", 7, SLOT, number, (entry,)))
    answer = city.ask_openings()
    assert answer.numbers == {"commons": city.batches[-1].number, "circle": -1, "stage": -1}
    assert answer.epoch == 5
    (strand,) = answer.strands
    assert (strand.next_seq, strand.epoch, strand.body) == (4, 7, body(3, city.now_ms))
    assert strand.seal is not None
    assert seal_of(strand.seal.payload).window == 0
    assert city.numbers(speaker.strand) == dict.fromkeys(range(4), "admitted")
    city.say_bodies(speaker, body(4, city.now_ms))
    assert city.batches[-1].number == answer.numbers["commons"] + 1


def test_an_owner_that_is_told_of_a_higher_epoch_ends_itself() -> None:
    city, _ = opened()
    city.ask_openings(epoch=5)
    with pytest.raises(Superseded):
        city.ask_openings(epoch=6)
