"""Whole windows: nothing of one is delivered unless all of it is good, and nothing twice."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.ingest.core import windows
from shared.codec import encode, sha256, strand_id
from shared.contracts import (
    Admitted,
    Challenge,
    ChallengeAsk,
    ChallengeTold,
    Kind,
    NumbersSkipped,
    Opened,
    Refusal,
    Refused,
    RefusedRun,
    SealWindow,
    Setting,
    Signed,
    StrandClosed,
    StrandOpened,
    TakeWindow,
    WindowSealed,
    WindowTaken,
)
from shared.contracts.sample import Provenance
from shared.identifiers import slot_of
from shared.identity import Signer
from tests.support.ingest_city import CHALLENGE, ROOM, IngestCity, Speaker, body, policy

S = 1_000_000_000


class Device(Speaker):
    """Somebody who posts windows: the opening stays, the windows follow each other."""

    def __init__(self, number: int = 1, **options: Any) -> None:
        super().__init__(number, **options)
        self.record: Signed

    def begin(self, city: IngestCity, **changes: Any) -> None:
        self.record = self.opening(city, **changes)
        self.strand = strand_id(self.record.payload)

    def cut(self, city: IngestCity, count: int, **changes: Any) -> TakeWindow:
        """The next window; it is not sent yet."""
        first = len(self.bodies)
        fresh = tuple(body(first + i, city.now_ms) for i in range(count))
        self.bodies += fresh
        return self.of(self.seal(city, count, **changes), *fresh)

    def of(self, seal: Signed, *bodies: bytes) -> TakeWindow:
        return TakeWindow(9, ROOM, 0, self.record, bodies, seal)


def posting(**options: Any) -> tuple[IngestCity, Device]:
    device = Device()
    city = IngestCity(speakers=[device], **options)
    device.begin(city)
    return city, device


def post(city: IngestCity, device: Device, window: TakeWindow) -> Any:
    city.up(device, window)
    [answer] = city.answers(device)
    if isinstance(answer, WindowTaken):
        device.took(window.seal)
    return answer


def kinds(city: IngestCity, device: Device) -> list[type]:
    return [type(entry) for entry in city.entries(device.strand)]


def test_a_window_with_its_opening_is_admitted_sealed_and_published() -> None:
    city, device = posting()
    answer = post(city, device, device.cut(city, 3))
    assert answer == WindowTaken(9, device.strand, 0, (0, 1, 2), ())
    assert kinds(city, device) == [StrandOpened, Admitted, Admitted, Admitted, WindowSealed]


def test_windows_follow_each_other_on_one_opening_until_the_closing_one() -> None:
    city, device = posting()
    for first in (0, 2):
        assert post(city, device, device.cut(city, 2)).admitted == (first, first + 1)
    last = device.cut(city, 1, flags=1, total=5)
    assert post(city, device, last).admitted == (4,)
    assert [entry.reason for entry in city.ends(device.strand)] == ["closed"]
    assert kinds(city, device).count(StrandOpened) == 1


def test_the_same_window_again_is_answered_the_same_and_delivered_once() -> None:
    city, device = posting()
    first = device.cut(city, 2)
    answer = post(city, device, first)
    second = device.cut(city, 1, flags=1, total=3)
    after = post(city, device, second)
    published = len(city.entries(device.strand))
    for window, told in ((first, answer), (second, after), (first, answer)):
        again = msgspec.structs.replace(window, ref=77)
        city.up(device, again)
        assert city.answers(device) == [msgspec.structs.replace(told, ref=77)]
    assert len(city.entries(device.strand)) == published


def test_it_is_answered_the_same_from_the_devices_next_session() -> None:
    city, device = posting()
    window = device.cut(city, 2)
    answer = post(city, device, window)
    city.leave(device)
    device.session = b"another session!"
    city.enter(device)
    city.told.clear()
    city.up(device, window)
    assert city.answers(device) == [answer]


def test_anothers_device_is_not_told_what_was_answered() -> None:
    city, device = posting()
    stranger = Device(2)
    city = IngestCity(speakers=[device, stranger])
    window = device.cut(city, 2)
    post(city, device, window)
    city.up(stranger, window)
    [answer] = city.answers(stranger)
    assert isinstance(answer, Refused)
    assert answer.reason == Refusal.UNKNOWN_STRAND


def test_refused_numbers_are_told_by_name_and_announced_to_viewers() -> None:
    city, device = posting(policy=policy(setting=Setting.WORK))
    bodies = (
        body(0, city.now_ms),
        body(1, 5),
        body(2, 5),
        body(3, city.now_ms, provenance=Provenance.DERIVED),
        body(4, city.now_ms),
    )
    device.bodies += bodies
    answer = post(city, device, device.of(device.seal(city, 5), *bodies))
    assert answer.admitted == (0, 4)
    assert answer.refused == (
        RefusedRun(1, 2, Refusal.SKEW),
        RefusedRun(3, 3, Refusal.DERIVED_IN_WORK),
    )
    assert city.numbers(device.strand)[1] == Refusal.SKEW
    assert NumbersSkipped in kinds(city, device)


def broken(city: IngestCity, device: Device) -> dict[str, tuple[TakeWindow, Refusal]]:
    """Windows that are refused whole, each for one thing that is wrong."""
    good = device.cut(city, 2)
    one, two = good.bodies
    other = Signer(b"\x09" * 32)
    replace = msgspec.structs.replace

    def opening(**changes: Any) -> Signed:
        return device.opening(city, **changes)

    return {
        "a body too few": (replace(good, bodies=(one,)), Refusal.BAD_SEAL),
        "a body too many": (replace(good, bodies=(one, two, two)), Refusal.BAD_SEAL),
        "another body": (
            replace(good, bodies=(one, body(1, city.now_ms, valence=7))),
            Refusal.BAD_SEAL,
        ),
        "crosswise": (replace(good, bodies=(two, one)), Refusal.BAD_SEAL),
        "a body of another number": (
            device.of(
                device.seal(city, 2, hashes=tuple(sha256(b)[:16] for b in (one, one))), one, one
            ),
            Refusal.BAD_SEAL,
        ),
        "garbage under a good seal": (
            device.of(device.seal(city, 2, hashes=(sha256(b"\xc1")[:16],)), b"\xc1"),
            Refusal.BAD_SEAL,
        ),
        "another's seal": (
            replace(good, seal=Signed(good.seal.payload, other.sign(good.seal.payload))),
            Refusal.BAD_SEAL,
        ),
        "no seal": (replace(good, seal=Signed(b"\xc1", bytes(64))), Refusal.MALFORMED),
        "a later window": (device.of(device.seal(city, 2, window=1), one, two), Refusal.BAD_SEAL),
        "a wrong total": (
            device.of(device.seal(city, 2, flags=1, total=9), one, two),
            Refusal.BAD_SEAL,
        ),
        "cut long ago": (device.of(device.seal(city, 2, t_end_ms=5), one, two), Refusal.SKEW),
        "no opening": (replace(good, opening=Signed(b"\xc1", bytes(64))), Refusal.MALFORMED),
        "of another challenge": (
            replace(good, opening=opening(challenge=bytes(16))),
            Refusal.WRONG_CHALLENGE,
        ),
        "under other rules": (
            replace(good, opening=opening(policy_hash=bytes(32))),
            Refusal.WRONG_POLICY,
        ),
        "for another room": (
            replace(good, opening=opening(sanctuary=b"another room 16!")),
            Refusal.WRONG_SANCTUARY,
        ),
        "opened long ago": (replace(good, opening=opening(t_ms=5)), Refusal.SKEW),
        "forged opening": (
            replace(good, opening=Signed(good.opening.payload, bytes(64))),
            Refusal.BAD_SIGNATURE,
        ),
    }


NAMES = tuple(broken(*posting()))


@pytest.mark.parametrize("name", NAMES)
def test_a_window_that_is_not_good_is_refused_whole(name: str) -> None:
    city, device = posting()
    window, reason = broken(city, device)[name]
    answer = post(city, device, window)
    assert isinstance(answer, Refused)
    assert (answer.ref, answer.reason) == (9, reason)
    assert city.batches == [] or all(not batch.entries for batch in city.batches)
    device.bodies.clear()
    assert isinstance(post(city, device, device.cut(city, 2)), WindowTaken)


def test_a_second_seal_for_a_window_is_refused_and_counted() -> None:
    city, device = posting()
    window = device.cut(city, 1)
    second = device.of(device.seal(city, 1, t_end_ms=city.now_ms + 1), *window.bodies)
    post(city, device, window)
    answer = post(city, device, second)
    assert answer.reason == Refusal.BAD_SEAL
    assert city.core.counts.equivocations == 1


def test_a_window_belongs_to_who_has_a_seat() -> None:
    city, device = posting()
    window = device.cut(city, 1)
    city.leave(device)
    assert post(city, device, window).reason == Refusal.NOT_A_MEMBER
    city.up(device, window, device=bytes(32))
    assert [answer.reason for answer in city.answers(device)] == [Refusal.NOT_A_MEMBER]


def test_after_a_restart_nothing_recorded_is_taken_again() -> None:
    city, device = posting()
    window = device.cut(city, 2)
    post(city, device, window)
    city = IngestCity(speakers=[device], challenge=b"challenge of two")
    answer = post(city, device, window)
    assert answer.reason == Refusal.WRONG_CHALLENGE
    assert all(not batch.entries for batch in city.batches)


def test_before_it_knows_the_city_it_refuses_as_not_ready() -> None:
    device = Device()
    city = IngestCity(speakers=[device], ready=False)
    device.begin(city)
    assert post(city, device, device.cut(city, 1)).reason == Refusal.NOT_READY


def test_a_strand_may_be_spoken_on_from_a_socket_and_in_windows() -> None:
    city, device = posting()
    assert isinstance(city.open(device, device.record), Opened)
    city.say(device, 2)
    fresh = body(2, city.now_ms)
    device.bodies.append(fresh)
    window = device.of(device.seal(city, 3), *device.bodies)
    assert post(city, device, window) == WindowTaken(9, device.strand, 0, (0, 1, 2), ())
    assert kinds(city, device).count(Admitted) == 3
    city.say(device, 1)
    record = device.seal(city, 1)
    city.up(device, SealWindow(ROOM, device.strand, record))
    device.took(record)
    city.answers(device)
    city.wait(5 * S)
    assert city.ends(device.strand) == []


def test_the_rate_is_the_citizens_as_on_a_socket() -> None:
    city, device = posting()
    answers = [post(city, device, device.cut(city, 32)) for _ in range(9)]
    assert sum(len(answer.admitted) for answer in answers) == 256
    assert answers[-1].refused == (RefusedRun(256, 287, Refusal.TOO_FAST),)


def test_a_strand_ends_when_its_device_has_no_seat_any_more() -> None:
    city, device = posting()
    post(city, device, device.cut(city, 1))
    city.leave(device)
    city.wait(11 * S)
    assert [entry.reason for entry in city.ends(device.strand)] == ["left"]
    assert StrandClosed in kinds(city, device)


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "ANSWERS_MAX", 2)
    city, device = posting()
    first = device.cut(city, 1)
    post(city, device, first)
    for _ in range(2):
        post(city, device, device.cut(city, 1))
    assert post(city, device, first).reason == Refusal.BAD_SEAL  # forgotten, and not taken again


@pytest.mark.parametrize(
    ("rules", "is_told"),
    [
        (policy(), True),
        (policy(kind=Kind.CIRCLE, capacity=12), False),
        (policy(kind=Kind.STAGE), False),
        (policy(kind=Kind.STAGE, public=True), True),
    ],
)
def test_the_challenge_is_told_and_the_rules_of_rooms_for_anybody(
    rules: Any,
    is_told: bool,  # noqa: FBT001
) -> None:
    city = IngestCity(policy=rules)
    subject = "ask.ingest.0"
    [told] = city.receive(subject, ChallengeAsk("gateway-0", ROOM))
    assert told == ChallengeTold(ROOM, CHALLENGE, encode(rules) if is_told else None)


def test_of_an_unknown_room_one_hears_what_one_hears_of_a_closed_one() -> None:
    city = IngestCity()
    nowhere = next(
        name
        for name in (n.to_bytes(16, "big") for n in range(10_000))
        if slot_of(name) == slot_of(ROOM)
    )
    [told] = city.receive("ask.ingest.0", ChallengeAsk("gateway-0", nowhere))
    assert told == ChallengeTold(nowhere, CHALLENGE, None)


def test_a_gateway_that_asks_too_early_waits() -> None:
    city = IngestCity(ready=False)
    assert city.receive("ask.ingest.0", ChallengeAsk("gateway-0", ROOM)) == []
    city.become_ready()
    assert len(city.receive("ask.ingest.0", ChallengeAsk("gateway-0", ROOM))) == 1


def test_a_new_challenge_follows_a_wrong_one() -> None:
    city, device = posting()
    window = device.cut(city, 1)
    device.begin(city, challenge=bytes(16))
    city.up(device, device.of(window.seal, *window.bodies))
    told = city.told[device.session]
    assert [type(message) for message in told] == [Challenge, Refused]
