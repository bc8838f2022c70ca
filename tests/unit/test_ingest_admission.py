"""Each refusal of ingest by its name, and what is announced of it."""

from __future__ import annotations

from typing import Any

import pytest

from services.ingest.settings import IngestSettings
from shared.codec import encode
from shared.contracts import (
    Admitted,
    Challenge,
    Identity,
    IdentityRecorded,
    Kind,
    Open,
    Opened,
    Provenance,
    RecordKind,
    Refusal,
    Refused,
    RefusedSamples,
    Release,
    Samples,
    Sealed,
    SealWindow,
    Setting,
    Signed,
    UpBatch,
)
from shared.identity import Signer
from tests.support.ingest_city import CHALLENGE, CITY, ROOM, IngestCity, Speaker, body, policy

S = 1_000_000_000


def city_with(speaker: Speaker, **options: Any) -> IngestCity:
    return IngestCity(speakers=[speaker], **options)


def opened(**options: Any) -> tuple[IngestCity, Speaker]:
    speaker = Speaker(1)
    city = city_with(speaker, **options)
    assert isinstance(city.open(speaker), Opened)
    return city, speaker


def refused(city: IngestCity, speaker: Speaker) -> list[tuple[int, int, str]]:
    return [
        (m.first, m.last, m.reason) for m in city.answers(speaker) if isinstance(m, RefusedSamples)
    ]


# ── samples ──────────────────────────────────────────────────────────────────────────────────────


def test_a_good_sample_goes_out_at_once_and_is_not_answered() -> None:
    city, speaker = opened()
    city.say(speaker, 2)
    assert city.answers(speaker) == []
    admitted = [e for e in city.entries(speaker.strand) if isinstance(e, Admitted)]
    assert [(e.seq, e.body) for e in admitted] == list(enumerate(speaker.bodies))


NOW_MS = 1_700_001_000_000
"""The helper city's first moment."""
TOO_HIGH = b"\x9a\x00" + body(0, 0)[2:].replace(b"\x64", b"\xcd\x03\xe9", 1)
BAD_BODIES: list[tuple[str, bytes, Refusal]] = [
    ("valence too high", TOO_HIGH, Refusal.OUT_OF_RANGE),
    ("a label twice", body(0, NOW_MS, labels=(1, 1)), Refusal.NOT_CANONICAL),
    ("labels descending", body(0, NOW_MS, labels=(2, 1)), Refusal.NOT_CANONICAL),
    ("a note that is not NFC", body(0, NOW_MS, note="e\u0301"), Refusal.NOT_CANONICAL),
    ("a number in a longer form", b"\x9a\xcc\x00" + body(0, NOW_MS)[2:], Refusal.NOT_CANONICAL),
    ("a field too few", b"\x99" + body(0, NOW_MS)[1:-10], Refusal.MALFORMED),
    ("a field too many", b"\x9b" + body(0, NOW_MS)[1:] + b"\xc0", Refusal.MALFORMED),
    ("an unknown label", body(0, NOW_MS, labels=(17,)), Refusal.OUT_OF_RANGE),
    ("an unknown provenance", body(0, NOW_MS, provenance=3), Refusal.OUT_OF_RANGE),
    ("a float", body(0, NOW_MS, valence=0.5), Refusal.MALFORMED),
    ("longer than a body may be", body(0, NOW_MS, note="x" * 800), Refusal.OVERSIZE),
    ("bytes behind the body", body(0, NOW_MS) + b"\xc0", Refusal.MALFORMED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "reason"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES]
)
def test_a_bad_body_is_refused_by_name_and_its_number_is_skipped(
    bad: bytes, reason: Refusal
) -> None:
    city, speaker = opened()
    city.say_bodies(speaker, bad, body(1, city.now_ms))
    assert refused(city, speaker) == [(0, 0, reason)]
    assert city.numbers(speaker.strand) == {0: reason, 1: "admitted"}


