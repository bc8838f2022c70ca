"""Windows posted without a socket: a seat first, then up, then one answer, whatever happens."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core import Respond, siblings
from services.gateway.core import posts as module
from services.gateway.core.posts import ANSWER_NS_MAX, REPEAT_EVERY_NS, SECOND_NS
from services.gateway.core.siblings import HEARD_NS_MAX
from shared.codec import decode, encode, sha256
from shared.contracts import (
    SEAT_S,
    Answer,
    Answers,
    ChallengeAsk,
    ChallengeTold,
    Clear,
    Deliver,
    EdgeBatch,
    Enter,
    Fenced,
    GatewayBeat,
    JoinAsk,
    JoinRequest,
    JoinsWanted,
    LeaveAsk,
    PostAnswered,
    PostAsk,
    PostedWindow,
    RecordKind,
    Refusal,
    RefusedRun,
    SeatAnswered,
    Signed,
    TakeWindow,
    ToSpeak,
    UpBatch,
    WindowTaken,
)
from shared.contracts import client as c
from shared.contracts.refusals import MEANING
from shared.identifiers import SanctuaryId, SessionId
from shared.identity import Signer
from shared.subjects import Ask
from tests.unit.test_gateway_core import (
    CITIZEN,
    CITY,
    MS,
    ROOM,
    SLOT,
    Bench,
    members,
    published,
    shown,
)

SIGNER = Signer(b"d" * 32)
DEVICE = SIGNER.public_key
CHALLENGE = b"challenge of one"
OPENING, SEAL = Signed(b"opening", bytes(64)), Signed(b"seal", bytes(64))


class Device:
    """One that posts to a core; the test speaks for sanctuary and ingest."""

    def __init__(self, **chosen: Any) -> None:
        self.bench = Bench(**chosen)
        self.number = 0
        self.answers: dict[int, Any] = {}
        self.session = SessionId(bytes(16))

    def did(self, effects: list[Any]) -> list[Any]:
        for effect in effects:
            if isinstance(effect, Respond):
                assert effect.number not in self.answers, "answered twice"
                self.answers[effect.number] = effect.answer
        return effects

    def ask(self, room: SanctuaryId = ROOM) -> list[Any]:
        self.number += 1
        bench = self.bench
        return self.did(bench.core.to_speak(self.number, room, bench.ns, bench.ms))

    def told(self, policy: bytes | None = b"policy", room: SanctuaryId = ROOM) -> None:
        bench = self.bench
        ask = Ask("ask.ingest.0", ChallengeAsk("gateway-0", room), ChallengeTold)
        event = ChallengeTold(room, CHALLENGE, policy)
        self.did(bench.core.answered(ask, event, bench.ns, bench.ms))

    def learn(self) -> ToSpeak:
        self.ask()
        self.told()
        facts: ToSpeak = self.answers[self.number]
        self.session = SessionId(facts.session)
        return facts

    def join(self, **changes: Any) -> Signed:
        plain = JoinRequest(ROOM, self.session, "gateway-0", CITIZEN, DEVICE, 1)
        payload = encode(msgspec.structs.replace(plain, **changes))
        return SIGNER.sign_record(RecordKind.JOIN, CITY, payload)

    def window(self, **changes: Any) -> bytes:
        plain = PostedWindow(self.join(), 3, OPENING, (b"\x90",), SEAL)
        return encode(msgspec.structs.replace(plain, **changes))

    def post(self, body: bytes | None = None) -> list[Any]:
        self.number += 1
        bench = self.bench
        body = self.window() if body is None else body
        effects = bench.core.post(self.number, body, bench.ns, bench.ms)
        return self.did(effects) + self.flush()

    def flush(self) -> list[Any]:
        return self.did(self.bench.flush())

    def later(self, ns: int) -> list[Any]:
        return self.did(self.bench.later(ns))

    def receive(self, subject: str, event: msgspec.Struct) -> list[Any]:
        return self.did(self.bench.receive(subject, event))

    def seat(self) -> list[Any]:
        joined = encode(c.Joined(1, ROOM, b"policy", bytes(32)))
        event = SeatAnswered(self.session, ROOM, True, self.join(), joined, 1)
        return self.receive("back.gateway-0", event)

    def say(self, message: msgspec.Struct) -> list[Any]:
        """Ingest says something to the session."""
        entry = Answer(self.session, msgspec.Raw(encode(message)))
        return self.receive("back.gateway-0", Answers("ingest-0", (entry,)))

    def greet(self) -> list[Any]:
        return self.say(c.Challenge(ROOM, CHALLENGE, False, 0))

    def seated(self) -> TakeWindow:
        """Asked, posted, seated, greeted: what went up."""
        self.learn()
        self.post()
        self.seat()
        [take] = self.up(self.greet())
        return take

    def up(self, effects: list[Any]) -> list[TakeWindow]:
        takes = []
        for batch in published(effects, UpBatch):
            for entry in batch.entries:
                assert (entry.session, entry.device) == (self.session, DEVICE)
                takes.append(decode(entry.message, TakeWindow))
        return takes

    def refusal(self, number: int | None = None) -> str:
        answer = self.answers[number or self.number]
        assert isinstance(answer, c.Refused)
        assert answer.meaning == MEANING[Refusal(answer.reason)]
        return answer.reason


def test_what_to_sign_is_asked_of_ingest_and_told() -> None:
    device = Device()
    [ask] = device.ask()
    assert (ask.subject, ask.event) == (f"ask.ingest.{SLOT}", ChallengeAsk("gateway-0", ROOM))
    assert device.answers == {}
    device.told()
    facts = device.answers[1]
    assert (facts.city, facts.gateway, facts.sanctuary) == (CITY, "gateway-0", ROOM)
    assert (facts.challenge, facts.policy) == (CHALLENGE, b"policy")
    assert facts.policy_hash == sha256(b"policy")
    assert (facts.within_s, facts.now_ms) == (SEAT_S, device.bench.ms)


def test_questions_at_once_are_one_and_an_answer_serves_for_a_second() -> None:
    device = Device()
    assert len(device.ask()) == 1
    assert device.ask() == []
    device.told(policy=None)
    assert device.ask() and device.number in device.answers  # noqa: PT018
    sessions = {device.answers[number].session for number in (1, 2, 3)}
    assert len(sessions) == 3
    assert device.answers[3].policy_hash is None
    device.later(SECOND_NS + MS)
    assert isinstance(device.ask()[0], Ask)


def test_a_question_is_repeated_then_not_ready() -> None:
    device = Device()
    device.ask()
    asks = [e for e in device.later(ANSWER_NS_MAX - 300 * MS) if isinstance(e, Ask)]
    assert 8 <= len(asks) <= ANSWER_NS_MAX // REPEAT_EVERY_NS
    device.later(600 * MS)
    assert device.refusal() == "not ready"
    assert not [e for e in device.later(2000 * MS) if isinstance(e, Ask)]


def test_a_post_takes_a_seat_waits_for_the_greeting_and_goes_up() -> None:
    device = Device()
    device.learn()
    [ask] = published(device.post(), JoinAsk)
    assert (ask.session, ask.device, ask.sanctuary) == (device.session, DEVICE, ROOM)
    assert ask.record == device.join()
    assert device.up(device.seat()) == []
    [take] = device.up(device.greet())
    assert (take.sanctuary, take.epoch, take.opening) == (ROOM, 3, OPENING)
    assert (take.bodies, take.seal) == ((b"\x90",), SEAL)
    taken = WindowTaken(take.ref, bytes(32), 0, (0, 2), (RefusedRun(1, 1, "skew"),))
    device.say(taken)
    assert device.answers[device.number] == taken


def test_the_next_windows_of_a_minute_need_no_other_seat() -> None:
    device = Device()
    device.say(WindowTaken(device.seated().ref, bytes(32), 0, (0,), ()))
    effects = device.post()
    assert published(effects, JoinAsk) == []
    [take] = device.up(effects)
    device.say(WindowTaken(take.ref, bytes(32), 1, (1,), ()))
    assert device.answers[device.number].window == 1
    assert device.bench.core.posts.taken == 2


def test_the_seat_ends_with_its_minute() -> None:
    device = Device()
    device.say(WindowTaken(device.seated().ref, bytes(32), 0, (0,), ()))
    effects = device.later((SEAT_S - 2) * SECOND_NS)
    assert published(effects, LeaveAsk) == []
    effects = device.later(2 * SECOND_NS + ANSWER_NS_MAX)
    leaves = {(leave.session, leave.ref) for leave in published(effects, LeaveAsk)}
    assert leaves == {(device.session, None)}
    device.post()
    assert device.refusal() == "wrong session"
    assert len(device.bench.core.posts) == 0


def test_what_ingest_refuses_is_the_answer() -> None:
    device = Device()
    take = device.seated()
    device.say(c.Refused(take.ref, "bad seal", MEANING[Refusal.BAD_SEAL], 5))
    assert device.refusal() == "bad seal"
    assert device.answers[device.number].ref is None
    assert device.bench.core.refusals["bad seal"] == 1


@pytest.mark.parametrize("reason", ["not a member", "not ready"])
def test_an_ingest_that_does_not_know_the_seat_yet_is_asked_again(reason: str) -> None:
    device = Device()
    take = device.seated()
    device.say(c.Refused(take.ref, reason, MEANING[Refusal(reason)], 5))
    assert device.number not in device.answers
    again = device.up(device.later(REPEAT_EVERY_NS + 60 * MS))
    assert again == [take]


def test_a_refused_seat_is_the_answer_and_another_join_may_be_tried() -> None:
    device = Device()
    device.learn()
    device.post()
    no = encode(c.Refused(1, "no such room", MEANING[Refusal.NO_SUCH_ROOM], 5))
    device.receive("back.gateway-0", SeatAnswered(device.session, ROOM, False, None, no, 1))
    assert device.refusal() == "no such room"
    assert len(published(device.post(device.window(join=device.join(t_ms=2))), JoinAsk)) == 1


def test_nobody_posts_with_anothers_join() -> None:
    device = Device()
    device.say(WindowTaken(device.seated().ref, bytes(32), 0, (0,), ()))
    other = Signer(b"e" * 32)
    payload = device.join().payload
    for join, reason in (
        (device.join(citizen=b"x" * 16), "wrong session"),
        (device.join(device=other.public_key), "wrong session"),
        (device.join(sanctuary=b"s" * 16), "wrong session"),
        (Signed(payload, b"\1" * 64), "bad signature"),
        (other.sign_record(RecordKind.JOIN, CITY, payload), "bad signature"),
        (SIGNER.sign_record(RecordKind.JOIN, b"n" * 32, payload), "bad signature"),
        (SIGNER.sign_record(RecordKind.FOLLOW, CITY, payload), "bad signature"),
    ):
        assert device.up(device.post(device.window(join=join))) == []
        assert device.refusal() == reason


def test_a_session_is_posted_with_again_over_the_same_join_or_one_signed_anew() -> None:
    device = Device()
    device.say(WindowTaken(device.seated().ref, bytes(32), 0, (0,), ()))
    for join in (device.join(), device.join(t_ms=2)):
        effects = device.post(device.window(join=join))
        assert published(effects, JoinAsk) == []
        [take] = device.up(effects)
        device.say(WindowTaken(take.ref, bytes(32), 1, (1,), ()))
        assert isinstance(device.answers[device.number], WindowTaken)


def test_a_session_is_one_that_this_gateway_gave_lately() -> None:
    device = Device()
    device.learn()
    live = device.bench.live()
    mine = bytes(device.session)
    for session in (live, bytes(16), mine[:-1] + bytes([mine[-1] ^ 1]), b"\xff" + mine[1:]):
        device.post(device.window(join=device.join(session=session)))
        assert device.refusal() == "wrong session"
    device.post(device.window(join=device.join(gateway="gateway-1")))
    assert device.refusal() == "wrong session"
    other = Device()
    other.bench.core._posts._secret = b"of another process"
    other.session = device.session
    other.post()
    assert other.refusal() == "wrong session"


# ── posts of another gateway's session ───────────────────────────────────────────────────────────


def beat(gateway: str) -> GatewayBeat:
    return GatewayBeat(gateway, 7, 0)


def elsewhere(device: Device) -> bytes:
    """A window with a session of gateway-1."""
    return device.window(join=device.join(gateway="gateway-1"))


def asked(effects: list[Any]) -> list[Ask]:
    return [
        effect for effect in effects if isinstance(effect, Ask) and effect.answer is PostAnswered
    ]


def test_a_post_with_anothers_session_is_passed_on_as_it_came_and_its_answer_told() -> None:
    device = Device()
    device.receive("control.gateway-1", beat("gateway-1"))
    body = elsewhere(device)
    [ask] = asked(device.post(body))
    assert ask.subject == "ask.gateway.gateway-1"
    assert ask.event == PostAsk("gateway-0", 1, body)
    assert device.answers == {}
    taken = WindowTaken(9, bytes(32), 0, (0,), ())
    bench = device.bench
    device.did(bench.core.answered(ask, PostAnswered(taken), bench.ns, bench.ms))
    assert device.answers == {1: taken}
    assert device.did(bench.core.answered(ask, PostAnswered(taken), bench.ns, bench.ms)) == []
    assert len(bench.core.posts) == 0, "seat and session are the other's"


def test_posts_are_passed_on_to_gateways_that_are_heard_and_to_nobody_else() -> None:
    device = Device()
    device.receive("control.gateway-2", beat("gateway-1"))  # in another's name
    device.receive("control.fanout-0", beat("fanout-0"))
    for gateway in ("gateway-1", "gateway-2", "fanout-0", "*", "gateway-1.>"):
        effects = device.post(device.window(join=device.join(gateway=gateway)))
        assert asked(effects) == []
        assert device.refusal() == "wrong session"
    device.receive("control.gateway-1", beat("gateway-1"))
    device.later(HEARD_NS_MAX - MS)
    assert len(asked(device.post(elsewhere(device)))) == 1
    device.later(MS)
    assert asked(device.post(elsewhere(device))) == []
    assert device.refusal() == "wrong session"


def test_a_post_is_passed_on_once() -> None:
    device = Device()
    device.receive("control.gateway-1", beat("gateway-1"))
    bench = device.bench
    effects = bench.core.post(1, elsewhere(device), bench.ns, bench.ms, is_passed_on=True)
    assert asked(device.did(effects)) == []
    assert device.refusal(1) == "wrong session"


def test_a_post_that_was_passed_on_to_us_is_taken_as_any() -> None:
    device = Device()
    device.learn()
    bench = device.bench
    device.number += 1
    effects = bench.core.post(device.number, device.window(), bench.ns, bench.ms, is_passed_on=True)
    assert len(published(device.did(effects), JoinAsk)) == 1
    device.seat()
    [take] = device.up(device.greet())
    device.say(WindowTaken(take.ref, bytes(32), 0, (0,), ()))
    assert device.answers[device.number].admitted == (0,)


def test_a_gateway_that_does_not_answer_a_post_is_given_up() -> None:
    device = Device()
    device.receive("control.gateway-1", beat("gateway-1"))
    device.post(elsewhere(device))
    device.later(ANSWER_NS_MAX)
    assert device.answers == {}
    device.later(SECOND_NS // 2)
    assert device.refusal() == "not ready"


def test_what_is_passed_on_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siblings, "UNDER_WAY_MAX", 2)
    device = Device()
    device.receive("control.gateway-1", beat("gateway-1"))
    for _ in range(2):
        device.post(elsewhere(device))
        assert device.answers == {}
    assert asked(device.post(elsewhere(device))) == []
    assert device.refusal() == "not ready"


def test_a_lost_greeting_or_answer_is_got_over() -> None:
    device = Device()
    device.learn()
    device.post()
    device.seat()
    first = device.up(device.later(2 * REPEAT_EVERY_NS))
    assert len(first) >= 1
    device.say(WindowTaken(first[0].ref, bytes(32), 0, (0,), ()))
    device.say(WindowTaken(first[0].ref, bytes(32), 0, (0,), ()))
    assert isinstance(device.answers[device.number], WindowTaken)
    assert device.up(device.later(2 * REPEAT_EVERY_NS)) == []


def test_without_an_answer_it_is_not_ready_in_three_seconds() -> None:
    device = Device()
    device.seated()
    device.later(ANSWER_NS_MAX - 100 * MS)
    assert device.number not in device.answers
    device.later(200 * MS)
    assert device.refusal() == "not ready"


def test_what_is_under_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    device.seated()
    for _ in range(3):
        device.post()
        assert device.number not in device.answers
    device.post()
    assert device.refusal() == "too fast"
    monkeypatch.setattr(module, "WAITING_MAX", 4)
    other = Device.__new__(Device)
    other.__dict__ = {**device.__dict__, "answers": {}}
    other.ask(SanctuaryId(b"n" * 16))
    assert other.refusal() == "not ready"


def test_seats_of_posts_are_bounded() -> None:
    device = Device(posters_max=1)
    device.seated()
    device.learn()
    device.post()
    assert device.refusal() == "not ready"


def test_a_flood_of_windows_is_too_fast() -> None:
    device = Device(units_burst=200)
    device.seated()
    big = device.window(bodies=(b"\x90" * 4000,) * 15)
    reasons = []
    for _ in range(5):
        device.post(big)
        answer = device.answers.get(device.number)
        if answer is None:  # under way: ingest takes it
            ref = device.bench.core._posts._ref
            device.say(WindowTaken(ref, bytes(32), 0, (), ()))
        else:
            reasons.append(answer.reason)
    assert "too fast" in reasons


def test_new_seats_are_rationed_and_who_is_refused_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SEATS_BURST", 2)
    device = Device()
    for _ in range(2):
        device.learn()
        device.post()
        assert device.number not in device.answers
    for _ in range(3):
        device.learn()
        device.post()
        assert device.refusal() == "too fast"
    device.bench.now_ns += 20 * MS
    device.post()
    assert device.number not in device.answers


def test_a_fence_answers_everybody_and_forgets_the_seats() -> None:
    device = Device()
    device.seated()
    device.ask(SanctuaryId(b"n" * 16))
    asked, posted = device.number, device.number - 1
    fenced = Fenced("fanout-0", 1, "gateway-0", device.bench.core.incarnation)
    device.receive("control.fanout-0", fenced)
    assert (device.refusal(asked), device.refusal(posted)) == ("not ready", "not ready")
    effects = device.later(10 * SECOND_NS)
    assert published(effects, LeaveAsk) == published(effects, JoinAsk) == []


def test_a_restarted_sanctuary_is_shown_the_seat() -> None:
    device = Device()
    device.seated()
    [ask] = published(
        device.receive("control.sanctuary-0", JoinsWanted("sanctuary-0", 1, (SLOT,))), JoinAsk
    )
    assert (ask.session, ask.record, ask.again) == (device.session, device.join(), True)


def test_nothing_of_the_room_is_kept_for_a_seat_to_speak() -> None:
    device = Device()
    device.seated()
    batch = (Clear(), Enter(device.session, ROOM, (shown(1),), ()), Deliver(members(), (shown(2),)))
    incarnation = device.bench.core.incarnation
    device.receive("edge.gateway-0", EdgeBatch(SLOT, 1, incarnation, 0, batch))
    assert device.bench.core.egress.backlog_bytes() == 0
    assert not device.bench.core.wants_sweep


def test_draining_and_before_the_city_is_known_nobody_is_taken_in() -> None:
    device = Device(city=None)
    device.post()
    assert device.refusal() == "not ready"
    device.ask()
    assert device.refusal() == "not ready"
    device = Device()
    device.learn()
    device.bench.core.drain(1)
    device.post()
    assert device.refusal() == "not ready"


@given(st.binary(max_size=300))
def test_no_garbage_raises(body: bytes) -> None:
    device = Device()
    device.post(body)
    assert device.refusal() in {"malformed", "out of range", "wrong session"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bodies": (b"\x90",) * 33}, "out of range"),
        ({"bodies": (bytes(5000),)}, "out of range"),
        ({"opening": Signed(bytes(5000), bytes(64))}, "out of range"),
        ({"join": Signed(b"\xc1", bytes(64))}, "malformed"),
        ({"epoch": 2**53}, "out of range"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(changes: dict[str, Any], reason: str) -> None:
    device = Device()
    device.learn()
    device.post(device.window(**changes))
    assert device.refusal() == reason
    device.post(bytes(70_000))
    assert device.refusal() == "oversize"
