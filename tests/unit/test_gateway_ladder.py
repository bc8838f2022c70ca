"""The ladder: what is left out is announced, what stays keeps its order, and everybody climbs back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.core import audience as audience_module
from services.gateway.core.egress import CONFLATIONS_PER_SLICE, Egress
from services.gateway.core.form import Form
from services.gateway.core.ladder import (
    CALM_NS_MAX,
    CALM_NS_MIN,
    HOPELESS_NS,
    STUCK_NS,
    Climber,
    Rung,
    conflate,
)
from services.gateway.core.owed import (
    NO_DIGEST,
    AnyOwed,
    Digest,
    Owed,
    OwedSnapshot,
    Viewer,
    members_key,
)
from shared.codec import encode
from shared.contracts import (
    Coarse,
    DenyPair,
    SampleShown,
    SealShown,
    Segment,
    ServerMessage,
    Signed,
    Skipped,
    StrandEnded,
    Struck,
)
from shared.contracts import Rung as RungTold
from shared.contracts.refusals import CloseCode
from shared.identifiers import MonotonicNs, SessionId
from tests.unit.test_gateway_core import Bench, closes

ROOM = b"r" * 16
KEY = members_key(ROOM)
SLOT = 5
CITIZENS = (b"a" * 16, b"b" * 16)
STRANDS = {citizen: citizen * 2 for citizen in CITIZENS}
S = 1_000_000_000
SESSION = SessionId(b"v" * 16)


def owed(message: msgspec.Struct, citizen: bytes | None) -> Owed:
    return Owed(encode(message), audience=KEY, slot=SLOT, citizen=citizen)


def sample(citizen: bytes, seq: int) -> Owed:
    return owed(SampleShown(STRANDS[citizen], encode([seq, bytes(40)])), citizen)


def seal(citizen: bytes, number: int) -> Owed:
    record = Signed(number.to_bytes(4, "big"), bytes(64))
    return owed(SealShown(STRANDS[citizen], record), citizen)


def skipped(citizen: bytes, first: int, last: int, reason: str = "lost") -> Owed:
    return owed(Skipped(STRANDS[citizen], first, last, reason), citizen)


def coarse(citizen: bytes, tick: int, cell: int | None) -> Owed:
    return owed(Coarse(ROOM, 70_000 + tick, citizen[:8], cell), citizen)


def read(queue: list[AnyOwed]) -> list[Any]:
    messages = []
    for each in queue:
        raw = each.messages()[0]
        messages.append(msgspec.msgpack.decode(raw, type=ServerMessage))
    return messages


def told(queue: list[AnyOwed]) -> list[Any]:
    """In short: a sample's number, a run of skipped ones, or the message's name."""
    short: list[Any] = []
    for message in read(queue):
        match message:
            case SampleShown():
                short.append(msgspec.msgpack.decode(message.body)[0])
            case Skipped():
                short.append((message.first, message.last, message.reason))
            case _:
                short.append(type(message).__name__)
    return short


# ── conflation ───────────────────────────────────────────────────────────────────────────────────


def test_the_newest_sample_stays_and_the_others_are_announced_ahead_of_it() -> None:
    a, b = CITIZENS
    queue = [sample(a, 3), sample(b, 0), sample(a, 4), sample(a, 5)]
    assert told(conflate(queue)) == [0, (3, 4, "conflated"), 5]


def test_what_was_skipped_already_is_told_with_it() -> None:
    a = CITIZENS[0]
    assert told(conflate([skipped(a, 1, 2), sample(a, 3), sample(a, 4)])) == [
        (1, 3, "conflated"),
        4,
    ]
    assert told(conflate([skipped(a, 1, 2), sample(a, 3)])) == [(1, 2, "lost"), 3]
    assert told(conflate([sample(a, 1), skipped(a, 2, 3), skipped(a, 4, 9)])) == [
        1,
        (2, 9, "lost"),
    ]
    assert told(conflate([sample(a, 1), skipped(a, 5, 6), sample(a, 7)])) == [
        (1, 1, "conflated"),
        (5, 6, "lost"),
        7,
    ]


def test_of_seals_and_cells_the_newest_stays() -> None:
    a, b = CITIZENS
    queue = [seal(a, 0), coarse(b, 0, 3), sample(a, 1), seal(a, 1), coarse(b, 1, 4), seal(b, 0)]
    kept = read(conflate(queue))
    assert [type(message).__name__ for message in kept] == [
        "SampleShown",
        "SealShown",
        "Coarse",
        "SealShown",
    ]
    assert kept[1].record.payload == (1).to_bytes(4, "big")
    assert kept[2].cell == 4


def test_nothing_is_taken_together_across_an_end_or_a_snapshot() -> None:
    a = CITIZENS[0]
    end = owed(StrandEnded(STRANDS[a], "left", None, None), a)
    queue: list[AnyOwed] = [sample(a, 0), sample(a, 1), end, sample(a, 2), sample(a, 3)]
    assert told(conflate(queue)) == [
        (0, 0, "conflated"),
        1,
        "StrandEnded",
        (2, 2, "conflated"),
        3,
    ]
    snapshot = OwedSnapshot((), audience=KEY, slot=SLOT, sanctuary=ROOM, recovered=False)
    assert told(conflate([sample(a, 0), snapshot, sample(a, 1)])) == [0, "Snapshot", 1]


def test_strikes_notices_and_answers_are_never_conflated() -> None:
    a = CITIZENS[0]
    notices = [owed(Struck(ROOM, a, None), None), owed(Struck(ROOM, None, b"p" * 8), None)]
    queue = [notices[0], sample(a, 0), notices[1], sample(a, 1), notices[0]]
    assert [each for each in conflate(queue) if each in notices] == [
        notices[0],
        notices[1],
        notices[0],
    ]


def test_what_cannot_be_read_stays() -> None:
    a = CITIZENS[0]
    strange = Owed(b"\xc1", audience=KEY, slot=SLOT, citizen=a)
    broken = owed(SampleShown(STRANDS[a], b"\xc1"), a)
    assert conflate([strange, broken, strange]) == [strange, broken, strange]


@st.composite
def queues(draw: st.DrawFn) -> list[Owed]:
    """What a strand may bring: numbers in order, each once, by sample or skipped."""
    queue: list[Owed] = []
    next_seq = dict.fromkeys(CITIZENS, 0)
    for _ in range(draw(st.integers(0, 30))):
        citizen = draw(st.sampled_from(CITIZENS))
        kind = draw(st.sampled_from(["sample", "sample", "skipped", "seal", "coarse", "notice"]))
        first = next_seq[citizen]
        match kind:
            case "sample":
                queue.append(sample(citizen, first))
                next_seq[citizen] = first + 1
            case "skipped":
                last = first + draw(st.integers(0, 3))
                queue.append(skipped(citizen, first, last))
                next_seq[citizen] = last + 1
            case "seal":
                queue.append(seal(citizen, first))
            case "coarse":
                queue.append(coarse(citizen, len(queue), 1))
            case _:
                queue.append(owed(Struck(ROOM, citizen, None), None))
    return queue


def numbers(queue: list[AnyOwed], citizen: bytes) -> Iterator[int]:
    return numbers_in(read(queue), citizen)


def numbers_in(messages: list[Any], citizen: bytes) -> Iterator[int]:
    for message in messages:
        if isinstance(message, SampleShown) and message.strand == STRANDS[citizen]:
            yield msgspec.msgpack.decode(message.body)[0]
        elif isinstance(message, Skipped) and message.strand == STRANDS[citizen]:
            yield from range(message.first, message.last + 1)


@given(queues(), st.integers(0, 30))
def test_every_number_is_told_once_and_in_order_however_often_one_conflates(
    queue: list[Owed], cut: int
) -> None:
    """Delivered + skipped = sent, to the viewer who was conflated in the middle and again too."""
    once = conflate(queue)
    twice = conflate([*conflate(queue[:cut]), *conflate(queue[cut:])])
    for citizen in CITIZENS:
        expected = list(numbers([*queue], citizen))
        assert list(numbers(once, citizen)) == expected
        assert list(numbers(twice, citizen)) == expected
    assert conflate(once) == once or read(conflate(once)) == read(once)
    for kept in (once, twice):
        assert all(each.citizen is None or each.audience == KEY for each in kept)  # type: ignore[union-attr]
        shown = [message for message in read(kept) if isinstance(message, SampleShown)]
        assert len(shown) <= len(CITIZENS)
    newest = {m.strand: m.body for m in read([*queue]) if isinstance(m, SampleShown)}
    assert {m.strand: m.body for m in read(once) if isinstance(m, SampleShown)} == newest


# ── rungs ────────────────────────────────────────────────────────────────────────────────────────


def looked(climber: Climber, at_s: float, **state: bool) -> Rung | None:
    return climber.look(MonotonicNs(int(at_s * S)), **({"is_idle": False} | state))


def test_who_falls_and_is_stuck_falls_on_then_climbs_back() -> None:
    climber = Climber(1000)
    assert climber.conflated(300)
    assert not climber.conflated(800)
    assert climber.conflate_at == 1600
    assert looked(climber, 1, is_paused=True) is None
    assert looked(climber, 1 + STUCK_NS / S, is_paused=True) is Rung.FIELD
    assert looked(climber, 50, is_paused=False, is_idle=True) is None
    wait_s = 4 * CALM_NS_MIN / S  # doubled by each fall
    assert looked(climber, 49 + wait_s, is_paused=False, is_idle=True) is None
    assert looked(climber, 50 + wait_s, is_paused=False, is_idle=True) is Rung.NEWEST
    assert looked(climber, 51 + wait_s, is_paused=False, is_idle=False) is None
    assert looked(climber, 52 + wait_s, is_paused=False, is_idle=True) is None
    assert looked(climber, 52 + 2 * wait_s, is_paused=False, is_idle=True) is Rung.EVERY
    assert not climber.is_forgiven
    looked(climber, 52 + 2 * wait_s + CALM_NS_MAX / S, is_paused=False, is_idle=True)
    assert climber.is_forgiven


def test_who_takes_nothing_for_long_is_hopeless_and_who_takes_something_is_not() -> None:
    climber = Climber(1000)
    looked(climber, 0, is_paused=True)
    looked(climber, 100, is_paused=True)
    assert not climber.is_hopeless(MonotonicNs(HOPELESS_NS - 1))
    assert climber.is_hopeless(MonotonicNs(HOPELESS_NS))
    looked(climber, 121, is_paused=False)
    assert not climber.is_hopeless(MonotonicNs(HOPELESS_NS * 2))


# ── in the queues ────────────────────────────────────────────────────────────────────────────────


class Room:
    """One viewer of the room, and a bystander."""

    def __init__(self, *, form: Form = Form.MESSAGEPACK, backlog_bytes_max: int = 8000) -> None:
        self.egress = Egress(backlog_bytes_max=backlog_bytes_max)
        self.now_s = 0.0
        self.seq = dict.fromkeys(CITIZENS, 0)
        self.written: dict[SessionId, list[Any]] = {SESSION: [], SessionId(b"o" * 16): []}
        for session, its_form in ((SESSION, form), (SessionId(b"o" * 16), Form.MESSAGEPACK)):
            self.egress.add_viewer(session, form=its_form)
            self.egress.enter(session, KEY, SLOT, (), recovered=False)
        self.sweep()
        self.written[SESSION].clear()

    def sweep(self) -> None:
        while self.egress.wants_flush:
            for effect in self.egress.sweep(2**31):
                if effect.form is Form.EVENTS:
                    continue
                messages = msgspec.msgpack.decode(effect.payload, type=list[ServerMessage])
                sessions = getattr(effect, "sessions", None) or [effect.session]  # type: ignore[union-attr]
                for session in sessions:
                    self.written[session] += messages

    def say(self, count: int) -> None:
        for _ in range(count):
            for citizen in CITIZENS:
                part = sample(citizen, self.seq[citizen])
                self.seq[citizen] += 1
                self.egress.deliver(KEY, SLOT, [Segment(citizen, part.message)], ())
            self.sweep()

    def strike(self, citizen: bytes) -> None:
        notice = encode(Struck(ROOM, citizen, None))
        self.egress.strike(citizen, KEY, SLOT, None, notice)
        self.sweep()

    def wait(self, seconds: float) -> None:
        until = self.now_s + seconds
        while self.now_s < until:
            self.now_s += 0.25
            self.egress.climb(MonotonicNs(int(self.now_s * S)))
            self.sweep()

    def rungs(self) -> list[str]:
        return [message.rung for message in self.written[SESSION] if isinstance(message, RungTold)]

    def shown(self) -> list[int]:
        return [
            msgspec.msgpack.decode(message.body)[0]
            for message in self.written[SESSION]
            if isinstance(message, SampleShown) and message.strand == STRANDS[CITIZENS[0]]
        ]


def test_a_slow_viewer_walks_down_and_up_and_every_number_is_accounted_for() -> None:
    room = Room()
    room.say(2)
    room.egress.pause(SESSION)
    room.say(200)
    assert room.egress.backlog_bytes() < 8000
    assert not room.egress.too_slow
    room.wait(STUCK_NS / S + 1)
    room.egress.resume(SESSION)
    room.wait(1)
    assert room.rungs() == ["newest", "field"]
    room.say(50)
    assert room.shown() == [0, 1]
    room.strike(CITIZENS[1])
    assert any(isinstance(message, Struck) for message in room.written[SESSION])
    room.wait(10)
    assert room.rungs()[2:] == ["newest", "every"]
    assert room.shown() == [0, 1, 251]
    room.say(1)
    assert room.shown()[-1] == 252
    messages = room.written[SESSION]
    told_numbers: list[int] = []
    for message in messages:
        if isinstance(message, SampleShown) and message.strand == STRANDS[CITIZENS[0]]:
            told_numbers.append(msgspec.msgpack.decode(message.body)[0])
        elif isinstance(message, Skipped) and message.strand == STRANDS[CITIZENS[0]]:
            told_numbers += range(message.first, message.last + 1)
    assert told_numbers == list(range(253))
    bystander = room.written[SessionId(b"o" * 16)]
    assert sum(isinstance(message, SampleShown) for message in bystander) == 2 * 253


def test_what_several_slow_viewers_are_owed_is_conflated_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conflated: list[int] = []

    def counting(owed: Iterable[AnyOwed]) -> list[AnyOwed]:
        queue = list(owed)
        conflated.append(len(queue))
        return conflate(queue)

    monkeypatch.setattr(audience_module, "conflate", counting)
    room = Room(backlog_bytes_max=16_000)
    slow = [SESSION, *(SessionId(bytes((number,)) * 16) for number in range(9))]
    for session in slow[1:]:
        room.written[session] = []
        room.egress.add_viewer(session, form=Form.MESSAGEPACK)
        room.egress.enter(session, KEY, SLOT, (), recovered=False)
    room.sweep()
    for session in slow:
        room.egress.pause(session)
    room.say(1)
    assert room.egress.backlog_bytes() < 500, "waits once, however many it waits for"
    room.say(60)
    assert room.egress.rungs() == {"newest": 10, "field": 0}
    assert 1 <= len(conflated) <= 3
    for session in slow:
        room.egress.resume(session)
    room.sweep()
    assert len({len(room.written[session]) for session in slow[1:]}) == 1
    for session in slow[1:]:
        told = [message for message in room.written[session] if isinstance(message, SampleShown)]
        assert {msgspec.msgpack.decode(message.body)[0] for message in told} == {60}


def test_of_slow_viewers_one_who_must_not_get_a_citizen_does_not() -> None:
    room = Room(backlog_bytes_max=16_000)
    other = SessionId(b"p" * 16)
    room.written[other] = []
    room.egress.add_viewer(other, form=Form.MESSAGEPACK)
    room.egress.enter(other, KEY, SLOT, (), recovered=False)
    room.sweep()
    room.written[other].clear()
    for session in (SESSION, other):
        room.egress.pause(session)
    a, b = CITIZENS
    for number in range(80):
        segments = [Segment(each, sample(each, number).message) for each in (a, b)]
        room.egress.deliver(KEY, SLOT, segments, [DenyPair(other, a)])
        room.sweep()
    for session in (SESSION, other):
        room.egress.resume(session)
    room.sweep()
    for session, whom in ((SESSION, [a, b]), (other, [b])):
        told = [each for each in room.written[session] if isinstance(each, SampleShown | Skipped)]
        assert {each.strand for each in told} == {STRANDS[each] for each in whom}
        for citizen in whom:
            assert list(numbers_in(told, citizen)) == list(range(80))


SEVERAL = tuple(SessionId(bytes((number,)) * 16) for number in range(1, 6))
ACTIONS = st.one_of(
    st.tuples(st.just("say"), st.integers(1, 40)),
    st.tuples(st.just("deny"), st.sampled_from(SEVERAL)),
    st.tuples(st.just("pause"), st.sampled_from(SEVERAL)),
    st.tuples(st.just("pause"), st.sampled_from(SEVERAL)),
    st.tuples(st.just("resume"), st.sampled_from(SEVERAL)),
    st.tuples(st.just("slice"), st.integers(1, 4)),
    st.tuples(st.just("climb"), st.integers(1, 12)),
    st.tuples(st.just("strike"), st.sampled_from((None, *SEVERAL))),
)


class Crowd:
    """Several viewers, each slow when it likes; sweeps end anywhere."""

    def __init__(self) -> None:
        self.egress = Egress(backlog_bytes_max=8000)
        self.now_s = 0.0
        self.seq = dict.fromkeys(CITIZENS, 0)
        self.paused: set[SessionId] = set()
        self.heard: dict[SessionId, list[Any]] = {session: [] for session in SEVERAL}
        self.due: dict[SessionId, dict[bytes, list[int]]] = {
            session: {citizen: [] for citizen in CITIZENS} for session in SEVERAL
        }
        """What each must be told, by sample or as skipped, and in this order."""
        for session in SEVERAL:
            self.egress.add_viewer(session, form=Form.MESSAGEPACK)
            self.egress.enter(session, KEY, SLOT, (), recovered=False)

    def slice(self, writes: int) -> None:
        for effect in self.egress.sweep(writes):
            messages = msgspec.msgpack.decode(effect.payload, type=list[ServerMessage])
            for session in getattr(effect, "sessions", None) or [effect.session]:  # type: ignore[union-attr]
                assert session not in self.paused
                self.heard[session] += messages

    def say(self, deny: SessionId | None = None) -> None:
        denied = CITIZENS[0]
        segments = []
        for citizen in CITIZENS:
            number = self.seq[citizen]
            self.seq[citizen] += 1
            segments.append(Segment(citizen, sample(citizen, number).message))
            for session in SEVERAL:
                if (session, citizen) != (deny, denied):
                    self.due[session][citizen].append(number)
        pairs = [DenyPair(deny, denied)] if deny else []
        self.egress.deliver(KEY, SLOT, segments, pairs)

    def strike(self, session: SessionId | None) -> None:
        """What has not gone out by now must not any more."""
        struck = CITIZENS[0]
        self.egress.strike(struck, KEY, SLOT, session, encode(Struck(ROOM, struck, None)))
        for each in SEVERAL if session is None else (session,):
            self.due[each][struck] = list(numbers_in(self.heard[each], struck))

    def act(self, action: str, value: Any) -> None:
        match action:
            case "say":
                for _ in range(value):
                    self.say()
                    self.slice(3)
            case "deny":
                self.say(deny=value)
            case "pause":
                self.paused.add(value)
                self.egress.pause(value)
            case "resume":
                self.paused.discard(value)
                self.egress.resume(value)
            case "slice":
                self.slice(value)
            case "climb":
                self.now_s += value / 4
                self.egress.climb(MonotonicNs(int(self.now_s * S)))
            case "strike":
                self.strike(value)

    def all_read_on(self) -> None:
        for session in SEVERAL:
            self.act("resume", session)
        for _ in range(400):
            self.act("climb", 4)
            while self.egress.wants_flush:
                self.slice(3)


@given(st.lists(ACTIONS, max_size=60))
@settings(max_examples=300)
def test_each_of_several_slow_viewers_is_told_every_number_once_and_in_order(
    script: list[tuple[str, Any]],
) -> None:
    crowd = Crowd()
    for action, value in script:
        crowd.act(action, value)
    crowd.all_read_on()
    assert not crowd.egress.too_slow
    assert not any(crowd.egress.rungs().values())
    for session in SEVERAL:
        for citizen in CITIZENS:
            told_numbers = list(numbers_in(crowd.heard[session], citizen))
            assert told_numbers == crowd.due[session][citizen]


def test_those_who_fell_one_after_the_other_are_conflated_by_and_by() -> None:
    """No slice has to conflate for all of them, and what they hold does not grow."""
    crowd = Crowd()
    for session in SEVERAL:
        crowd.act("pause", session)
        crowd.act("say", 1)
    audience = crowd.egress._audiences[KEY]
    most = before = 0
    held: list[int] = []
    for number in range(1000):
        crowd.say()
        crowd.slice(3)
        most = max(most, audience.conflations - before)
        before = audience.conflations
        if number in {200, 999}:
            held.append(crowd.egress.backlog_bytes())
    assert crowd.egress.rungs() == {"newest": len(SEVERAL), "field": 0}
    assert 1 <= most <= CONFLATIONS_PER_SLICE + 1, "a digest, and one behind what is held"
    assert held[1] < 2 * held[0]


def fallen_crowd() -> Crowd:
    """All are owed too much; of two who are owed the same, one has been conflated."""
    crowd = Crowd()
    for number, session in enumerate(SEVERAL):
        crowd.act("pause", session)
        if number != 2:
            crowd.say()
            crowd.slice(len(SEVERAL))
    for _ in range(60):
        crowd.say()
    crowd.slice(3)
    assert crowd.egress.rungs() == {"newest": CONFLATIONS_PER_SLICE, "field": 0}
    return crowd


@pytest.mark.parametrize("session", SEVERAL)
def test_a_strike_for_one_amid_a_conflation_reaches_it_alone(session: SessionId) -> None:
    crowd = fallen_crowd()
    crowd.strike(session)
    while crowd.egress.wants_flush:
        crowd.slice(3)
    assert crowd.egress.rungs() == {"newest": len(SEVERAL), "field": 0}
    crowd.all_read_on()
    for each in SEVERAL:
        for citizen in CITIZENS:
            assert list(numbers_in(crowd.heard[each], citizen)) == crowd.due[each][citizen]


def test_a_deny_pair_of_what_came_later_is_kept_for_whoever_is_owed_more() -> None:
    crowd = Crowd()
    crowd.act("pause", SEVERAL[0])
    crowd.act("say", 5)
    crowd.act("pause", SEVERAL[1])
    crowd.act("say", 5)
    crowd.act("deny", SEVERAL[0])
    for _ in range(60):
        crowd.say()
    crowd.slice(3)
    assert crowd.egress.rungs() == {"newest": 2, "field": 0}
    crowd.all_read_on()
    denied = CITIZENS[0]
    told_numbers = list(numbers_in(crowd.heard[SEVERAL[0]], denied))
    assert told_numbers == crowd.due[SEVERAL[0]][denied]


def test_of_a_digest_that_is_partly_written_nothing_is_taken_back() -> None:
    viewer = Viewer(SESSION, form=Form.MESSAGEPACK)
    first, second, third = (sample(CITIZENS[0], number) for number in range(3))
    viewer.digest = Digest([first, second], 2 * first.byte_count)
    assert viewer.digest.owed == [first, second]
    viewer.owed.popleft()
    viewer.owed_bytes -= first.byte_count
    assert viewer.digest is NO_DIGEST
    viewer.digest = Digest([third], third.byte_count)
    assert list(viewer.owed) == [second, third]
    assert viewer.owed_bytes == second.byte_count + third.byte_count


def test_whoever_enters_again_while_parked_gets_the_older_ahead_of_the_snapshot() -> None:
    room = Room(backlog_bytes_max=16_000)
    room.egress.pause(SESSION)
    room.say(3)
    room.egress.enter(SESSION, KEY, SLOT, (), recovered=False)
    room.egress.resume(SESSION)
    room.sweep()
    kinds = [type(message).__name__ for message in room.written[SESSION]]
    assert kinds == ["SampleShown"] * 6 + ["Snapshot"]


def test_nobody_who_was_struck_is_in_what_was_conflated() -> None:
    room = Room()
    room.egress.pause(SESSION)
    room.say(200)
    room.strike(CITIZENS[0])
    room.wait(STUCK_NS / S + 1)
    room.egress.resume(SESSION)
    room.wait(20)
    assert room.shown() == []
    assert not [
        message
        for message in room.written[SESSION]
        if isinstance(message, Skipped) and message.strand == STRANDS[CITIZENS[0]]
    ]


def test_who_takes_nothing_at_all_is_closed() -> None:
    room = Room()
    room.egress.pause(SESSION)
    room.say(5)
    room.wait(HOPELESS_NS / S - 1)
    assert not room.egress.too_slow
    room.wait(2)
    assert list(room.egress.too_slow) == [SESSION]


def test_an_event_stream_is_not_conflated_but_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience_module, "conflate", lambda _: pytest.fail("conflated"))
    room = Room(form=Form.EVENTS)
    room.egress.pause(SESSION)
    room.say(300)
    assert room.egress.rungs() == {"newest": 0, "field": 0}


def test_viewers_are_counted_by_rung() -> None:
    room = Room()
    room.egress.pause(SESSION)
    room.say(200)
    assert SESSION in room.egress.slow
    assert room.egress.rungs() == {"newest": 1, "field": 0}
    room.wait(STUCK_NS / S + 1)
    assert room.egress.rungs() == {"newest": 0, "field": 1}
    room.egress.drop_viewer(SESSION)
    assert room.egress.rungs() == {"newest": 0, "field": 0}


def test_whose_pong_waits_behind_a_full_socket_is_not_taken_for_gone() -> None:
    """Twice the seconds after which a silent client is closed; the ladder closes it in its own time."""
    bench = Bench()
    session = bench.member()
    bench.core.paused(session)
    assert closes(bench.later(45 * S)) == []
    assert closes(bench.later(HOPELESS_NS - 44 * S)) == [(session, CloseCode.TOO_SLOW)]