def test_a_body_whose_number_cannot_be_read_is_refused_and_shows_as_lost() -> None:
    city, speaker = opened()
    city.say_bodies(speaker, b"\xc1", body(1, city.now_ms))
    (answer,) = city.answers(speaker)
    assert (answer.ref, answer.reason) == (None, Refusal.MALFORMED)
    assert city.numbers(speaker.strand) == {0: Refusal.LOST, 1: "admitted"}


def test_a_wrong_body_cannot_make_a_strand_jump_far() -> None:
    city, speaker = opened()
    city.say_bodies(speaker, body(2**31, city.now_ms, labels=(1, 1)))
    assert city.answers(speaker)[0].reason == Refusal.NOT_CANONICAL
    city.say(speaker, 1)
    assert city.numbers(speaker.strand) == {0: "admitted"}


def test_no_number_reaches_the_end_of_32_bits() -> None:
    city, speaker = opened()
    city.say_bodies(speaker, body(2**32 - 1, city.now_ms))
    assert city.answers(speaker)[0].reason == Refusal.OUT_OF_RANGE
    assert city.numbers(speaker.strand) == {}


def test_a_number_that_was_taken_is_refused_as_repeated_and_not_announced_again() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    city.say_bodies(speaker, speaker.bodies[1], speaker.bodies[2])
    assert refused(city, speaker) == [(1, 2, Refusal.REPEATED)]
    assert city.numbers(speaker.strand) == dict.fromkeys(range(3), "admitted")


def test_a_jump_is_announced_as_lost_in_one_entry() -> None:
    city, speaker = opened()
    city.say(speaker, 1)
    city.say(speaker, 10, lost=True)
    city.say(speaker, 1)
    skips = [e for e in city.entries(speaker.strand) if hasattr(e, "reason")]
    assert [(e.first, e.last, e.reason) for e in skips] == [(1, 10, Refusal.LOST)]  # type: ignore[union-attr]
    assert city.core.counts.lost == 10


def test_skipped_neighbours_with_one_reason_are_one_entry_also_over_messages() -> None:
    city, speaker = opened()
    old = city.now_ms - 31_000
    entries = [body(0, old), body(1, old), body(2, old), body(3, old, labels=(1, 1)), body(4, old)]
    messages = [Samples(ROOM, speaker.strand, 0, (b,)) for b in entries]
    city.up(speaker, *messages)
    skips = [e for e in city.entries(speaker.strand) if hasattr(e, "reason")]
    assert [(e.first, e.last, e.reason) for e in skips] == [  # type: ignore[union-attr]
        (0, 2, Refusal.SKEW),
        (3, 3, Refusal.NOT_CANONICAL),
        (4, 4, Refusal.SKEW),
    ]


@pytest.mark.parametrize("skew_ms", [-30_000, 30_000])
def test_a_stamp_30_s_away_is_taken_and_one_millisecond_more_is_skew(skew_ms: int) -> None:
    city, speaker = opened()
    further = skew_ms + (1 if skew_ms > 0 else -1)
    city.say_bodies(speaker, body(0, city.now_ms + skew_ms), body(1, city.now_ms + further))
    (answer,) = city.answers(speaker)
    assert (answer.first, answer.last, answer.reason) == (1, 1, Refusal.SKEW)
    assert answer.now_ms == city.now_ms
    assert city.numbers(speaker.strand) == {0: "admitted", 1: Refusal.SKEW}


def test_a_burst_of_256_is_taken_and_then_128_a_second() -> None:
    city, speaker = opened()
    for _ in range(8):
        city.say(speaker, 32)
        city.seal(speaker, 32)
    city.say(speaker, 1)
    assert refused(city, speaker) == [(256, 256, Refusal.TOO_FAST)]
    city.now_ns += 7_812_499
    city.say(speaker, 1)
    assert refused(city, speaker) == [(257, 257, Refusal.TOO_FAST)]
    city.now_ns += 1
    city.say(speaker, 2)
    assert refused(city, speaker) == [(259, 259, Refusal.TOO_FAST)]


def test_the_rate_is_a_citizen_s_over_all_its_strands() -> None:
    city, speaker = opened()
    for _ in range(8):
        city.say(speaker, 32)
        city.seal(speaker, 32)
    city.answers(speaker)
    second = Speaker(1)
    second.strand_key = Signer(b"\x77" * 32)
    city.open(second)
    city.say(second, 1)
    assert refused(city, second) == [(0, 0, Refusal.TOO_FAST)]


def test_unsealed_bodies_are_bounded() -> None:
    city, speaker = opened(settings=IngestSettings(unsealed_samples_max=40))
    city.say(speaker, 32)
    city.say(speaker, 9)
    assert refused(city, speaker) == [(40, 40, Refusal.TOO_FAST)]


@pytest.mark.parametrize("setting", list(Setting))
def test_derived_samples_are_refused_at_work_and_in_education_only(setting: Setting) -> None:
    city, speaker = opened(policy=policy(setting=setting))
    city.say(speaker, 1, provenance=Provenance.DERIVED)
    expected = (
        [(0, 0, Refusal.DERIVED_IN_WORK)] if setting in (Setting.WORK, Setting.EDUCATION) else []
    )
    assert refused(city, speaker) == expected


def test_samples_of_an_unknown_strand_are_refused_by_number() -> None:
    city, speaker = opened()
    city.up(speaker, Samples(ROOM, bytes(32), 0, (body(4, 0), body(5, 0))))
    assert refused(city, speaker) == [(4, 5, Refusal.UNKNOWN_STRAND)]


def test_somebody_else_s_strand_is_unknown() -> None:
    city, speaker = opened()
    other = Speaker(2)
    city.speakers.append(other)
    city.enter(other)
    city.up(other, Samples(ROOM, speaker.strand, 0, (body(0, city.now_ms),)))
    assert refused(city, other) == [(0, 0, Refusal.UNKNOWN_STRAND)]
    assert city.numbers(speaker.strand) == {}


def test_who_is_not_seated_here_is_no_member() -> None:
    city, _ = opened()
    stranger = Speaker(2)
    city.up(stranger, Samples(ROOM, bytes(32), 0, (body(0, 0),)))
    assert refused(city, stranger) == [(0, 0, Refusal.NOT_A_MEMBER)]
    city.up(stranger, Open(3, ROOM, stranger.opening(city)))
    (answer,) = city.answers(stranger)
    assert (answer.ref, answer.reason) == (3, Refusal.NOT_A_MEMBER)


@pytest.mark.parametrize("change", ["device", "gateway", "incarnation"])
def test_a_seat_is_good_only_from_where_it_was_taken(change: str) -> None:
    city, speaker = opened()
    device = b""
    if change == "device":
        device = Speaker(2).device.public_key
    elif change == "gateway":
        speaker.gateway = "gateway-1"
    else:
        speaker.incarnation = 8
    city.up(speaker, Samples(ROOM, speaker.strand, 0, (body(0, city.now_ms),)), device=device)
    assert city.answers(speaker)[-1].reason == Refusal.NOT_A_MEMBER


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\xc0", Refusal.MALFORMED),
        (b"\x91\xa4nope", Refusal.MALFORMED),
        (encode(Samples(ROOM, bytes(32), 0, ())), Refusal.OUT_OF_RANGE),
        (encode(Samples(ROOM, bytes(32), 0, (b"x",) * 33)), Refusal.OUT_OF_RANGE),
        (encode(Samples(ROOM, bytes(31), 0, (b"x",))), Refusal.OUT_OF_RANGE),
    ],
)
def test_a_message_that_cannot_be_read_is_refused_by_name(message: bytes, reason: Refusal) -> None:
    city, speaker = opened()
    city.up(speaker, message)
    (answer,) = city.answers(speaker)
    assert isinstance(answer, Refused)
    assert (answer.ref, answer.reason) == (None, reason)


# ── openings ─────────────────────────────────────────────────────────────────────────────────────


def test_an_opening_is_answered_with_its_strand_and_published_once() -> None:
    city, speaker = opened()
    city.say(speaker, 3)
    city.seal(speaker, 2)
    record = next(e.opening for e in city.entries(speaker.strand) if hasattr(e, "opening"))
    again = city.open(speaker, record, ref=9)
    assert again == Opened(9, speaker.strand, next_seq=3, next_window=1)
    assert len([e for e in city.entries(speaker.strand) if hasattr(e, "opening")]) == 1


DEVICE_KEY, IDENTITY_KEY = Speaker(1).device.public_key, Speaker(1).identity_key.public_key
OPENINGS: list[tuple[str, dict[str, Any], Refusal]] = [
    ("another room", {"sanctuary": bytes(16)}, Refusal.WRONG_SANCTUARY),
    ("another citizen", {"citizen": bytes(16)}, Refusal.WRONG_SESSION),
    ("another device", {"device": Speaker(2).device.public_key}, Refusal.UNKNOWN_DEVICE),
    ("an old challenge", {"challenge": bytes(16)}, Refusal.WRONG_CHALLENGE),
    ("another policy", {"policy_hash": bytes(32)}, Refusal.WRONG_POLICY),
    ("an old stamp", {"t_ms": 5}, Refusal.SKEW),
    ("a small-order strand key", {"strand_key": bytes(32)}, Refusal.OUT_OF_RANGE),
    ("the device's key for the strand", {"strand_key": DEVICE_KEY}, Refusal.OUT_OF_RANGE),
    ("the identity's key for the strand", {"strand_key": IDENTITY_KEY}, Refusal.OUT_OF_RANGE),
    ("a name too long", {"name": "x" * 41}, Refusal.OUT_OF_RANGE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"), [row[1:] for row in OPENINGS], ids=[row[0] for row in OPENINGS]
)
def test_a_wrong_opening_is_refused_by_name(changes: dict[str, Any], reason: Refusal) -> None:
    speaker = Speaker(1)
    city = city_with(speaker)
    answer = city.open(speaker, speaker.opening(city, **changes), ref=4)
    assert (answer.ref, answer.reason) == (4, reason)
    assert city.batches == []


@pytest.mark.parametrize("whose", ["another enrolled device's", "a device's never enrolled"])
def test_an_opening_is_signed_by_the_session_s_device_which_is_the_citizen_s(whose: str) -> None:
    speaker = Speaker(1)
    city = city_with(speaker)
    if whose == "another enrolled device's":
        other = Signer(b"\x66" * 32)
        both = (speaker.device.public_key, other.public_key)
        known = Identity(speaker.citizen, speaker.identity_key.public_key, bytes(32), both)
        city.control(IdentityRecorded("registry-0", 1, 1, known))
        record = speaker.opening(city, device=other.public_key)
        record = other.sign_record(RecordKind.OPENING, CITY, record.payload)
    else:
        city.leave(speaker)
        speaker.device = Signer(b"\x66" * 32)
        city.enter(speaker)
        city.flush()
        city.told.clear()
        record = speaker.opening(city)
    assert city.open(speaker, record).reason == Refusal.UNKNOWN_DEVICE


def test_an_opening_with_an_old_challenge_is_told_the_new_one() -> None:
    speaker = Speaker(1)
    city = city_with(speaker)
    city.up(speaker, Open(1, ROOM, speaker.opening(city, challenge=bytes(16))))
    (challenge,) = city.challenges(speaker)
    assert challenge == Challenge(ROOM, CHALLENGE, reopen=False, now_ms=city.now_ms)


def test_an_opening_under_another_signature_is_refused() -> None:
    speaker = Speaker(1)
    city = city_with(speaker)
    record = speaker.opening(city)
    for forged in (
        Signed(record.payload, bytes(64)),
        Speaker(2).device.sign_record(RecordKind.OPENING, CITY, record.payload),
        speaker.device.sign_record(RecordKind.SEAL, CITY, record.payload),
        speaker.device.sign_record(RecordKind.OPENING, bytes(32), record.payload),
    ):
        assert city.open(speaker, forged).reason == Refusal.BAD_SIGNATURE
    assert isinstance(city.open(speaker, record), Opened)


def test_an_opening_in_another_form_is_not_canonical() -> None:
    speaker = Speaker(1)
    city = city_with(speaker)
    payload = speaker.opening(city).payload
    longer = b"\xdc\x00" + bytes([payload[0] & 0x0F]) + payload[1:]
    record = speaker.device.sign_record(RecordKind.OPENING, CITY, longer)
    assert city.open(speaker, record).reason == Refusal.NOT_CANONICAL
    record = speaker.device.sign_record(RecordKind.OPENING, CITY, b"\xc1")
    assert city.open(speaker, record).reason == Refusal.MALFORMED


def test_a_citizen_whom_the_registry_does_not_know_cannot_open() -> None:
    speaker, unknown = Speaker(1), Speaker(2)
    city = city_with(speaker)
    city.enter(unknown)
    city.answers(unknown)
    assert city.open(unknown).reason == Refusal.UNKNOWN_CITIZEN


def test_only_voices_may_open_on_a_stage_that_names_them() -> None:
    voice, listener = Speaker(1), Speaker(2)
    stage = policy(kind=Kind.STAGE, voices=(voice.citizen,))
    city = IngestCity(speakers=[voice, listener], policy=stage)
    assert isinstance(city.open(voice), Opened)
    assert city.open(listener).reason == Refusal.NOT_INVITED


def test_a_citizen_has_at_most_four_open_strands_in_a_room() -> None:
    speaker = Speaker(1)
    city = city_with(speaker)
    answers = []
    for key in range(5):
        speaker.strand_key = Signer(bytes([key + 10]) * 32)
        answers.append(city.open(speaker))
    assert [type(a) for a in answers] == [Opened] * 4 + [Refused]
    assert answers[4].reason == Refusal.TOO_MANY_STRANDS


def test_openings_have_a_rate_of_their_own() -> None:
    speaker = Speaker(1)
    city = city_with(speaker, settings=IngestSettings(strands_max=100))
    answers = []
    for key in range(17):
        speaker.strand_key = Signer(bytes([key + 10]) * 32)
        answers.append(city.open(speaker))
    assert [type(a) for a in answers] == [Opened] * 16 + [Refused]
    assert answers[16].reason == Refusal.TOO_FAST
    city.now_ns += S
    assert isinstance(city.open(speaker), Opened)


def test_an_opening_whose_strand_ended_is_not_taken_again() -> None:
    city, speaker = opened()
    record = next(e.opening for e in city.entries(speaker.strand) if hasattr(e, "opening"))
    assert isinstance(city.seal(speaker, 0, flags=1, total=0), Sealed)
    assert city.open(speaker, record).reason == Refusal.UNKNOWN_STRAND
    # and when the strand is forgotten, its stamp is too old
    city.wait(400 * S)
    assert not city.core.book.ended
    assert city.open(speaker, record).reason == Refusal.SKEW


# ── before the replicas are there ────────────────────────────────────────────────────────────────


def test_before_its_replicas_are_complete_ingest_says_not_ready_and_nothing_wrong() -> None:
    speaker = Speaker(1)
    city = city_with(speaker, ready=False)
    for is_registry_there in (False, True):
        if is_registry_there:
            city.answer_registry()
        assert not city.core.is_ready
        city.up(
            speaker,
            Open(1, ROOM, speaker.opening(city)),
            Samples(ROOM, bytes(32), 0, (body(0, 0),)),
            SealWindow(ROOM, bytes(32), Signed(b"x", bytes(64))),
            Release(ROOM, bytes(32), bytes(32)),
        )
        assert {m.reason for m in city.answers(speaker)} == {Refusal.NOT_READY}
    assert city.core.pending()
    city.answer_members()
    assert city.core.is_ready
    assert city.core.pending() == []


def test_refusals_before_it_is_ready_suspend_nobody() -> None:
    speaker = Speaker(1)
    city = city_with(speaker, ready=False)
    for _ in range(150):
        city.up(speaker, Samples(ROOM, bytes(32), 0, (body(0, 0),)))
    city.become_ready()
    assert isinstance(city.open(speaker), Opened)


# ── suspension ───────────────────────────────────────────────────────────────────────────────────


def refuse(city: IngestCity, speaker: Speaker, count: int) -> None:
    for _ in range(count):
        city.up(speaker, Samples(ROOM, bytes(32), 0, (body(0, 0),)))
    city.told.clear()


def is_suspended(city: IngestCity, speaker: Speaker) -> bool:
    city.up(speaker, Open(1, ROOM, Signed(b"\xc1", bytes(64))))
    return bool(city.answers(speaker)[-1].reason == Refusal.SUSPENDED)


def test_the_hundred_and_first_refused_message_within_10_s_suspends_the_device_for_10_s() -> None:
    city, speaker = opened()
    refuse(city, speaker, 1)
    city.now_ns += 10 * S
    refuse(city, speaker, 99)
    assert not is_suspended(city, speaker)  # itself the 101st
    assert is_suspended(city, speaker)
    city.now_ns += 10 * S - 1
    assert is_suspended(city, speaker)
    city.now_ns += 1
    assert not is_suspended(city, speaker)
    assert city.core.suspensions == 1


def test_a_hundred_and_one_refusals_in_more_than_10_s_suspend_nobody() -> None:
    city, speaker = opened()
    refuse(city, speaker, 1)
    city.now_ns += 10 * S + 1
    refuse(city, speaker, 100)
    assert not is_suspended(city, speaker)


def test_suspensions_double_to_60_s_and_begin_anew_after_good_conduct() -> None:
    city, speaker = opened()
    lengths = []
    for _ in range(5):
        refuse(city, speaker, 101)
        start = city.now_ns
        while is_suspended(city, speaker):
            city.now_ns += S
        lengths.append((city.now_ns - start) // S)
    assert lengths == [10, 20, 40, 60, 60]
    city.now_ns += 61 * S
    refuse(city, speaker, 101)
    city.now_ns += 10 * S
    assert not is_suspended(city, speaker)


def test_a_suspended_device_s_numbers_are_announced_and_others_are_not_touched() -> None:
    speaker, bystander = Speaker(1), Speaker(2)
    city = IngestCity(speakers=[speaker, bystander])
    city.open(speaker)
    city.open(bystander)
    refuse(city, speaker, 101)
    city.say(speaker, 3)
    assert refused(city, speaker) == [(0, 2, Refusal.SUSPENDED)]
    assert city.numbers(speaker.strand) == dict.fromkeys(range(3), Refusal.SUSPENDED)
    city.say(bystander, 1)
    assert city.numbers(bystander.strand) == {0: "admitted"}


def test_suspended_messages_do_not_lengthen_a_suspension() -> None:
    city, speaker = opened()
    refuse(city, speaker, 101)
    city.now_ns += 5 * S
    refuse(city, speaker, 300)
    city.now_ns += 5 * S
    assert not is_suspended(city, speaker)


# ── a bus that repeats ───────────────────────────────────────────────────────────────────────────


def test_a_batch_that_comes_twice_acts_once_and_crossed_ones_both_act() -> None:
    city, speaker = opened()
    city.say(speaker, 1)
    city.up_numbers["gateway-0"] -= 1
    city.say(speaker, 1)
    assert city.core.counts.repeated_batches == 1
    assert city.numbers(speaker.strand) == {0: "admitted"}
    city.up_numbers["gateway-0"] += 1
    city.say(speaker, 1)
    city.up_numbers["gateway-0"] -= 2
    city.up(speaker, SealWindow(ROOM, bytes(32), Signed(b"x", bytes(64))))
    assert city.answers(speaker)[-1].reason == Refusal.UNKNOWN_STRAND
    city.up_numbers["gateway-0"] -= 70
    city.say(speaker, 1)
    assert city.core.counts.repeated_batches == 2


def test_a_batch_of_a_foreign_slot_is_dropped_and_counted() -> None:
    city, speaker = opened()
    number = city.core.counts.foreign
    city.receive("up.0", UpBatch("gateway-0", 7, 63, 0, ()))
    assert city.core.counts.foreign == number + 1
    assert speaker.strand
